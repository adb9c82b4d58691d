//! What is known about one endpoint.

use std::time::Duration;

use ocelli_core::retry::backoff;
use tokio::time::Instant;

use super::breaker::{Allowed, Breaker, Evidence};
use super::limit::Limit;
use crate::failure::Busy;
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
    /// Whether somebody looks after it until it is back.
    pub(super) watched: bool,
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
            watched: false,
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

    /// Whether it was found away, and not yet seen to be back. Such an endpoint can be found again by looking; one that
    /// answers and fails, only by asking.
    pub(super) fn is_away(&self) -> bool {
        !self.breaker.is_closed() && self.looked_at.is_none()
    }

    pub(super) fn succeeded(&mut self, now: Instant, took: Duration, waiting: usize) {
        self.breaker.succeeded();
        self.busy_in_a_row = 0;
        self.limit.completed(now, took, self.open + waiting);
        self.usual = Some(self.usual.map_or(took, |usual| (usual * 7 + took) / 8));
    }

    /// A look found it still away.
    pub(super) fn still_away(&mut self, reason: &str) {
        reason.clone_into(&mut self.trouble);
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
        busy: Busy,
        retry_after: Option<Duration>,
        reason: &str,
        random: f64,
    ) {
        reason.clone_into(&mut self.trouble);
        let Patience { pause_floor, pause_cap, return_cap, retry_after_cap, .. } = self.patience;
        let cap = if busy == Busy::Rate { pause_cap } else { return_cap };
        let pause = retry_after.map_or_else(
            || backoff(self.busy_in_a_row, pause_floor, cap, random),
            |asked| asked.min(retry_after_cap),
        );
        self.busy_in_a_row = self.busy_in_a_row.saturating_add(1);
        self.busy_until = Some(self.busy_until.map_or(now + pause, |until| until.max(now + pause)));
        if busy != Busy::Loading {
            self.limit.overloaded();
        }
        self.breaker.abandon_trial(now);
    }

    pub(super) fn looked(&mut self, now: Instant, digest: Option<String>) {
        if self.is_away() {
            self.breaker.returned(now);
        }
        self.looked_at = Some(now);
        self.digest = digest;
        self.blocked = None;
    }

    pub(super) fn is_due_for_a_look(&self, now: Instant) -> bool {
        self.looked_at.is_none_or(|at| now.saturating_duration_since(at) >= self.patience.recheck)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn endpoint() -> Endpoint {
        Endpoint::new(InFlight::Adaptive { min: 1, max: 64 }, &Patience::default())
    }

    /// How long it is left alone after so many refusals in a row.
    fn pause(busy: Busy, retry_after: Option<Duration>) -> Duration {
        let (mut endpoint, mut now) = (endpoint(), Instant::now());
        for _ in 0..9 {
            endpoint.busy(now, busy, retry_after, "no", 1.0);
            let Standing::Away { again: Some(again), .. } = endpoint.standing(now) else {
                panic!("it is left alone")
            };
            if again - now >= SECOND * 600 {
                return again - now;
            }
            now = again;
        }
        endpoint.busy(now, busy, retry_after, "no", 1.0);
        endpoint.busy_until.unwrap() - now
    }

    #[test]
    fn a_rate_limit_is_left_alone_longer_than_a_server_that_is_loading() {
        assert_eq!(pause(Busy::Rate, None), SECOND * 60);
        assert_eq!(pause(Busy::Overload, None), SECOND * 3);
        assert_eq!(pause(Busy::Loading, None), SECOND * 3);
        for busy in [Busy::Rate, Busy::Overload, Busy::Loading] {
            assert_eq!(pause(busy, Some(SECOND * 20)), SECOND * 20, "as it asked");
            assert_eq!(pause(busy, Some(SECOND * 9999)), SECOND * 600, "but not for ever");
        }
    }

    #[test]
    fn loading_says_nothing_about_how_much_a_server_can_do_at_once() {
        let now = Instant::now();
        for (busy, shrinks) in [(Busy::Loading, false), (Busy::Rate, true), (Busy::Overload, true)]
        {
            let mut endpoint = endpoint();
            let before = endpoint.limit.get();
            endpoint.busy(now, busy, None, "no", 0.5);
            assert_eq!(endpoint.limit.get() < before, shrinks, "{busy:?}");
        }
    }

    #[test]
    fn an_endpoint_that_is_away_is_tried_as_soon_as_it_was_seen() {
        let (mut endpoint, now) = (endpoint(), Instant::now());
        assert!(!endpoint.is_away(), "nobody knows yet");
        endpoint.failed(now, Evidence::Endpoint, "gone", 1.0);
        assert!(endpoint.is_away());
        assert!(matches!(endpoint.standing(now), Standing::Away { .. }));
        endpoint.looked(now, None);
        assert!(!endpoint.is_away());
        assert_eq!(endpoint.standing(now), Standing::Free { trial: true });
        // One that answers and fails is not found by looking.
        let mut failing = self::endpoint();
        failing.looked(now, None);
        for image in 0..3 {
            let image = Evidence::Image(ocelli_core::Digest::of(&[image]));
            failing.failed(now, image, "HTTP 500", 1.0);
        }
        assert!(!failing.is_away());
        failing.looked(now, None);
        assert!(matches!(failing.standing(now), Standing::Away { .. }));
    }
}
