//! `ocelli failures show`: everything about the failed jobs of one image.

use ocelli_catalog::{Fate, History};
use ocelli_core::wire::Message;
use ocelli_core::{Analysis, Outcome, OutcomeKind, Record};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use serde_json::{Value, json};

use super::one_line;
use crate::arguments::FailureShowArgs;
use crate::layout::time;
use crate::{archive, output};

pub(super) async fn show(
    settings: &Settings,
    arguments: &FailureShowArgs,
) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let digest = archive::resolve(settings, &catalog, &arguments.image).await?;
    let record = catalog.record(&digest).await?.ok_or_else(|| {
        Fault::new(ExitCode::Internal, format!("the record of {digest} vanished while it was read"))
    })?;
    let history = catalog.history(&digest).await?;
    catalog.close().await;
    if arguments.json {
        output::json(&as_json(&record, &history))?;
    } else {
        output::print(&as_text(&record, &history))?;
    }
    Ok(ExitCode::Ok)
}

fn failed(record: &Record) -> impl Iterator<Item = &Analysis> {
    record.answers().filter(|analysis| analysis.outcome.kind() == OutcomeKind::Failed)
}

fn as_json(record: &Record, history: &History) -> Value {
    json!({
        "image": record.image,
        "sources": record.sightings.values().collect::<Vec<_>>(),
        "failures": failed(record).collect::<Vec<_>>(),
        "postponed": history.deferrals,
        "events": history.events,
        "dead_letters": history.letters.iter().map(|letter| json!({
            "letter": letter,
            "job": job(&letter.body),
        })).collect::<Vec<_>>(),
    })
}

/// The job as it travelled, where it can be read.
fn job(body: &[u8]) -> Option<Value> {
    match Message::decode(body) {
        Ok(Message::Intake(intake)) => serde_json::to_value(&intake).ok(),
        Ok(_) | Err(_) => None,
    }
}

fn as_text(record: &Record, history: &History) -> String {
    let mut lines = vec![format!("image {}", record.image.digest)];
    for sighting in record.sightings.values() {
        lines.push(format!("  seen at {} ({})", sighting.source, time(sighting.seen_at)));
    }
    if let Some(refusal) = &record.refusal {
        lines.push(format!("  refused: {}", one_line(refusal)));
    }
    let before = lines.len();
    for analysis in failed(record) {
        failure(analysis, &mut lines);
    }
    for postponed in &history.deferrals {
        lines.push(format!(
            "\n{}: attempt {} failed and was put off until {} ({}): {}",
            postponed.analyzer,
            postponed.attempts,
            time(postponed.next_at),
            postponed.class,
            one_line(&postponed.reason)
        ));
    }
    for letter in &history.letters {
        lines.push(format!(
            "\na job died in {} ({}, {}): {}",
            one_line(&letter.queue),
            time(letter.at),
            letter.fate.name(),
            one_line(&letter.reason)
        ));
        if letter.fate == Fate::Failed
            && let Some(job) = job(&letter.body)
        {
            lines.push(format!("  {job}"));
        }
    }
    for event in &history.events {
        let analyzer = event.analyzer.as_ref().map(ToString::to_string).unwrap_or_default();
        lines.push(format!("\n{} {}: {} {}", time(event.at), event.kind, analyzer, event.detail));
    }
    if lines.len() == before {
        lines.push("  nothing failed".to_owned());
    }
    lines.join("\n")
}

fn failure(analysis: &Analysis, lines: &mut Vec<String>) {
    let Outcome::Failed { class, reason } = &analysis.outcome else { return };
    let how = &analysis.provenance;
    lines.push(format!(
        "\n{} revision {}: failed after {} attempts, {class}, {}",
        analysis.analyzer,
        analysis.revision,
        analysis.attempts,
        time(analysis.finished_at)
    ));
    lines.push(format!("  {}", one_line(reason)));
    let facts = [
        ("worker", Some(&how.worker).filter(|text| !text.is_empty())),
        ("engine", Some(&how.engine).filter(|text| !text.is_empty())),
        ("model", how.model.as_ref()),
        ("endpoint", how.endpoint.as_ref()),
    ];
    for (name, value) in facts {
        lines.extend(value.map(|value| format!("  {name}: {}", one_line(value))));
    }
    if how.took_ms > 0 {
        lines.push(format!("  waited {} ms, took {} ms", how.waited_ms, how.took_ms));
    }
    for step in &how.steps {
        lines.push(format!(
            "  step {} ({} ms): {}",
            one_line(&step.name),
            step.took_ms,
            one_line(&step.reason)
        ));
    }
}
