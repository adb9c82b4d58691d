//! What an analyzer answered about one image.

use std::fmt;
use std::str::FromStr;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::trace::TraceId;
use crate::{AnalyzerName, AttemptId, BatchId, Revision};

/// The outcome of a job: exactly one of these four.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// The analyzer read something.
    Done(Reading),
    /// The analyzer ran and there was nothing to read.
    Empty,
    /// A rule said that this analyzer does not look at this image.
    Skipped {
        /// Name of the rule.
        rule: String,
        /// In words.
        reason: String,
    },
    /// No answer, and no further attempt will be made by itself.
    Failed {
        /// What kind of failure, which decides how it was retried.
        class: FailureClass,
        /// In words, with what to do where something can be done.
        reason: String,
    },
}

/// The four kinds of [`Outcome`] without their content.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OutcomeKind {
    /// See [`Outcome::Done`].
    Done,
    /// See [`Outcome::Empty`].
    Empty,
    /// See [`Outcome::Skipped`].
    Skipped,
    /// See [`Outcome::Failed`].
    Failed,
}

impl OutcomeKind {
    /// All four, in the order in which they are printed.
    pub const ALL: [Self; 4] = [Self::Done, Self::Empty, Self::Skipped, Self::Failed];

    /// Lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Empty => "empty",
            Self::Skipped => "skipped",
            Self::Failed => "failed",
        }
    }

    /// The inverse of [`OutcomeKind::name`].
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.name() == name)
    }

    /// When one job delivered two outcomes (a crash between publish and ack), the higher rank stays: a reading is never
    /// replaced by a failure, and a failure is replaced by a later reading.
    #[must_use]
    pub const fn rank(self) -> u8 {
        match self {
            Self::Done => 3,
            Self::Empty => 2,
            Self::Skipped => 1,
            Self::Failed => 0,
        }
    }
}

impl Outcome {
    /// The kind without the content.
    #[must_use]
    pub const fn kind(&self) -> OutcomeKind {
        match self {
            Self::Done(_) => OutcomeKind::Done,
            Self::Empty => OutcomeKind::Empty,
            Self::Skipped { .. } => OutcomeKind::Skipped,
            Self::Failed { .. } => OutcomeKind::Failed,
        }
    }
}

/// Why an attempt failed, as far as it decides what happens next (see [`crate::retry`]).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum FailureClass {
    /// May go away by itself: retried later with a growing delay.
    Transient,
    /// Will not go away: fails at once.
    Permanent,
    /// The analyzing process died or had to be killed: few attempts.
    Crash,
    /// The model answered, but badly.
    Quality,
    /// Something the analyzer depends on is away: no attempt is spent.
    Outage,
}

impl FailureClass {
    /// All classes.
    pub const ALL: [Self; 5] =
        [Self::Transient, Self::Permanent, Self::Crash, Self::Quality, Self::Outage];

    /// Lower-case name.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Transient => "transient",
            Self::Permanent => "permanent",
            Self::Crash => "crash",
            Self::Quality => "quality",
            Self::Outage => "outage",
        }
    }
}

impl fmt::Display for FailureClass {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

impl FromStr for FailureClass {
    type Err = String;
    fn from_str(text: &str) -> Result<Self, String> {
        Self::ALL
            .into_iter()
            .find(|class| class.name() == text)
            .ok_or_else(|| format!("'{text}' is not a failure class"))
    }
}

/// What was read. All lengths and positions are in pixels of the upright image (EXIF orientation applied).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Reading {
    /// The text as a person would copy it: lines kept, no trailing white space.
    pub text: String,
    /// Mean confidence of the words, 0 to 100. OCR only.
    pub confidence: Option<f32>,
    /// Words with boxes, in reading order. OCR only.
    pub words: Vec<Word>,
    /// Parts of a Markdown answer by heading, in order. LLM only.
    pub sections: Vec<Section>,
    /// What a reader should know about this answer.
    pub flags: Vec<Flag>,
    /// Languages the engine was told to read (`eng+deu`).
    pub languages: Option<String>,
    /// Clockwise rotation in degrees (0, 90, 180, 270) that the text needed to be read, on top of EXIF.
    pub rotation: u16,
}

