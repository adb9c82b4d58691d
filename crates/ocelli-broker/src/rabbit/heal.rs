//! Queues that were there and are gone (deleted by hand, a broker that lost its disk): whoever declared them makes them
//! again when it misses them. What was in them is the sweeper's business.
//!
//! Only what this process declared: with imported definitions and no permission to configure, a missing queue stays an
//! error with its name.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use ocelli_core::routing::Queue;
use tokio::time::Instant;

use super::Rabbit;

/// What was declared, and what was made again.
#[derive(Debug, Default)]
pub(super) struct Healer {
    /// By full name.
    declared: Mutex<BTreeMap<String, Queue>>,
    /// When each was made again for the last time. Held while one is made: hundreds miss it at once.
    made: tokio::sync::Mutex<BTreeMap<String, Instant>>,
}

impl Healer {
    pub(super) fn remember(&self, namespace: &str, queues: &[Queue]) {
        let mut declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        declared.extend(queues.iter().map(|queue| (queue.name(namespace), queue.clone())));
    }

    /// What has to be declared when `name` is missing: the main exchange has the namespace's name, and all bindings go
    /// with it.
    fn missing(&self, namespace: &str, name: &str) -> Vec<Queue> {
        let declared = self.declared.lock().unwrap_or_else(PoisonError::into_inner);
        match name == namespace {
            true => declared.values().cloned().collect(),
            false => declared.get(name).cloned().into_iter().collect(),
        }
    }
}

impl Rabbit {
    /// Makes a queue or exchange again that was missed by something that began at `since`. False when it is not ours to
    /// make, or could not be made.
    pub(super) async fn heal(&self, name: &str, since: Instant) -> bool {
        let queues = self.0.healer.missing(self.namespace(), name);
        if queues.is_empty() {
            return false;
        }
        let mut made = self.0.healer.made.lock().await;
        if made.get(name).is_some_and(|at| *at >= since) {
            return true;
        }
        match self.declare(&queues).await {
            Ok(()) => {
                tracing::warn!(queue = name, "was missing in the broker and is declared again");
                made.insert(name.to_owned(), Instant::now());
                true
            }
            Err(error) => {
                tracing::warn!(
                    queue = name,
                    "is missing in the broker and cannot be declared again: {}",
                    ocelli_core::chain(&error)
                );
                false
            }
        }
    }
}
