//! The analyzer and the worker against a real model server with a tiny model of random weights. What it writes is noise;
//! its wire format, its ways to end and its errors are real.
//!
//! `make test-llm-real` installs and starts the server and runs these tests beside it; all others leave them out. The
//! whole pipeline against the same server is in `tests/suite/real_model.rs`.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::Cursor;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::join_all;
use image::{ImageFormat, Rgb, RgbImage};
use jiff::Timestamp;
use ocelli_broker::{Broker, MemoryOptions, Outgoing};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, FailureClass, Flag, ImageFacts, Outcome, Reading, SourceUri, Want};
use ocelli_llm::{
    EndpointOptions, InFlight, LlmAnalyzer, LlmMetrics, LlmOptions, Preparation, PromptSource,
    Protocol,
};
use ocelli_media::{FetchLimits, Fetcher};
use ocelli_worker::{Analyzer, Answer, Job, Ledger, Parts, WorkerMetrics, WorkerOptions, run};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

const SERVER: &str = "OCELLI_TEST_REAL_LLM";
const MODEL: &str = "tiny-random";

/// The server's address.
fn server() -> Url {
    let url = std::env::var(SERVER).ok().filter(|url| !url.is_empty());
    let url = url.unwrap_or_else(|| panic!("{SERVER} is not set: run `make test-llm-real`"));
    url.parse().expect("an address")
}

fn options(server: &Url) -> LlmOptions {
    LlmOptions {
        name: "tiny".parse().unwrap(),
        protocol: Protocol::OpenAi,
        model: MODEL.to_owned(),
        endpoints: vec![EndpointOptions::new(server.clone())],
        prompt: prompt("Explain."),
        // Warm, since a cold model of random weights walks in circles.
        temperatures: vec![0.8, 0.9, 1.0],
        max_tokens: 600,
        ..LlmOptions::default()
    }
}

fn prompt(text: &str) -> PromptSource {
    PromptSource::Text { name: "plain".to_owned(), text: text.to_owned() }
}

fn analyzer(options: LlmOptions) -> LlmAnalyzer {
    LlmAnalyzer::new(options, Preparation::default(), &LlmMetrics::default()).unwrap()
}

fn picture(number: u8) -> Bytes {
    let image = RgbImage::from_fn(64, 48, |x, y| Rgb([number, (x * 3) as u8, (y * 5) as u8]));
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, ImageFormat::Png).unwrap();
    bytes.into_inner().into()
}

fn facts(bytes: &Bytes) -> ImageFacts {
    let (digest, length) = (Digest::of(bytes), bytes.len() as u64);
    ImageFacts { digest, bytes: length, format: None, width: Some(64), height: Some(48) }
}

fn job(bytes: Bytes) -> Job {
    Job {
        image: facts(&bytes),
        bytes,
        sources: vec!["file:///archive/meme.png".parse().unwrap()],
        needed: Vec::new(),
        deadline: Instant::now() + Duration::from_secs(100),
        meter: ocelli_worker::Meter::default(),
    }
}

