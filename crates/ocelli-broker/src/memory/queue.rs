//! One queue in memory.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use ocelli_core::routing::Queue;
use prometheus::IntGauge;
use tokio::sync::futures::Notified;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore};

use crate::{Death, Depth};

/// A message at rest.
#[derive(Debug, Clone)]
pub(super) struct Message {
    pub(super) id: String,
    pub(super) body: Bytes,
    pub(super) attempts: u32,
    pub(super) traceparent: Option<String>,
    /// Times it came back because its consumer dropped it.
    pub(super) returns: u32,
    pub(super) death: Option<Death>,
}

/// A message in line. Its room is free again when it leaves the line; a message that comes back has none.
#[derive(Debug)]
struct Waiting {
    message: Message,
    redelivered: bool,
    _room: Option<OwnedSemaphorePermit>,
}

/// One queue: first in, first out; what comes back goes to the front.
#[derive(Debug)]
pub(super) struct MemoryQueue {
    pub(super) queue: Queue,
    line: Mutex<VecDeque<Waiting>>,
    rooms: Arc<Semaphore>,
    arrived: Notify,
    consumers: AtomicU64,
    gauge: IntGauge,
    capacity: usize,
}

impl MemoryQueue {
    pub(super) fn new(queue: Queue, capacity: usize, gauge: IntGauge) -> Self {
        let capacity = capacity.min(Semaphore::MAX_PERMITS);
        Self {
            queue,
            line: Mutex::default(),
            rooms: Arc::new(Semaphore::new(capacity)),
            arrived: Notify::new(),
            consumers: AtomicU64::new(0),
            gauge,
            capacity,
        }
    }

    fn line(&self) -> MutexGuard<'_, VecDeque<Waiting>> {
        self.line.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits, in order of asking, until there is room for one more.
    pub(super) async fn room(&self) -> OwnedSemaphorePermit {
        Arc::clone(&self.rooms).acquire_owned().await.expect("the semaphore is never closed")
    }

    /// Appends a message that has its room.
    pub(super) fn push(&self, message: Message, room: OwnedSemaphorePermit) {
        let mut line = self.line();
        line.push_back(Waiting { message, redelivered: false, _room: Some(room) });
        self.gauge.set(line.len().try_into().unwrap_or(i64::MAX));
        drop(line);
        self.arrived.notify_one();
    }

    /// Puts a message back in front, room or not: it was in already.
    pub(super) fn put_back(&self, message: Message) {
        let mut line = self.line();
        line.push_front(Waiting { message, redelivered: true, _room: None });
        self.gauge.set(line.len().try_into().unwrap_or(i64::MAX));
        drop(line);
        self.arrived.notify_one();
    }

    /// The first message, and whether it was handed out before.
    pub(super) fn pop(&self) -> Option<(Message, bool)> {
        let mut line = self.line();
        let waiting = line.pop_front()?;
        self.gauge.set(line.len().try_into().unwrap_or(i64::MAX));
        Some((waiting.message, waiting.redelivered))
    }

    /// Resolves when something arrived since the call.
    pub(super) fn arrived(&self) -> Notified<'_> {
        self.arrived.notified()
    }

    /// A place for a message that waits here without standing in line (delay queues).
    pub(super) async fn wait_place(&self) -> OwnedSemaphorePermit {
        self.room().await
    }

    pub(super) fn consumer_added(&self) {
        self.consumers.fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn consumer_gone(&self) {
        self.consumers.fetch_sub(1, Ordering::Relaxed);
    }

    pub(super) fn depth(&self) -> Depth {
        let ready = if matches!(self.queue, Queue::Delay(_)) {
            self.capacity - self.rooms.available_permits()
        } else {
            self.line().len()
        };
        Depth { ready: ready as u64, consumers: self.consumers.load(Ordering::Relaxed) }
    }
}
