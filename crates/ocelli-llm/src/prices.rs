//! What a call costs, from a table of dated prices. Pure: the date is an argument.

use jiff::civil::Date;

/// From `since` on (UTC) tokens cost this much, in units of the analyzer's currency.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Price {
    /// The first day of this price.
    pub since: Date,
    /// For a million tokens that the model reads.
    pub input_per_million: f64,
    /// For a million tokens that the model writes.
    pub output_per_million: f64,
}

/// All prices of one analyzer, in one currency, so that sums never mix currencies.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Prices {
    /// ISO 4217: `USD`.
    pub currency: String,
    /// Each later than the one before. Empty: what calls cost is not known.
    pub table: Vec<Price>,
}

impl Prices {
    /// Millionths of the currency for a call on `day`. None when there is no price for that day, or the server counted
    /// nothing: a guess is no entry of a ledger.
    #[must_use]
    pub fn cost_micros(
        &self,
        day: Date,
        tokens_in: Option<u64>,
        tokens_out: Option<u64>,
    ) -> Option<u64> {
        let price = self.table.iter().rev().find(|price| price.since <= day)?;
        if tokens_in.is_none() && tokens_out.is_none() {
            return None;
        }
        // A price for a million tokens is as many millionths for one.
        let read = tokens_in.unwrap_or(0) as f64 * price.input_per_million;
        let written = tokens_out.unwrap_or(0) as f64 * price.output_per_million;
        Some((read + written).round() as u64)
    }

    /// What cannot be a table of prices, in words.
    pub(crate) fn problem(&self) -> Option<&'static str> {
        let is_price = |price: f64| (0.0..=1e9).contains(&price);
        if !self
            .table
            .iter()
            .all(|price| is_price(price.input_per_million) && is_price(price.output_per_million))
        {
            return Some("prices of 0 or more");
        }
        if !self.table.windows(2).all(|pair| pair[0].since < pair[1].since) {
            return Some("dates that are each later than the one before");
        }
        let letters =
            self.currency.len() == 3 && self.currency.bytes().all(|b| b.is_ascii_uppercase());
        (!self.table.is_empty() && !letters).then_some("a currency of three letters")
    }
}

#[cfg(test)]
mod tests {
    use jiff::civil::date;

    use super::*;

    fn prices() -> Prices {
        let price = |since, input_per_million, output_per_million| Price {
            since,
            input_per_million,
            output_per_million,
        };
        Prices {
            currency: "USD".to_owned(),
            table: vec![price(date(2026, 1, 1), 0.15, 0.6), price(date(2026, 7, 1), 0.1, 0.4)],
        }
    }

    #[test]
    fn a_call_costs_what_was_in_force_on_its_day() {
        let cost = |day| prices().cost_micros(day, Some(1_000_000), Some(500_000));
        assert_eq!(cost(date(2025, 12, 31)), None);
        assert_eq!(cost(date(2026, 1, 1)), Some(450_000));
        assert_eq!(cost(date(2026, 6, 30)), Some(450_000));
        assert_eq!(cost(date(2026, 7, 1)), Some(300_000));
    }

    #[test]
    fn small_calls_are_rounded_and_what_was_not_counted_has_no_price() {
        let day = date(2026, 1, 1);
        assert_eq!(prices().cost_micros(day, Some(3), Some(1)), Some(1));
        assert_eq!(prices().cost_micros(day, None, Some(1000)), Some(600));
        assert_eq!(prices().cost_micros(day, None, None), None);
        assert_eq!(Prices::default().cost_micros(day, Some(1), Some(1)), None);
        assert!(prices().cost_micros(day, Some(u64::MAX), Some(u64::MAX)).is_some());
    }

    #[test]
    fn what_is_no_table_of_prices_is_named() {
        assert_eq!(prices().problem(), None);
        assert_eq!(Prices::default().problem(), None);
        let spoilt = |spoil: fn(&mut Prices)| {
            let mut prices = prices();
            spoil(&mut prices);
            prices.problem().unwrap()
        };
        assert!(spoilt(|p| p.table[0].input_per_million = f64::NAN).contains("0 or more"));
        assert!(spoilt(|p| p.table[0].output_per_million = -0.1).contains("0 or more"));
        assert!(spoilt(|p| p.table.reverse()).contains("later"));
        assert!(spoilt(|p| p.currency = "dollars".to_owned()).contains("three letters"));
    }
}
