//! Carries out what people order about batches: takes back the waiting jobs of cancelled ones, and enqueues those that waited
//! for a batch which goes on.
//!
//! Workers obey without this: they ask before they do a job. What is left is the account (a job that nobody wants any more must
//! not look open) and time (a job that was put off for a paused batch would come back by itself, an hour later).
//!
//! Any number of collectors may do this at once: what one has taken back, the other does not find, and a job that was
//! enqueued twice is noticed by its ledger.

use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::PublishError;
use ocelli_catalog::{BatchOrder, Order};
use ocelli_core::{BatchId, chain};
use tokio_util::sync::CancellationToken;

use crate::collect::Parts;
use crate::enqueue::EnqueueError;
use crate::proof::later;
use crate::requeue_jobs;

/// How often is looked for new orders.
const EVERY: Duration = Duration::from_secs(2);
/// After a cancellation is looked for this long: a transaction that began before it may still write jobs.
const AFTERWARDS: Duration = Duration::from_secs(300);
/// How often then.
const SELDOM: Duration = Duration::from_secs(30);
/// Images in one transaction.
const PAGE: u32 = 200;
/// How long a full queue may keep this from looking at other batches.
const TURN: Duration = Duration::from_secs(60);

/// Looks now and then, until `shutdown`.
pub(crate) async fn run(parts: &Parts, shutdown: &CancellationToken) {
    let mut round = 0_u32;
    loop {
        let looked = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            looked = look(parts, round) => looked,
        };
        if let Err(error) = looked {
            tracing::warn!(
                "orders about batches were not carried out, the next look goes on: {}",
                chain(&error)
            );
        }
        round = round.wrapping_add(1);
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}

async fn look(parts: &Parts, round: u32) -> Result<(), EnqueueError> {
    let now = Timestamp::now();
    let seldom = round.is_multiple_of((SELDOM.as_secs() / EVERY.as_secs()) as u32);
    for (batch, order) in parts.catalog.batch_orders().await? {
        match order.state {
            BatchOrder::Paused => {}
            BatchOrder::Resumed => {
                let going_on = go_on(parts, batch, now);
                match tokio::time::timeout(TURN, going_on).await {
                    Ok(done) => done?,
                    Err(_) => tracing::info!(
                        %batch, "the queues take no more jobs now; the rest of the batch goes on later"
                    ),
                }
            }
            BatchOrder::Cancelled if is_due(&order, now, seldom) => {
                let jobs = withdraw(parts, batch).await?;
                if jobs > 0 {
                    tracing::info!(%batch, jobs, "jobs of a cancelled batch were taken back");
                }
            }
            BatchOrder::Cancelled => {}
        }
    }
    Ok(())
}

/// At first always, then seldom, then never: the orders themselves stay, for copies of jobs may come for days.
fn is_due(order: &Order, now: Timestamp, seldom: bool) -> bool {
    let until = |after| now < later(order.at, after);
    until(SELDOM) || (seldom && until(AFTERWARDS)) || order.at > now
}

async fn withdraw(parts: &Parts, batch: BatchId) -> Result<u64, EnqueueError> {
    let (mut jobs, mut after) = (0, None);
    loop {
        let page = parts.catalog.withdraw_batch(batch, after, PAGE).await?;
        jobs += page.jobs;
        after = page.last;
        if after.is_none() {
            return Ok(jobs);
        }
    }
}

async fn go_on(parts: &Parts, batch: BatchId, now: Timestamp) -> Result<(), EnqueueError> {
    let mut after = None;
    loop {
        let jobs = parts.catalog.postponed_of_batch(batch, now, after.as_ref(), PAGE).await?;
        let Some(last) = jobs.last() else { break };
        after = Some(last.clone());
        let most = parts.options.needed_text;
        match requeue_jobs(&parts.broker, &parts.catalog, &jobs, most, &parts.metrics).await {
            Ok(_) => {}
            // They are in a delay queue, and come back once there is a worker again.
            Err(EnqueueError::Publish(PublishError::NoQueue { queue, .. })) => {
                tracing::debug!(%batch, queue, "jobs go on, but their analyzer is switched off");
            }
            Err(error) => return Err(error),
        }
    }
    Ok(parts.catalog.forget_resumed(batch).await?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cancelled_batch_is_looked_at_often_then_seldom_then_never() {
        let at = |second| Timestamp::from_second(second).unwrap();
        let order = Order { state: BatchOrder::Cancelled, at: at(1000), withdrawn: 0 };
        assert!(is_due(&order, at(1001), false));
        assert!(!is_due(&order, at(1100), false) && is_due(&order, at(1100), true));
        assert!(!is_due(&order, at(2000), true));
        assert!(is_due(&order, at(900), false), "a clock was set back");
    }
}
