//! What is known about one endpoint.

use std::time::Duration;

use ocelli_core::retry::backoff;
use tokio::time::Instant;

use super::breaker::{Allowed, Breaker, Evidence};
use super::limit::Limit;
use crate::options::{InFlight, Patience};

/// One endpoint.
#[derive(Debug)]
pub(super) struct Endpoint {
    pub(super) breaker: Breaker,
    pub(super) limit: Limit,
    /// Requests under way.
    pub(super) open: usize,
    /// Smoothed time of an answer.
    pub(super) usual: Option<Duration>,
    /// Until when it asked to be left alone.
    busy_until: Option<Instant>,
    busy_in_a_row: u32,
    /// The last trouble, in words.
    trouble: String,
    /// What only a person can change.
    pub(super) blocked: Option<String>,
    /// When its model was looked at, and what it was.
    looked_at: Option<Instant>,
    pub(super) digest: Option<String>,
    patience: Patience,
}

/// Whether it can be asked now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Standing {
    Free { trial: bool },
    Full,
    Away { again: Option<Instant>, reason: String },
    Blocked(String),
}

impl Endpoint {
    pub(super) fn new(in_flight: InFlight, patience: &Patience) -> Self {
        let Patience { pause_floor, pause_cap, images_before_blame, .. } = *patience;
        Self {
            breaker: Breaker::new(pause_floor, pause_cap, images_before_blame),
            limit: Limit::new(in_flight),
            open: 0,
            usual: None,
            busy_until: None,
            busy_in_a_row: 0,
            trouble: String::new(),
            blocked: None,
            looked_at: None,
            digest: None,
            patience: *patience,
        }
    }

    pub(super) fn standing(&self, now: Instant) -> Standing {
        if let Some(reason) = &self.blocked {
            return Standing::Blocked(reason.clone());
        }
        let away = |again| Standing::Away { again, reason: self.trouble.clone() };
        if let Some(until) = self.busy_until.filter(|until| *until > now) {
            return away(Some(until));
        }
        match self.breaker.allows(now) {
            Allowed::No(again) => away(again),
            Allowed::Trial => Standing::Free { trial: true },
            Allowed::Yes if self.open >= self.limit.get() => Standing::Full,
            Allowed::Yes => Standing::Free { trial: false },
        }
    }

    /// Requests that may be under way at once now.
    pub(super) fn places(&self, now: Instant) -> usize {
        match self.standing(now) {
            Standing::Free { trial: true } => 1,
            Standing::Free { trial: false } | Standing::Full => self.limit.get(),
            Standing::Away { .. } | Standing::Blocked(_) => 0,
        }
    }

    /// Part of its places that are taken. With equal parts a faster endpoint finishes, and so gets, more.
    pub(super) fn load(&self) -> f64 {
        self.open as f64 / self.limit.get() as f64
    }

    pub(super) fn succeeded(&mut self, now: Instant, took: Duration, waiting: usize) {
        self.breaker.succeeded();
        self.busy_in_a_row = 0;
        self.limit.completed(now, took, self.open + waiting);
        self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
    }

    pub(super) fn failed(&mut self, now: Instant, evidence: Evidence, reason: &str, random: f64) {
        reason.clone_into(&mut self.trouble);
        self.breaker.failed(now, evidence, random);
        if evidence == Evidence::Endpoint {
            // Whoever comes back may have another model.
            self.looked_at = None;
        }
    }

    pub(super) fn busy(
        &mut self,
        now: Instant,
        retry_after: Option<Duration>,
        reason: &str,
        random: f64,
    ) {
        reason.clone_into(&mut self.trouble);
        let Patience { pause_floor, pause_cap, retry_after_cap, .. } = self.patience;
        let pause = retry_after.map_or_else(
            || backoff(self.busy_in_a_row, pause_floor, pause_cap, random),
            |asked| asked.min(retry_after_cap),
        );
        self.busy_in_a_row = self.busy_in_a_row.saturating_add(1);
        self.busy_until = Some(self.busy_until.map_or(now + pause, |until| until.max(now + pause)));
        self.limit.overloaded();
        self.breaker.abandon_trial(now);
    }

    pub(super) fn looked(&mut self, now: Instant, digest: Option<String>) {
        self.looked_at = Some(now);
        self.digest = digest;
        self.blocked = None;
    }

    pub(super) fn is_due_for_a_look(&self, now: Instant) -> bool {
        self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= self.patience.recheck)
    }
}
