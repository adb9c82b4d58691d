//! How one job went: what was asked when, what was tried, what came of it, and the trace under which logs and spans tell the rest.

use askama::Template;
use jiff::Timestamp;
use ocelli_catalog::History;
use ocelli_core::{Analysis, AnalyzerName, Outcome, Record};
use serde::Serialize;

use super::Frame;
use crate::app::App;
use crate::call::{Call, Named, bare};
use crate::failure::WebError;
use crate::records::{of_analyzer, said};
use crate::reply::Answer;
use crate::shown::{self, Asked, counted, line, link, millis};

/// Something that happened to a job.
#[derive(Debug, Serialize)]
struct Moment {
    at: Timestamp,
    what: String,
    detail: String,
    /// The trace in which it happened.
    trace: Option<String>,
    #[serde(skip)]
    shown: String,
}

impl Moment {
    fn new(at: Timestamp, what: impl Into<String>, detail: &str) -> Self {
        let (what, detail) = (what.into(), line(detail, 500));
        Self { at, what, detail, trace: None, shown: shown::time(at) }
    }
}

#[derive(Serialize)]
struct Twin<'a> {
    digest: ocelli_core::Digest,
    analyzer: &'a AnalyzerName,
    moments: &'a [Moment],
}

#[derive(Template)]
#[template(path = "attempts.html")]
struct AttemptsPage {
    frame: Frame,
    analyzer: String,
    record: String,
    short: String,
    thumb: String,
    state: String,
    moments: Vec<Moment>,
    twin: String,
}

/// `GET /attempts/DIGEST?analyzer=NAME`, `DIGEST.json`
pub(crate) async fn page(call: Call, Named(name): Named<String>) -> Answer {
    let (record, analyzer, moments) = read(&call.app, bare(&name), &call.asked).await?;
    if call.wants_json() {
        let digest = record.image.digest;
        return call.json(&Twin { digest, analyzer: &analyzer, moments: &moments });
    }
    let digest = record.image.digest;
    let state = match record.current(&analyzer) {
        Some(analysis) => said(analysis).map_or_else(|(_, state)| state, |_| "done".to_owned()),
        None if record.wants.contains_key(&analyzer) => "waiting for its turn".to_owned(),
        None => "not asked".to_owned(),
    };
    let name = analyzer.as_str();
    let page = AttemptsPage {
        frame: call.frame("failures"),
        record: link(&format!("/record/{digest}"), &[]),
        short: digest.short(),
        thumb: format!("/image/{digest}/thumb"),
        state,
        moments,
        twin: link(&format!("/attempts/{digest}.json"), &[("analyzer", name)]),
        analyzer: analyzer.to_string(),
    };
    call.page(&page)
}

async fn read(
    app: &App,
    digest: &str,
    asked: &Asked,
) -> Result<(Record, AnalyzerName, Vec<Moment>), WebError> {
    let (digest, analyzer) = (super::digest(digest)?, super::analyzer(asked.get("analyzer"))?);
    let record = super::record(app, &digest).await?;
    let history = app.catalog.history(&digest).await?;
    let moments = moments(&record, &analyzer, history);
    Ok((record, analyzer, moments))
}

/// All that is known, in the order in which it happened.
fn moments(record: &Record, analyzer: &AnalyzerName, history: History) -> Vec<Moment> {
    let mut all: Vec<Moment> = Vec::new();
    if let Some(first) = record.first_seen() {
        all.push(Moment::new(first, "first seen", ""));
    }
    for analysis in of_analyzer(record, analyzer) {
        tried(analysis, &mut all);
    }
    for event in history.events.into_iter().filter(|one| one.analyzer.as_ref() == Some(analyzer)) {
        let class = event.detail["class"].as_str().unwrap_or_default();
        let reason = event.detail["reason"].as_str().unwrap_or_default();
        all.push(Moment::new(event.at, line(&event.kind, 80), &format!("{class}: {reason}")));
    }
    for put_off in history.deferrals.into_iter().filter(|one| one.analyzer == *analyzer) {
        let tries = counted(put_off.attempts.into(), "try", "tries");
        let detail = format!("{}: {}", put_off.class, put_off.reason);
        all.push(Moment::new(put_off.next_at, format!("next attempt, after {tries}"), &detail));
    }
    for letter in history.letters.into_iter().filter(|one| one.analyzer.as_ref() == Some(analyzer))
    {
        let what = format!("its message died: {}", letter.fate.name());
        all.push(Moment::new(letter.at, what, &letter.reason));
    }
    all.sort_by_key(|moment| moment.at);
    all
}

