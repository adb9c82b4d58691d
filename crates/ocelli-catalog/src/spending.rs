//! What models cost: one row per attempt, and sums of them.
//!
//! An attempt is counted when the first message about it is applied and never again, by its id. Its tokens and its money
//! are waste until its answer is the one that the archive keeps: tries inside an attempt that were rejected, attempts that
//! failed or were put off, and second answers to one job are all waste.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::spend::month;
use ocelli_core::wire::{Deferred, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, AttemptId, BatchId, Budget, Digest, Limit, Micros, OutcomeKind, Period,
};
use serde::Serialize;

use crate::catalog::{Catalog, Store, ask, snapshot};
use crate::error::{CatalogError, Fault};
use crate::gather::{clean, text_key};
use crate::rows::{Read, Rows, number, parse};
use ocelli_core::claim::JobKey;

/// The most that one attempt can cost, in tokens and in millionths: numbers beyond are a server's mistake, and sums must
/// stay numbers.
const MOST: u64 = 1_000_000_000_000;

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
             SELECT c.micros, c.tokens FROM claims c LEFT JOIN batches b ON b.batch = c.batch \
             WHERE (CAST($1 AS TEXT) IS NULL OR c.analyzer = $1) AND (CAST($3 AS TEXT) IS NULL OR b.name ",
            $like,
            " $3) AND (CAST($4 AS TEXT) IS NULL OR c.currency = $4)) AS counted"
        )
    };
}
pub(crate) use sum_of_budget;

/// Columns that name a sum.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct SumKey {
    pub(crate) month: i64,
    pub(crate) analyzer: AnalyzerName,
    pub(crate) currency: String,
    pub(crate) model: String,
    /// Empty when none is known.
    pub(crate) batch: Vec<u8>,
}

/// What is summed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Amounts {
    pub(crate) calls: i64,
    pub(crate) tokens_in: i64,
    pub(crate) tokens_out: i64,
    pub(crate) micros: i64,
    pub(crate) wasted_tokens: i64,
    pub(crate) wasted_micros: i64,
}

impl Amounts {
    fn add(&mut self, more: Self) {
        self.calls += more.calls;
        self.tokens_in += more.tokens_in;
        self.tokens_out += more.tokens_out;
        self.micros += more.micros;
        self.wasted_tokens += more.wasted_tokens;
        self.wasted_micros += more.wasted_micros;
    }

    /// All of it for nothing.
    const fn wasted(self) -> Self {
        let tokens = self.tokens_in + self.tokens_out;
        Self { wasted_tokens: tokens, wasted_micros: self.micros, ..self }
    }

    /// What becomes waste when an answer that was kept is kept no more.
    const fn turned_to_waste(self) -> Self {
        Self {
            calls: 0,
            tokens_in: 0,
            tokens_out: 0,
            micros: 0,
            wasted_tokens: self.tokens_in + self.tokens_out - self.wasted_tokens,
            wasted_micros: self.micros - self.wasted_micros,
        }
    }
}

/// One attempt and what it cost.
#[derive(Debug, Clone)]
pub(crate) struct Payment {
    pub(crate) job: JobKey,
    pub(crate) attempt: AttemptId,
    pub(crate) sum: SumKey,
    /// With the waste inside the attempt, as if its answer were kept.
    pub(crate) amounts: Amounts,
    pub(crate) kept: bool,
}

/// What messages say about costs and claims.
#[derive(Debug, Default)]
pub(crate) struct Costs {
    payments: BTreeMap<(JobKey, AttemptId), Payment>,
    /// Jobs with an analysis whose claims end.
    answered: BTreeSet<JobKey>,
    /// Attempts whose cost arrived here: it no longer counts as being on its way.
    arrived: Vec<(JobKey, AttemptId)>,
}

