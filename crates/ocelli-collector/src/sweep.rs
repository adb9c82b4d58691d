//! Enqueueing again what the catalog wants and nobody holds.
//!
//! [`requeue_open`] is for a broker that is known to be empty: the embedded tier at start, whose queues died with the
//! last process. [`requeue_jobs`] is for jobs that were just opened again. [`sweep`] is for a living broker: it acts on
//! proof alone (see `proof`), for time is none: a queue may be hours long.
//!
//! A job is taken in the catalog before it is published, and only one of several takers gets it. Who dies in between
//! leaves a job that looks enqueued and is proven lost by the next fences.

use std::collections::BTreeSet;
use std::time::Duration;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_broker::{Broker, PublishError};
use ocelli_catalog::{Catalog, FenceState};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Announcement, Fence, Message};
use ocelli_core::{AnalyzerName, Digest};
use ocelli_failpoint::{Failpoint, reached};

use crate::CollectorMetrics;
use crate::collect::NEEDED_TEXT;
use crate::enqueue::{Enqueue, EnqueueError, Lane, PAGE};
use crate::proof::{earlier, judge};

/// Settings of the sweeper.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// How long a delivery may be in the hands of a worker at most: its job deadline, drain and some reserve.
    pub longest_job: Duration,
    /// After how long a worker that says nothing counts as gone. Several of its announcements, and what the broker needs
    /// to notice a dead connection.
    pub silence: Duration,
    /// How far the clocks of two machines may differ.
    pub clock_skew: Duration,
    /// How long a fence may be under way before another one is sent, for a broker may have been wiped with it. Doubles with
    /// each: a queue may also be days long.
    pub fence_patience: Duration,
    /// How long one analyzer may keep the sweeper: a full queue must not keep the others waiting.
    pub turn: Duration,
    /// The most bytes of one analyzer's text that a dependent job is given.
    pub needed_text: usize,
}

impl Default for SweepOptions {
    fn default() -> Self {
        Self {
            longest_job: Duration::from_secs(600),
            silence: Duration::from_secs(30),
            clock_skew: Duration::from_secs(5),
            fence_patience: Duration::from_secs(30),
            turn: Duration::from_secs(60),
            needed_text: NEEDED_TEXT,
        }
    }
}

impl SweepOptions {
    /// How long after a fence came through everything before it is settled, and a worker that went away is known.
    pub(crate) fn settle(&self) -> Duration {
        self.longest_job.saturating_add(self.silence).saturating_add(self.clock_skew)
    }
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that were enqueued again.
    pub requeued: u64,
    /// Fences that were published.
    pub fences: u64,
    /// Analyzers that were left for the next sweep: their queue is full or does not exist.
    pub postponed: u64,
}

/// Enqueues every open job of `analyzers` that was enqueued before `before`, whether or not it waits for a later attempt:
/// the broker is known to hold nothing.
///
/// # Errors
/// [`EnqueueError`]; what was enqueued by then stays enqueued.
#[async_recursion]
pub async fn requeue_open(
    broker: &Broker,
    catalog: &Catalog,
    analyzers: &BTreeSet<AnalyzerName>,
    before: Timestamp,
    needed_text: usize,
    metrics: &CollectorMetrics,
) -> Result<u64, EnqueueError> {
    let enqueue = Enqueue { broker, catalog, metrics, needed_text };
    let mut requeued = 0;
    for analyzer in analyzers {
        requeued += enqueue.all(analyzer, before, None, Lane::Fresh).await?;
    }
    Ok(requeued)
}

/// Enqueues these jobs, as far as they are open. Their queues must exist.
///
/// # Errors
/// [`EnqueueError`]; what was not enqueued by then is found by the sweeper.
#[async_recursion]
pub async fn requeue_jobs(
    broker: &Broker,
    catalog: &Catalog,
    jobs: &[(Digest, AnalyzerName)],
    needed_text: usize,
    metrics: &CollectorMetrics,
) -> Result<u64, EnqueueError> {
    let enqueue = Enqueue { broker, catalog, metrics, needed_text };
    let mut requeued = 0;
    for part in jobs.chunks(PAGE as usize) {
        let mut open = Vec::with_capacity(part.len());
        for (digest, analyzer) in part {
            open.extend(catalog.open_job(digest, analyzer).await?);
        }
        requeued += enqueue.take(open, Lane::Fresh).await?;
    }
    Ok(requeued)
}

