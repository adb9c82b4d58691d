//! The seam between the pipe and a reader of images.

use std::future::Future;

use bytes::Bytes;
use ocelli_core::{
    AnalyzerName, FailureClass, ImageFacts, NeededText, Outcome, PerceptualHash, Provenance,
    Revision, SourceUri,
};
use thiserror::Error;

use crate::Meter;

/// Enough for five 50-megabyte scans, or for several photographs on each core of a large machine.
const BYTES_IN_HAND: u64 = 256 * 1024 * 1024;

/// A configured reader. One value serves all jobs of its name in a process.
pub trait Analyzer: Send + Sync + 'static {
    /// Its name: decides the queue it reads.
    fn name(&self) -> &AnalyzerName;

    /// `ocr` or `llm`.
    fn kind(&self) -> &'static str;

    /// One line for people: engine, model, languages, prompt.
    fn description(&self) -> String;

    /// Jobs it can do at once, at least 1. May change while it works: the pipe asks again after each job.
    fn slots(&self) -> usize;

    /// The most that [`Analyzer::slots`] may ever be: asked once, for what the broker may send ahead.
    fn most_slots(&self) -> usize {
        self.slots()
    }

    /// Bytes of encoded images that may be in its hands, and waiting for it, at once; one image is always allowed. An
    /// analyzer with many slots that lets go of the bytes early can ask for less.
    fn bytes_in_hand(&self) -> u64 {
        BYTES_IN_HAND
    }

    /// Whether it can work now, and the revision its answers get. Called at start, and again while it cannot.
    fn probe(&self) -> impl Future<Output = Result<Revision, Unavailable>> + Send;

    /// Reads one image. Must end by `job.deadline`; dropping the future abandons the job.
    fn analyze(&self, job: Job) -> impl Future<Output = Result<Answer, AnalyzeError>> + Send;
}

/// One image for one analyzer.
#[derive(Debug, Clone)]
pub struct Job {
    /// Digest, format, size.
    pub image: ImageFacts,
    /// The encoded image; its digest has been verified.
    pub bytes: Bytes,
    /// Where it was found.
    pub sources: Vec<SourceUri>,
    /// What the analyzers that it needs answered about it.
    pub needed: Vec<NeededText>,
    /// When the pipe gives up on the job.
    pub deadline: tokio::time::Instant,
    /// Is told what the attempt has cost so far, and how long decoding took.
    pub meter: Meter,
}

/// An outcome, and how it came about.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// What the analyzer says about the image.
    pub outcome: Outcome,
    /// Engine, model, tokens, steps. The pipe fills in the times and the worker.
    pub provenance: Provenance,
    /// What the image looks like: whoever decodes it anyway says so. None for one without anything to tell it by.
    pub hash: Option<PerceptualHash>,
}

/// An attempt that produced no outcome.
#[derive(Debug, Clone, PartialEq, Error)]
#[error("{reason}")]
pub struct AnalyzeError {
    /// Decides what happens next, see [`ocelli_core::retry`].
    pub class: FailureClass,
    /// In words, with the way out where there is one.
    pub reason: String,
    /// What is known of the attempt.
    pub provenance: Option<Box<Provenance>>,
}

/// Why an analyzer cannot work at the moment.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{reason}")]
pub struct Unavailable {
    /// What is away or wrong, and what to do.
    pub reason: String,
}
