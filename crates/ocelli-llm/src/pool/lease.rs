//! The right to send one request to one endpoint. Dropping it gives the place back, whatever happened.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::Pool;
use super::breaker::Evidence;
use super::state::Endpoint;
use crate::failure::Busy;
use crate::http::Http;

/// One place at one endpoint.
#[derive(Debug)]
pub(crate) struct Lease {
    pool: Arc<Pool>,
    index: usize,
    trial: bool,
    begun: Instant,
}

impl Lease {
    pub(super) const fn new(pool: Arc<Pool>, index: usize, trial: bool, begun: Instant) -> Self {
        Self { pool, index, trial, begun }
    }

    pub(crate) const fn index(&self) -> usize {
        self.index
    }

    pub(crate) fn client(&self) -> &Http {
        &self.pool.clients[self.index]
    }

    fn update<T>(&self, change: impl FnOnce(&mut Endpoint) -> T) -> T {
        change(&mut self.pool.lock().endpoints[self.index])
    }

    /// Whether its model has to be looked at before it is asked.
    pub(crate) fn is_due_for_a_look(&self) -> bool {
        self.update(|endpoint| endpoint.is_due_for_a_look(Instant::now()))
    }

    pub(crate) fn digest(&self) -> Option<String> {
        self.update(|endpoint| endpoint.digest.clone())
    }

    /// A proper response came.
    pub(crate) fn succeeded(&self) -> Duration {
        let now = Instant::now();
        let took = now - self.begun;
        let mut state = self.pool.lock();
        let waiting = state.waiting;
        state.endpoints[self.index].succeeded(now, took, waiting);
        took
    }

    /// A response came that says nothing against the endpoint.
    pub(crate) fn answered(&self) {
        self.update(|endpoint| endpoint.breaker.succeeded());
    }

    pub(crate) fn failed(&self, evidence: Evidence, reason: &str) {
        let random = rand::random::<f64>();
        self.update(|endpoint| endpoint.failed(Instant::now(), evidence, reason, random));
    }

    pub(crate) fn busy(&self, busy: Busy, retry_after: Option<Duration>, reason: &str) {
        let (now, random) = (Instant::now(), rand::random::<f64>());
        self.update(|endpoint| endpoint.busy(now, busy, retry_after, reason, random));
    }

    pub(crate) fn block(&self, reason: &str) {
        self.update(|endpoint| endpoint.blocked = Some(reason.to_owned()));
    }

    /// Whether different images failed here in a row, so that none of them is to blame.
    pub(crate) fn is_blamed(&self) -> bool {
        self.update(|endpoint| endpoint.breaker.is_blamed())
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let trial = self.trial;
        self.update(|endpoint| {
            endpoint.open -= 1;
            if trial {
                endpoint.breaker.abandon_trial(Instant::now());
            }
        });
        self.pool.changed.notify_waiters();
    }
}
