//! What the catalog is asked and what it answers, apart from the domain types of `ocelli-core`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_core::wire::Announcement;
use ocelli_core::{
    AnalyzerName, BatchId, Digest, FailureClass, ImageFacts, Revision, RuleText, SourceUri,
};
use serde::Serialize;

use crate::failures::FailureCursor;

/// What one call of [`Catalog::apply`](crate::Catalog::apply) did.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Images whose record became complete: it was incomplete or unknown before. Each once, in the order of digests.
    pub completed: Vec<Digest>,
    /// When something was asked of each of these for the last time, refused images left out.
    pub asked: Vec<Timestamp>,
    /// Outcomes of jobs for the first of near-identical images: others may have waited for them, see
    /// [`Catalog::wake_waiting`](crate::Catalog::wake_waiting).
    pub firsts: u64,
    /// Dependent jobs that became ready to be enqueued, see [`Catalog::ready_jobs`](crate::Catalog::ready_jobs).
    pub ready: u64,
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
    /// Messages that could not be handled and that nobody has discarded yet.
    pub dead_letters: u64,
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
    /// Of the open ones, those that wait for outcomes of other analyzers, by the names of these.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub waiting_for: BTreeMap<String, u64>,
}

/// Which open jobs to list: in the order in which their images came, and then of analyzers.
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

/// An open job: image, analyzer, and the time of enqueueing that was seen when it was listed.
pub type SeenJob = (Digest, AnalyzerName, Timestamp);

/// Why a dependent job is in no queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Hold {
    /// An analyzer that it needs has no outcome.
    Needs,
    /// Everything it needs is there: a collector enqueues it.
    Ready,
    /// A collector is enqueueing it.
    Taken,
}

impl Hold {
    /// As in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Needs => "needs",
            Self::Ready => "ready",
            Self::Taken => "taken",
        }
    }

    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Needs, Self::Ready, Self::Taken].into_iter().find(|hold| hold.name() == name)
    }
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
    /// The analyzers whose answers it is given.
    pub needs: Vec<AnalyzerName>,
    /// Why it is in no queue; none: whoever asked for it has enqueued it.
    pub hold: Option<Hold>,
    /// Up to which distance images count as near-identical, when the job is for the first of them only.
    pub near: Option<u32>,
    /// Rules that are asked once its hold is over: all must hold.
    pub rules: Vec<RuleText>,
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
    /// Only of images that this batch saw.
    pub batch: Option<BatchId>,
    /// Only at or after this time.
    pub after: Option<Timestamp>,
    /// Only before this time.
    pub before: Option<Timestamp>,
    /// Only those that a list has behind this one.
    pub behind: Option<FailureCursor>,
    /// At most this many.
    pub limit: u32,
}

impl Default for FailureFilter {
    fn default() -> Self {
        Self {
            analyzer: None,
            class: None,
            reason_contains: None,
            batch: None,
            after: None,
            before: None,
            behind: None,
            limit: 100,
        }
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

/// The last word of a worker process, and when it was heard.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Heard {
    /// What it said. Its time is by the clock of the worker.
    #[serde(flatten)]
    pub said: Announcement,
    /// When that was written, by the clock of the database.
    pub heard_at: Timestamp,
    /// How long ago that was when it was asked for.
    #[serde(skip)]
    pub silent: SignedDuration,
}

impl Heard {
    /// How far the clock of the worker is ahead of the database's; below zero, how far it is behind, or how long the word was under
    /// way: the two look the same from here.
    #[must_use]
    pub fn ahead(&self) -> SignedDuration {
        self.said.at.duration_since(self.heard_at)
    }

    /// That its clock is wrong, when it differs by more than `most`: `clock is 60 min ahead`.
    #[must_use]
    pub fn wrong_clock(&self, most: Duration) -> Option<String> {
        wrong_clock(self.ahead(), most)
    }
}

/// Of a clock that is so far ahead of the database's, in words, when it differs by more than `most`.
fn wrong_clock(ahead: SignedDuration, most: Duration) -> Option<String> {
    let off = ahead.unsigned_abs();
    // Nobody needs to know of parts of a second.
    if off <= most || off.as_secs() == 0 {
        return None;
    }
    let off = match off.as_secs() {
        seconds @ 0..120 => format!("{seconds} s"),
        seconds => format!("{} min", seconds.div_ceil(60)),
    };
    Some(if ahead.is_negative() {
        format!("clock is {off} behind, or its words are that long under way")
    } else {
        format!("clock is {off} ahead")
    })
}

/// A fence as the sweeper needs it: under way, or come through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FenceState {
    /// When it was put into the queue.
    pub published_at: Timestamp,
    /// When the catalog heard that it came through, by the clock of the database.
    pub passed_at: Option<Timestamp>,
}

