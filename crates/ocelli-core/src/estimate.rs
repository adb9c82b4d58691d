//! What so many jobs will take, from what others took. Pure.
//!
//! The likely figure is the mean of what was measured times the number of jobs. The range is that of images as cheap and as
//! dear as the tenth and the ninetieth of a hundred that were measured: other images may be of another kind, so it does not
//! narrow with their number. What was not measured is not known, and no guess stands in for it.

use std::time::Duration;

use serde::Serialize;

use crate::Provenance;

/// A figure with its range.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Range {
    /// If all jobs were as cheap as the tenth of a hundred.
    pub low: f64,
    /// The mean.
    pub likely: f64,
    /// If all jobs were as dear as the ninetieth of a hundred.
    pub high: f64,
}

/// What jobs will take.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Estimate {
    /// Tokens, read and written, retries included.
    pub tokens: Option<Range>,
    /// Money, in units of `currency`.
    pub money: Option<Range>,
    /// ISO 4217: that of the latest answer with a price.
    pub currency: Option<String>,
    /// Hours with one slot.
    pub slot_hours: Option<Range>,
    /// Hours with all slots; none where there are no slots.
    pub hours: Option<Range>,
}

/// Estimates `jobs` jobs on `slots` slots from answers, the latest first.
#[must_use]
pub fn estimate(jobs: u64, slots: u32, measured: &[&Provenance]) -> Estimate {
    let tokens = measured.iter().filter_map(|how| match (how.tokens_in, how.tokens_out) {
        (None, None) => None,
        (read, written) => Some((read.unwrap_or(0).saturating_add(written.unwrap_or(0))) as f64),
    });
    let priced = || measured.iter().filter(|how| how.cost_micros.is_some());
    let currency = priced().find_map(|how| how.currency.clone());
    let money = priced()
        .filter(|how| how.currency == currency)
        .filter_map(|how| how.cost_micros)
        .map(|micros| micros as f64 / 1_000_000.0);
    let hours = |how: &&Provenance| Duration::from_millis(how.took_ms).as_secs_f64() / 3600.0;
    let slot_hours = range(jobs, measured.iter().map(hours));
    Estimate {
        tokens: range(jobs, tokens),
        money: range(jobs, money).filter(|_| currency.is_some()),
        currency,
        slot_hours,
        hours: slot_hours.filter(|_| slots > 0).map(|all| all.times(1.0 / f64::from(slots))),
    }
}

impl Range {
    fn times(self, factor: f64) -> Self {
        Self { low: self.low * factor, likely: self.likely * factor, high: self.high * factor }
    }
}

fn range(jobs: u64, each: impl Iterator<Item = f64>) -> Option<Range> {
    let mut sorted: Vec<f64> = each.collect();
    sorted.sort_by(f64::total_cmp);
    let last = sorted.len().checked_sub(1)?;
    let mean = sorted.iter().sum::<f64>() / sorted.len() as f64;
    let place = |part: f64| sorted[(part * last as f64).round() as usize];
    // Of few values, or of very unequal ones, the mean may lie outside.
    let one = Range { low: place(0.1).min(mean), likely: mean, high: place(0.9).max(mean) };
    Some(one.times(jobs as f64))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(took_ms: u64, tokens: Option<u64>, cost: Option<(u64, &str)>) -> Provenance {
        Provenance {
            took_ms,
            tokens_in: tokens,
            tokens_out: tokens.map(|tokens| tokens / 10),
            cost_micros: cost.map(|(micros, _)| micros),
            currency: cost.map(|(_, currency)| currency.to_owned()),
            ..Provenance::default()
        }
    }

    #[test]
    fn what_was_measured_is_multiplied_and_has_a_range() {
        let all: Vec<_> = (1..=100)
            .map(|n| answer(n * 36_000, Some(n * 10), Some((n * 10_000, "USD"))))
            .collect();
        let measured: Vec<_> = all.iter().collect();
        let found = estimate(1000, 4, &measured);
        let near = |range: Option<Range>, low: f64, likely: f64, high: f64| {
            let range = range.unwrap();
            for (is, should) in [(range.low, low), (range.likely, likely), (range.high, high)] {
                assert!((is - should).abs() < should / 50.0, "{range:?} {should}");
            }
        };
        near(found.tokens, 121_000.0, 555_500.0, 990_000.0);
        near(found.money, 110.0, 505.0, 900.0);
        near(found.slot_hours, 110.0, 505.0, 900.0);
        near(found.hours, 27.5, 126.25, 225.0);
        assert_eq!(found.currency.as_deref(), Some("USD"));
    }

    #[test]
    fn what_was_not_measured_is_not_known() {
        let nothing = estimate(1000, 4, &[]);
        assert_eq!((nothing.tokens, nothing.money, nothing.slot_hours), (None, None, None));
        let free = answer(90, None, None);
        let found = estimate(10, 0, &[&free]);
        assert!(found.tokens.is_none() && found.money.is_none() && found.hours.is_none());
        assert!(found.slot_hours.is_some());
    }

    #[test]
    fn money_of_another_currency_is_not_added() {
        let (new, old) = (answer(1, None, Some((5, "EUR"))), answer(1, None, Some((500, "USD"))));
        let found = estimate(1_000_000, 1, &[&new, &old]);
        assert_eq!((found.currency.as_deref(), found.money.unwrap().likely), (Some("EUR"), 5.0));
    }
}