/// The part of a write transaction that knows payments.
pub(crate) trait Paying {
    /// Inserts rows; answers which of them were not there.
    async fn pay(&mut self, payments: &[&Payment]) -> Result<BTreeSet<AttemptId>, Fault>;
    /// The kept payments of these jobs but for those attempts are kept no more; answers what they were.
    async fn unkeep(
        &mut self,
        jobs: &[(&JobKey, AttemptId)],
    ) -> Result<Vec<(SumKey, Amounts)>, Fault>;
    async fn add_to_sums(&mut self, sums: &BTreeMap<SumKey, Amounts>) -> Result<(), Fault>;
    async fn end_answered(&mut self, jobs: &[&JobKey]) -> Result<(), Fault>;
    async fn forget_pending(&mut self, arrived: &[(JobKey, AttemptId)]) -> Result<(), Fault>;
}

impl Costs {
    /// Reads them out of messages.
    pub(crate) fn of(messages: &[Message]) -> Self {
        let mut costs = Self::default();
        for message in messages {
            match message {
                Message::Partial(partial) => costs.add_partial(partial),
                Message::Deferred(deferred) => costs.add_deferred(deferred),
                _ => {}
            }
        }
        costs
    }

    fn add_partial(&mut self, partial: &Partial) {
        let Partial { digest, analysis } = partial;
        let job = key(*digest, analysis);
        let provenance = &analysis.provenance;
        if provenance.attempt.is_some() {
            self.answered.insert(job.clone());
        }
        if !provenance.has_cost() {
            return;
        }
        let attempt = attempt(*digest, analysis);
        let amounts = Amounts {
            calls: i64::from(provenance.calls),
            tokens_in: bounded(provenance.tokens_in.unwrap_or(0)),
            tokens_out: bounded(provenance.tokens_out.unwrap_or(0)),
            micros: bounded(provenance.cost_micros.unwrap_or(0)),
            wasted_tokens: 0,
            wasted_micros: 0,
        };
        let amounts = Amounts {
            wasted_tokens: bounded(provenance.wasted_tokens)
                .min(amounts.tokens_in + amounts.tokens_out),
            wasted_micros: bounded(provenance.wasted_cost_micros).min(amounts.micros),
            ..amounts
        };
        let sum = sum_key(
            analysis.finished_at,
            &analysis.analyzer,
            provenance.currency.as_deref(),
            provenance.model.as_deref(),
            provenance.batch,
        );
        self.add(Payment { job, attempt, sum, amounts, kept: false });
    }

    fn add_deferred(&mut self, deferred: &Deferred) {
        let Some(spent) = &deferred.spent else { return };
        let job = JobKey {
            digest: deferred.digest,
            analyzer: deferred.analyzer.clone(),
            revision: spent.revision.clone(),
        };
        self.arrived.push((job.clone(), spent.attempt));
        let amounts = Amounts {
            calls: i64::from(spent.calls),
            tokens_in: bounded(spent.tokens_in),
            tokens_out: bounded(spent.tokens_out),
            micros: bounded(spent.cost_micros),
            ..Amounts::default()
        };
        let sum = sum_key(
            spent.at,
            &deferred.analyzer,
            spent.currency.as_deref(),
            spent.model.as_deref(),
            spent.batch,
        );
        self.add(Payment {
            job,
            attempt: spent.attempt,
            sum,
            amounts: amounts.wasted(),
            kept: false,
        });
    }

    fn add(&mut self, payment: Payment) {
        self.payments.entry((payment.job.clone(), payment.attempt)).or_insert(payment);
    }

