//! What a double knows and counts, behind one lock.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use serde_json::Value;
use tokio::sync::Semaphore;

use super::{Behaviour, ModelServerOptions};

/// Chat requests that are kept for looking at.
const KEPT_REQUESTS: usize = 1000;

/// Counts of a double.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Stats {
    /// Chat requests by (model, digest of the image bytes received).
    pub calls: BTreeMap<(String, String), u64>,
    /// Proper and improper answers that were written completely.
    pub answered: u64,
    /// Requests that came in and are not yet answered.
    pub open: usize,
    /// The most that were open at once.
    pub most_open: usize,
    /// The most that were worked on at once; never above the slots.
    pub most_worked_on: usize,
    /// Requests to the other routes.
    pub small_requests: u64,
}

/// One chat request as it came in.
#[derive(Debug, Clone, PartialEq)]
pub struct Received {
    /// The body, with the images replaced by their digests.
    pub body: Value,
    /// Encoded image bytes.
    pub image: Vec<u8>,
    /// Their SHA-256 in hexadecimal.
    pub digest: String,
    /// Request headers, lower-case names. A double has no secrets to keep.
    pub headers: BTreeMap<String, String>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) options: ModelServerOptions,
    pub(super) script: VecDeque<Behaviour>,
    pub(super) by_image: BTreeMap<String, Behaviour>,
    pub(super) received: VecDeque<Received>,
    stats: Stats,
    worked_on: usize,
}

#[derive(Debug, Clone)]
pub(super) struct Shared {
    state: Arc<Mutex<State>>,
    pub(super) slots: Arc<Semaphore>,
}

impl Shared {
    pub(super) fn new(options: ModelServerOptions) -> Self {
        let slots = Arc::new(Semaphore::new(options.slots.max(1)));
        let state = State {
            options,
            script: VecDeque::new(),
            by_image: BTreeMap::new(),
            received: VecDeque::new(),
            stats: Stats::default(),
            worked_on: 0,
        };
        Self { state: Arc::new(Mutex::new(state)), slots }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn read<T>(&self, look: impl FnOnce(&State) -> T) -> T {
        look(&self.lock())
    }

    pub(super) fn update<T>(&self, change: impl FnOnce(&mut State) -> T) {
        change(&mut self.lock());
    }

    pub(super) fn stats(&self) -> Stats {
        self.lock().stats.clone()
    }

    pub(super) fn small_request(&self) {
        self.lock().stats.small_requests += 1;
    }

    /// Counts a chat request and decides how it is answered.
    pub(super) fn arrived(&self, model: &str, received: Received) -> (Behaviour, Open) {
        let mut state = self.lock();
        let key = (model.to_owned(), received.digest.clone());
        *state.stats.calls.entry(key).or_default() += 1;
        state.stats.open += 1;
        state.stats.most_open = state.stats.most_open.max(state.stats.open);
        let by_image = state.by_image.get(&received.digest).cloned();
        let behaviour = state
            .script
            .pop_front()
            .or(by_image)
            .unwrap_or_else(|| state.options.behaviour.clone());
        if state.received.len() == KEPT_REQUESTS {
            state.received.pop_front();
        }
        state.received.push_back(received);
        (behaviour, Open { shared: self.clone(), working: false })
    }
}

/// An open request; gone when dropped, also when its client left.
#[derive(Debug)]
pub(super) struct Open {
    shared: Shared,
    working: bool,
}

impl Open {
    pub(super) fn work(&mut self) {
        self.working = true;
        let mut state = self.shared.lock();
        state.worked_on += 1;
        state.stats.most_worked_on = state.stats.most_worked_on.max(state.worked_on);
    }

    pub(super) fn answered(&self) {
        self.shared.lock().stats.answered += 1;
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        let mut state = self.shared.lock();
        state.stats.open -= 1;
        if self.working {
            state.worked_on -= 1;
        }
    }
}
