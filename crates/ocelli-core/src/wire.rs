//! The messages on the queues.
//!
//! Every message is a MessagePack map `{v, kind, body}`; `body` is itself MessagePack, kept as bytes until `kind` is
//! known. Fields are written by name and readers ignore names they do not know, so a field may be added at any time
//! (with a default); a change that old readers would misunderstand raises [`VERSION`], and a reader refuses what is
//! newer than itself by name instead of guessing. A newer version that an older reader understands all the same says so
//! in a fourth field, `reads`: the least version that can read this message. Golden files of every shipped version are
//! in this crate's `golden/`.
//!
//! Messages carry references to images, never pixels.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::{
    Analysis, AnalyzerName, BatchId, Dependence, Digest, FailureClass, ImageFacts, Meta,
    PerceptualHash, Revision, Sighting, SourceUri, Spent, Want,
};

/// Envelope version this build writes, and the newest it reads without being told that it can.
pub const VERSION: u16 = 1;

/// Largest encoded message that is accepted. A reading with ten thousand words stays far below.
pub const MAX_MESSAGE_BYTES: usize = 8 * 1024 * 1024;

/// Everything that travels.
#[derive(Debug, Clone, PartialEq)]
pub enum Message {
    /// Producer → collector and workers: an image and what is wanted of it.
    Intake(Intake),
    /// Worker → collector: the outcome of a job.
    Partial(Box<Partial>),
    /// Worker → collector: a job waits for another attempt.
    Deferred(Deferred),
    /// Worker → collector: this analyzer works, at this revision.
    Announcement(Announcement),
    /// Producer → collector: a batch began, went on or ended.
    Batch(BatchReport),
    /// Producer → collector: a reference that has no image behind it.
    Problem(Problem),
    /// Sweeper → worker: everything enqueued before this was handed out before it.
    Fence(Fence),
    /// Worker → collector: the fence came through.
    FencePassed(Fence),
}

/// An image, where to fetch it, and which analyzers should look at it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Intake {
    /// Digest, format, size.
    pub image: ImageFacts,
    /// Where workers may fetch the bytes, best first.
    pub sources: Vec<SourceUri>,
    /// The new sighting; `None` when old work is enqueued again.
    pub sighting: Option<Sighting>,
    /// Which analyzers are asked. A worker takes the entry with its own name.
    pub wants: Vec<Want>,
    /// Why the bytes cannot be analyzed, when the producer could already tell. The record is complete with that.
    pub refusal: Option<String>,
    /// When the producer published it.
    pub enqueued_at: Timestamp,
    /// What the dependent ones among the wants need.
    #[serde(default, skip_serializing_if = "Dependence::is_empty")]
    pub dependence: Dependence,
    /// What the image looks like, when the producer decoded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<PerceptualHash>,
    /// What the list said about the reference of the sighting.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
}

/// The outcome of one job.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Partial {
    /// Which image.
    pub digest: Digest,
    /// The row.
    pub analysis: Analysis,
    /// What the image looks like, when the worker decoded it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hash: Option<PerceptualHash>,
    /// What the image is, when whoever enqueued it had not read it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub image: Option<ImageFacts>,
}

/// A job that failed and will be tried again.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Deferred {
    /// Which image.
    pub digest: Digest,
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// Class of the failure.
    pub class: FailureClass,
    /// In words.
    pub reason: String,
    /// Attempts spent.
    pub attempts: u32,
    /// Not before this time.
    pub next_at: Timestamp,
    /// What the attempt cost, when a model answered in it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub spent: Option<Spent>,
}

/// An analyzer as one worker process runs it: sent at start, every few seconds, on every change and when it leaves.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Announcement {
    /// Name.
    pub analyzer: AnalyzerName,
    /// The revision that its answers get; `None` while it cannot be known (the model server is away).
    pub revision: Option<Revision>,
    /// `ocr` or `llm`.
    pub kind: String,
    /// One line for people: model, languages, prompt.
    pub description: String,
    /// Which process: `host:pid`.
    pub worker: String,
    /// Jobs it can do at once.
    pub slots: u32,
    /// Jobs it is doing.
    pub in_progress: u32,
    /// Why it waits, when it does: what is away and what to do.
    pub waiting: Option<String>,
    /// Whether it waits by somebody's will (a budget, a pause) although it could work.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub paused: bool,
    /// Whether this is its last word.
    pub leaving: bool,
    /// When it was said: the latest counts.
    pub at: Timestamp,
}

