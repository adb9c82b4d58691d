//! [`Broker`]: one meaning over two backends.

use async_recursion::async_recursion;
use ocelli_core::routing::Queue;
use tokio::sync::watch;
use tracing::Instrument as _;

use crate::memory::Memory;
use crate::rabbit::Rabbit;
use crate::{
    BrokerMetrics, BrokerState, ConnectError, ConsumeError, Consumer, Event, MemoryOptions,
    Outgoing, PublishError, RabbitOptions, TopologyError, trace,
};

/// A broker. Cheap to clone; all clones are the same broker.
#[derive(Debug, Clone)]
pub struct Broker(Backend);

/// The closed set of backends.
#[derive(Debug, Clone)]
enum Backend {
    Memory(Memory),
    Rabbit(Rabbit),
}

/// How full a queue is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Depth {
    /// Messages waiting; those held by consumers are not counted.
    pub ready: u64,
    /// Registered consumers.
    pub consumers: u64,
}

impl Broker {
    /// A broker in this process's memory: bounded, gone with the process. Works under tokio's paused time.
    #[must_use]
    pub fn memory(options: MemoryOptions) -> Self {
        Self::memory_with(options, BrokerMetrics::default())
    }

    /// As [`Broker::memory`], counting in `metrics`.
    #[must_use]
    pub fn memory_with(options: MemoryOptions, metrics: BrokerMetrics) -> Self {
        Self(Backend::Memory(Memory::new(options, metrics)))
    }

    /// Connects to RabbitMQ. Fails within `options.connect_timeout`; once it has succeeded, lost connections are made
    /// again for as long as it takes.
    ///
    /// # Errors
    /// [`ConnectError`] names the address without its password and says what to do.
    #[async_recursion]
    pub async fn rabbitmq(options: RabbitOptions) -> Result<Self, ConnectError> {
        Ok(Self(Backend::Rabbit(Rabbit::connect(options).await?)))
    }

    /// Declares the queues and what they need (exchanges, bindings). Idempotent.
    ///
    /// # Errors
    /// [`TopologyError::Drifted`] when one exists with other arguments.
    #[async_recursion]
    pub async fn declare(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        match &self.0 {
            Backend::Memory(memory) => memory.declare(queues),
            Backend::Rabbit(rabbit) => rabbit.declare(queues).await,
        }
    }

    /// What a program does at its start: declares the queues, or only looks whether they are there when its user may
    /// configure nothing.
    ///
    /// # Errors
    /// [`TopologyError::Forbidden`] when one is missing that this user may not declare.
    #[async_recursion]
    pub async fn provide(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        match &self.0 {
            Backend::Memory(memory) => memory.declare(queues),
            Backend::Rabbit(rabbit) => rabbit.provide(queues).await,
        }
    }

    /// Looks whether the broker can move messages that died at least once. A quorum queue whose broker cannot falls back
    /// to at most once without a word to its clients. A user who may declare nothing cannot look, and is not told.
    ///
    /// # Errors
    /// [`TopologyError::Unsupported`] when it cannot.
    #[async_recursion]
    pub async fn check_dead_lettering(&self) -> Result<(), TopologyError> {
        match &self.0 {
            Backend::Memory(_) => Ok(()),
            Backend::Rabbit(rabbit) => rabbit.check_dead_lettering().await,
        }
    }

    /// Looks whether the queues exist, without creating anything.
    ///
    /// # Errors
    /// [`TopologyError::Missing`] names the first one that does not.
    #[async_recursion]
    pub async fn check(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        match &self.0 {
            Backend::Memory(memory) => memory.check(queues),
            Backend::Rabbit(rabbit) => rabbit.check(queues).await,
        }
    }

    /// Publishes to every queue of `message.routes` and returns when all have taken it.
    ///
    /// Waits while a queue is full, the broker blocks publishers or the connection is away; a message whose confirm was
    /// lost is sent again with the same id. Dropping the future may leave the message published or not.
    ///
    /// # Errors
    /// See [`PublishError`]; after an error some of the queues may have taken the message.
    #[async_recursion]
    pub async fn publish(&self, mut message: Outgoing) -> Result<(), PublishError> {
        let span = trace::sending(&mut message);
        let publishing = async {
            match &self.0 {
                Backend::Memory(memory) => memory.publish(message).await,
                Backend::Rabbit(rabbit) => rabbit.publish(message).await,
            }
        };
        publishing.instrument(span).await
    }

    /// Declares the exchange of events. Idempotent.
    ///
    /// # Errors
    /// [`TopologyError::Drifted`] when there is one of another kind.
    #[async_recursion]
    pub async fn declare_events(&self) -> Result<(), TopologyError> {
        match &self.0 {
            // Nobody outside of the process could listen.
            Backend::Memory(_) => Ok(()),
            Backend::Rabbit(rabbit) => rabbit.declare_events().await,
        }
    }

    /// Tells an event to every queue that is bound to the exchange of events, and returns when all of them have taken it. Waits as
    /// [`Broker::publish`] does; it is no error when there is none.
    ///
    /// # Errors
    /// [`PublishError::NoQueue`] when the exchange is missing and cannot be declared again.
    #[async_recursion]
    pub async fn announce(&self, event: Event) -> Result<(), PublishError> {
        match &self.0 {
            Backend::Memory(_) => Ok(()),
            Backend::Rabbit(rabbit) => rabbit.announce(&event).await,
        }
    }

    /// Registers a consumer that holds at most `prefetch` unsettled deliveries.
    ///
    /// # Errors
    /// [`ConsumeError::NoQueue`] when the queue does not exist now; later losses are healed.
    #[async_recursion]
    pub async fn consume(&self, queue: &Queue, prefetch: u16) -> Result<Consumer, ConsumeError> {
        match &self.0 {
            Backend::Memory(memory) => memory.consume(queue, prefetch).map(Consumer::memory),
            Backend::Rabbit(rabbit) => rabbit.consume(queue, prefetch).await.map(Consumer::rabbit),
        }
    }

    /// How full the queue is now. RabbitMQ's own count may lag a moment behind.
    ///
    /// # Errors
    /// [`TopologyError::Missing`] when it does not exist.
    #[async_recursion]
    pub async fn depth(&self, queue: &Queue) -> Result<Depth, TopologyError> {
        match &self.0 {
            Backend::Memory(memory) => memory.depth(queue),
            Backend::Rabbit(rabbit) => rabbit.depth(queue).await,
        }
    }

    /// How the broker is doing, now and as it changes.
    #[must_use]
    pub fn state(&self) -> watch::Receiver<BrokerState> {
        match &self.0 {
            Backend::Memory(memory) => memory.state(),
            Backend::Rabbit(rabbit) => rabbit.state(),
        }
    }

    /// Ends all consumers, writes out what was acked, and closes. Bounded in time; unsettled deliveries go back to
    /// their queues, unconfirmed publishes end in [`PublishError::Closed`].
    #[async_recursion]
    pub async fn close(&self) {
        match &self.0 {
            Backend::Memory(memory) => memory.close(),
            Backend::Rabbit(rabbit) => rabbit.close().await,
        }
    }
}
