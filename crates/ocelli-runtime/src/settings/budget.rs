//! `[[budget]]`: what may be spent.

use ocelli_core::spend::parse_micros;
use ocelli_core::{AnalyzerName, Budget, Limit, Period};
use serde::Deserialize;

/// Fields of one budget.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BudgetTable {
    analyzer: Option<AnalyzerName>,
    batch: Option<String>,
    per: Period,
    money: Option<String>,
    tokens: Option<u64>,
}

impl BudgetTable {
    /// The budget.
    ///
    /// # Errors
    /// What was expected, in words.
    pub(crate) fn budget(self) -> Result<Budget, String> {
        let limit = match (self.money, self.tokens) {
            (Some(money), None) => money_of(&money).ok_or_else(|| {
                format!("money = \"{money}\": expected an amount with at most six decimals and a currency, such as \"25 USD\"")
            })?,
            (None, Some(tokens)) => Limit::Tokens(tokens),
            _ => return Err("expected either money or tokens".to_owned()),
        };
        if self.batch.as_deref().is_some_and(|name| name.trim().is_empty()) {
            return Err(
                "batch: expected the name of a batch, * stands for any characters".to_owned()
            );
        }
        Ok(Budget { analyzer: self.analyzer, batch: self.batch, period: self.per, limit })
    }
}

fn money_of(text: &str) -> Option<Limit> {
    let (amount, currency) = text.trim().split_once(' ')?;
    let is_currency = currency.len() == 3 && currency.bytes().all(|b| b.is_ascii_uppercase());
    let micros = parse_micros(amount).filter(|_| is_currency)?;
    Some(Limit::Money { micros, currency: currency.to_owned() })
}
