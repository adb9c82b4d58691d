//! What the catalog is asked and what it answers, apart from the domain types of `ocelli-core`.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::{AnalyzerName, Digest, FailureClass, ImageFacts, Revision, SourceUri};
use serde::Serialize;

/// What one call of [`Catalog::apply`](crate::Catalog::apply) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Images whose record became complete: it was incomplete or unknown before. Each once, in the order of digests.
    pub completed: Vec<Digest>,
    /// Messages that say nothing the catalog can keep: position in the batch and reason.
    pub rejected: Vec<(usize, String)>,
}

/// What is known about an image, as far as it decides which work is still needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Known {
    /// Whether its bytes were refused: no analyzer is asked.
    pub refused: bool,
    /// Analyzers and revisions that have an outcome.
    pub answered: BTreeSet<(AnalyzerName, Revision)>,
    /// The revision asked for, by analyzer; `None` accepts any.
    pub wanted: BTreeMap<AnalyzerName, Option<Revision>>,
    /// Wanted analyzers without an outcome. Empty for a refused image.
    pub open: BTreeSet<AnalyzerName>,
}

/// Counts over the whole catalog.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Status {
    /// Images, refused ones included.
    pub images: u64,
    /// Images in whose record every wanted analyzer has an outcome; refused ones count here too.
    pub complete: u64,
    /// Images whose bytes were refused.
    pub refused: u64,
    /// (Image, source) pairs.
    pub sightings: u64,
    /// References without an image behind them.
    pub problems: u64,
    /// Runs of producers.
    pub batches: u64,
    /// Of these, runs that have not reported their end.
    pub batches_running: u64,
    /// By analyzer: every one that is wanted of some image.
    pub analyzers: BTreeMap<AnalyzerName, AnalyzerStatus>,
}

/// Counts of one analyzer. `wanted = done + empty + skipped + failed + open + refused`, always.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct AnalyzerStatus {
    /// Images of which it is wanted.
    pub wanted: u64,
    /// It read something.
    pub done: u64,
    /// It ran and there was nothing to read.
    pub empty: u64,
    /// A rule said no.
    pub skipped: u64,
    /// No answer and no further attempt.
    pub failed: u64,
    /// Wanted, without an outcome.
    pub open: u64,
    /// Wanted of a refused image: nothing will be done.
    pub refused: u64,
    /// Of the open ones, those that wait for another attempt.
    pub deferred: u64,
    /// Outcomes of the last 60 seconds, whatever their kind.
    pub finished_last_minute: u64,
}

/// Which open jobs to list, in the order of (digest, analyzer).
#[derive(Debug, Clone)]
pub struct OpenJobs {
    /// Only of this analyzer.
    pub analyzer: Option<AnalyzerName>,
    /// Only those last enqueued before this time.
    pub enqueued_before: Timestamp,
    /// Continue behind this one: the last of the previous page.
    pub after: Option<(Digest, AnalyzerName)>,
    /// At most this many.
    pub limit: u32,
}

/// A wanted analyzer without an outcome.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OpenJob {
    /// The image.
    pub image: ImageFacts,
    /// Where it was seen, latest first: the likeliest to be still there.
    pub sources: Vec<SourceUri>,
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// The revision asked for.
    pub revision: Option<Revision>,
    /// When the job was last enqueued.
    pub enqueued_at: Timestamp,
    /// When the next attempt was promised, if an attempt failed.
    pub next_at: Option<Timestamp>,
}

/// Which failures to list or to reopen. The default is all of them, 100 at a time.
#[derive(Debug, Clone)]
pub struct FailureFilter {
    /// Only of this analyzer.
    pub analyzer: Option<AnalyzerName>,
    /// Only of this class.
    pub class: Option<FailureClass>,
    /// Only with this text in their reason (letter case counts; no wildcards).
    pub reason_contains: Option<String>,
    /// At most this many.
    pub limit: u32,
}

impl Default for FailureFilter {
    fn default() -> Self {
        Self { analyzer: None, class: None, reason_contains: None, limit: 100 }
    }
}

/// A job that ended without an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// The image.
    pub digest: Digest,
    /// The latest place where it was seen.
    pub source: Option<SourceUri>,
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// Which revision of it.
    pub revision: Revision,
    /// What kind of failure.
    pub class: FailureClass,
    /// In words.
    pub reason: String,
    /// Attempts spent.
    pub attempts: u32,
    /// When it was given up.
    pub at: Timestamp,
}

/// A fence that came through a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PassedFence {
    /// When it was put into the queue.
    pub published_at: Timestamp,
    /// When the catalog heard that it came through, by the clock of the database.
    pub passed_at: Timestamp,
}

/// The result of checking the whole database against itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// What contradicts, in words. Empty is good.
    pub problems: Vec<String>,
}
