//! Is this process able to work yet? Answered by `/readyz`.
//!
//! Each part that starts holds a [`Latch`] and releases it once it works. A latch that is dropped unreleased (its part
//! failed) keeps the process not ready. Health ("does it still move?") is another question: see [`crate::watchdog`].

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

/// The readiness of one process. Clones share the state.
#[derive(Debug, Clone, Default)]
pub struct Readiness(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    next_id: u64,
    held: BTreeMap<u64, &'static str>,
    not_ready: Option<String>,
    draining: bool,
}

/// Held by a part until it can work.
#[derive(Debug)]
#[must_use = "the process stays not ready until the latch is released"]
pub struct Latch {
    id: u64,
    readiness: Readiness,
}

impl Readiness {
    /// Ready until the first latch is taken.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// A latch for the part called `name`; the process is not ready until it is released.
    pub fn latch(&self, name: &'static str) -> Latch {
        self.with(|state| {
            let id = state.next_id;
            state.next_id += 1;
            state.held.insert(id, name);
            Latch { id, readiness: self.clone() }
        })
    }

    /// Not ready until [`Self::clear_not_ready`], whatever the latches say: the process lost something it needs.
    pub fn set_not_ready(&self, reason: impl Into<String>) {
        let reason = reason.into();
        self.with(|state| state.not_ready = Some(reason));
    }

    /// Takes back [`Self::set_not_ready`].
    pub fn clear_not_ready(&self) {
        self.with(|state| state.not_ready = None);
    }

    /// Not ready for the rest of its life: the process drains.
    pub fn set_draining(&self) {
        self.with(|state| state.draining = true);
    }

    /// What still stands in the way; empty when ready.
    #[must_use]
    pub fn waiting_for(&self) -> Vec<String> {
        self.with(|state| {
            let starting = state.held.values().map(|name| format!("{name} is starting"));
            let draining = state.draining.then(|| "draining".to_owned());
            draining.into_iter().chain(state.not_ready.clone()).chain(starting).collect()
        })
    }

    /// Whether nothing stands in the way.
    #[must_use]
    pub fn is_ready(&self) -> bool {
        self.waiting_for().is_empty()
    }

    /// A panic elsewhere cannot leave the state half-written (each change is one assignment), so poisoning is ignored.
    fn with<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Latch {
    /// The part works.
    pub fn release(self) {
        self.readiness.with(|state| state.held.remove(&self.id));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_ready_when_every_part_has_released_its_latch() {
        let readiness = Readiness::new();
        let (broker, catalog) = (readiness.latch("broker"), readiness.latch("catalog"));
        broker.release();
        assert_eq!(readiness.waiting_for(), ["catalog is starting"]);
        catalog.release();
        assert!(readiness.is_ready());
    }

    #[test]
    fn a_part_that_fails_to_start_keeps_the_process_not_ready() {
        let readiness = Readiness::new();
        drop(readiness.latch("broker"));
        assert!(!readiness.is_ready());
    }

    #[test]
    fn a_lost_service_can_come_back_and_draining_stays() {
        let readiness = Readiness::new();
        readiness.set_not_ready("broker: reconnecting");
        assert_eq!(readiness.waiting_for(), ["broker: reconnecting"]);
        readiness.clear_not_ready();
        assert!(readiness.is_ready());
        readiness.set_draining();
        readiness.clear_not_ready();
        assert_eq!(
            readiness.waiting_for(),
            ["draining"],
            "a broker that comes back changes nothing"
        );
    }
}
