//! [`Consumer`]: a stream of deliveries that survives what happens to the connection.

use async_recursion::async_recursion;
use tokio::sync::watch;

use crate::memory::MemoryConsumer;
use crate::rabbit::RabbitConsumer;
use crate::{ConsumerState, Delivery};

/// Deliveries of one queue. Dropping it cancels it; what it had not handed out goes back to the queue.
#[derive(Debug)]
pub struct Consumer(Backend);

#[derive(Debug)]
enum Backend {
    Memory(MemoryConsumer),
    Rabbit(RabbitConsumer),
}

impl Consumer {
    pub(crate) fn memory(consumer: MemoryConsumer) -> Self {
        Self(Backend::Memory(consumer))
    }

    pub(crate) fn rabbit(consumer: RabbitConsumer) -> Self {
        Self(Backend::Rabbit(consumer))
    }

    /// The next delivery; `None` only after [`Consumer::cancel`] or [`Broker::close`](crate::Broker::close).
    ///
    /// Waits while the prefetch is used up or the connection is away. Cancel-safe: in a `select!` nothing is lost.
    pub async fn next(&mut self) -> Option<Delivery> {
        match &mut self.0 {
            Backend::Memory(consumer) => consumer.next().await,
            Backend::Rabbit(consumer) => consumer.next().await,
        }
    }

    /// Stops: nothing new is handed out, what was prefetched goes back. Deliveries already handed out can still be
    /// settled.
    #[async_recursion]
    pub async fn cancel(&mut self) {
        match &mut self.0 {
            Backend::Memory(consumer) => consumer.cancel(),
            Backend::Rabbit(consumer) => consumer.cancel().await,
        }
    }

    /// How this consumer is doing, now and as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<ConsumerState> {
        match &self.0 {
            Backend::Memory(consumer) => consumer.state(),
            Backend::Rabbit(consumer) => consumer.state(),
        }
    }
}
