//! One analyzer, its servers, and images to ask about.

use std::io::Cursor;
use std::time::Duration;

use bytes::Bytes;
use image::{ImageFormat, Rgb, RgbImage};
use ocelli_core::{Digest, FailureClass, Flag, ImageFacts, Outcome, Reading};
use ocelli_llm::{
    EndpointOptions, InFlight, LlmAnalyzer, LlmMetrics, LlmOptions, Patience, Preparation,
    PromptSource, Protocol, Timeouts,
};
use ocelli_testkit::models::{self, Behaviour, ModelServer, ModelServerOptions};
use ocelli_worker::{AnalyzeError, Analyzer, Answer, Job};
use tokio::time::Instant;

pub(crate) const MODEL: &str = "gemma3:27b";
pub(crate) const BOTH: [Protocol; 2] = [Protocol::Ollama, Protocol::OpenAi];
pub(crate) const SECTIONS: [&str; 6] = [
    "Visual Description",
    "Foucauldian Genealogical Discourse Analysis",
    "Critical Theory",
    "Marxist Conflict Theory",
    "Postmodernism",
    "Queer Feminist Intersectional Analysis",
];

pub(crate) async fn server(protocol: Protocol, behaviour: Behaviour) -> ModelServer {
    server_with(protocol, |options| options.behaviour = behaviour).await
}

pub(crate) async fn server_with(
    protocol: Protocol,
    change: impl FnOnce(&mut ModelServerOptions),
) -> ModelServer {
    let protocol = match protocol {
        Protocol::Ollama => models::Protocol::Ollama,
        Protocol::OpenAi => models::Protocol::OpenAi,
    };
    let mut options = ModelServerOptions { protocol, ..ModelServerOptions::default() };
    change(&mut options);
    ModelServer::start(options).await
}

/// Options with deadlines that a test can wait for.
pub(crate) fn options(protocol: Protocol, servers: &[&ModelServer]) -> LlmOptions {
    LlmOptions {
        name: "gemma3-27b-vision".parse().unwrap(),
        protocol,
        model: MODEL.to_owned(),
        endpoints: servers
            .iter()
            .map(|server| EndpointOptions {
                in_flight: InFlight::Fixed(4),
                ..EndpointOptions::new(server.url())
            })
            .collect(),
        prompt: PromptSource::Named { name: "critical-lenses".to_owned(), directory: None },
        required_sections: SECTIONS.map(str::to_owned).to_vec(),
        timeouts: Timeouts {
            connect: Duration::from_millis(500),
            first_byte: Duration::from_millis(400),
            idle: Duration::from_millis(300),
            total: Duration::from_millis(900),
            probe: Duration::from_secs(2),
        },
        patience: Patience {
            outage: Duration::from_millis(300),
            pause_floor: Duration::from_millis(20),
            pause_cap: Duration::from_millis(80),
            return_cap: Duration::from_millis(80),
            ..Patience::default()
        },
        ..LlmOptions::default()
    }
}

pub(crate) fn analyzer(options: LlmOptions) -> LlmAnalyzer {
    LlmAnalyzer::new(options, Preparation::default(), &LlmMetrics::default()).unwrap()
}

/// A job about one of 256 different images; it has ten seconds.
pub(crate) fn job(number: u8) -> Job {
    let image = RgbImage::from_fn(64, 48, |x, y| Rgb([number, (x * 3) as u8, (y * 5) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    job_of(Bytes::from(bytes.into_inner()))
}

pub(crate) fn job_of(bytes: Bytes) -> Job {
    let digest = Digest::of(&bytes);
    Job {
        image: ImageFacts {
            digest,
            bytes: bytes.len() as u64,
            format: None,
            width: Some(64),
            height: Some(48),
        },
        bytes,
        sources: vec!["file:///archive/meme.png".parse().unwrap()],
        needed: Vec::new(),
        deadline: Instant::now() + Duration::from_secs(10),
        meter: ocelli_worker::Meter::default(),
    }
}

/// Asks about one image at a server with one behaviour.
pub(crate) async fn ask(
    protocol: Protocol,
    behaviour: Behaviour,
) -> (Result<Answer, AnalyzeError>, ModelServer) {
    let server = server(protocol, behaviour).await;
    let result = analyzer(options(protocol, &[&server])).analyze(job(1)).await;
    (result, server)
}

pub(crate) fn reading(answer: &Answer) -> &Reading {
    match &answer.outcome {
        Outcome::Done(reading) => reading,
        other => panic!("expected a reading, not {other:?}"),
    }
}

pub(crate) async fn flags(protocol: Protocol, behaviour: Behaviour) -> (Vec<Flag>, u64) {
    let (result, server) = ask(protocol, behaviour).await;
    (reading(&result.unwrap()).flags.clone(), server.calls())
}

pub(crate) async fn failure(
    protocol: Protocol,
    behaviour: Behaviour,
) -> (FailureClass, String, u64) {
    let (result, server) = ask(protocol, behaviour).await;
    let error = result.unwrap_err();
    (error.class, error.reason, server.calls())
}

/// An analyzer whose calls are counted.
pub(crate) fn counted_analyzer(options: LlmOptions) -> (LlmAnalyzer, prometheus::Registry) {
    let registry = prometheus::Registry::new();
    let metrics = LlmMetrics::register(&registry).unwrap();
    (LlmAnalyzer::new(options, Preparation::default(), &metrics).unwrap(), registry)
}

pub(crate) fn failed_calls(registry: &prometheus::Registry) -> u64 {
    let families = registry.gather();
    let calls = families.iter().filter(|family| family.name() == "ocelli_llm_calls_total");
    let failed = calls.flat_map(|family| family.get_metric()).filter(|metric| {
        metric.get_label().iter().any(|label| label.name() == "result" && label.value() == "failed")
    });
    failed.map(|metric| metric.get_counter().get_value() as u64).sum()
}

pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let asked = || std::future::ready(condition());
    ocelli_testkit::wait_until(what, Duration::from_secs(5), asked).await;
}
