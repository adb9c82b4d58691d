//! What happens after a failed attempt: a pure decision, with its reason.

use std::time::Duration;

use crate::FailureClass;

/// How often each class is tried and how long it waits.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RetryPolicy {
    /// Attempts in all for [`FailureClass::Transient`].
    pub transient_attempts: u32,
    /// Attempts in all for [`FailureClass::Crash`].
    pub crash_attempts: u32,
    /// Attempts in all for [`FailureClass::Quality`]; the analyzer's own ladder inside one attempt comes first.
    pub quality_attempts: u32,
    /// The delays a broker offers, ascending; attempt n waits step n, the last step repeats. Never empty.
    pub steps: Vec<Duration>,
}

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            transient_attempts: 6,
            crash_attempts: 2,
            quality_attempts: 1,
            steps: [10, 60, 600, 3600].map(Duration::from_secs).to_vec(),
        }
    }
}

/// What to do with a job whose attempt failed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Try again after `steps[step]`, with this many attempts behind it.
    Retry {
        /// Index into [`RetryPolicy::steps`].
        step: usize,
        /// Attempts spent so far, this one included.
        attempts: u32,
    },
    /// Publish a failed outcome with this many attempts.
    Fail {
        /// Attempts spent, this one included.
        attempts: u32,
    },
}

impl RetryPolicy {
    /// Decides after an attempt failed with `class`, when `before` attempts had been spent already.
    ///
    /// An outage spends nothing: it waits the first step with the same count.
    #[must_use]
    pub fn decide(&self, class: FailureClass, before: u32) -> Decision {
        let attempts = before.saturating_add(1);
        let limit = match class {
            FailureClass::Permanent => 1,
            FailureClass::Transient => self.transient_attempts,
            FailureClass::Crash => self.crash_attempts,
            FailureClass::Quality => self.quality_attempts,
            FailureClass::Outage => return Decision::Retry { step: 0, attempts: before },
        };
        if attempts >= limit {
            return Decision::Fail { attempts };
        }
        let last = self.steps.len().saturating_sub(1);
        Decision::Retry { step: (before as usize).min(last), attempts }
    }
}

/// Full-jitter exponential backoff (as described in "Exponential Backoff And Jitter", AWS Architecture Blog, 2015),
/// for reconnecting: a duration between `floor` and `floor`·2^`attempt`, capped at `cap`.
///
/// `random` is uniform in 0..1.
#[must_use]
pub fn backoff(attempt: u32, floor: Duration, cap: Duration, random: f64) -> Duration {
    let top = floor.saturating_mul(2_u32.saturating_pow(attempt.min(30))).min(cap);
    floor.min(cap) + top.saturating_sub(floor).mul_f64(random.clamp(0.0, 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn transient_failures_wait_longer_each_time_and_end() {
        let policy = RetryPolicy::default();
        let decisions: Vec<_> =
            (0..6).map(|before| policy.decide(FailureClass::Transient, before)).collect();
        assert_eq!(
            decisions,
            [
                Decision::Retry { step: 0, attempts: 1 },
                Decision::Retry { step: 1, attempts: 2 },
                Decision::Retry { step: 2, attempts: 3 },
                Decision::Retry { step: 3, attempts: 4 },
                Decision::Retry { step: 3, attempts: 5 },
                Decision::Fail { attempts: 6 },
            ]
        );
    }

    #[test]
    fn a_permanent_failure_ends_at_once_and_the_second_crash_ends() {
        let policy = RetryPolicy::default();
        assert_eq!(policy.decide(FailureClass::Permanent, 0), Decision::Fail { attempts: 1 });
        assert_eq!(policy.decide(FailureClass::Crash, 0), Decision::Retry { step: 0, attempts: 1 });
        assert_eq!(policy.decide(FailureClass::Crash, 1), Decision::Fail { attempts: 2 });
    }

    #[test]
    fn an_outage_never_spends_an_attempt() {
        let policy = RetryPolicy::default();
        for before in [0, 5, 1_000_000] {
            assert_eq!(
                policy.decide(FailureClass::Outage, before),
                Decision::Retry { step: 0, attempts: before }
            );
        }
    }

    #[test]
    fn backoff_stays_between_floor_and_cap() {
        let (floor, cap) = (Duration::from_millis(200), Duration::from_secs(30));
        for attempt in [0, 1, 5, 40, u32::MAX] {
            for random in [0.0, 0.5, 1.0] {
                let wait = backoff(attempt, floor, cap, random);
                assert!((floor..=cap).contains(&wait), "{attempt} {random} {wait:?}");
            }
        }
    }
}
