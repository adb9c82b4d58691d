//! Settling a delivery that came from memory.

use std::sync::Arc;
use std::time::Duration;

use ocelli_core::routing::Queue;
use tokio::sync::OwnedSemaphorePermit;

use super::queue::{MemoryQueue, Message};
use super::{Memory, NAMESPACE};
use crate::topology::DELIVERY_LIMIT;
use crate::{Death, PublishError, SettleError};

/// The message while it is held, and where it goes back to.
#[derive(Debug)]
pub(crate) struct MemoryTicket {
    memory: Memory,
    source: Arc<MemoryQueue>,
    message: Option<Message>,
    _permit: OwnedSemaphorePermit,
}

impl MemoryTicket {
    pub(super) fn new(
        memory: Memory,
        source: Arc<MemoryQueue>,
        message: Message,
        permit: OwnedSemaphorePermit,
    ) -> Self {
        Self { memory, source, message: Some(message), _permit: permit }
    }

    fn take(&mut self) -> Message {
        self.message.take().expect("a ticket is used once")
    }

    pub(crate) fn ack(mut self) -> Result<(), SettleError> {
        let message = self.take();
        if self.memory.0.closed.is_cancelled() {
            return Err(SettleError::Closed { id: message.id });
        }
        self.memory.0.metrics.acks.inc();
        Ok(())
    }

    pub(crate) fn give_back(mut self) -> Result<(), SettleError> {
        let message = self.take();
        self.source.put_back(message);
        Ok(())
    }

    pub(crate) async fn retry(self, delay: Duration, attempts: u32) -> Result<(), SettleError> {
        let (memory, source) = (self.memory.clone(), Arc::clone(&self.source));
        self.move_to(&Queue::Delay(delay), async move |mut message: Message| {
            message.attempts = attempts;
            message.returns = 0;
            memory.delay(delay, &source, message).await
        })
        .await
    }

    pub(crate) async fn reject(self, reason: String) -> Result<(), SettleError> {
        let memory = self.memory.clone();
        let death = Death { reason, queue: self.source.queue.name(NAMESPACE) };
        self.move_to(&Queue::Dead, async move |mut message: Message| {
            message.death = Some(death);
            message.returns = 0;
            let Some(dead) = memory.queue(&Queue::Dead) else {
                let queue = Queue::Dead.name(NAMESPACE);
                return Err(PublishError::NoQueue { id: message.id, queue });
            };
            memory.push(&dead, message).await
        })
        .await
    }

    /// Publishes a copy elsewhere and lets go of the held one only then: if the caller gives up in between (a dropped
    /// future), the drop of the ticket puts it back.
    async fn move_to<F>(mut self, to: &Queue, publish: F) -> Result<(), SettleError>
    where
        F: AsyncFnOnce(Message) -> Result<(), PublishError>,
    {
        let message = self.message.clone().expect("a ticket is used once");
        let id = message.id.clone();
        match publish(message).await {
            Ok(()) => {
                self.message = None;
                self.memory.0.metrics.acks.inc();
                Ok(())
            }
            Err(PublishError::Closed { .. }) => Err(SettleError::Closed { id }),
            Err(source) => {
                let message = self.take();
                self.source.put_back(message);
                Err(SettleError::Move { id, queue: to.name(NAMESPACE), source })
            }
        }
    }

    /// Nobody settled it: back to the front of the line, and to the dead queue when that happens for ever.
    fn put_back_counted(&self, mut message: Message) {
        message.returns = message.returns.saturating_add(1);
        if message.returns <= DELIVERY_LIMIT {
            self.source.put_back(message);
            return;
        }
        match self.memory.queue(&Queue::Dead) {
            Some(dead) if !Arc::ptr_eq(&dead, &self.source) => {
                message.returns = 0;
                message.death = Some(Death {
                    reason: "delivery_limit".to_owned(),
                    queue: self.source.queue.name(NAMESPACE),
                });
                // Beyond the capacity if need be: there is nobody here who could wait.
                dead.put_back(message);
            }
            // Without a dead queue it stays: losing it would be worse than trying it again.
            _ => self.source.put_back(message),
        }
    }

    pub(crate) fn dropped(self) {
        drop(self);
    }
}

impl Drop for MemoryTicket {
    fn drop(&mut self) {
        if let Some(message) = self.message.take() {
            self.put_back_counted(message);
        }
    }
}
