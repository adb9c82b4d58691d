//! What a record says, apart from how a page shows it: its analyzers in their order, the text of each, and the whole as `ocelli
//! show` prints it.

use ocelli_core::{Analysis, AnalyzerName, Digest, Outcome, Record};
use serde::Serialize;

use crate::shown::{self, counted, line, plain};

/// The record for programs: as `ocelli show --format json` prints it.
#[derive(Serialize)]
pub(crate) struct Twin<'a> {
    digest: Digest,
    first_seen: Option<jiff::Timestamp>,
    complete: bool,
    waiting: Vec<&'a AnalyzerName>,
    image: &'a ocelli_core::ImageFacts,
    refusal: &'a Option<String>,
    sightings: Vec<&'a ocelli_core::Sighting>,
    analyses: Vec<TwinAnalysis<'a>>,
}

#[derive(Serialize)]
struct TwinAnalysis<'a> {
    current: bool,
    #[serde(flatten)]
    analysis: &'a Analysis,
}

impl<'a> Twin<'a> {
    pub(crate) fn new(record: &'a Record, order: &[&'a AnalyzerName]) -> Self {
        let analyses = names(record, order).into_iter().flat_map(|name| {
            let current = record.current(name);
            of_analyzer(record, name).into_iter().map(move |analysis| TwinAnalysis {
                current: current.is_some_and(|one| std::ptr::eq(one, analysis)),
                analysis,
            })
        });
        Self {
            digest: record.image.digest,
            first_seen: record.first_seen(),
            complete: record.is_complete(),
            waiting: if record.refusal.is_some() {
                Vec::new()
            } else {
                record.open().into_iter().collect()
            },
            image: &record.image,
            refusal: &record.refusal,
            sightings: record.sightings.values().collect(),
            analyses: analyses.collect(),
        }
    }
}

/// Analyzers of a record: configured ones in their order, then others by name.
pub(crate) fn names<'a>(record: &'a Record, order: &[&'a AnalyzerName]) -> Vec<&'a AnalyzerName> {
    let here = |name: &AnalyzerName| {
        record.wants.contains_key(name) || record.analyses.keys().any(|(other, _)| other == name)
    };
    let mut names: Vec<_> = order.iter().copied().filter(|name| here(name)).collect();
    for name in record.wants.keys().chain(record.analyses.keys().map(|(name, _)| name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// All revisions of an analyzer's answer, the latest first.
pub(crate) fn of_analyzer<'a>(record: &'a Record, name: &AnalyzerName) -> Vec<&'a Analysis> {
    let mut all: Vec<_> = record.analyses.values().filter(|one| one.analyzer == *name).collect();
    all.sort_by_key(|analysis| std::cmp::Reverse(analysis.finished_at));
    all
}

/// The layout of the archive page, as `ocelli show` prints it.
pub(crate) fn text_of(record: &Record, order: &[&AnalyzerName]) -> String {
    let seen = record.first_seen().map_or_else(|| "not yet written down".to_owned(), shown::time);
    let mut text = format!("First Seen\n{seen}\n");
    if let Some(reason) = &record.refusal {
        text.push_str(&format!("[not analyzed: {}]\n", plain(reason)));
        return text;
    }
    for name in names(record, order) {
        let body = match record.current(name) {
            None => "[waiting]".to_owned(),
            Some(analysis) => match said(analysis) {
                Ok(text) => plain(text.trim_end()),
                Err((_, state)) => format!("[{state}]"),
            },
        };
        text.push_str(&format!("{name}\n{body}\n"));
    }
    text
}

/// What an analysis says: a text, or why there is none.
pub(crate) fn said(analysis: &Analysis) -> Result<&str, (&'static str, String)> {
    match &analysis.outcome {
        Outcome::Done(reading) => Ok(&reading.text),
        Outcome::Empty => Err(("empty", "nothing to read".to_owned())),
        Outcome::Skipped { rule, reason } => {
            Err(("skipped", format!("skipped by rule '{}': {}", line(rule, 80), line(reason, 500))))
        }
        Outcome::Failed { class, reason } => {
            let times = counted(analysis.attempts.into(), "attempt", "attempts");
            Err(("failed", format!("failed after {times}, {class}: {}", line(reason, 1_000))))
        }
    }
}