/// What became of a dead letter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fate {
    /// A job: it is a failed analysis now.
    Failed,
    /// It could be written after all.
    Written,
    /// Nothing is lost without it: its job has an answer or was asked for anew, or it was a mark of the sweeper.
    Needless,
    /// Nothing could be done with it: it waits for people.
    Kept,
    /// People have seen it.
    Discarded,
}

impl Fate {
    /// All, in the order of their declaration.
    pub const ALL: [Self; 5] =
        [Self::Failed, Self::Written, Self::Needless, Self::Kept, Self::Discarded];

    /// Lower-case name, as in the database and in JSON.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Failed => "failed",
            Self::Written => "written",
            Self::Needless => "needless",
            Self::Kept => "kept",
            Self::Discarded => "discarded",
        }
    }
}

/// A stored dead letter.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct DeadLetter {
    /// Its key, as hexadecimal text.
    pub letter: String,
    /// When it was taken in.
    pub at: Timestamp,
    /// Full name of the queue in which it died.
    pub queue: String,
    /// Its id, as its sender gave it.
    pub message_id: String,
    /// Why it died, and why nothing could be done with it.
    pub reason: String,
    /// What became of it.
    pub fate: Fate,
    /// The analyzer of a job.
    pub analyzer: Option<AnalyzerName>,
    /// Length of its body in bytes.
    pub size: u64,
    /// Its body, the beginning of a long one.
    #[serde(skip)]
    pub body: Vec<u8>,
}

/// What happened to one image beside its record: what `ocelli failures show` adds to it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct History {
    /// The last postponed attempt of each analyzer.
    pub deferrals: Vec<Postponed>,
    /// Failures that were reopened or discarded, the earliest first.
    pub events: Vec<Event>,
    /// Its dead letters, the earliest first.
    pub letters: Vec<DeadLetter>,
}

/// An attempt that failed and was put off.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Postponed {
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// Class of the failure.
    pub class: FailureClass,
    /// In words.
    pub reason: String,
    /// Attempts spent by then.
    pub attempts: u32,
    /// Not before this time.
    pub next_at: Timestamp,
}

/// What people decided about a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Event {
    /// When.
    pub at: Timestamp,
    /// `failure reopened` or `failure discarded`.
    pub kind: String,
    /// Which analyzer.
    pub analyzer: Option<AnalyzerName>,
    /// The failure as it was: revision, class, reason, attempts, time.
    pub detail: serde_json::Value,
}

/// The result of checking the whole database against itself.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Audit {
    /// Rows by table.
    pub rows: BTreeMap<String, u64>,
    /// Every batch, the latest first.
    pub batches: Vec<BatchAudit>,
    /// Dead letters that wait for people. No contradiction, but worth a look.
    pub dead_letters: u64,
    /// What contradicts, in words. Empty is good.
    pub problems: Vec<String>,
}

/// The account of one batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct BatchAudit {
    /// Which run.
    pub batch: BatchId,
    /// Its name; empty while no report of it has arrived.
    pub name: String,
    /// Whether the producer reported its end.
    pub finished: bool,
    /// References that the producer reported as accepted.
    pub reported: u64,
    /// Of these, references to images for which nothing had to be enqueued.
    pub known: u64,
    /// References in the catalog. One that a list names twice with the same time is one here.
    pub references: u64,
    /// Images of these references.
    pub images: u64,
    /// By analyzer.
    pub analyzers: BTreeMap<AnalyzerName, BatchCount>,
}

/// One analyzer's part of a batch: `accepted = done + empty + skipped + failed + refused + open`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct BatchCount {
    /// Images of which it is wanted, and refused ones.
    pub accepted: u64,
    /// It read something.
    pub done: u64,
    /// It ran and there was nothing to read.
    pub empty: u64,
    /// A rule said no.
    pub skipped: u64,
    /// No answer and no further attempt.
    pub failed: u64,
    /// The image was refused: no analyzer looks at it.
    pub refused: u64,
    /// Waiting or running.
    pub open: u64,
}

impl BatchCount {
    /// Images that are accounted for.
    #[must_use]
    pub const fn accounted(&self) -> u64 {
        self.done + self.empty + self.skipped + self.failed + self.refused + self.open
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_is_wrong_when_it_differs_by_more_than_clocks_do() {
        let of = |seconds| wrong_clock(SignedDuration::from_secs(seconds), Duration::from_secs(5));
        assert_eq!([of(0), of(5), of(-5)], [None, None, None]);
        assert_eq!(of(6).unwrap(), "clock is 6 s ahead");
        assert_eq!(of(3_599).unwrap(), "clock is 60 min ahead");
        let behind = "clock is 61 min behind, or its words are that long under way";
        assert_eq!(of(-3_601).unwrap(), behind);
    }
}
