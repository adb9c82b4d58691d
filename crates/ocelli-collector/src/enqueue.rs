//! Putting open jobs into their queues: what sweeper and dispatcher share.

use std::collections::BTreeSet;

use jiff::Timestamp;
use ocelli_broker::{Broker, Outgoing, PublishError};
use ocelli_catalog::{Catalog, CatalogError, OpenJob, OpenJobs};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{AnalyzerName, Dependence, Digest, Need, Want};
use ocelli_failpoint::{Failpoint, reached};
use thiserror::Error;

use crate::CollectorMetrics;

/// Jobs read from the catalog at once.
pub(crate) const PAGE: u32 = 500;

/// Why jobs were not enqueued; the next try goes on.
#[derive(Debug, Error)]
pub enum EnqueueError {
    /// The catalog did not answer.
    #[error("the catalog cannot be asked for open jobs")]
    Catalog(#[from] CatalogError),
    /// The broker did not take a job.
    #[error("an open job cannot be enqueued")]
    Publish(#[from] PublishError),
    /// A message could not be encoded.
    #[error("an open job cannot be encoded")]
    Encode(#[from] ocelli_core::wire::WireError),
}

/// Which of an analyzer's two queues.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Lane {
    Fresh,
    Bulk,
}

impl Lane {
    pub(crate) fn queue(self, analyzer: &AnalyzerName) -> Queue {
        match self {
            Self::Fresh => Queue::Jobs(analyzer.clone()),
            Self::Bulk => Queue::Bulk(analyzer.clone()),
        }
    }
}

/// What enqueueing needs.
#[derive(Clone, Copy)]
pub(crate) struct Enqueue<'a> {
    pub(crate) broker: &'a Broker,
    pub(crate) catalog: &'a Catalog,
    pub(crate) metrics: &'a CollectorMetrics,
    /// The most bytes of one needed text.
    pub(crate) needed_text: usize,
}

impl Enqueue<'_> {
    /// Enqueues the open jobs of one analyzer that were enqueued before `before` and do not wait for an attempt at or after
    /// `held`: that one was in a delay queue when the fence came through, which says nothing about it.
    pub(crate) async fn all(
        &self,
        analyzer: &AnalyzerName,
        before: Timestamp,
        held: Option<Timestamp>,
        lane: Lane,
    ) -> Result<u64, EnqueueError> {
        let (mut requeued, mut after) = (0, None);
        loop {
            let page = self
                .catalog
                .open_jobs(&OpenJobs {
                    analyzer: Some(analyzer.clone()),
                    enqueued_before: before,
                    after: after.take(),
                    limit: PAGE,
                })
                .await?;
            let Some(last) = page.last() else { break };
            after = Some((last.image.digest, last.analyzer.clone()));
            let full = page.len() == PAGE as usize;
            let jobs = page.into_iter().filter(|job| {
                held.is_none_or(|held| job.next_at.is_none_or(|next_at| next_at < held))
            });
            requeued += self.take(jobs.collect(), lane).await?;
            if !full {
                break;
            }
        }
        Ok(requeued)
    }

    /// Takes jobs in the catalog, then publishes those that it got. Dependent jobs that nobody has enqueued yet are left
    /// to the collector (see `dispatch`).
    pub(crate) async fn take(
        &self,
        mut jobs: Vec<OpenJob>,
        lane: Lane,
    ) -> Result<u64, EnqueueError> {
        jobs.retain(|job| job.hold.is_none());
        let jobs = self.with_texts(jobs).await?;
        let now = Timestamp::now();
        let seen: Vec<_> = jobs
            .iter()
            .map(|(job, _)| (job.image.digest, job.analyzer.clone(), job.enqueued_at))
            .collect();
        let mut claimed = self.catalog.claim_jobs(&seen, now).await?;
        if !claimed.is_empty() {
            reached(Failpoint::SweeperClaimed);
        }
        let mut count = 0;
        for (job, dependence) in jobs {
            if claimed.remove(&(job.image.digest, job.analyzer.clone())) {
                let queue = lane.queue(&job.analyzer);
                self.publish_job(job, dependence, now, queue).await?;
                reached(Failpoint::SweeperPublished);
                count += 1;
                self.metrics.swept.inc();
            }
        }
        Ok(count)
    }

    /// The jobs with what they are given. One that needs an answer that is not there is left out.
    pub(crate) async fn with_texts(
        &self,
        jobs: Vec<OpenJob>,
    ) -> Result<Vec<(OpenJob, Dependence)>, EnqueueError> {
        let names: BTreeSet<AnalyzerName> =
            jobs.iter().flat_map(|job| job.needs.iter().cloned()).collect();
        let digests: Vec<Digest> =
            jobs.iter().filter(|job| !job.needs.is_empty()).map(|job| job.image.digest).collect();
        let texts = self.catalog.needed_texts(&digests, &names, self.needed_text).await?;
        let with_texts = jobs.into_iter().filter_map(|job| {
            if job.needs.is_empty() {
                return Some((job, Dependence::default()));
            }
            let digest = job.image.digest;
            let given = job.needs.iter().map(|need| texts.get(&(digest, need.clone())).cloned());
            let texts = given.collect::<Option<Vec<_>>>()?;
            let need = Need {
                analyzer: job.analyzer.clone(),
                of: job.needs.clone(),
                held: false,
                near: None,
                rules: Vec::new(),
                after: Vec::new(),
            };
            Some((job, Dependence { needs: vec![need], texts, left_out: Vec::new() }))
        });
        Ok(with_texts.collect())
    }

    pub(crate) async fn publish_job(
        &self,
        job: OpenJob,
        dependence: Dependence,
        now: Timestamp,
        queue: Queue,
    ) -> Result<(), EnqueueError> {
        let message = Message::Intake(Intake {
            image: job.image,
            sources: job.sources,
            sighting: None,
            wants: vec![Want { analyzer: job.analyzer, revision: job.revision }],
            refusal: None,
            enqueued_at: now,
            dependence,
            hash: None,
            meta: ocelli_core::Meta::default(),
        });
        self.publish(&message, queue).await
    }

    pub(crate) async fn publish(
        &self,
        message: &Message,
        queue: Queue,
    ) -> Result<(), EnqueueError> {
        let outgoing = Outgoing {
            id: message.id(),
            body: message.encode()?.into(),
            routes: vec![queue],
            attempts: 0,
            traceparent: None,
        };
        Ok(self.broker.publish(outgoing).await?)
    }
}
