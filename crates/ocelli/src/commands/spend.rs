//! `ocelli status --spend`: what models cost, and how budgets stand.

use std::collections::BTreeMap;

use ocelli_catalog::{BudgetState, Catalog, SpendRow, amount};
use ocelli_core::{AnalyzerName, Limit, Micros, Period};
use ocelli_runtime::Settings;
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::table::table;

/// What `ocelli status --spend` adds.
#[derive(Debug, Serialize)]
pub(crate) struct Spending {
    /// By month, analyzer, currency, model and batch; money in millionths.
    spend: Vec<SpendRow>,
    budgets: Vec<Standing>,
}

#[derive(Debug, Serialize)]
struct Standing {
    /// In words.
    budget: String,
    analyzer: Option<AnalyzerName>,
    batch: Option<String>,
    per: Period,
    currency: Option<String>,
    /// In millionths of the currency, or tokens.
    limit: u64,
    spent: u64,
    left: u64,
    reached: bool,
    /// What is spent and what is left, for people.
    #[serde(skip)]
    shown: [String; 2],
}

impl Spending {
    pub(crate) async fn read(settings: &Settings, catalog: &Catalog) -> Result<Self, Fault> {
        let states = catalog.budgets(&settings.budgets).await?;
        Ok(Self {
            spend: catalog.spend().await?,
            budgets: states.iter().map(Standing::new).collect(),
        })
    }

    /// What each analyzer has cost in a month (202611): in each currency, in tokens where there was no price.
    pub(crate) fn of_month(&self, month: i64) -> BTreeMap<AnalyzerName, String> {
        let mut sums: BTreeMap<(&AnalyzerName, &str), (u64, u64)> = BTreeMap::new();
        for row in self.spend.iter().filter(|row| row.month == month) {
            let currency = row.currency.as_deref().unwrap_or_default();
            let (micros, tokens) = sums.entry((&row.analyzer, currency)).or_default();
            *micros = micros.saturating_add(row.micros);
            *tokens = tokens.saturating_add(row.tokens_in.saturating_add(row.tokens_out));
        }
        let mut texts: BTreeMap<AnalyzerName, String> = BTreeMap::new();
        for ((analyzer, currency), (micros, tokens)) in sums {
            let text = texts.entry(analyzer.clone()).or_default();
            if !text.is_empty() {
                text.push_str(" and ");
            }
            text.push_str(&match currency {
                "" => format!("{tokens} tokens"),
                currency => format!("{} {currency}", Micros(micros)),
            });
        }
        texts
    }

    /// Budgets in words, with the part of each that is spent.
    pub(crate) fn used(&self) -> Vec<(String, f64)> {
        let used =
            |one: &Standing| (one.budget.clone(), one.spent as f64 / one.limit.max(1) as f64);
        self.budgets.iter().map(used).collect()
    }

    pub(crate) fn text(&self) -> String {
        let mut lines = Vec::new();
        let mut sums: BTreeMap<_, [u64; 6]> = BTreeMap::new();
        for row in &self.spend {
            let currency = row.currency.as_deref().unwrap_or_default();
            let sum =
                sums.entry((std::cmp::Reverse(row.month), &row.analyzer, currency)).or_default();
            let more = [
                row.calls,
                row.tokens_in,
                row.tokens_out,
                row.micros,
                row.wasted_tokens,
                row.wasted_micros,
            ];
            for (sum, more) in sum.iter_mut().zip(more) {
                *sum += more;
            }
        }
        if sums.is_empty() {
            lines.push("no model was asked yet".to_owned());
        } else {
            let rows = sums.iter().map(|((month, analyzer, currency), sum)| {
                let money = |micros| match *currency {
                    "" => "-".to_owned(),
                    currency => format!("{} {currency}", Micros(micros)),
                };
                let month = format!("{}-{:02}", month.0 / 100, month.0 % 100);
                let [calls, read, written, paid, wasted_tokens, wasted_money] = *sum;
                let [calls, read, written, wasted_tokens] =
                    [calls, read, written, wasted_tokens].map(|count| count.to_string());
                let (paid, wasted_money) = (money(paid), money(wasted_money));
                vec![
                    analyzer.to_string(),
                    month,
                    calls,
                    read,
                    written,
                    paid,
                    wasted_tokens,
                    wasted_money,
                ]
            });
            let header = [
                "analyzer",
                "month",
                "calls",
                "tokens in",
                "tokens out",
                "money",
                "wasted tokens",
                "wasted money",
            ];
            lines.push(table(&header, &rows.collect::<Vec<_>>(), true));
        }
        if !self.budgets.is_empty() {
            let header = ["budget", "spent", "left", "state"];
            let rows: Vec<_> = self.budgets.iter().map(Standing::cells).collect();
            lines.push(String::new());
            lines.push(table(&header, &rows, false));
        }
        lines.join("\n")
    }
}

impl Standing {
    fn new(state: &BudgetState) -> Self {
        let BudgetState { budget, spent } = state;
        Self {
            budget: budget.to_string(),
            analyzer: budget.analyzer.clone(),
            batch: budget.batch.clone(),
            per: budget.period,
            currency: match &budget.limit {
                Limit::Money { currency, .. } => Some(currency.clone()),
                Limit::Tokens(_) => None,
            },
            limit: budget.most(),
            spent: *spent,
            left: budget.most().saturating_sub(*spent),
            reached: state.is_reached(),
            shown: [
                amount(&budget.limit, *spent),
                amount(&budget.limit, budget.most().saturating_sub(*spent)),
            ],
        }
    }

    fn cells(&self) -> Vec<String> {
        let [spent, left] = self.shown.clone();
        let state = if self.reached { "used up" } else { "open" };
        vec![self.budget.clone(), spent, left, state.to_owned()]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_month_is_summed_by_analyzer_and_currency() {
        let row = |month, analyzer: &str, currency: Option<&str>, micros, tokens| SpendRow {
            month,
            analyzer: analyzer.parse().unwrap(),
            currency: currency.map(str::to_owned),
            model: "model".to_owned(),
            batch: None,
            calls: 1,
            tokens_in: tokens,
            tokens_out: 1,
            micros,
            wasted_tokens: 0,
            wasted_micros: 0,
        };
        let spend = vec![
            row(202_611, "gemma3", Some("USD"), 12_000_000, 100),
            row(202_611, "gemma3", Some("USD"), 500_000, 100),
            row(202_611, "gemma3", Some("EUR"), 1, 100),
            row(202_611, "llava", None, 0, u64::MAX),
            row(202_610, "gemma3", Some("USD"), 99_000_000, 100),
        ];
        let spending = Spending { spend, budgets: Vec::new() };
        let texts: Vec<_> = spending.of_month(202_611).into_values().collect();
        assert_eq!(texts, ["0.000001 EUR and 12.5 USD", "18446744073709551615 tokens"]);
        assert!(spending.of_month(202_612).is_empty());
    }
}