    /// Writes them down, after the fold has decided which analyses stay: `rows` holds those that are written.
    pub(crate) async fn settle<U: Paying>(
        mut self,
        unit: &mut U,
        rows: &Rows,
    ) -> Result<(), Fault> {
        let mut kept = Vec::new();
        for (digest, analysis) in &rows.analyses {
            let id = (key(*digest, analysis), attempt(*digest, analysis));
            let is_answer =
                matches!(analysis.outcome.kind(), OutcomeKind::Done | OutcomeKind::Empty);
            if let Some(payment) = self.payments.get_mut(&id).filter(|_| is_answer) {
                payment.kept = true;
                kept.push(id);
            }
        }
        let mut sums: BTreeMap<SumKey, Amounts> = BTreeMap::new();
        if !kept.is_empty() {
            let jobs: Vec<_> = kept.iter().map(|(job, attempt)| (job, *attempt)).collect();
            for (sum, amounts) in unit.unkeep(&jobs).await? {
                sums.entry(sum).or_default().add(amounts.turned_to_waste());
            }
        }
        if !self.payments.is_empty() {
            let payments: Vec<&Payment> = self.payments.values().collect();
            let new = unit.pay(&payments).await?;
            for payment in payments.into_iter().filter(|payment| new.contains(&payment.attempt)) {
                let amounts = if payment.kept { payment.amounts } else { payment.amounts.wasted() };
                sums.entry(payment.sum.clone()).or_default().add(amounts);
            }
        }
        if !self.arrived.is_empty() {
            unit.forget_pending(&self.arrived).await?;
        }
        if !self.answered.is_empty() {
            unit.end_answered(&self.answered.iter().collect::<Vec<_>>()).await?;
        }
        // Last, because all collectors write these few rows.
        if !sums.is_empty() {
            unit.add_to_sums(&sums).await?;
        }
        Ok(())
    }
}

fn key(digest: Digest, analysis: &Analysis) -> JobKey {
    let (analyzer, revision) = (analysis.analyzer.clone(), analysis.revision.clone());
    JobKey { digest, analyzer, revision }
}

/// The id of the attempt. Messages of versions that named none get one that is always the same.
fn attempt(digest: Digest, analysis: &Analysis) -> AttemptId {
    analysis.provenance.attempt.unwrap_or_else(|| {
        let (revision, worker) = (&analysis.revision, &analysis.provenance.worker);
        let at = analysis.finished_at.as_microsecond();
        AttemptId::from_bytes(text_key(&format!("{digest} {revision} {at} {worker}")))
    })
}

pub(crate) fn bounded(count: u64) -> i64 {
    i64::try_from(count.min(MOST)).unwrap_or(0)
}

fn sum_key(
    at: Timestamp,
    analyzer: &AnalyzerName,
    currency: Option<&str>,
    model: Option<&str>,
    batch: Option<BatchId>,
) -> SumKey {
    SumKey {
        month: month(at),
        analyzer: analyzer.clone(),
        currency: clean(currency.unwrap_or_default()),
        // An index entry of PostgreSQL holds 2,704 bytes.
        model: clean(model.unwrap_or_default()).chars().take(200).collect(),
        batch: batch.map(|batch| batch.uuid().into_bytes().to_vec()).unwrap_or_default(),
    }
}

pub(crate) type SumColumns = (i64, String, String, String, Vec<u8>, i64, i64, i64, i64, i64, i64);

/// A row of sums, read back.
pub(crate) fn sum_columns(row: SumColumns) -> Read<(SumKey, Amounts)> {
    let (
        month,
        analyzer,
        currency,
        model,
        batch,
        calls,
        tokens_in,
        tokens_out,
        micros,
        tokens,
        money,
    ) = row;
    let analyzer = parse("analyzer name", &analyzer)?;
    let amounts = Amounts {
        calls,
        tokens_in,
        tokens_out,
        micros,
        wasted_tokens: tokens,
        wasted_micros: money,
    };
    Ok((SumKey { month, analyzer, currency, model, batch }, amounts))
}

/// The columns of a sum, in the order of [`SumColumns`].
macro_rules! columns_of_sum {
    () => {
        "month, analyzer, currency, model, batch, calls, tokens_in, tokens_out, micros, wasted_tokens, wasted_micros"
    };
}
pub(crate) use columns_of_sum;

impl Catalog {
    /// All that models cost, the latest month first.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn spend(&self) -> Result<Vec<SpendRow>, CatalogError> {
        let rows: Vec<SumColumns> = ask!(self, "list spending", pool => sqlx::query_as(concat!(
            "SELECT ", columns_of_sum!(), " FROM spend ORDER BY month DESC, analyzer, currency, model, batch"
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
