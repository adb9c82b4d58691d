//! Deliveries that have arrived and were not handed out yet.

use std::collections::VecDeque;
use std::sync::{Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;

use crate::Delivery;

/// Bounded by the prefetch: the broker sends no more, and a new lane begins with an empty inbox.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    inner: Mutex<Inner>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    deliveries: VecDeque<Delivery>,
    ended: bool,
}

impl Inbox {
    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn push(&self, delivery: Delivery) {
        let refused = {
            let mut inner = self.inner();
            if inner.ended {
                Some(delivery)
            } else {
                inner.deliveries.push_back(delivery);
                None
            }
        };
        // Dropped outside the lock: it goes back to the queue.
        drop(refused);
        self.changed.notify_one();
    }

    /// The next one; `None` after the end.
    pub(super) async fn next(&self) -> Option<Delivery> {
        loop {
            {
                let mut inner = self.inner();
                if inner.ended {
                    return None;
                }
                if let Some(delivery) = inner.deliveries.pop_front() {
                    return Some(delivery);
                }
            }
            // One reader only: a notice between the look and this wait is kept.
            self.changed.notified().await;
        }
    }

    /// Takes out everything: stale, or to be given back.
    pub(super) fn clear(&self) -> Vec<Delivery> {
        self.inner().deliveries.drain(..).collect()
    }

    /// No more from here on.
    pub(super) fn end(&self) -> Vec<Delivery> {
        let mut inner = self.inner();
        inner.ended = true;
        let rest = inner.deliveries.drain(..).collect();
        drop(inner);
        self.changed.notify_one();
        rest
    }
}
