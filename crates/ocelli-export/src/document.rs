//! A record as one JSON object: a line of a JSONL export, a member of a WebDataset.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest, ImageFacts, Record, Sighting};
use serde::Serialize;

/// Name and version of the schema. A field may be added at any time; the number grows when one changes its meaning or goes.
pub const SCHEMA: &str = "ocelli.export/1";

#[derive(Serialize)]
pub(crate) struct Document<'a> {
    schema: &'static str,
    digest: Digest,
    first_seen: Option<Timestamp>,
    complete: bool,
    waiting: Vec<&'a AnalyzerName>,
    image: &'a ImageFacts,
    refusal: Option<&'a str>,
    sightings: Vec<Seen<'a>>,
    analyses: Vec<Answer<'a>>,
}

/// A sighting with what lists said about it.
#[derive(Serialize)]
pub(crate) struct Seen<'a> {
    #[serde(flatten)]
    sighting: &'a Sighting,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    meta: BTreeMap<&'a str, &'a str>,
}

/// All sightings of a record.
pub(crate) fn seen(record: &Record) -> Vec<Seen<'_>> {
    let all = record.sightings.values();
    all.map(|sighting| Seen { sighting, meta: record.said(&sighting.source).collect() }).collect()
}

#[derive(Serialize)]
struct Answer<'a> {
    /// Whether it answers what is wanted now.
    current: bool,
    #[serde(flatten)]
    analysis: &'a Analysis,
}

/// A record as one JSON object: what a line of a JSONL export holds. With answers of older revisions, if `older`.
#[must_use]
pub fn document(record: &Record, older: bool) -> impl Serialize + '_ {
    Document::of(record, older)
}

impl<'a> Document<'a> {
    pub(crate) fn of(record: &'a Record, older: bool) -> Self {
        let answers = answers(record, older);
        Self {
            schema: SCHEMA,
            digest: record.image.digest,
            first_seen: record.first_seen(),
            complete: record.is_complete(),
            waiting: match record.refusal {
                Some(_) => Vec::new(),
                None => record.open().into_iter().collect(),
            },
            image: &record.image,
            refusal: record.refusal.as_deref(),
            sightings: seen(record),
            analyses: answers
                .into_iter()
                .map(|(analysis, current)| Answer { current, analysis })
                .collect(),
        }
    }
}

/// The answers of a record by name of analyzer, of each the current one first, then the latest.
pub(crate) fn answers(record: &Record, older: bool) -> Vec<(&Analysis, bool)> {
    let is_current = |analysis: &Analysis| {
        record.current(&analysis.analyzer).is_some_and(|one| std::ptr::eq(one, analysis))
    };
    let mut all: Vec<_> = record
        .answers()
        .map(|analysis| (analysis, is_current(analysis)))
        .filter(|(_, current)| older || *current)
        .collect();
    all.sort_by_key(|(analysis, current)| {
        (&analysis.analyzer, !current, std::cmp::Reverse(analysis.finished_at))
    });
    all
}
