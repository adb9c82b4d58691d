//! Enqueueing the jobs of a backfill, page by page and in memory that does not grow with the archive.
//!
//! A page is written down in one transaction and published afterwards, on the queue that workers look into last, so that fresh
//! images go first. Whoever is killed in between leaves a page that the next run publishes; should nobody run it again, the
//! sweeper proves its jobs lost. A queue that is full slows this down and loses nothing.

use std::collections::BTreeSet;

use async_recursion::async_recursion;
use futures_util::future::try_join_all;
use jiff::Timestamp;
use ocelli_broker::Broker;
use ocelli_catalog::query::Query;
use ocelli_catalog::{Backfill, Catalog};
use ocelli_core::{AnalyzerName, Digest};
use ocelli_failpoint::{Failpoint, reached};
use tokio_util::sync::CancellationToken;

use crate::CollectorMetrics;
use crate::enqueue::{Enqueue, EnqueueError, Lane};

/// Images that are listed together: the words of a query are looked up anew for each list.
const LISTED: u32 = 8_192;

/// Images of one transaction.
const PAGE: u32 = 256;

/// Jobs that wait for their confirm at once.
const WINDOW: usize = 64;

/// What a backfill works with.
pub struct BackfillParts {
    /// Where jobs go.
    pub broker: Broker,
    /// Where they are written down.
    pub catalog: Catalog,
    /// Of which images.
    pub query: Query,
    /// Only of these; all that match when there are none named.
    pub only: Option<Vec<Digest>>,
    /// The analyzers whose answers its jobs are given.
    pub needs: Vec<AnalyzerName>,
    /// The most bytes of one such answer.
    pub needed_text: usize,
    /// Registered once per process.
    pub metrics: CollectorMetrics,
}

/// What one run of a backfill did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Backfilled {
    /// Jobs that were asked for and enqueued.
    pub enqueued: u64,
    /// Jobs that wait for other analyzers; a collector enqueues them.
    pub held: u64,
    /// Jobs that an earlier run had asked for and had not come to enqueue.
    pub left_behind: u64,
    /// Whether the list came to its end; else it was paused, cancelled or interrupted.
    pub listed: bool,
}

/// Enqueues what is missing, until there is no more, the backfill is paused or cancelled, or `shutdown`.
///
/// # Errors
/// [`EnqueueError`]; what was enqueued by then stays enqueued.
#[async_recursion]
pub async fn backfill(
    parts: &BackfillParts,
    backfill: &Backfill,
    shutdown: &CancellationToken,
) -> Result<Backfilled, EnqueueError> {
    let enqueue = Enqueue {
        broker: &parts.broker,
        catalog: &parts.catalog,
        metrics: &parts.metrics,
        needed_text: parts.needed_text,
    };
    let run = Run { parts, enqueue, backfill };
    let mut done =
        Backfilled { left_behind: run.left_behind(shutdown).await?, ..Backfilled::default() };
    let mut after = None;
    'lists: while !shutdown.is_cancelled() {
        let list = match &parts.only {
            Some(only) if after.is_none() => only.clone(),
            Some(_) => Vec::new(),
            None => {
                let lack = Some((&backfill.analyzer, &backfill.revision));
                parts.catalog.lacking(&parts.query, lack, after, LISTED).await?
            }
        };
        let Some(last) = list.last() else {
            done.listed = true;
            break;
        };
        after = Some(*last);
        for page in list.chunks(PAGE as usize) {
            let now = Timestamp::now();
            let added = parts.catalog.add_to_backfill(backfill, page, &parts.needs, now).await?;
            if added.stopped {
                break 'lists;
            }
            reached(Failpoint::BackfillAdded);
            done.enqueued += run.publish(&added.jobs, shutdown).await?;
            done.held += added.held;
            if shutdown.is_cancelled() {
                break 'lists;
            }
        }
    }
    if done.listed && parts.only.is_none() {
        parts.catalog.note_listed(backfill, Timestamp::now()).await?;
    }
    Ok(done)
}

struct Run<'a> {
    parts: &'a BackfillParts,
    enqueue: Enqueue<'a>,
    backfill: &'a Backfill,
}

impl Run<'_> {
    /// Publishes what an earlier run had only written down.
    async fn left_behind(&self, shutdown: &CancellationToken) -> Result<u64, EnqueueError> {
        let mut count = 0;
        while !shutdown.is_cancelled() {
            let digests = self.parts.catalog.unpublished(self.backfill, PAGE).await?;
            if digests.is_empty() {
                break;
            }
            count += self.publish(&digests, shutdown).await?;
        }
        Ok(count)
    }

    /// Publishes those of the jobs that are open, and notes it of all. How many were published.
    async fn publish(
        &self,
        digests: &[Digest],
        shutdown: &CancellationToken,
    ) -> Result<u64, EnqueueError> {
        let analyzer = &self.backfill.analyzer;
        let mut count = 0;
        for part in digests.chunks(WINDOW) {
            let mut jobs = Vec::with_capacity(part.len());
            for digest in part {
                let job = self.parts.catalog.open_job(digest, analyzer).await?;
                jobs.extend(job.filter(|job| job.hold.is_none()));
            }
            let given: BTreeSet<Digest> = jobs.iter().map(|job| job.image.digest).collect();
            let jobs = self.enqueue.with_texts(jobs).await?;
            let publishing = jobs.into_iter().map(|(job, dependence)| {
                let at = job.enqueued_at;
                self.enqueue.publish_job(job, dependence, at, Lane::Bulk.queue(analyzer))
            });
            tokio::select! {
                // What has its confirm and is not noted is published again by the next run, which its ledger notices.
                biased;
                () = shutdown.cancelled() => return Ok(count),
                published = try_join_all(publishing) => drop(published?),
            }
            count += given.len() as u64;
            reached(Failpoint::BackfillPublished);
            self.parts.catalog.note_published(self.backfill, part).await?;
        }
        Ok(count)
    }
}
