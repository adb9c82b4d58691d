//! The rows that one transaction writes, and the translation of values from and to columns.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::wire::{Announcement, BatchReport, Problem};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Digest, FailureClass, Flag, ImageFacts, ImageFormat, Outcome,
    OutcomeKind, PerceptualHash, Reading, Revision, RuleText, Said, Section, Sighting,
};

use crate::agreements::Settled;
use crate::error::Fault;
use crate::fold::{Image, Key, Wanted};
use crate::gather::{Announced, Deferral};
use crate::model::Fate;

/// A reference of a batch: batch, image, and the key of the reference.
pub(crate) type Member = (BatchId, Digest, [u8; 16]);

/// What one transaction writes. Rows of one table have different keys.
#[derive(Debug, Default)]
pub(crate) struct Rows {
    pub(crate) images: Vec<(Digest, Image)>,
    /// What images look like; a hash that is there stays.
    pub(crate) hashes: Vec<(Digest, PerceptualHash)>,
    pub(crate) sightings: Vec<(Digest, Sighting)>,
    /// What lists said, by key of the source and name.
    pub(crate) meta: Vec<(Digest, [u8; 16], String, Said)>,
    /// References of batches.
    pub(crate) members: Vec<Member>,
    /// Of these, the key of their source, and whether nothing had to be enqueued.
    pub(crate) references: BTreeMap<Member, ([u8; 16], bool)>,
    pub(crate) wants: Vec<(Digest, AnalyzerName, Wanted)>,
    pub(crate) analyses: Vec<(Digest, Analysis)>,
    pub(crate) deferrals: Vec<(Digest, AnalyzerName, Deferral)>,
    pub(crate) workers: Vec<Announcement>,
    pub(crate) revisions: Vec<(AnalyzerName, Revision, Announced)>,
    pub(crate) batches: Vec<BatchReport>,
    pub(crate) problems: Vec<([u8; 16], Problem)>,
    pub(crate) fences: Vec<(AnalyzerName, Timestamp)>,
    pub(crate) letters: Vec<LetterRow>,
    /// Analyses to delete, with their deferrals; each leaves an event.
    pub(crate) forgotten: Vec<(Digest, Key)>,
    /// Failures that another row of `analyses` replaces by people's will; each leaves an event.
    pub(crate) discarded: Vec<(Digest, Key)>,
    /// For the search index; no rows of their own.
    pub(crate) shown: Vec<Shown>,
    /// Also for the search index: the times of all images that this is about, and of those whose stored answers have
    /// another one.
    pub(crate) seen: BTreeMap<Digest, Option<i64>>,
    pub(crate) moved: Vec<(Digest, Option<i64>)>,
    /// Records whose answers are compared again.
    pub(crate) settled: Vec<Settled>,
    /// Records that became complete: whoever listens is told.
    pub(crate) completed: Vec<Digest>,
}

/// That an analysis became what readers of the record see, or is not so any more.
#[derive(Debug)]
pub(crate) struct Shown {
    pub(crate) digest: Digest,
    pub(crate) key: Key,
    pub(crate) current: bool,
    /// Whether it was there before this transaction.
    pub(crate) stored: bool,
}

impl Rows {
    /// How many there are.
    pub(crate) fn count(&self) -> u64 {
        let count = self.images.len()
            + self.hashes.len()
            + self.sightings.len()
            + self.meta.len()
            + self.members.len()
            + self.wants.len()
            + self.analyses.len()
            + self.deferrals.len()
            + self.workers.len()
            + self.revisions.len()
            + self.batches.len()
            + self.problems.len()
            + self.fences.len()
            + self.letters.len()
            + self.forgotten.len();
        count as u64
    }
}

/// A dead letter with what became of it.
#[derive(Debug)]
pub(crate) struct LetterRow {
    pub(crate) key: [u8; 16],
    pub(crate) at: Timestamp,
    pub(crate) queue: String,
    pub(crate) message_id: String,
    pub(crate) reason: String,
    pub(crate) fate: Fate,
    pub(crate) digest: Option<Digest>,
    pub(crate) analyzer: Option<AnalyzerName>,
    /// Length of the whole body.
    pub(crate) size: u64,
    /// Its beginning.
    pub(crate) body: Vec<u8>,
}

/// What became of a want.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum State {
    Open,
    Answered(OutcomeKind),
    /// The image was refused before anything answered.
    Refused,
}

impl State {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Answered(kind) => kind.name(),
            Self::Refused => "refused",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        match name {
            "open" => Some(Self::Open),
            "refused" => Some(Self::Refused),
            other => OutcomeKind::from_name(other).map(Self::Answered),
        }
    }
}

/// A stored value that cannot be what it should be.
#[derive(Debug)]
pub(crate) struct Unreadable {
    pub(crate) what: &'static str,
    pub(crate) reason: String,
}

pub(crate) type Read<T> = Result<T, Unreadable>;

pub(crate) fn unreadable(what: &'static str, reason: impl ToString) -> Unreadable {
    Unreadable { what, reason: reason.to_string() }
}

/// Parses a text column into a validated type.
pub(crate) fn parse<T: std::str::FromStr<Err: ToString>>(
    what: &'static str,
    text: &str,
) -> Read<T> {
    text.parse().map_err(|error: T::Err| unreadable(what, error))
}

pub(crate) fn parse_some<T: std::str::FromStr<Err: ToString>>(
    what: &'static str,
    text: Option<&str>,
) -> Read<Option<T>> {
    text.map(|text| parse(what, text)).transpose()
}