fn reading(answer: &Answer) -> &Reading {
    match &answer.outcome {
        Outcome::Done(reading) => reading,
        other => panic!("expected a reading, not {other:?}"),
    }
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn real_answers_that_end_by_themselves_are_kept_with_what_they_took() {
    let server = server();
    let analyzer = analyzer(options(&server));
    analyzer.probe().await.unwrap();
    let mut clean = 0;
    for number in 0..8 {
        let answer = analyzer.analyze(job(picture(number))).await.unwrap();
        let (reading, provenance) = (reading(&answer), &answer.provenance);
        assert!(!reading.text.is_empty());
        assert_eq!(provenance.endpoint.as_deref(), Some(server.as_str()));
        // The text, and sixteen tokens for the image.
        assert!(provenance.tokens_in >= Some(16 + 8), "{provenance:?}");
        assert!(provenance.tokens_out >= Some(1), "{provenance:?}");
        clean += usize::from(reading.flags.is_empty());
    }
    assert!(
        clean >= 6,
        "a model whose end is within reach ends by itself mostly, not {clean} in 8"
    );
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn a_real_answer_that_ends_at_its_budget_is_asked_for_again_and_then_flagged() {
    let server = server();
    let analyzer = analyzer(LlmOptions { max_tokens: 3, ..options(&server) });
    let answer = analyzer.analyze(job(picture(1))).await.unwrap();
    assert!(reading(&answer).flags.contains(&Flag::Truncated), "{answer:?}");
    let provenance = &answer.provenance;
    // Three tokens, then six.
    assert_eq!((provenance.calls, provenance.tokens_out), (2, Some(9)), "{provenance:?}");
    assert!(provenance.wasted_tokens > 0);
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn a_prompt_that_is_too_long_for_a_real_context_fails_at_once() {
    let server = server();
    let long = LlmOptions { prompt: prompt(&"too long ".repeat(1000)), ..options(&server) };
    let error = analyzer(long).analyze(job(picture(1))).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Permanent, "{}", error.reason);
    assert!(error.reason.contains("n_ctx"), "{}", error.reason);
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn a_broken_image_never_reaches_the_server_which_would_fail_over_it() {
    let server = server();
    let whole = picture(1);
    let cut = whole.slice(..whole.len() / 2);
    let analyzer = analyzer(options(&server));
    let error = analyzer.analyze(job(cut.clone())).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Permanent, "{}", error.reason);
    assert!(error.provenance.is_none_or(|provenance| provenance.calls == 0));

    // What it is spared: an error that looks like the server's own.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let base64 = {
        use base64::Engine;
        base64::engine::general_purpose::STANDARD.encode(&cut[..40])
    };
    let body = serde_json::json!({"model": MODEL, "messages": [{"role": "user", "content": [
        {"type": "image_url", "image_url": {"url": format!("data:image/png;base64,{base64}")}}]}]});
    let client = reqwest::Client::builder().no_proxy().build().unwrap();
    let sent = client.post(server.join("v1/chat/completions").unwrap()).json(&body).send().await;
    assert!(sent.unwrap().status().is_server_error());
    analyzer.analyze(job(whole)).await.unwrap();
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn an_unknown_model_is_found_at_the_start_although_the_server_would_answer_for_it() {
    let server = server();
    let other = analyzer(LlmOptions { model: "no-such-model".to_owned(), ..options(&server) });
    let reason = other.probe().await.unwrap_err().reason;
    assert!(reason.contains("'no-such-model' is not there; it offers: tiny-random"), "{reason}");
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn after_a_cancelled_request_a_real_server_goes_on_with_the_next() {
    let server = server();
    let mut long = LlmOptions { max_tokens: 3000, ..options(&server) };
    long.endpoints[0].in_flight = InFlight::Fixed(1);
    let analyzer = analyzer(long);
    for number in 0..3 {
        let abandoned = analyzer.analyze(job(picture(number)));
        assert!(tokio::time::timeout(Duration::from_millis(20), abandoned).await.is_err());
    }
    let answer = analyzer.analyze(job(picture(9))).await.unwrap();
    assert!(!reading(&answer).text.is_empty());
}

#[tokio::test]
#[ignore = "needs a real model server: make test-llm-real"]
async fn many_requests_at_once_all_get_their_answer() {
    let server = server();
    let mut many = options(&server);
    many.endpoints[0].in_flight = InFlight::Fixed(16);
    let analyzer = analyzer(many);
    let answers = join_all((0..48).map(|number| analyzer.analyze(job(picture(number))))).await;
    for answer in answers {
        assert!(!reading(&answer.unwrap()).text.is_empty());
    }
}

/// From the queue to the answer on the queue, each image once, with a number of requests at once that is found by trial.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "needs a real model server: make test-llm-real"]
async fn a_worker_empties_its_queue_against_a_real_server() {
    let server = server();
    let images = 24_u8;
    let folder = tempfile::tempdir().unwrap();
    let analyzer = Arc::new(analyzer(options(&server)));
    let name = analyzer.name().clone();
    let broker = Broker::memory(MemoryOptions::default());
    let steps = WorkerOptions::default().policy.steps;
    broker.declare(&queues(std::slice::from_ref(&name), &steps)).await.unwrap();
    for number in 0..images {
        let (bytes, path) = (picture(number), folder.path().join(format!("{number}.png")));
        std::fs::write(&path, &bytes).unwrap();
        let message = Message::Intake(Intake {
            image: facts(&bytes),
            sources: vec![SourceUri::from_path(&path).unwrap()],
            sighting: None,
            wants: vec![Want { analyzer: name.clone(), revision: None }],
            refusal: None,
            enqueued_at: Timestamp::now(),
            dependence: ocelli_core::Dependence::default(),
            hash: None,
            meta: ocelli_core::Meta::default(),
        });
        let outgoing = Outgoing {
            id: message.id(),
            body: message.encode().unwrap().into(),
            routes: vec![Queue::Jobs(name.clone())],
            attempts: 0,
            traceparent: None,
        };
        broker.publish(outgoing).await.unwrap();
    }
    let shutdown = CancellationToken::new();
    let failed = Arc::new(AtomicBool::new(false));
    let worker = tokio::spawn(run(
        Parts {
            analyzer,
            broker: broker.clone(),
            fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
            ledger: Ledger::new(|_, _, _| async { Ok(false) }),
            options: WorkerOptions::default(),
            metrics: WorkerMetrics::register(&prometheus::Registry::new()).unwrap(),
        },
        shutdown.clone(),
    ));
    let mut results = broker.consume(&Queue::Results, 10).await.unwrap();
    let mut answered = std::collections::BTreeSet::new();
    let all = async {
        while answered.len() < usize::from(images) {
            let delivery = results.next().await.unwrap();
            match Message::decode(&delivery.body).unwrap() {
                Message::Partial(partial) => {
                    assert!(matches!(partial.analysis.outcome, Outcome::Done(_)), "{partial:?}");
                    assert!(answered.insert(partial.digest), "answered twice");
                }
                Message::Deferred(_) => failed.store(true, Ordering::Relaxed),
                _ => {}
            }
            delivery.ack().await.unwrap();
        }
    };
    tokio::time::timeout(Duration::from_secs(100), all).await.expect("all answers");
    assert!(!failed.load(Ordering::Relaxed), "no attempt failed");
    shutdown.cancel();
    worker.await.unwrap().unwrap();
    assert_eq!(broker.depth(&Queue::Jobs(name)).await.unwrap().ready, 0);
}
