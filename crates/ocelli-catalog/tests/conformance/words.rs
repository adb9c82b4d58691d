//! Short ways to say messages.

use jiff::Timestamp;
use ocelli_core::trace::TraceContext;
use ocelli_core::wire::{Announcement, BatchReport, Deferred, Intake, Message, Partial, Problem};
use ocelli_core::{
    Analysis, AnalyzerName, AttemptId, BatchId, Digest, FailureClass, Flag, ImageFacts,
    ImageFormat, Outcome, Provenance, Reading, Revision, RevisionBuilder, Section, Sighting,
    SourceUri, Step, Want, Word,
};

pub(crate) const OCR: &str = "tesseract-ocr";
pub(crate) const LLM: &str = "llama3.2-vision";

/// Seconds after the moment at which the tests begin.
pub(crate) fn at(seconds: i64) -> Timestamp {
    Timestamp::from_second(1_714_813_251 + seconds).unwrap()
}

pub(crate) fn name(text: &str) -> AnalyzerName {
    text.parse().unwrap()
}

pub(crate) fn revision(number: u64) -> Revision {
    RevisionBuilder::new("test").part("number", number).build()
}

pub(crate) fn batch(number: u128) -> BatchId {
    BatchId::new(uuid::Uuid::from_u128(number))
}

pub(crate) fn source(path: &str) -> SourceUri {
    format!("file:///pictures/{path}").parse().unwrap()
}

pub(crate) fn facts(image: &str) -> ImageFacts {
    ImageFacts {
        digest: Digest::of(image.as_bytes()),
        bytes: 123_456,
        format: Some(ImageFormat::Png),
        width: Some(640),
        height: Some(480),
    }
}

pub(crate) fn sighting(path: &str, seconds: i64, number: u128) -> Sighting {
    Sighting { source: source(path), seen_at: at(seconds), batch: batch(number) }
}

pub(crate) fn want(analyzer: &str, number: u64) -> Want {
    Want { analyzer: name(analyzer), revision: Some(revision(number)) }
}

/// An intake of `image` at one source, asking revision 1 of these analyzers.
pub(crate) fn intake(image: &str, analyzers: &[&str]) -> Intake {
    let sighting = sighting(image, 0, 1);
    Intake {
        image: facts(image),
        sources: vec![sighting.source.clone()],
        sighting: Some(sighting),
        wants: analyzers.iter().map(|analyzer| want(analyzer, 1)).collect(),
        refusal: None,
        enqueued_at: at(0),
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    }
}

pub(crate) fn done(text: &str) -> Outcome {
    Outcome::Done(Reading { text: text.to_owned(), ..Reading::default() })
}

pub(crate) fn failed(class: FailureClass, reason: &str) -> Outcome {
    Outcome::Failed { class, reason: reason.to_owned() }
}

/// The answer of revision 1.
pub(crate) fn partial(image: &str, analyzer: &str, outcome: Outcome, seconds: i64) -> Message {
    Message::Partial(Box::new(Partial {
        digest: Digest::of(image.as_bytes()),
        analysis: Analysis {
            analyzer: name(analyzer),
            revision: revision(1),
            outcome,
            attempts: 1,
            finished_at: at(seconds),
            provenance: Provenance::default(),
        },
        hash: None,
        image: None,
    }))
}

/// The answer of revision 1 of [`LLM`], given by this attempt, with one call that read as many tokens as it cost
/// millionths, and wrote 0.4 of that.
pub(crate) fn paid(
    image: &str,
    outcome: Outcome,
    number: u128,
    seconds: i64,
    cost: u64,
) -> Message {
    let mut message = partial(image, LLM, outcome, seconds);
    let Message::Partial(partial) = &mut message else { unreachable!() };
    partial.analysis.provenance = Provenance {
        model: Some("model".to_owned()),
        attempt: Some(AttemptId::new(number)),
        batch: Some(batch(1)),
        calls: 1,
        tokens_in: Some(cost),
        tokens_out: Some(cost / 10 * 4),
        cost_micros: Some(cost),
        currency: Some("USD".to_owned()),
        ..Provenance::default()
    };
    message
}

pub(crate) fn deferred(image: &str, analyzer: &str, attempts: u32, next: i64) -> Message {
    Message::Deferred(Deferred {
        digest: Digest::of(image.as_bytes()),
        analyzer: name(analyzer),
        class: FailureClass::Transient,
        reason: "the server answered 503".to_owned(),
        attempts,
        next_at: at(next),
        spent: None,
    })
}

pub(crate) fn announcement(analyzer: &str, worker: &str, seconds: i64) -> Announcement {
    Announcement {
        analyzer: name(analyzer),
        revision: Some(revision(1)),
        kind: "ocr".to_owned(),
        description: "tesseract 5.3.0 eng".to_owned(),
        worker: worker.to_owned(),
        slots: 2,
        in_progress: 1,
        waiting: None,
        paused: false,
        leaving: false,
        at: at(seconds),
    }
}

pub(crate) fn report(number: u128, seconds: i64, accepted: u64) -> BatchReport {
    BatchReport {
        batch: batch(number),
        name: "pictures".to_owned(),
        started_at: at(0),
        at: at(seconds),
        finished: false,
        accepted,
        known: 0,
        skipped: 0,
        problems: 0,
    }
}

pub(crate) fn problem(number: u128, reference: &str, seconds: i64) -> Message {
    Message::Problem(Problem {
        batch: batch(number),
        reference: reference.to_owned(),
        reason: "no such file".to_owned(),
        at: at(seconds),
        source: None,
        rule: None,
        told: None,
    })
}

/// A reading with every field set.
pub(crate) fn full_reading() -> Reading {
    Reading {
        text: "Scaling Open\nLanguage Models".to_owned(),
        confidence: Some(93.27),
        words: vec![Word {
            text: "Scaling".to_owned(),
            x: -1,
            y: 2,
            w: 30,
            h: 12,
            confidence: 96.1,
            line: 0,
            step: "page".to_owned(),
        }],
        sections: vec![Section { heading: "Marxist".to_owned(), text: "…".to_owned() }],
        flags: vec![Flag::Partial, Flag::Truncated],
        languages: Some("eng+deu".to_owned()),
        rotation: 90,
    }
}

pub(crate) fn full_provenance() -> Provenance {
    Provenance {
        engine: "tesseract 5.3.0".to_owned(),
        model: Some("eng".to_owned()),
        model_digest: Some("sha256:00".to_owned()),
        endpoint: Some("http://gpu:11434".to_owned()),
        prompt: Some("explain-meme".to_owned()),
        tokens_in: Some(u64::MAX),
        tokens_out: Some(7),
        calls: 2,
        wasted_tokens: u64::MAX,
        cost_micros: Some(u64::MAX),
        wasted_cost_micros: 1,
        currency: Some("USD".to_owned()),
        attempt: Some(AttemptId::from_bytes([1; 16])),
        batch: Some(batch(1)),
        trace: Some(TraceContext::begin(1 << 100, 1).trace_id()),
        waited_ms: 1,
        took_ms: 90,
        worker: "host:1".to_owned(),
        steps: vec![Step {
            name: "page".to_owned(),
            reason: "first".to_owned(),
            took_ms: 90,
            confidence: Some(0.1),
        }],
    }
}
