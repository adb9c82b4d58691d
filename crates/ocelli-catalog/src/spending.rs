//! What models cost and how budgets stand, as it is asked; [`crate::payments`] writes it down.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, BatchId, Budget, Limit, Micros, Period};
use serde::Serialize;

use crate::catalog::{Catalog, Store, ask, snapshot};
use crate::error::{CatalogError, Fault};
use crate::gather::clean;
use crate::payments::{SumColumns, columns_of_sum, sum_columns};
use crate::rows::{Read, number, parse};

/// Spending of one analyzer, model and batch in one month.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct SpendRow {
    /// Month of UTC: 202611.
    pub month: i64,
    /// Analyzer.
    pub analyzer: AnalyzerName,
    /// ISO 4217; none where no price is known.
    pub currency: Option<String>,
    /// Model name.
    pub model: String,
    /// The batch that pays.
    pub batch: Option<BatchId>,
    /// Answers that came.
    pub calls: u64,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Money.
    pub micros: u64,
    /// Tokens that led to no kept answer; part of the two above.
    pub wasted_tokens: u64,
    /// Money that led to no kept answer; part of the above.
    pub wasted_micros: u64,
}

/// How a budget stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BudgetState {
    /// Which.
    pub budget: Budget,
    /// What counts against it, in its unit: what is written down, and what is on its way here.
    pub spent: u64,
}

impl BudgetState {
    /// Whether it is used up.
    #[must_use]
    pub const fn is_reached(&self) -> bool {
        self.spent >= self.budget.most()
    }

    /// Why work waits because of it, and when it goes on.
    #[must_use]
    pub fn reason(&self) -> String {
        over(&self.budget)
    }
}

/// Why work waits because of a budget. The same text as long as it does, whatever is still counted meanwhile.
pub(crate) fn over(budget: &Budget) -> String {
    let until = match budget.period {
        Period::Month => "next month, or when the budget is raised",
        Period::Total => "when the budget is raised",
    };
    format!("the budget of {budget} is used up; it goes on {until}")
}

/// What counts against a budget.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Sum {
    pub(crate) micros: u64,
    pub(crate) tokens: u64,
}

impl Sum {
    pub(crate) fn read((micros, tokens): (i64, i64)) -> Read<Self> {
        Ok(Self { micros: number("sum", micros)?, tokens: number("sum", tokens)? })
    }

    pub(crate) const fn of(self, limit: &Limit) -> u64 {
        match limit {
            Limit::Money { .. } => self.micros,
            Limit::Tokens(_) => self.tokens,
        }
    }

    pub(crate) const fn reaches(self, limit: &Limit) -> bool {
        match limit {
            Limit::Money { micros, .. } => self.micros >= *micros,
            Limit::Tokens(tokens) => self.tokens >= *tokens,
        }
    }
}

/// The statement that sums what counts against a budget: `$1` analyzer, `$2` whether only this month, `$3` pattern of
/// batch names, `$4` currency. `$like` compares with a pattern of the backend, `$month` is the month of its clock.
macro_rules! sum_of_budget {
    ($like:literal, $month:literal) => {
        concat!(
            "SELECT CAST(COALESCE(SUM(micros), 0) AS BIGINT), CAST(COALESCE(SUM(tokens), 0) AS BIGINT) FROM \
             (SELECT s.micros AS micros, s.tokens_in + s.tokens_out AS tokens FROM spend s \
             LEFT JOIN batches b ON b.batch = s.batch \
             WHERE (CAST($1 AS TEXT) IS NULL OR s.analyzer = $1) AND (NOT $2 OR s.month = ",
            $month,
            ") AND (CAST($3 AS TEXT) IS NULL OR b.name ",
            $like,
            " $3) AND (CAST($4 AS TEXT) IS NULL OR s.currency = $4) UNION ALL \
             SELECT c.micros, c.tokens_in + c.tokens_out FROM claims c LEFT JOIN batches b ON b.batch = c.batch \
             WHERE (CAST($1 AS TEXT) IS NULL OR c.analyzer = $1) AND (CAST($3 AS TEXT) IS NULL OR b.name ",
            $like,
            " $3) AND (CAST($4 AS TEXT) IS NULL OR c.currency = $4)) AS counted"
        )
    };
}
pub(crate) use sum_of_budget;