/// The state of a producer's run. A later report of the same batch replaces an earlier one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchReport {
    /// Which run.
    pub batch: BatchId,
    /// Name given by the user, or made from the first source.
    pub name: String,
    /// When it began.
    pub started_at: Timestamp,
    /// When this report was made: the latest one counts.
    pub at: Timestamp,
    /// Whether the source was listed to its end.
    pub finished: bool,
    /// References with a sighting published (new and known images).
    pub accepted: u64,
    /// Of these, images for which nothing had to be enqueued.
    pub known: u64,
    /// Files that are no images and were not named one by one.
    pub skipped: u64,
    /// References that ended as [`Problem`].
    pub problems: u64,
}

/// A reference that was not turned into an image: unreadable, vanished, malformed, or passed over by a rule.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Problem {
    /// Which run.
    pub batch: BatchId,
    /// The reference as given: path, URI, or `manifest:line`.
    pub reference: String,
    /// What is wrong and what to do.
    pub reason: String,
    /// When.
    pub at: Timestamp,
    /// What can be tried again, when it is known where the bytes should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceUri>,
    /// Why it was passed over, when nothing failed: `type` (it is no image), or the name of a rule.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// What its list says about it, so that trying it again says it again.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// What a list says about a reference beside where it is.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Told {
    /// When its image was first seen.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub first_seen: Option<Timestamp>,
    /// What its digest should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Everything else.
    #[serde(default, skip_serializing_if = "Meta::is_empty")]
    pub meta: Meta,
}

impl Told {
    /// Whether nothing is said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        *self == Self::default()
    }
}

/// A mark in the job queues of one analyzer: once it has been handed out of both, everything enqueued before it has been
/// handed out too.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fence {
    /// Which analyzer's queue.
    pub analyzer: AnalyzerName,
    /// When it was published.
    pub published_at: Timestamp,
    /// Whether it has passed the queue for fresh jobs and goes through the one for backfills.
    #[serde(default)]
    pub bulk: bool,
    /// Whether it is a heartbeat and proves nothing: it leaves out the queue for backfills, and the catalog forgets it.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub pulse: bool,
}

/// Why a message cannot be encoded or read.
#[derive(Debug, Error)]
pub enum WireError {
    /// Over [`MAX_MESSAGE_BYTES`].
    #[error("the message has {0} bytes; at most {MAX_MESSAGE_BYTES} are accepted")]
    TooLarge(usize),
    /// Not an envelope at all.
    #[error("the message is not an ocelli envelope")]
    Envelope(#[source] rmp_serde::decode::Error),
    /// Written by a newer version, which does not say that this one can read it.
    #[error(
        "the message has envelope version {found}; this build reads up to {VERSION}: upgrade this process"
    )]
    Newer {
        /// Version found.
        found: u16,
    },
    /// A kind this build does not know.
    #[error("the message has the unknown kind '{0}': upgrade this process")]
    Kind(String),
    /// The body does not fit its kind.
    #[error("the body of a message of kind '{kind}' cannot be read")]
    Body {
        /// Kind.
        kind: &'static str,
        /// What the decoder said.
        #[source]
        source: rmp_serde::decode::Error,
    },
    /// A value that MessagePack cannot hold.
    #[error("the message cannot be encoded")]
    Encode(#[from] rmp_serde::encode::Error),
}

#[derive(Serialize, Deserialize)]
struct Envelope<'a> {
    v: u16,
    /// The least version that understands the message, where that is not `v` itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    reads: Option<u16>,
    kind: &'a str,
    #[serde(with = "body_bytes", borrow)]
    body: std::borrow::Cow<'a, [u8]>,
}

