//! What one answer took, and where that is written down.

use jiff::Timestamp;
use jiff::tz::TimeZone;
use ocelli_core::Provenance;

use crate::completion::Completion;
use crate::prices::Prices;

/// Tokens and money of one answer, as far as the server counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Spent {
    pub(crate) tokens_in: Option<u64>,
    pub(crate) tokens_out: Option<u64>,
    pub(crate) micros: Option<u64>,
}

impl Spent {
    /// For an answer that came at `now`.
    pub(crate) fn on(completion: &Completion, prices: &Prices, now: Timestamp) -> Self {
        let (tokens_in, tokens_out) = (completion.tokens_in, completion.tokens_out);
        let day = TimeZone::UTC.to_datetime(now).date();
        Self { tokens_in, tokens_out, micros: prices.cost_micros(day, tokens_in, tokens_out) }
    }

    pub(crate) fn tokens(self) -> u64 {
        self.tokens_in.unwrap_or(0).saturating_add(self.tokens_out.unwrap_or(0))
    }

    /// Adds it to the sums of an analysis.
    pub(crate) fn add_to(self, provenance: &mut Provenance, currency: &str) {
        let add = |sum: &mut Option<u64>, more: Option<u64>| {
            if let Some(more) = more {
                *sum = Some(sum.unwrap_or(0).saturating_add(more));
            }
        };
        add(&mut provenance.tokens_in, self.tokens_in);
        add(&mut provenance.tokens_out, self.tokens_out);
        add(&mut provenance.cost_micros, self.micros);
        provenance.calls = provenance.calls.saturating_add(1);
        if self.micros.is_some() {
            provenance.currency = Some(currency.to_owned());
        }
    }

    /// Notes that its answer was not kept.
    pub(crate) fn is_waste(self, provenance: &mut Provenance) {
        provenance.wasted_tokens = provenance.wasted_tokens.saturating_add(self.tokens());
        provenance.wasted_cost_micros =
            provenance.wasted_cost_micros.saturating_add(self.micros.unwrap_or(0));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spent(tokens_in: u64, tokens_out: u64, micros: u64) -> Spent {
        Spent { tokens_in: Some(tokens_in), tokens_out: Some(tokens_out), micros: Some(micros) }
    }

    #[test]
    fn an_analysis_holds_all_calls_and_their_waste_apart() {
        let mut provenance = Provenance::default();
        let (bad, good) = (spent(100, 50, 45), spent(100, 40, 39));
        bad.add_to(&mut provenance, "USD");
        bad.is_waste(&mut provenance);
        good.add_to(&mut provenance, "USD");
        Spent::default().add_to(&mut provenance, "USD");
        assert_eq!((provenance.tokens_in, provenance.tokens_out), (Some(200), Some(90)));
        assert_eq!((provenance.calls, provenance.wasted_tokens), (3, 150));
        assert_eq!((provenance.cost_micros, provenance.wasted_cost_micros), (Some(84), 45));
        assert_eq!(provenance.currency.as_deref(), Some("USD"));
    }

    #[test]
    fn without_a_price_there_is_no_cost_and_no_currency() {
        let mut provenance = Provenance::default();
        Spent { micros: None, ..spent(1, 1, 0) }.add_to(&mut provenance, "USD");
        assert_eq!((provenance.cost_micros, provenance.currency), (None, None));
    }
}