impl Catalog {
    /// All that models cost, the latest month first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn spend(&self) -> Result<Vec<SpendRow>, CatalogError> {
        let rows: Vec<SumColumns> = ask!(self, "list spending", pool => sqlx::query_as(concat!(
            "SELECT ", columns_of_sum!(), " FROM spend WHERE calls > 0 OR tokens_in > 0 OR tokens_out > 0 OR micros > 0 ORDER BY month DESC, analyzer, currency, model, batch"
        ))
        .fetch_all(pool))?;
        let row = |row| -> Read<SpendRow> {
            let (sum, amounts) = sum_columns(row)?;
            let count = |value| number("sum", value);
            let currency = Some(sum.currency).filter(|currency| !currency.is_empty());
            let batch = (!sum.batch.is_empty()).then(|| crate::rows::batch(&sum.batch));
            Ok(SpendRow {
                month: sum.month,
                analyzer: sum.analyzer,
                currency,
                model: sum.model,
                batch: batch.transpose()?,
                calls: count(amounts.calls)?,
                tokens_in: count(amounts.tokens_in)?,
                tokens_out: count(amounts.tokens_out)?,
                micros: count(amounts.micros)?,
                wasted_tokens: count(amounts.wasted_tokens)?,
                wasted_micros: count(amounts.wasted_micros)?,
            })
        };
        rows.into_iter().map(row).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// How budgets stand, in their order.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn budgets(&self, budgets: &[Budget]) -> Result<Vec<BudgetState>, CatalogError> {
        if budgets.is_empty() {
            return Ok(Vec::new());
        }
        let sums = snapshot!(self, connection, backend => {
            let mut states = Vec::with_capacity(budgets.len());
            for budget in budgets {
                let spent = backend::sum(connection, budget).await?.of(&budget.limit);
                states.push(BudgetState { budget: budget.clone(), spent });
            }
            Ok::<_, Fault>(states)
        });
        self.timed("look at budgets", sums).await
    }

    /// Open jobs of images that batches of this name saw.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn open_of_batches(
        &self,
        analyzer: &AnalyzerName,
        pattern: &str,
    ) -> Result<u64, CatalogError> {
        let count = snapshot!(self, connection, backend => {
            backend::open_of_batches(connection, analyzer, pattern).await
        });
        let count = self.timed("count open jobs of batches", count).await?;
        number("count", count).map_err(|error| self.unreadable(error))
    }

    /// Analyzers that people have paused, with the reason.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn pauses(&self) -> Result<BTreeMap<AnalyzerName, String>, CatalogError> {
        let rows: Vec<(String, String)> = ask!(self, "list pauses", pool => sqlx::query_as(
            "SELECT analyzer, reason FROM pauses ORDER BY analyzer",
        )
        .fetch_all(pool))?;
        rows.into_iter()
            .map(|(analyzer, reason)| Ok((parse("analyzer name", &analyzer)?, reason)))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// Pauses an analyzer for this reason, or lets it go on. Answers whether that changed anything.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn set_pause(
        &self,
        analyzer: &AnalyzerName,
        reason: Option<(&str, Timestamp)>,
    ) -> Result<bool, CatalogError> {
        const PAUSE: &str = "INSERT INTO pauses (analyzer, at, reason) VALUES ($1, $2, $3) \
             ON CONFLICT (analyzer) DO UPDATE SET at = excluded.at, reason = excluded.reason";
        const RESUME: &str = "DELETE FROM pauses WHERE analyzer = $1";
        macro_rules! on {
            ($pool:expr) => {
                match reason {
                    Some((reason, at)) => {
                        let query = sqlx::query(PAUSE)
                            .bind(analyzer.as_str())
                            .bind(at.as_microsecond())
                            .bind(clean(reason));
                        self.timed("pause an analyzer", query.execute($pool)).await?.rows_affected()
                    }
                    None => {
                        let query = sqlx::query(RESUME).bind(analyzer.as_str());
                        self.timed("resume an analyzer", query.execute($pool))
                            .await?
                            .rows_affected()
                    }
                }
            };
        }
        let changed = match &self.store {
            Store::Sqlite(store) => on!(&store.write),
            Store::Postgres(store) => on!(&store.pool),
        };
        Ok(changed > 0)
    }
}

/// The unit of a limit, for people: `12.5 USD`, `3000 tokens`.
#[must_use]
pub fn amount(limit: &Limit, spent: u64) -> String {
    match limit {
        Limit::Money { currency, .. } => format!("{} {currency}", Micros(spent)),
        Limit::Tokens(_) => format!("{spent} tokens"),
    }
}
