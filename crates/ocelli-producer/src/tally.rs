//! The counts of a run, live and at its end.

use std::sync::{Arc, Mutex, PoisonError};

use ocelli_core::BatchId;
use ocelli_core::wire::Problem;
use tokio::sync::watch;

use crate::metrics::Ended;

/// Problems that a summary carries in full; all of them are in the catalog.
const FIRST_PROBLEMS: usize = 20;

/// How far a run is. Every listed reference ends as exactly one of accepted, skipped and problem.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// Which run; `None` before it began.
    pub batch: Option<BatchId>,
    /// References found so far.
    pub listed: u64,
    /// Whether there are no more to find (of a watched folder: its content at the start).
    pub all_listed: bool,
    /// References whose sighting the broker has confirmed, or the catalog has already: `enqueued + known + refused`.
    pub accepted: u64,
    /// Of these, files that were not read, because nothing about them had changed since they were.
    pub unread: u64,
    /// Of these, images that got at least one job.
    pub enqueued: u64,
    /// Of these, images for which every answer is there or on its way.
    pub known: u64,
    /// Of these, images whose bytes cannot be analyzed.
    pub refused: u64,
    /// Jobs, over all analyzers.
    pub jobs: u64,
    /// Answers that are not asked for because a rule says so, over all analyzers.
    pub left_out: u64,
    /// Files that are no images and were not named one by one.
    pub skipped: u64,
    /// References without an image behind them.
    pub problems: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Whether people have paused it.
    pub paused: bool,
}

impl Progress {
    /// References that have ended.
    #[must_use]
    pub const fn settled(&self) -> u64 {
        self.accepted + self.skipped + self.problems
    }

    /// The count of accepted references that ended like this.
    pub(crate) const fn of(&mut self, ended: Ended) -> &mut u64 {
        match ended {
            Ended::Enqueued => &mut self.enqueued,
            Ended::Refused => &mut self.refused,
            Ended::Known | Ended::Skipped | Ended::Problem => &mut self.known,
        }
    }

    /// Whether everything was listed and has ended.
    #[must_use]
    pub const fn is_finished(&self) -> bool {
        self.all_listed && self.settled() == self.listed
    }
}

/// What a run did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Summary {
    /// Which run.
    pub batch: BatchId,
    /// Its name.
    pub name: String,
    /// Whether the sources were listed to their end and everything was confirmed.
    pub finished: bool,
    /// References whose sighting the broker has confirmed, or the catalog has already: `enqueued + known + refused`.
    pub accepted: u64,
    /// Of these, files that were not read, because nothing about them had changed since they were.
    pub unread: u64,
    /// Images that got at least one job.
    pub enqueued: u64,
    /// Images for which every answer is there or on its way.
    pub known: u64,
    /// Images whose bytes cannot be analyzed.
    pub refused: u64,
    /// Jobs, over all analyzers.
    pub jobs: u64,
    /// Answers that are not asked for because a rule says so, over all analyzers.
    pub left_out: u64,
    /// Files that are no images and were not named one by one.
    pub skipped: u64,
    /// References without an image behind them.
    pub problems: u64,
    /// The first of these problems.
    pub first_problems: Vec<Problem>,
    /// Bytes read.
    pub bytes: u64,
}

/// The counts while they change. Cheap to clone.
#[derive(Debug, Clone)]
pub(crate) struct Tally {
    progress: Arc<watch::Sender<Progress>>,
    first_problems: Arc<Mutex<Vec<Problem>>>,
}

impl Tally {
    pub(crate) fn new(progress: watch::Sender<Progress>, batch: BatchId) -> Self {
        progress.send_replace(Progress { batch: Some(batch), ..Progress::default() });
        Self { progress: Arc::new(progress), first_problems: Arc::default() }
    }

    pub(crate) fn count(&self, change: impl FnOnce(&mut Progress)) {
        self.progress.send_modify(change);
    }

    pub(crate) fn problem(&self, problem: &Problem) {
        let mut first = self.first_problems.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < FIRST_PROBLEMS {
            first.push(problem.clone());
        }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.borrow().clone()
    }

    pub(crate) fn summary(&self, batch: BatchId, name: String, finished: bool) -> Summary {
        let progress = self.progress();
        let first = self.first_problems.lock().unwrap_or_else(PoisonError::into_inner);
        Summary {
            batch,
            name,
            finished,
            accepted: progress.accepted,
            unread: progress.unread,
            enqueued: progress.enqueued,
            known: progress.known,
            refused: progress.refused,
            jobs: progress.jobs,
            left_out: progress.left_out,
            skipped: progress.skipped,
            problems: progress.problems,
            first_problems: first.clone(),
            bytes: progress.bytes,
        }
    }
}
