//! The broker in this process's memory: the default of the embedded tier, and what tests of other crates run on.
//!
//! Bounded like the other backend: a full queue makes publishers wait. Nothing survives the process; the catalog and the
//! sweeper restore the work. All state is behind short, never awaited locks; time comes from tokio, so that paused
//! time works.

mod consumer;
mod queue;
mod ticket;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_core::routing::Queue;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

pub(crate) use consumer::MemoryConsumer;
use queue::{MemoryQueue, Message};
pub(crate) use ticket::MemoryTicket;

use crate::{
    BrokerMetrics, BrokerState, ConsumeError, Depth, Outgoing, PublishError, TopologyError,
};

/// The namespace in names that people see; there is only one memory broker in a process's view.
const NAMESPACE: &str = "memory";

/// Limits of the memory broker.
#[derive(Debug, Clone, Copy)]
pub struct MemoryOptions {
    /// Messages waiting in one queue before its publishers wait. Messages are references of some hundred bytes.
    pub capacity_per_queue: usize,
}

impl Default for MemoryOptions {
    /// 10,000: a few megabytes per queue, and minutes of work for the slowest analyzer.
    fn default() -> Self {
        Self { capacity_per_queue: 10_000 }
    }
}

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Memory(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    capacity: usize,
    queues: Mutex<BTreeMap<Queue, Arc<MemoryQueue>>>,
    state: watch::Sender<BrokerState>,
    closed: CancellationToken,
    metrics: BrokerMetrics,
}

impl Memory {
    pub(crate) fn new(options: MemoryOptions, metrics: BrokerMetrics) -> Self {
        Self(Arc::new(Shared {
            // A capacity of 0 could never take anything.
            capacity: options.capacity_per_queue.max(1),
            queues: Mutex::default(),
            state: watch::Sender::new(BrokerState::Connected),
            closed: CancellationToken::new(),
            metrics,
        }))
    }

    fn queue(&self, queue: &Queue) -> Option<Arc<MemoryQueue>> {
        self.0.queues.lock().unwrap_or_else(PoisonError::into_inner).get(queue).cloned()
    }

    pub(crate) fn declare(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        if self.0.closed.is_cancelled() {
            return Err(TopologyError::Closed);
        }
        let mut all = self.0.queues.lock().unwrap_or_else(PoisonError::into_inner);
        for queue in queues {
            all.entry(queue.clone()).or_insert_with(|| {
                let gauge = self.0.metrics.memory_ready.with_label_values(&[&queue.to_string()]);
                Arc::new(MemoryQueue::new(queue.clone(), self.0.capacity, gauge))
            });
        }
        Ok(())
    }

    pub(crate) fn check(&self, queues: &[Queue]) -> Result<(), TopologyError> {
        queues.iter().try_for_each(|queue| self.depth(queue).map(|_| ()))
    }

    pub(crate) fn depth(&self, queue: &Queue) -> Result<Depth, TopologyError> {
        if self.0.closed.is_cancelled() {
            return Err(TopologyError::Closed);
        }
        self.queue(queue)
            .map(|queue| queue.depth())
            .ok_or_else(|| TopologyError::Missing { queue: queue.name(NAMESPACE) })
    }

    pub(crate) async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let Outgoing { id, body, routes, attempts, traceparent } = message;
        if routes.is_empty() {
            return Err(PublishError::NoRoute { id });
        }
        let mut targets = Vec::with_capacity(routes.len());
        for route in &routes {
            if matches!(route, Queue::Delay(_)) {
                return Err(PublishError::DelayRoute { id, queue: route.name(NAMESPACE) });
            }
            let Some(queue) = self.queue(route) else {
                self.0.metrics.returned.inc();
                return Err(PublishError::NoQueue { id, queue: route.name(NAMESPACE) });
            };
            targets.push(queue);
        }
        let message = Message { id, body, attempts, traceparent, returns: 0, death: None };
        for target in targets {
            self.push(&target, message.clone()).await?;
        }
        Ok(())
    }

    /// Puts a message into a queue when there is room.
    async fn push(&self, target: &MemoryQueue, message: Message) -> Result<(), PublishError> {
        tokio::select! {
            biased;
            () = self.0.closed.cancelled() => Err(PublishError::Closed { id: message.id }),
            room = target.room() => {
                target.push(message, room);
                self.0.metrics.confirmed.inc();
                Ok(())
            }
        }
    }

    /// Lets a message wait in a delay queue and then return to `origin`, in a task of its own (bounded by the delay
    /// queue's capacity).
    async fn delay(
        &self,
        delay: Duration,
        origin: &Arc<MemoryQueue>,
        message: Message,
    ) -> Result<(), PublishError> {
        let step = Queue::Delay(delay);
        let Some(waiting) = self.queue(&step) else {
            return Err(PublishError::NoQueue { id: message.id, queue: step.name(NAMESPACE) });
        };
        let place = tokio::select! {
            biased;
            () = self.0.closed.cancelled() => return Err(PublishError::Closed { id: message.id }),
            place = waiting.wait_place() => place,
        };
        let (memory, origin) = (self.clone(), Arc::clone(origin));
        tokio::spawn(async move {
            let _place = place;
            tokio::select! {
                biased;
                () = memory.0.closed.cancelled() => {}
                () = tokio::time::sleep(delay) => {
                    // Fails only when closed: then everything here ends.
                    let _closed = memory.push(&origin, message).await;
                }
            }
        });
        Ok(())
    }

    pub(crate) fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<MemoryConsumer, ConsumeError> {
        if self.0.closed.is_cancelled() {
            return Err(ConsumeError::Closed);
        }
        if prefetch == 0 {
            return Err(ConsumeError::NoPrefetch { queue: queue.name(NAMESPACE) });
        }
        let source = self
            .queue(queue)
            .ok_or_else(|| ConsumeError::NoQueue { queue: queue.name(NAMESPACE) })?;
        Ok(MemoryConsumer::new(self.clone(), source, prefetch))
    }

    pub(crate) fn state(&self) -> watch::Receiver<BrokerState> {
        self.0.state.subscribe()
    }

    pub(crate) fn close(&self) {
        self.0.closed.cancel();
        self.0.state.send_replace(BrokerState::Closed);
    }
}