/// One word of an OCR reading.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Word {
    /// The word.
    pub text: String,
    /// Left edge.
    pub x: i32,
    /// Top edge.
    pub y: i32,
    /// Width.
    pub w: i32,
    /// Height.
    pub h: i32,
    /// 0 to 100.
    pub confidence: f32,
    /// Index of the text line it stands in, counted from 0 over the whole image.
    pub line: u32,
    /// Name of the [`Step`] that read it.
    pub step: String,
}

/// One part of a Markdown answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Section {
    /// Heading without its marks. Empty for text before the first heading.
    pub heading: String,
    /// Text below the heading.
    pub text: String,
}

/// A remark on an answer that was kept although it is not perfect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Flag {
    /// The deadline came first: this is what had been read by then.
    Partial,
    /// The answer ends because its token budget ended.
    Truncated,
    /// The model refused to answer.
    Refused,
    /// Required sections are missing.
    MissingSections,
    /// The answer begins with talk about the answer.
    Preamble,
    /// The server answered with another model than the one asked.
    OtherModel,
    /// The answer repeats itself.
    Repetition,
}

/// How an analysis came about. Never part of the identity of an answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Provenance {
    /// Program that answered, with version: `tesseract 5.3.0`, `ollama`.
    pub engine: String,
    /// Model name, or language data.
    pub model: Option<String>,
    /// Digest of the model as its server tells it, or of each file of language data.
    pub model_digest: Option<String>,
    /// Endpoint that answered (no credentials).
    pub endpoint: Option<String>,
    /// Name of the prompt.
    pub prompt: Option<String>,
    /// Tokens read by the model, retries included.
    pub tokens_in: Option<u64>,
    /// Tokens written by the model, retries included.
    pub tokens_out: Option<u64>,
    /// Answers that were asked for and came, whether they were kept or not.
    pub calls: u32,
    /// Tokens, read and written, of answers that were not kept. Part of the sums above.
    pub wasted_tokens: u64,
    /// What all calls cost, in millionths of [`Provenance::currency`]; none where no price or no count is known.
    pub cost_micros: Option<u64>,
    /// The part of the cost that went into answers that were not kept.
    pub wasted_cost_micros: u64,
    /// ISO 4217: `USD`.
    pub currency: Option<String>,
    /// Which attempt gave it: what an attempt cost is counted once, however often it is told.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempt: Option<AttemptId>,
    /// The batch that pays for it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub batch: Option<BatchId>,
    /// The trace in which it was given.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub trace: Option<TraceId>,
    /// Milliseconds between enqueueing and the start of the last attempt.
    pub waited_ms: u64,
    /// Milliseconds of the last attempt: fetch, decode, analyze.
    pub took_ms: u64,
    /// Which worker process: `host:pid`.
    pub worker: String,
    /// The passes an answer took, with their reasons, in order.
    pub steps: Vec<Step>,
}

impl Provenance {
    /// Whether a model answered: what OCR reads costs nothing.
    #[must_use]
    pub fn has_cost(&self) -> bool {
        let tokens = self.tokens_in.unwrap_or(0).saturating_add(self.tokens_out.unwrap_or(0));
        self.calls > 0 || tokens > 0 || self.cost_micros.is_some_and(|micros| micros > 0)
    }
}

/// One pass over the image (OCR) or one call (LLM).
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Step {
    /// `page`, `caption`, `sparse`, `rotate-90`, `call-1` …
    pub name: String,
    /// Why this pass was made.
    pub reason: String,
    /// Milliseconds.
    pub took_ms: u64,
    /// Mean confidence of what it read, 0 to 100.
    pub confidence: Option<f32>,
}

/// One row of the archive: what one revision of one analyzer answered about one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Analysis {
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// Which revision of it.
    pub revision: Revision,
    /// What it answered.
    pub outcome: Outcome,
    /// Attempts that ended in an outcome or a failure; interrupted ones and outages do not count.
    pub attempts: u32,
    /// When the outcome was known.
    pub finished_at: Timestamp,
    /// How.
    pub provenance: Provenance,
}