mod body_bytes {
    //! MessagePack `bin`, borrowed when decoding.
    use serde::{Deserialize, Deserializer, Serializer};
    use std::borrow::Cow;

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], s: S) -> Result<S::Ok, S::Error> {
        s.serialize_bytes(bytes)
    }
    pub(super) fn deserialize<'de: 'a, 'a, D: Deserializer<'de>>(
        d: D,
    ) -> Result<Cow<'a, [u8]>, D::Error> {
        <&'de [u8]>::deserialize(d).map(Cow::Borrowed)
    }
}

macro_rules! kinds {
    ($($variant:ident => $kind:literal),* $(,)?) => {
        impl Message {
            /// The names of all kinds.
            pub const KINDS: &[&str] = &[$($kind),*];

            /// The name of the message's kind, as in the envelope.
            #[must_use]
            pub fn kind(&self) -> &'static str {
                match self { $(Self::$variant(_) => $kind),* }
            }

            /// Encodes the message.
            ///
            /// # Errors
            /// [`WireError::Encode`], [`WireError::TooLarge`].
            pub fn encode(&self) -> Result<Vec<u8>, WireError> {
                let body = match self { $(Self::$variant(body) => rmp_serde::to_vec_named(body)?),* };
                let envelope =
                    Envelope { v: VERSION, reads: None, kind: self.kind(), body: body.into() };
                let bytes = rmp_serde::to_vec_named(&envelope)?;
                if bytes.len() > MAX_MESSAGE_BYTES { Err(WireError::TooLarge(bytes.len())) } else { Ok(bytes) }
            }

            /// Reads a message.
            ///
            /// # Errors
            /// [`WireError`]; never panics, whatever the bytes.
            pub fn decode(bytes: &[u8]) -> Result<Self, WireError> {
                if bytes.len() > MAX_MESSAGE_BYTES {
                    return Err(WireError::TooLarge(bytes.len()));
                }
                let envelope: Envelope<'_> =
                    rmp_serde::from_slice(bytes).map_err(WireError::Envelope)?;
                // Of a version that is known, nobody has to say who can read it.
                if envelope.v > VERSION && envelope.reads.is_none_or(|least| least > VERSION) {
                    return Err(WireError::Newer { found: envelope.v });
                }
                match envelope.kind {
                    $($kind => rmp_serde::from_slice(&envelope.body)
                        .map(Self::$variant)
                        .map_err(|source| WireError::Body { kind: $kind, source }),)*
                    other => Err(WireError::Kind(other.chars().take(40).collect())),
                }
            }
        }
    };
}

kinds! {
    Intake => "intake",
    Partial => "partial",
    Deferred => "deferred",
    Announcement => "announcement",
    Batch => "batch",
    Problem => "problem",
    Fence => "fence",
    FencePassed => "fence-passed",
}

impl Message {
    /// A stable id for the message: the same work has the same id, also when it is published again.
    #[must_use]
    pub fn id(&self) -> String {
        match self {
            Self::Intake(intake) => format!("intake:{}", intake.image.digest),
            Self::Partial(partial) => format!(
                "partial:{}:{}:{}",
                partial.digest, partial.analysis.analyzer, partial.analysis.revision
            ),
            Self::Deferred(deferred) => {
                format!("deferred:{}:{}:{}", deferred.digest, deferred.analyzer, deferred.attempts)
            }
            Self::Announcement(a) => format!("announcement:{}:{}:{}", a.analyzer, a.worker, a.at),
            Self::Batch(report) => format!("batch:{}:{}", report.batch, report.at),
            Self::Problem(problem) => format!("problem:{}:{}", problem.batch, problem.at),
            Self::Fence(fence) => format!("fence:{}:{}", fence.analyzer, fence.published_at),
            Self::FencePassed(fence) => {
                format!("fence-passed:{}:{}", fence.analyzer, fence.published_at)
            }
        }
    }
}

#[cfg(test)]
mod tests;