pub(crate) fn digest(bytes: &[u8]) -> Read<Digest> {
    Digest::try_from(bytes).map_err(|error| unreadable("digest", error))
}

pub(crate) fn batch(bytes: &[u8]) -> Read<BatchId> {
    uuid::Uuid::from_slice(bytes).map(BatchId::new).map_err(|error| unreadable("batch", error))
}

pub(crate) fn time(micros: i64) -> Read<Timestamp> {
    // Not `from_microsecond`: it does not reach the last second that a timestamp can be in.
    let nanos = i32::try_from(micros % 1_000_000).unwrap_or(0) * 1_000;
    Timestamp::new(micros / 1_000_000, nanos).map_err(|error| unreadable("time", error))
}

pub(crate) fn number<T: TryFrom<i64, Error: ToString>>(what: &'static str, value: i64) -> Read<T> {
    T::try_from(value).map_err(|error| unreadable(what, error))
}

/// A count for a column; [`crate::gather`] has rejected what does not fit.
pub(crate) fn column(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// Rules for one column; the inverse is [`crate::load::rules_of`].
pub(crate) fn rules(rules: &[RuleText]) -> Option<String> {
    (!rules.is_empty()).then(|| json(&rules))
}

/// Names for one column; the inverse is [`crate::load::needs_of`].
pub(crate) fn names(names: &[AnalyzerName]) -> Option<String> {
    let texts: Vec<&str> = names.iter().map(AnalyzerName::as_str).collect();
    (!texts.is_empty()).then(|| texts.join(" "))
}

/// `bytes, format, width, height` → [`ImageFacts`]; `None` while only an analysis arrived.
pub(crate) fn facts(
    digest: Digest,
    bytes: Option<i64>,
    format: Option<&str>,
    width: Option<i64>,
    height: Option<i64>,
) -> Read<Option<ImageFacts>> {
    let Some(bytes) = bytes else { return Ok(None) };
    let side = |side: Option<i64>| side.map(|side| number("image side", side)).transpose();
    Ok(Some(ImageFacts {
        digest,
        bytes: number("image size", bytes)?,
        format: format
            .map(|name| {
                ImageFormat::from_name(name).ok_or_else(|| unreadable("image format", name))
            })
            .transpose()?,
        width: side(width)?,
        height: side(height)?,
    }))
}

/// The columns of an outcome besides its kind.
#[derive(Debug, Default)]
pub(crate) struct OutcomeColumns {
    pub(crate) text: Option<String>,
    /// The [`Reading`] without its text, as JSON.
    pub(crate) reading: Option<String>,
    pub(crate) rule: Option<String>,
    pub(crate) class: Option<String>,
    pub(crate) reason: Option<String>,
}

impl OutcomeColumns {
    pub(crate) fn of(outcome: &Outcome) -> Self {
        match outcome {
            Outcome::Done(reading) => {
                let mut reading = reading.clone();
                let text = std::mem::take(&mut reading.text);
                Self { text: Some(text), reading: Some(json(&reading)), ..Self::default() }
            }
            Outcome::Empty => Self::default(),
            Outcome::Skipped { rule, reason } => {
                Self { rule: Some(rule.clone()), reason: Some(reason.clone()), ..Self::default() }
            }
            Outcome::Failed { class, reason } => Self {
                class: Some(class.to_string()),
                reason: Some(reason.clone()),
                ..Self::default()
            },
        }
    }

    /// With the reading, which was taken apart already.
    pub(crate) fn outcome(self, kind: &str, reading: Option<Reading>) -> Read<Outcome> {
        let kind = OutcomeKind::from_name(kind).ok_or_else(|| unreadable("outcome", kind))?;
        Ok(match kind {
            OutcomeKind::Done => {
                let mut reading = reading.unwrap_or_default();
                reading.text = self.text.unwrap_or_default();
                Outcome::Done(reading)
            }
            OutcomeKind::Empty => Outcome::Empty,
            OutcomeKind::Skipped => Outcome::Skipped {
                rule: self.rule.unwrap_or_default(),
                reason: self.reason.unwrap_or_default(),
            },
            OutcomeKind::Failed => Outcome::Failed {
                class: parse::<FailureClass>("class", &self.class.unwrap_or_default())?,
                reason: self.reason.unwrap_or_default(),
            },
        })
    }
}

/// A reading without its words: they are skipped and not taken apart.
#[derive(Default, serde::Deserialize)]
#[serde(default)]
pub(crate) struct ReadingOutline {
    text: String,
    confidence: Option<f32>,
    sections: Vec<Section>,
    flags: Vec<Flag>,
    languages: Option<String>,
    rotation: u16,
}

impl From<ReadingOutline> for Reading {
    fn from(outline: ReadingOutline) -> Self {
        let ReadingOutline { text, confidence, sections, flags, languages, rotation } = outline;
        Self { text, confidence, words: Vec::new(), sections, flags, languages, rotation }
    }
}

pub(crate) fn json<T: serde::Serialize>(value: &T) -> String {
    serde_json::to_string(value).expect("texts, numbers and lists")
}

pub(crate) fn from_json<T: serde::de::DeserializeOwned>(what: &'static str, text: &str) -> Read<T> {
    serde_json::from_str(text).map_err(|error| unreadable(what, error))
}

/// The keys of jobs, as the database names them.
pub(crate) fn keys(rows: &[(Vec<u8>, String)]) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
    rows.iter().map(|(image, name)| Ok((digest(image)?, parse("analyzer name", name)?))).collect()
}