/// The last attempt of an analysis, its passes, and its end.
fn tried(analysis: &Analysis, all: &mut Vec<Moment>) {
    let how = &analysis.provenance;
    let trace = how.trace.map(|trace| trace.to_string());
    let before = |millis: u64| {
        let span = jiff::SignedDuration::from_millis(i64::try_from(millis).unwrap_or(i64::MAX));
        analysis.finished_at.saturating_sub(span).unwrap_or(Timestamp::MIN)
    };
    if how.took_ms > 0 {
        let began = before(how.took_ms);
        let attempt = format!("attempt {} began", analysis.attempts);
        let detail = format!("after waiting {}, by {}", millis(how.waited_ms), how.worker);
        all.push(Moment { trace: trace.clone(), ..Moment::new(began, attempt, &detail) });
    }
    // Only how long each pass took is known: they are told as if the last one had ended the attempt.
    let mut left: u64 = how.steps.iter().map(|step| step.took_ms).sum();
    for step in how.steps.iter().take(50) {
        left = left.saturating_sub(step.took_ms);
        let what = format!("{}, {}", line(&step.name, 60), millis(step.took_ms));
        all.push(Moment::new(before(left), what, &step.reason));
    }
    let (what, detail) = match &analysis.outcome {
        Outcome::Done(_) => ("done".to_owned(), String::new()),
        _ => match said(analysis) {
            Err((kind, state)) => (kind.to_owned(), state),
            Ok(_) => ("done".to_owned(), String::new()),
        },
    };
    all.push(Moment { trace, ..Moment::new(analysis.finished_at, what, &detail) });
}

#[cfg(test)]
mod tests {
    use ocelli_core::{Digest, FailureClass, ImageFacts, Provenance, RevisionBuilder, Step, Want};

    use super::*;

    #[test]
    fn a_job_is_told_in_the_order_in_which_it_happened_with_its_trace() {
        let digest = Digest::of(b"x");
        let facts = ImageFacts { digest, bytes: 1, format: None, width: None, height: None };
        let mut record = Record::new(facts);
        let at: Timestamp = "2024-05-04T09:00:51Z".parse().unwrap();
        let name: AnalyzerName = "a".parse().unwrap();
        record.add_want(at, Want { analyzer: name.clone(), revision: None });
        let trace = serde_json::from_str("\"4bf92f3577b34da6a3ce929d0e0e4736\"").unwrap();
        let step = |name: &str, took_ms| Step {
            name: name.to_owned(),
            reason: "because".to_owned(),
            took_ms,
            confidence: None,
        };
        record.add_analysis(Analysis {
            analyzer: name.clone(),
            revision: RevisionBuilder::new("t").build(),
            outcome: Outcome::Failed { class: FailureClass::Crash, reason: "died".into() },
            attempts: 2,
            finished_at: at,
            provenance: Provenance {
                took_ms: 900,
                waited_ms: 50,
                trace: Some(trace),
                steps: vec![step("page", 300), step("sparse", 100)],
                ..Provenance::default()
            },
        });
        let moments = moments(&record, &name, History::default());
        let told: Vec<_> = moments.iter().map(|moment| moment.what.as_str()).collect();
        assert_eq!(told, ["attempt 2 began", "page, 300 ms", "sparse, 100 ms", "failed"]);
        assert_eq!(moments[0].trace.as_deref(), Some("4bf92f3577b34da6a3ce929d0e0e4736"));
        assert!(moments[3].detail.contains("died"));
    }
}
