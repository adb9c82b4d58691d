//! Whether an endpoint may be asked at all: closed, open for a while, then one request as a trial. A pure state machine:
//! the clock and the random number are arguments.

use std::time::Duration;

use ocelli_core::Digest;
use ocelli_core::retry::backoff;
use tokio::time::Instant;

/// What a failure says about the endpoint.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Evidence {
    /// The endpoint is away: no image can be the cause.
    Endpoint,
    /// It failed while working on this image: the image may be the cause.
    Image(Digest),
}

/// Whether a request may go out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Allowed {
    Yes,
    /// One, to see whether the endpoint is back.
    Trial,
    /// Not before this moment; `None` while a trial is under way.
    No(Option<Instant>),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Closed,
    Open { until: Instant },
    Trial,
}

/// The breaker of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Breaker {
    floor: Duration,
    cap: Duration,
    images_before_blame: usize,
    state: State,
    /// Times it opened without a success in between.
    openings: u32,
    /// Different images that failed without a success in between; never more than `images_before_blame`.
    images: Vec<Digest>,
}

impl Breaker {
    pub(crate) fn new(floor: Duration, cap: Duration, images_before_blame: usize) -> Self {
        let images_before_blame = images_before_blame.max(1);
        let images = Vec::new();
        Self { floor, cap, images_before_blame, state: State::Closed, openings: 0, images }
    }

    pub(crate) fn allows(&self, now: Instant) -> Allowed {
        match self.state {
            State::Closed => Allowed::Yes,
            State::Open { until } if until <= now => Allowed::Trial,
            State::Open { until } => Allowed::No(Some(until)),
            State::Trial => Allowed::No(None),
        }
    }

    /// The one request that was allowed as a trial goes out.
    pub(crate) fn begin_trial(&mut self) {
        self.state = State::Trial;
    }

    /// The trial ended without saying anything (its job was abandoned): the next request is the trial.
    pub(crate) fn abandon_trial(&mut self, now: Instant) {
        if self.state == State::Trial {
            self.state = State::Open { until: now };
        }
    }

    /// It was seen to be back: the next request is the trial, whenever it was to be tried again.
    pub(crate) fn returned(&mut self, now: Instant) {
        if let State::Open { until } = &mut self.state {
            *until = now.min(*until);
        }
    }

    /// Whether requests go out without more ado.
    pub(crate) fn is_closed(&self) -> bool {
        self.state == State::Closed
    }

    pub(crate) fn succeeded(&mut self) {
        self.state = State::Closed;
        self.openings = 0;
        self.images.clear();
    }

    /// Takes a failure into account; `random` is uniform in 0..1.
    pub(crate) fn failed(&mut self, now: Instant, evidence: Evidence, random: f64) {
        if let Evidence::Image(image) = evidence
            && !self.images.contains(&image)
            && self.images.len() < self.images_before_blame
        {
            self.images.push(image);
        }
        if evidence == Evidence::Endpoint || self.is_blamed() {
            // Failures of requests that were already under way say nothing new.
            if matches!(self.state, State::Open { until } if until > now) {
                return;
            }
            let pause = backoff(self.openings, self.floor, self.cap, random);
            self.openings = self.openings.saturating_add(1);
            self.state = State::Open { until: now + pause };
        } else {
            self.abandon_trial(now);
        }
    }

    /// So many different images failed in a row that the endpoint, and not the images, is the cause.
    pub(crate) fn is_blamed(&self) -> bool {
        self.images.len() >= self.images_before_blame
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn breaker() -> Breaker {
        Breaker::new(SECOND, 8 * SECOND, 3)
    }

    #[test]
    fn an_endpoint_that_is_away_is_left_alone_and_then_tried_once() {
        let (mut breaker, start) = (breaker(), Instant::now());
        assert_eq!(breaker.allows(start), Allowed::Yes);
        breaker.failed(start, Evidence::Endpoint, 1.0);
        assert_eq!(breaker.allows(start), Allowed::No(Some(start + SECOND)));
        assert_eq!(breaker.allows(start + SECOND), Allowed::Trial);
        breaker.begin_trial();
        assert_eq!(breaker.allows(start + SECOND), Allowed::No(None));
        breaker.succeeded();
        assert_eq!(breaker.allows(start + SECOND), Allowed::Yes);
    }

    #[test]
    fn each_failed_trial_waits_longer_up_to_the_cap() {
        let (mut breaker, mut now) = (breaker(), Instant::now());
        let mut pauses = Vec::new();
        for _ in 0..6 {
            breaker.failed(now, Evidence::Endpoint, 1.0);
            let Allowed::No(Some(until)) = breaker.allows(now) else { panic!("open") };
            pauses.push((until - now).as_secs());
            now = until;
            breaker.begin_trial();
        }
        assert_eq!(pauses, [1, 2, 4, 8, 8, 8]);
    }

    #[test]
    fn an_endpoint_that_was_seen_to_be_back_is_tried_at_once() {
        let (mut breaker, now) = (breaker(), Instant::now());
        breaker.returned(now);
        assert_eq!(breaker.allows(now), Allowed::Yes, "it was never away");
        breaker.failed(now, Evidence::Endpoint, 1.0);
        breaker.returned(now);
        assert_eq!(breaker.allows(now), Allowed::Trial);
        breaker.begin_trial();
        breaker.returned(now);
        assert_eq!(breaker.allows(now), Allowed::No(None), "one trial, not two");
    }

    #[test]
    fn one_image_that_always_fails_does_not_open_it_but_three_in_a_row_do() {
        let (mut breaker, now) = (breaker(), Instant::now());
        let image = |n: u8| Evidence::Image(Digest::of(&[n]));
        for _ in 0..20 {
            breaker.failed(now, image(1), 1.0);
        }
        assert_eq!(breaker.allows(now), Allowed::Yes);
        breaker.failed(now, image(2), 1.0);
        breaker.succeeded();
        breaker.failed(now, image(3), 1.0);
        breaker.failed(now, image(4), 1.0);
        assert!(!breaker.is_blamed());
        breaker.failed(now, image(5), 1.0);
        assert!(breaker.is_blamed());
        assert!(matches!(breaker.allows(now), Allowed::No(Some(_))));
    }

    #[test]
    fn an_abandoned_trial_leaves_room_for_the_next_one() {
        let (mut breaker, now) = (breaker(), Instant::now());
        breaker.failed(now, Evidence::Endpoint, 0.0);
        breaker.begin_trial();
        breaker.abandon_trial(now + SECOND);
        assert_eq!(breaker.allows(now + SECOND), Allowed::Trial);
    }
}
