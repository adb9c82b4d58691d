//! What people order about the batch of this run: to wait, to go on, to end. The order is a row of the catalog; this looks at it
//! now and then, and the decision waits at a gate.
//!
//! A catalog that does not answer changes nothing: what was ordered last counts.

use std::ops::ControlFlow;
use std::time::Duration;

use ocelli_catalog::{BatchOrder, Catalog};
use ocelli_core::{BatchId, chain};
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::error::ProducerError;
use crate::publisher::Publisher;
use crate::tally::Tally;

/// Where the decision waits while its batch is paused.
pub(crate) struct Gate {
    ordered: watch::Receiver<Option<BatchOrder>>,
    _follower: AbortOnDropHandle<()>,
}

impl Gate {
    /// Looks at the orders about a batch every `period`; one that is cancelled ends the run of `publisher`.
    pub(crate) fn of(
        catalog: Catalog,
        batch: BatchId,
        period: Duration,
        publisher: Publisher,
        tally: Tally,
    ) -> Self {
        let (order, ordered) = watch::channel(None);
        let follower = tokio::spawn(async move {
            loop {
                tokio::time::sleep(period).await;
                match catalog.batch_order(batch).await {
                    Ok(Some(BatchOrder::Cancelled)) => {
                        tracing::info!(%batch, "the batch was cancelled");
                        return publisher.fail(ProducerError::Cancelled);
                    }
                    Ok(now) => {
                        let changed =
                            |old: &mut Option<BatchOrder>| std::mem::replace(old, now) != now;
                        if order.send_if_modified(changed) {
                            let is_paused = now == Some(BatchOrder::Paused);
                            tally.count(|progress| progress.paused = is_paused);
                            tracing::info!(%batch, order = ?now, "something was ordered about the batch");
                        }
                    }
                    Err(error) => {
                        tracing::debug!(%batch, "orders cannot be looked at: {}", chain(&error));
                    }
                }
            }
        });
        Self { ordered, _follower: AbortOnDropHandle::new(follower) }
    }

    /// Waits while the batch is paused. Breaks when nobody follows orders any more: it was cancelled.
    pub(crate) async fn pass(&mut self) -> ControlFlow<()> {
        match self.ordered.wait_for(|order| *order != Some(BatchOrder::Paused)).await {
            Ok(_) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    }
}