/// One look at a living broker: enqueues what is proven lost, and sends a fence for each analyzer that has open jobs and for
/// which another fence helps.
///
/// # Errors
/// [`EnqueueError`].
#[async_recursion]
pub async fn sweep(
    broker: &Broker,
    catalog: &Catalog,
    options: &SweepOptions,
    metrics: &CollectorMetrics,
) -> Result<Swept, EnqueueError> {
    let now = Timestamp::now();
    let mut swept = Swept::default();
    // Younger ones would not be proven by a fence of now.
    let open = catalog.open_analyzers(earlier(now, options.clock_skew)).await?;
    if open.is_empty() {
        metrics.sweep_ended();
        return Ok(swept);
    }
    let fences = catalog.fences().await?;
    let oldest = fences.values().flatten().map(|fence| fence.published_at).min().unwrap_or(now);
    let heard_after = earlier(earlier(oldest, options.silence), options.clock_skew);
    let words = catalog.last_words(heard_after).await?;
    for analyzer in open {
        let sweeper = Sweeper {
            enqueue: Enqueue { broker, catalog, metrics, needed_text: options.needed_text },
            options,
            fences: fences.get(&analyzer).map(Vec::as_slice).unwrap_or_default(),
            words: words.iter().filter(|word| word.analyzer == analyzer).collect(),
            now,
        };
        match tokio::time::timeout(options.turn, sweeper.sweep(&analyzer)).await {
            Ok(Ok((requeued, fence))) => {
                swept.requeued += requeued;
                swept.fences += u64::from(fence);
            }
            Ok(Err(EnqueueError::Publish(PublishError::NoQueue { queue, .. }))) => {
                tracing::debug!(%analyzer, queue, "jobs are open, but the analyzer is switched off: they wait");
                swept.postponed += 1;
            }
            Ok(Err(error)) => return Err(error),
            Err(_) => {
                tracing::info!(%analyzer, "its queue takes no more jobs now; swept again later");
                swept.postponed += 1;
            }
        }
    }
    metrics.fences.inc_by(swept.fences);
    metrics.postponed.inc_by(swept.postponed);
    metrics.sweep_ended();
    if swept.requeued > 0 {
        tracing::warn!(jobs = swept.requeued, "jobs had got lost and were enqueued again");
    }
    Ok(swept)
}

/// One analyzer's turn.
struct Sweeper<'a> {
    enqueue: Enqueue<'a>,
    options: &'a SweepOptions,
    fences: &'a [FenceState],
    words: Vec<&'a Announcement>,
    now: Timestamp,
}

impl Sweeper<'_> {
    /// How many jobs were enqueued, and whether a fence was sent.
    async fn sweep(&self, analyzer: &AnalyzerName) -> Result<(u64, bool), EnqueueError> {
        let catalog = self.enqueue.catalog;
        let verdict = judge(self.fences, &self.words, self.options, self.now);
        let mut requeued = 0;
        if let Some(before) = verdict.lost_before {
            // Lost work is old work: fresh images go first.
            requeued = self.enqueue.all(analyzer, before, Some(before), Lane::Bulk).await?;
        }
        if let Some(before) = verdict.forget_before {
            catalog.forget_fences(analyzer, before).await?;
            reached(Failpoint::SweeperForgot);
        }
        if !verdict.send {
            return Ok((requeued, false));
        }
        let fence =
            Fence { analyzer: analyzer.clone(), published_at: self.now, bulk: false, pulse: false };
        catalog.note_fence(analyzer, self.now).await?;
        reached(Failpoint::FenceNoted);
        self.enqueue.publish(&Message::Fence(fence), Queue::Jobs(analyzer.clone())).await?;
        reached(Failpoint::FencePublished);
        Ok((requeued, true))
    }
}
