//! Tells the collector how the batch is going.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::trace;
use ocelli_core::BatchId;
use ocelli_core::routing::Queue;
use ocelli_core::wire::{BatchReport, Message};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock::Stamps;
use crate::publisher::{Publisher, outgoing};
use crate::tally::Tally;

/// Makes the reports of one batch.
pub(crate) struct Reporter {
    pub(crate) batch: BatchId,
    pub(crate) name: String,
    pub(crate) started_at: Timestamp,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) tally: Tally,
    pub(crate) publisher: Publisher,
}

impl Reporter {
    /// Reports regularly, until `stop` is cancelled; a report that has no confirm then is given up.
    pub(crate) async fn every(&self, period: Duration, stop: &CancellationToken) {
        let mut ticks = tokio::time::interval_at(Instant::now() + period, period);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        let reports = async {
            loop {
                ticks.tick().await;
                self.report(self.tally.progress().is_finished()).await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = reports => {}
        }
    }

    /// One report; whether it was confirmed.
    pub(crate) async fn report(&self, finished: bool) -> bool {
        let progress = self.tally.progress();
        let report = BatchReport {
            batch: self.batch,
            name: self.name.clone(),
            started_at: self.started_at,
            at: self.stamps.next(),
            finished,
            accepted: progress.accepted,
            known: progress.known + progress.refused,
            skipped: progress.skipped,
            problems: progress.problems,
        };
        let message = Message::Batch(report);
        self.publisher.publish(outgoing(&message, vec![Queue::Results], trace::begin())).await
    }
}
