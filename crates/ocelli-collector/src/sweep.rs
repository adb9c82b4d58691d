//! Enqueueing again what the catalog wants and nobody holds.
//!
//! [`requeue_open`] is for a broker that is known to be empty: the embedded tier at start, whose queues died with the
//! last process. [`sweep`] is for a living broker. Its evidence that a job is lost is a fence: a mark in the job queue.
//! When the mark has been handed out, everything enqueued before it has been handed out too; when the longest job
//! deadline has passed since, it has been settled as well. A job that was enqueued before the mark, waits in no delay
//! queue and has no outcome is lost. Time alone is never evidence: a queue may be hours long.

use std::collections::BTreeSet;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_broker::{Broker, Outgoing};
use ocelli_catalog::{Catalog, OpenJob, OpenJobs};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Fence, Intake, Message};
use ocelli_core::{AnalyzerName, Want};
use thiserror::Error;

use crate::CollectorMetrics;

/// Jobs read from the catalog at once.
const PAGE: u32 = 500;

/// Settings of the sweeper.
#[derive(Debug, Clone)]
pub struct SweepOptions {
    /// How long a delivery may be in the hands of a worker at most: its job deadline, drain and some reserve.
    pub longest_job: Duration,
}

/// What one sweep did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Swept {
    /// Jobs that were enqueued again.
    pub requeued: u64,
    /// Fences that were published.
    pub fences: u64,
}

/// Why a sweep stopped half way; the next one goes on.
#[derive(Debug, Error)]
pub enum SweepError {
    /// The catalog did not answer.
    #[error("the sweeper cannot read the catalog")]
    Catalog(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The broker did not take a job.
    #[error("the sweeper cannot enqueue")]
    Publish(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// A message could not be encoded.
    #[error("the sweeper cannot encode a job")]
    Encode(#[from] ocelli_core::wire::WireError),
}

/// Enqueues every open job of `analyzers` that was enqueued before `before` and does not wait for a later attempt.
///
/// # Errors
/// [`SweepError`]; what was enqueued by then stays enqueued.
pub async fn requeue_open(
    broker: &Broker,
    catalog: &Catalog,
    analyzers: &BTreeSet<AnalyzerName>,
    before: Timestamp,
    metrics: &CollectorMetrics,
) -> Result<u64, SweepError> {
    let mut requeued = 0;
    for analyzer in analyzers {
        let mut after = None;
        loop {
            let page = catalog
                .open_jobs(&OpenJobs {
                    analyzer: Some(analyzer.clone()),
                    enqueued_before: before,
                    after: after.take(),
                    limit: PAGE,
                })
                .await
                .map_err(|error| SweepError::Catalog(Box::new(error)))?;
            let Some(last) = page.last() else { break };
            after = Some((last.image.digest, last.analyzer.clone()));
            let full = page.len() == PAGE as usize;
            let now = Timestamp::now();
            // Written down first: a job that is enqueued but not noted as such would be enqueued once more.
            let page: Vec<_> = page.into_iter().filter(|job| !held(job, before)).collect();
            let keys: Vec<_> =
                page.iter().map(|job| (job.image.digest, job.analyzer.clone())).collect();
            catalog
                .touch_jobs(&keys, now)
                .await
                .map_err(|error| SweepError::Catalog(Box::new(error)))?;
            for job in page {
                publish_job(broker, job, now).await?;
                requeued += 1;
                metrics.swept.inc();
            }
            if !full {
                break;
            }
        }
    }
    Ok(requeued)
}

/// One look at a living broker: enqueues what is proven lost, and publishes a new fence for each analyzer that has open
/// jobs and no fence under way.
///
/// # Errors
/// [`SweepError`].
pub async fn sweep(
    broker: &Broker,
    catalog: &Catalog,
    options: &SweepOptions,
    metrics: &CollectorMetrics,
) -> Result<Swept, SweepError> {
    let now = Timestamp::now();
    let longest = SignedDuration::try_from(options.longest_job).unwrap_or(SignedDuration::MAX);
    let mut swept = Swept::default();
    let fences =
        catalog.passed_fences().await.map_err(|error| SweepError::Catalog(Box::new(error)))?;
    let status = catalog.status(now).await.map_err(|error| SweepError::Catalog(Box::new(error)))?;
    let open = status.analyzers.into_iter().filter(|(_, count)| count.open > 0);
    for (analyzer, _) in open {
        let passed = fences.get(&analyzer);
        let proven = passed.filter(|fence| {
            fence.passed_at.saturating_add(longest).is_ok_and(|settled_by| settled_by <= now)
        });
        if let Some(fence) = proven {
            let only = BTreeSet::from([analyzer.clone()]);
            swept.requeued +=
                requeue_open(broker, catalog, &only, fence.published_at, metrics).await?;
        }
        // A fence that has passed and is not proven yet must not be replaced, or proof would never come.
        if passed.is_none() || proven.is_some() {
            let queue = Queue::Jobs(analyzer.clone());
            let fence = Message::Fence(Fence { analyzer, published_at: now, bulk: false });
            publish(broker, &fence, queue).await?;
            swept.fences += 1;
        }
    }
    if swept.requeued > 0 {
        tracing::warn!(jobs = swept.requeued, "jobs had got lost and were enqueued again");
    }
    Ok(swept)
}

/// Whether the job was in a delay queue at the time of the fence: the fence says nothing about it then.
fn held(job: &OpenJob, before: Timestamp) -> bool {
    job.next_at.is_some_and(|next_at| next_at >= before)
}

async fn publish_job(broker: &Broker, job: OpenJob, now: Timestamp) -> Result<(), SweepError> {
    let queue = Queue::Jobs(job.analyzer.clone());
    let message = Message::Intake(Intake {
        image: job.image,
        sources: job.sources,
        sighting: None,
        wants: vec![Want { analyzer: job.analyzer, revision: job.revision }],
        refusal: None,
        enqueued_at: now,
    });
    publish(broker, &message, queue).await
}

async fn publish(broker: &Broker, message: &Message, queue: Queue) -> Result<(), SweepError> {
    let outgoing = Outgoing {
        id: message.id(),
        body: message.encode()?.into(),
        routes: vec![queue],
        attempts: 0,
        traceparent: None,
    };
    broker.publish(outgoing).await.map_err(|error| SweepError::Publish(Box::new(error)))
}
