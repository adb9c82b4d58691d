//! A rate limit a minute. Requests are known before they are made; the tokens of an answer only afterwards. So a bucket
//! may go into debt, and the next request waits until the debt is paid. Pure: the clock is an argument.

use std::time::Duration;

use tokio::time::Instant;

/// A leaky bucket of `per_minute` units that begins full with one second's worth, at least one unit.
#[derive(Debug, Clone)]
pub(crate) struct Bucket {
    per_second: f64,
    capacity: f64,
    level: f64,
    at: Instant,
}

impl Bucket {
    pub(crate) fn new(per_minute: u32, now: Instant) -> Self {
        let per_second = f64::from(per_minute) / 60.0;
        // Small bursts only: a server counts its minutes differently than we do.
        let capacity = per_second.max(1.0);
        Self { per_second, capacity, level: capacity, at: now }
    }

    fn refill(&mut self, now: Instant) {
        let passed = now.saturating_duration_since(self.at).as_secs_f64();
        self.level = (self.level + passed * self.per_second).min(self.capacity);
        self.at = self.at.max(now);
    }

    /// When the next request may go out; `None`: now.
    pub(crate) fn ready_at(&mut self, now: Instant) -> Option<Instant> {
        self.refill(now);
        // The small tolerance is for a sum of refills that falls short of one by rounding.
        let missing = 1.0 - self.level;
        (missing > 1e-6).then(|| now + Duration::from_secs_f64(missing / self.per_second))
    }

    /// Takes units, into debt when there are too few.
    pub(crate) fn take(&mut self, units: u64, now: Instant) {
        self.refill(now);
        self.level -= units as f64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sixty_a_minute_are_one_a_second() {
        let start = Instant::now();
        let mut bucket = Bucket::new(60, start);
        let mut now = start;
        for _ in 0..10 {
            if let Some(at) = bucket.ready_at(now) {
                now = at;
                assert_eq!(bucket.ready_at(now), None);
            }
            bucket.take(1, now);
        }
        let passed = (now - start).as_secs_f64();
        assert!((8.9..9.1).contains(&passed), "{passed}");
    }

    #[test]
    fn tokens_spent_afterwards_are_paid_before_the_next_request() {
        let now = Instant::now();
        let mut bucket = Bucket::new(6000, now);
        assert_eq!(bucket.ready_at(now), None);
        bucket.take(1100, now);
        let wait = (bucket.ready_at(now).unwrap() - now).as_secs_f64();
        assert!((10.0..10.1).contains(&wait), "{wait}");
    }
}
