//! What models cost, as it is written down: one row per attempt, and sums of them.
//!
//! An attempt is counted when the first message about it is applied and never again, by its id. Its tokens and its money
//! are waste until its answer is the one that the archive keeps: tries inside an attempt that were rejected, attempts that
//! failed or were put off, and second answers to one job are all waste.
//!
//! An attempt whose worker died before it could say anything is known from its claim ([`Lost`]): it is written down as waste
//! when the claim goes, and if its message comes after all, that takes its place. Payments that ended before the horizon
//! ([`crate::tidying`]) are counted already, and their rows may be gone: messages about them change nothing.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::claim::JobKey;
use ocelli_core::spend::month;
use ocelli_core::wire::{Deferred, Message, Partial};
use ocelli_core::{Analysis, AnalyzerName, AttemptId, BatchId, Digest, OutcomeKind};

use crate::error::Fault;
use crate::gather::{clean, text_key};
use crate::rows::{Read, Rows, parse, time};

/// The most that one attempt can cost, in tokens and in millionths: numbers beyond are a server's mistake, and sums must
/// stay numbers.
const MOST: u64 = 1_000_000_000_000;

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

    /// Takes away what was added.
    const fn negated(self) -> Self {
        Self {
            calls: -self.calls,
            tokens_in: -self.tokens_in,
            tokens_out: -self.tokens_out,
            micros: -self.micros,
            wasted_tokens: -self.wasted_tokens,
            wasted_micros: -self.wasted_micros,
        }
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
    /// When the attempt ended.
    pub(crate) at: i64,
    /// Known from a claim alone.
    pub(crate) presumed: bool,
}

/// What a claim says of an attempt that cost something, when the claim goes: the attempt may never be heard of again.
#[derive(Debug)]
pub(crate) struct Lost {
    job: JobKey,
    attempt: AttemptId,
    /// The last time it said anything.
    at: i64,
    batch: Option<Vec<u8>>,
    currency: Option<String>,
    model: Option<String>,
    amounts: Amounts,
}

/// The columns of a lost claim: key, attempt, time, batch, currency, model, calls, tokens read and written, money.
pub(crate) type LostColumns = (
    Vec<u8>,
    String,
    String,
    Vec<u8>,
    i64,
    Option<Vec<u8>>,
    Option<String>,
    Option<String>,
    i64,
    i64,
    i64,
    i64,
);

impl Lost {
    pub(crate) fn read(row: LostColumns) -> Read<Self> {
        let (digest, analyzer, revision, attempt, at, batch, currency, model, ..) = row;
        let (calls, tokens_in, tokens_out, micros) = (row.8, row.9, row.10, row.11);
        let job = JobKey {
            digest: crate::rows::digest(&digest)?,
            analyzer: parse("analyzer name", &analyzer)?,
            revision: parse("revision", &revision)?,
        };
        // The database holds no attempt of another length.
        let attempt = AttemptId::from_bytes(attempt.try_into().unwrap_or_default());
        let amounts = Amounts { calls, tokens_in, tokens_out, micros, ..Amounts::default() };
        Ok(Self { job, attempt, at, batch, currency, model, amounts })
    }

