//! Enqueues dependent jobs once everything they need is there.
//!
//! That a job is ready stands in the catalog, written together with the last answer it needs. So nothing waits for this:
//! the messages of that answer are acked after their commit as all others, and a queue that is full cannot keep answers
//! from being written. Whoever dies anywhere in between leaves a job that the next look finds.
//!
//! Jobs that are for the first of near-identical images only come by here too: which of them is asked is decided when they
//! are taken, and those that waited for one of which nothing is asked any more are made ready again.
//!
//! So do those that a rule about answers may leave out: a search says which of them, and they are settled in place of being taken.
//!
//! A job is taken, published, and noted as enqueued after its confirm. Of several collectors one takes it. Taken and
//! never noted, it is taken again after `collector.dispatch_lease`: then it may be in its queue twice, and the ledger of the
//! workers keeps the second from being asked. Those about which a rule is undecided are taken and not enqueued, so that they are
//! looked at again by then and hold up nothing else.

use std::collections::BTreeSet;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use ocelli_broker::PublishError;
use ocelli_catalog::{OpenJob, SeenJob};
use ocelli_core::routing::Queue;
use ocelli_core::{AnalyzerName, Dependence, Digest, chain};
use ocelli_failpoint::{Failpoint, reached};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::Parts;
use crate::enqueue::{Enqueue, EnqueueError};
use crate::proof::earlier;

/// How often is looked without being told: for what another process wrote, or left behind.
const EVERY: Duration = Duration::from_secs(5);
/// The part of the lease that a queue may take for a job: the rest is for what is done around it.
const PATIENCE: u32 = 3;
/// The same once the process is to stop.
const LAST_WAIT: Duration = Duration::from_secs(2);
/// The look for jobs that wait no more reads all that wait. It takes at most one part in so many of the time.
const WAKING_SHARE: u32 = 20;
/// Jobs taken at once. With their texts they are a few megabytes.
const PAGE: u32 = 128;

/// Looks whenever `poke` says that jobs became ready, and now and then, until `shutdown`.
pub(crate) async fn run(parts: &Parts, poke: &Notify, shutdown: &CancellationToken) {
    let (mut wake_at, mut is_owed) = (Instant::now(), true);
    loop {
        if is_owed && Instant::now() >= wake_at {
            let begun = Instant::now();
            if let Err(error) = parts.catalog.wake_waiting().await {
                tracing::warn!(
                    "jobs that wait for near-identical images could not be looked at: {}",
                    chain(&error)
                );
            }
            wake_at = Instant::now() + begun.elapsed() * WAKING_SHARE;
            is_owed = false;
        }
        // Not cut off in the middle: what was published must be noted, or it is published again.
        match look(parts, shutdown).await {
            // What was settled may be what other jobs need.
            Ok(settled) if settled > 0 && !shutdown.is_cancelled() => continue,
            Ok(_) => {}
            Err(error) => tracing::warn!(
                "dependent jobs could not be enqueued, the next look goes on: {}",
                chain(&error)
            ),
        }
        let pause = if is_owed { wake_at.saturating_duration_since(Instant::now()) } else { EVERY };
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = poke.notified() => {}
            () = tokio::time::sleep(pause.min(EVERY)) => {}
        }
        is_owed = true;
    }
}

/// Enqueues what is ready. One analyzer's full queue keeps no other waiting. Returns how many jobs were settled instead.
async fn look(parts: &Parts, shutdown: &CancellationToken) -> Result<u64, EnqueueError> {
    let analyzers = parts.catalog.ready_analyzers().await?;
    let turns = analyzers.iter().map(|analyzer| turn(parts, analyzer, shutdown));
    join_all(turns).await.into_iter().sum()
}

