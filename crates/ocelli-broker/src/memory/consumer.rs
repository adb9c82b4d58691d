//! A consumer of a queue in memory: takes from the line when asked and its prefetch allows.

use std::sync::Arc;

use tokio::sync::{Semaphore, watch};
use tokio_util::sync::CancellationToken;

use super::queue::MemoryQueue;
use super::{Memory, MemoryTicket};
use crate::delivery::{Incoming, Ticket};
use crate::{ConsumerState, Delivery};

/// See the module.
#[derive(Debug)]
pub(crate) struct MemoryConsumer {
    memory: Memory,
    source: Arc<MemoryQueue>,
    /// One permit per delivery that may still be held; a ticket keeps its permit until it is settled.
    window: Arc<Semaphore>,
    state: watch::Sender<ConsumerState>,
    cancelled: CancellationToken,
}

impl MemoryConsumer {
    pub(super) fn new(memory: Memory, source: Arc<MemoryQueue>, prefetch: u16) -> Self {
        source.consumer_added();
        let cancelled = memory.0.closed.child_token();
        Self {
            memory,
            source,
            window: Arc::new(Semaphore::new(prefetch.into())),
            state: watch::Sender::new(ConsumerState::Consuming),
            cancelled,
        }
    }

    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        let delivery = tokio::select! {
            biased;
            () = self.cancelled.cancelled() => None,
            delivery = self.take() => Some(delivery),
        };
        if delivery.is_none() {
            self.state.send_replace(ConsumerState::Ended);
        }
        delivery
    }

    async fn take(&self) -> Delivery {
        let permit =
            Arc::clone(&self.window).acquire_owned().await.expect("the semaphore is never closed");
        loop {
            // Registered before looking, so that an arrival between the two is not missed.
            let arrived = self.source.arrived();
            tokio::pin!(arrived);
            arrived.as_mut().enable();
            if let Some((message, redelivered)) = self.source.pop() {
                self.memory.0.metrics.deliveries.inc();
                let incoming = Incoming {
                    id: message.id.clone(),
                    body: message.body.clone(),
                    attempts: message.attempts,
                    redelivered,
                    traceparent: message.traceparent.clone(),
                    queue: self.source.queue.clone(),
                    death: message.death.clone(),
                };
                let ticket = MemoryTicket::new(
                    self.memory.clone(),
                    Arc::clone(&self.source),
                    message,
                    permit,
                );
                return Delivery::new(incoming, Ticket::Memory(ticket));
            }
            arrived.await;
        }
    }

    pub(crate) fn cancel(&mut self) {
        self.cancelled.cancel();
        self.state.send_replace(ConsumerState::Ended);
    }

    pub(crate) fn state(&self) -> watch::Receiver<ConsumerState> {
        self.state.subscribe()
    }
}

impl Drop for MemoryConsumer {
    fn drop(&mut self) {
        self.source.consumer_gone();
    }
}
