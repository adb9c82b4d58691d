//! What attempts cost, and how much they may cost together.
//!
//! Money is counted in whole millionths of a currency, so that sums are exact and do not depend on their order.

use std::fmt;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use serde::{Deserialize, Serialize};

use crate::{AnalyzerName, BatchId, Provenance, Revision};

/// One attempt at one job: a random UUID. Whatever says what an attempt cost names it, so that it is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct AttemptId(uuid::Uuid);

impl AttemptId {
    /// From 128 random bits of the caller.
    #[must_use]
    pub fn new(random: u128) -> Self {
        Self(uuid::Builder::from_random_bytes(random.to_be_bytes()).into_uuid())
    }

    /// Wraps 16 bytes.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 16]) -> Self {
        Self(uuid::Uuid::from_bytes(bytes))
    }

    /// Its 16 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 16] {
        self.0.as_bytes()
    }
}

/// What one attempt cost that led to no outcome.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Which attempt.
    pub attempt: AttemptId,
    /// The revision that was asked.
    pub revision: Revision,
    /// The batch that pays.
    #[serde(default)]
    pub batch: Option<BatchId>,
    /// Model name.
    #[serde(default)]
    pub model: Option<String>,
    /// Answers that came.
    #[serde(default)]
    pub calls: u32,
    /// Tokens read.
    #[serde(default)]
    pub tokens_in: u64,
    /// Tokens written.
    #[serde(default)]
    pub tokens_out: u64,
    /// Millionths of the currency, where a price is known.
    #[serde(default)]
    pub cost_micros: u64,
    /// ISO 4217.
    #[serde(default)]
    pub currency: Option<String>,
    /// When the attempt ended: decides the month.
    pub at: Timestamp,
}

impl Spent {
    /// The cost that `provenance` notes; none when nothing was answered in that attempt.
    #[must_use]
    pub fn of(provenance: &Provenance, revision: &Revision, at: Timestamp) -> Option<Self> {
        let attempt = provenance.attempt?;
        provenance.has_cost().then(|| Self {
            attempt,
            revision: revision.clone(),
            batch: provenance.batch,
            model: provenance.model.clone(),
            calls: provenance.calls,
            tokens_in: provenance.tokens_in.unwrap_or(0),
            tokens_out: provenance.tokens_out.unwrap_or(0),
            cost_micros: provenance.cost_micros.unwrap_or(0),
            currency: provenance.currency.clone(),
            at,
        })
    }
}

/// A month of the calendar in UTC, as the number 202611.
#[must_use]
pub fn month(at: Timestamp) -> i64 {
    let date = TimeZone::UTC.to_datetime(at).date();
    i64::from(date.year()) * 100 + i64::from(date.month())
}

/// A bound on what may be spent. Reaching it pauses what it is about; what is under way is finished.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Budget {
    /// Only calls of this analyzer; all analyzers together where none is named.
    pub analyzer: Option<AnalyzerName>,
    /// Only jobs of batches with this name, in which `*` stands for any characters.
    pub batch: Option<String>,
    /// The time over which it counts.
    pub period: Period,
    /// How much.
    pub limit: Limit,
}

/// The time over which a budget counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Period {
    /// The month of the calendar, UTC.
    Month,
    /// Since the archive began.
    Total,
}

/// How much may be spent.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Limit {
    /// Money.
    Money {
        /// Millionths of the currency.
        micros: u64,
        /// ISO 4217.
        currency: String,
    },
    /// Tokens, read and written.
    Tokens(u64),
}

impl Budget {
    /// Whether it bounds calls of this analyzer.
    #[must_use]
    pub fn covers(&self, analyzer: &AnalyzerName) -> bool {
        self.analyzer.as_ref().is_none_or(|one| one == analyzer)
    }

    /// Its limit as one number: millionths of its currency, or tokens.
    #[must_use]
    pub const fn most(&self) -> u64 {
        match &self.limit {
            Limit::Money { micros, .. } => *micros,
            Limit::Tokens(tokens) => *tokens,
        }
    }
}

/// `25 USD per month for analyzer gpt, batch news-*`
impl fmt::Display for Budget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.limit {
            Limit::Money { micros, currency } => write!(f, "{} {currency}", Micros(*micros))?,
            Limit::Tokens(tokens) => write!(f, "{tokens} tokens")?,
        }
        f.write_str(match self.period {
            Period::Month => " per month",
            Period::Total => " in all",
        })?;
        match (&self.analyzer, &self.batch) {
            (None, None) => f.write_str(" for all analyzers"),
            (Some(analyzer), None) => write!(f, " for {analyzer}"),
            (None, Some(batch)) => write!(f, " for batch '{batch}'"),
            (Some(analyzer), Some(batch)) => write!(f, " for {analyzer}, batch '{batch}'"),
        }
    }
}

/// Millionths as a decimal number: `1.5`, `0.000039`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Micros(pub u64);

impl fmt::Display for Micros {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (whole, rest) = (self.0 / 1_000_000, self.0 % 1_000_000);
        if rest == 0 {
            return f.pad(&whole.to_string());
        }
        let decimals = format!("{rest:06}");
        f.pad(&format!("{whole}.{}", decimals.trim_end_matches('0')))
    }
}

/// Reads `25`, `0.5`, `0.000039`: at most six decimals, so that nothing is rounded.
#[must_use]
pub fn parse_micros(text: &str) -> Option<u64> {
    let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
    let digits = |part: &str| !part.is_empty() && part.bytes().all(|byte| byte.is_ascii_digit());
    if !digits(whole) || !digits(decimals) || decimals.len() > 6 {
        return None;
    }
    let rest: u64 = format!("{decimals:0<6}").parse().ok()?;
    whole.parse::<u64>().ok()?.checked_mul(1_000_000)?.checked_add(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn money_is_read_and_written_exactly() {
        for (text, micros) in [("25", 25_000_000), ("0.5", 500_000), ("0.000039", 39)] {
            assert_eq!(parse_micros(text), Some(micros));
            assert_eq!(Micros(micros).to_string(), text);
        }
        for text in ["", ".5", "1.", "-1", "1.0000001", "1e3", "99999999999999999999", "1,5"] {
            assert_eq!(parse_micros(text), None, "{text}");
        }
    }

    #[test]
    fn months_are_those_of_utc() {
        assert_eq!(month("2026-11-30T23:59:59.999Z".parse().unwrap()), 202_611);
        assert_eq!(month("2026-12-01T00:30:00+01:00".parse().unwrap()), 202_611);
        assert_eq!(month("2026-12-01T00:00:00Z".parse().unwrap()), 202_612);
    }

    #[test]
    fn a_budget_says_what_it_is_about() {
        let budget = Budget {
            analyzer: Some("gpt".parse().unwrap()),
            batch: Some("news-*".to_owned()),
            period: Period::Month,
            limit: Limit::Money { micros: 12_500_000, currency: "USD".to_owned() },
        };
        assert_eq!(budget.to_string(), "12.5 USD per month for gpt, batch 'news-*'");
        assert!(budget.covers(&"gpt".parse().unwrap()) && !budget.covers(&"ocr".parse().unwrap()));
        let budget =
            Budget { analyzer: None, batch: None, period: Period::Total, limit: Limit::Tokens(7) };
        assert_eq!(budget.to_string(), "7 tokens in all for all analyzers");
        assert_eq!(budget.most(), 7);
    }
}