    fn payment(self) -> Read<Payment> {
        let Self { job, attempt, at, batch, currency, model, amounts } = self;
        let batch = batch.as_deref().map(crate::rows::batch).transpose()?;
        let sum = sum_key(time(at)?, &job.analyzer, currency.as_deref(), model.as_deref(), batch);
        Ok(Payment { job, attempt, sum, amounts, kept: false, at, presumed: true })
    }
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
    /// Takes those rows out that were only presumed and of which there is a message now; answers what they were.
    async fn unpresume(&mut self, payments: &[&Payment]) -> Result<Vec<(SumKey, Amounts)>, Fault>;
    /// Attempts that ended before this moment are counted. It does not move until the end of the transaction.
    async fn horizon(&mut self) -> Result<i64, Fault>;
    async fn add_to_sums(&mut self, sums: &BTreeMap<SumKey, Amounts>) -> Result<(), Fault>;
    /// Ends the claims on these jobs; answers those that cost something.
    async fn end_answered(&mut self, jobs: &[&JobKey]) -> Result<Vec<Lost>, Fault>;
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
        let Partial { digest, analysis, .. } = partial;
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
        let at = analysis.finished_at.as_microsecond();
        self.add(Payment { job, attempt, sum, amounts, kept: false, at, presumed: false });
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
            at: spent.at.as_microsecond(),
            presumed: false,
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
        if !self.arrived.is_empty() {
            unit.forget_pending(&self.arrived).await?;
        }
        let mut lost = Vec::new();
        if !self.answered.is_empty() {
            lost = unit.end_answered(&self.answered.iter().collect::<Vec<_>>()).await?;
        }
        // What is answered here says itself what it cost.
        lost.retain(|one| {
            one.amounts.calls > 0 && !self.payments.contains_key(&(one.job.clone(), one.attempt))
        });
        if self.payments.is_empty() && lost.is_empty() {
            return Ok(());
        }
        let horizon = unit.horizon().await?;
        self.payments.retain(|_, payment| payment.at >= horizon);
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
            for (sum, amounts) in unit.unpresume(&payments).await? {
                sums.entry(sum).or_default().add(amounts.wasted().negated());
            }
            count(unit, &payments, &mut sums).await?;
        }
        let lost = payments(lost, horizon)?;
        if !lost.is_empty() {
            count(unit, &lost.iter().collect::<Vec<_>>(), &mut sums).await?;
        }
        // Last, because all collectors write these few rows.
        if !sums.is_empty() {
            unit.add_to_sums(&sums).await?;
        }
        Ok(())
    }
}

/// Writes payments down and adds those to `sums` that were not there.
async fn count<U: Paying>(
    unit: &mut U,
    payments: &[&Payment],
    sums: &mut BTreeMap<SumKey, Amounts>,
) -> Result<(), Fault> {
    let new = unit.pay(payments).await?;
    for payment in payments.iter().filter(|payment| new.contains(&payment.attempt)) {
        let amounts = if payment.kept { payment.amounts } else { payment.amounts.wasted() };
        sums.entry(payment.sum.clone()).or_default().add(amounts);
    }
    Ok(())
}

/// Writes down what attempts cost whose claims are gone, as waste. Answers how many there were.
pub(crate) async fn write_off<U: Paying>(unit: &mut U, lost: Vec<Lost>) -> Result<u64, Fault> {
    if lost.is_empty() {
        return Ok(0);
    }
    let lost = payments(lost, unit.horizon().await?)?;
    let mut sums = BTreeMap::new();
    if !lost.is_empty() {
        count(unit, &lost.iter().collect::<Vec<_>>(), &mut sums).await?;
    }
    if !sums.is_empty() {
        unit.add_to_sums(&sums).await?;
    }
    Ok(lost.len() as u64)
}

/// In the order of their keys, as all payments are written.
fn payments(lost: Vec<Lost>, horizon: i64) -> Read<Vec<Payment>> {
    let mut payments = lost.into_iter().map(Lost::payment).collect::<Read<Vec<_>>>()?;
    payments.retain(|payment| payment.at >= horizon);
    payments.sort_by(|a, b| (&a.job, a.attempt).cmp(&(&b.job, b.attempt)));
    Ok(payments)
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

/// The columns of a lost claim with this prefix, in the order of [`LostColumns`].
macro_rules! columns_of_lost {
    ($of:literal) => {
        concat!(
            $of,
            "digest, ",
            $of,
            "analyzer, ",
            $of,
            "revision, ",
            $of,
            "attempt, ",
            $of,
            "renewed_at, ",
            $of,
            "batch, ",
            $of,
            "currency, ",
            $of,
            "model, ",
            $of,
            "calls, ",
            $of,
            "tokens_in, ",
            $of,
            "tokens_out, ",
            $of,
            "micros"
        )
    };
}
pub(crate) use columns_of_lost;

/// The columns of a payment as its part of a sum: all of it is waste unless its answer is kept.
macro_rules! columns_of_payment {
    () => {
        "month, analyzer, currency, model, batch, calls, tokens_in, tokens_out, micros, \
         CASE WHEN kept THEN wasted_tokens ELSE tokens_in + tokens_out END AS wasted_tokens, \
         CASE WHEN kept THEN wasted_micros ELSE micros END AS wasted_micros"
    };
}
pub(crate) use columns_of_payment;