/// Takes those of the jobs that are to be enqueued. Also says how many were settled, and how many wait, instead.
async fn take(
    parts: &Parts,
    analyzer: &AnalyzerName,
    jobs: &[(OpenJob, Dependence)],
    now: Timestamp,
) -> Result<(BTreeSet<(Digest, AnalyzerName)>, u64, u64), EnqueueError> {
    let ruled = jobs.iter().filter(|one| !one.0.rules.is_empty());
    let ruled: Vec<_> = ruled.map(|one| (seen(&one.0), one.0.rules.clone())).collect();
    let left = parts.catalog.leave_out(analyzer, &ruled, now).await?;
    parts.metrics.complete(left.completed.len(), &left.asked);
    let left_out = left.out.len() as u64;
    if left_out > 0 {
        tracing::debug!(%analyzer, left_out, "rules leave images out");
    }
    for (rule, error) in &left.unread {
        tracing::warn!(
            %analyzer, rule = rule.name, jobs = left.undecided.len(),
            "jobs wait, as this collector cannot read the rule they depend on; run the version that wrote it down: {}",
            chain(error)
        );
    }
    let remaining = jobs.iter().map(|one| &one.0);
    let remaining = remaining.filter(|job| !left.out.contains(&job.image.digest));
    let (undecided, remaining): (Vec<&OpenJob>, Vec<&OpenJob>) =
        remaining.partition(|job| left.undecided.contains(&job.image.digest));
    let undecided: Vec<SeenJob> = undecided.into_iter().map(seen).collect();
    parts.catalog.take_ready(&undecided, now).await?;
    let undecided = undecided.len() as u64;
    let (first, all): (Vec<&OpenJob>, Vec<&OpenJob>) =
        remaining.into_iter().partition(|job| job.near.is_some());
    let first: Vec<SeenJob> = first.into_iter().map(seen).collect();
    let all: Vec<SeenJob> = all.into_iter().map(seen).collect();
    let mut taken = parts.catalog.take_ready(&all, now).await?;
    if first.is_empty() {
        return Ok((taken, left_out, undecided));
    }
    let firsts = parts.catalog.take_first(analyzer, &first, now).await?;
    parts.metrics.complete(firsts.completed.len(), &firsts.asked);
    tracing::debug!(
        %analyzer, asked = firsts.taken.len(), same = firsts.same, waiting = firsts.waiting,
        "near-identical images were told apart"
    );
    taken.extend(firsts.taken);
    Ok((taken, left_out + firsts.same, firsts.waiting + undecided))
}

async fn turn(
    parts: &Parts,
    analyzer: &AnalyzerName,
    shutdown: &CancellationToken,
) -> Result<u64, EnqueueError> {
    let mut settled = 0;
    let lease = parts.options.dispatch_lease;
    let enqueue = Enqueue {
        broker: &parts.broker,
        catalog: &parts.catalog,
        metrics: &parts.metrics,
        needed_text: parts.options.needed_text,
    };
    while !shutdown.is_cancelled() {
        let now = Timestamp::now();
        let page = parts.catalog.ready_jobs(analyzer, earlier(now, lease), PAGE).await?;
        if page.is_empty() {
            return Ok(settled);
        }
        let full = page.len() == PAGE as usize;
        let jobs = enqueue.with_texts(page).await?;
        let (taken, not_asked, waiting) = take(parts, analyzer, &jobs, now).await?;
        settled += not_asked;
        if !taken.is_empty() {
            reached(Failpoint::DependentTaken);
        }
        let mine = jobs
            .into_iter()
            .filter(|(job, _)| taken.contains(&(job.image.digest, job.analyzer.clone())));
        let publishing = mine.map(async |(job, dependence)| {
            let seen = (job.image.digest, job.analyzer.clone(), now);
            let queue = Queue::Jobs(job.analyzer.clone());
            let published = enqueue.publish_job(job, dependence, now, queue);
            let out_of_time = async {
                tokio::select! {
                    () = tokio::time::sleep(lease / PATIENCE) => {}
                    () = async { shutdown.cancelled().await; tokio::time::sleep(LAST_WAIT).await } => {}
                }
            };
            tokio::select! {
                published = published => (seen, Some(published)),
                () = out_of_time => (seen, None),
            }
        });
        let (mut enqueued, mut unsent): (Vec<SeenJob>, Vec<SeenJob>) = (Vec::new(), Vec::new());
        let mut stuck = taken.is_empty() && not_asked + waiting == 0;
        let mut failed = None;
        for (job, published) in join_all(publishing).await {
            match published {
                Some(Ok(())) => enqueued.push(job),
                Some(Err(EnqueueError::Publish(PublishError::NoQueue { queue, .. }))) => {
                    tracing::debug!(%analyzer, queue, "jobs are ready, but the analyzer is switched off: they wait");
                    unsent.push(job);
                    stuck = true;
                }
                Some(Err(error)) => failed = Some(error),
                None => {
                    tracing::info!(%analyzer, "its queue takes no more jobs now; looked at again later");
                    stuck = true;
                }
            }
        }
        if !enqueued.is_empty() {
            reached(Failpoint::DependentPublished);
        }
        parts.metrics.dependent.inc_by(enqueued.len() as u64);
        parts.catalog.note_enqueued(&enqueued, Timestamp::now()).await?;
        parts.catalog.release_ready(&unsent, Timestamp::now()).await?;
        match failed {
            Some(error) => return Err(error),
            None if stuck || !full => return Ok(settled),
            None => {}
        }
    }
    Ok(settled)
}

fn seen(job: &OpenJob) -> SeenJob {
    (job.image.digest, job.analyzer.clone(), job.enqueued_at)
}
