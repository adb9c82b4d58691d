//! Who works on which job, so that no two pay for it, and what must not be worked on at the moment.
//!
//! A worker claims a job before it asks a model. Of any number of claimers one gets it, until its lease ends; the lease is
//! renewed while the work goes on and counted by the clock of the database alone. Budgets and pauses are looked at in the
//! same transaction, so that no number of workers gets around them.
//!
//! A claim is taken first and the analyses are looked at afterwards: the collector ends a claim in the transaction that
//! writes the analysis, so whoever gets a claim that was ended sees what it led to.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::claim::{Bookings, Claim, ClaimRequest, Ended, JobKey, Paid, Renewal};
use ocelli_core::{AttemptId, BatchId, Budget, Digest, Limit};

use crate::backfills::Cover;
use crate::backfills::covering::covering;
use crate::catalog::{Catalog, Store, transact};
use crate::error::{CatalogError, Fault};
use crate::orders::{self, Obeying, Verdict};
use crate::payments::{Lost, Paying, write_off};
use crate::rows::{Read, time};
use crate::spending::{Sum, over};
use crate::unit::Unit;

/// A claim as it stands after all have been taken.
#[derive(Debug, Default)]
pub(crate) struct Standing {
    pub(crate) done: bool,
    pub(crate) attempt: Option<AttemptId>,
    pub(crate) holder: String,
    pub(crate) until: i64,
}

impl Standing {
    pub(crate) fn of(
        (done, attempt, holder, until): (bool, Option<Vec<u8>>, Option<String>, Option<i64>),
    ) -> Self {
        let attempt = attempt.and_then(|bytes| bytes.try_into().ok()).map(AttemptId::from_bytes);
        Self { done, attempt, holder: holder.unwrap_or_default(), until: until.unwrap_or(0) }
    }
}

/// The part of a write transaction that knows claims.
pub(crate) trait Claiming {
    async fn renew(&mut self, renewals: &[Renewal]) -> Result<(), Fault>;
    /// Notes what attempts have cost so far.
    async fn note_costs(&mut self, paid: &[Paid]) -> Result<(), Fault>;
    async fn end(&mut self, ended: &[Ended]) -> Result<(), Fault>;
    /// Takes the claims on these jobs out that have ended, and whose attempts cost something.
    async fn take_out(&mut self, claims: &[&ClaimRequest]) -> Result<Vec<Lost>, Fault>;
    /// Takes those that are free. In the order of their keys, which are all different. None whose attempt cost something:
    /// that has to be written down first.
    async fn take(&mut self, claims: &[&ClaimRequest]) -> Result<(), Fault>;
    /// How each job stands, seeing everything that is committed by then.
    async fn standing(&mut self, claims: &[&ClaimRequest]) -> Result<Vec<Standing>, Fault>;
    /// Takes claims back that turned out to be needless.
    async fn give_up(&mut self, claims: &[&ClaimRequest]) -> Result<(), Fault>;
    async fn pauses(&mut self) -> Result<Vec<(String, String)>, Fault>;
    async fn sum(&mut self, budget: &Budget) -> Result<Sum, Fault>;
    /// Those of the batches whose name fits.
    async fn named(
        &mut self,
        batches: &[BatchId],
        pattern: &str,
    ) -> Result<BTreeSet<BatchId>, Fault>;
    /// The backfills that asked for these jobs.
    async fn covering(&mut self, jobs: &[&JobKey]) -> Result<BTreeMap<JobKey, Cover>, Fault>;
    /// The batch that saw each image first.
    async fn first_batches(
        &mut self,
        digests: &[Digest],
    ) -> Result<BTreeMap<Digest, BatchId>, Fault>;
}

impl Catalog {
    /// Renews, ends and takes claims, all in one transaction. The answers are those to [`Bookings::claims`], in order.
    ///
    /// # Errors
    /// When the database does not take it: then nothing of it happened.
    #[async_recursion]
    pub async fn book(
        &self,
        bookings: &Bookings,
        budgets: &[Budget],
    ) -> Result<Vec<Claim>, CatalogError> {
        if *bookings == Bookings::default() {
            return Ok(Vec::new());
        }
        transact!(self, "claim jobs", unit => book(unit, bookings, budgets))
    }

    /// Whether these jobs may be done, without claiming any of them, whatever their [`ClaimRequest::lease`] says. The answers
    /// are in the order of the requests; no writer waits for this.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn look(&self, mut requests: Vec<ClaimRequest>) -> Result<Vec<Claim>, CatalogError> {
        if requests.is_empty() {
            return Ok(Vec::new());
        }
        // Without leases nothing is written, and no budget is concerned.
        requests.iter_mut().for_each(|request| request.lease = None);
        let action = "look whether jobs may be done";
        let jobs: Vec<&JobKey> = requests.iter().map(|request| &request.job).collect();
        let glances = match &self.store {
            Store::Sqlite(store) => self.timed(action, store.glance(&jobs)).await,
            Store::Postgres(store) => self.timed(action, store.glance(&jobs)).await,
        }?;
        if glances.iter().all(|glance| glance.done || !glance.ruled) {
            let claim = |(request, glance): (&ClaimRequest, &Glance)| {
                if glance.done { Claim::Done } else { Claim::Free { batch: request.batch } }
            };
            return Ok(requests.iter().zip(&glances).map(claim).collect());
        }
        match &self.store {
            Store::Sqlite(store) => {
                self.timed(action, async { look(store.looking().await?, &requests).await }).await
            }
            Store::Postgres(store) => {
                self.timed(action, async { look(store.looking().await?, &requests).await }).await
            }
        }
    }

    /// Ends all claims of a worker process that is known to be dead, so that nobody waits for their leases. What its
    /// answers cost that were on their way stays counted until their jobs are done.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn forget_claims(&self, holder: &str) -> Result<u64, CatalogError> {
        const FORGET: &str = "UPDATE claims SET until = 0 WHERE holder = $1 AND until > 0";
        let action = "end the claims of a dead process";
        let query_rows = match &self.store {
            Store::Sqlite(store) => {
                let query = sqlx::query(FORGET).bind(holder);
                self.timed(action, query.execute(&store.write)).await?.rows_affected()
            }
            Store::Postgres(store) => {
                let query = sqlx::query(FORGET).bind(holder);
                self.timed(action, query.execute(&store.pool)).await?.rows_affected()
            }
        };
        Ok(query_rows)
    }
}

/// What one question tells of a job that costs nothing.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Glance {
    pub(crate) done: bool,
    /// Whether a pause, an order or a backfill may be about it: then a closer look decides.
    pub(crate) ruled: bool,
}

async fn book<U: Unit + Claiming + Obeying + Paying>(
    mut unit: U,
    bookings: &Bookings,
    budgets: &[Budget],
) -> Result<Vec<Claim>, Fault> {
    if !bookings.renewals.is_empty() {
        unit.renew(&bookings.renewals).await?;
    }
    if !bookings.paid.is_empty() {
        unit.note_costs(&bookings.paid).await?;
    }
    if !bookings.ended.is_empty() {
        unit.end(&bookings.ended).await?;
    }
    let mut lost = Vec::new();
    let answers = claim(&mut unit, &bookings.claims, budgets, &mut lost).await?;
    write_off(&mut unit, lost).await?;
    unit.commit().await?;
    Ok(answers)
}

async fn look<U: Unit + Claiming + Obeying>(
    mut unit: U,
    requests: &[ClaimRequest],
) -> Result<Vec<Claim>, Fault> {
    let answers = claim(&mut unit, requests, &[], &mut Vec::new()).await?;
    unit.commit().await?;
    Ok(answers)
}

async fn claim<U: Claiming + Obeying>(
    unit: &mut U,
    requests: &[ClaimRequest],
    budgets: &[Budget],
    lost: &mut Vec<Lost>,
) -> Result<Vec<Claim>, Fault> {
    if requests.is_empty() {
        return Ok(Vec::new());
    }
    let unknown: BTreeSet<Digest> = requests
        .iter()
        .filter(|request| request.batch.is_none() && request.lease.is_some())
        .map(|request| request.job.digest)
        .collect();
    let unknown: Vec<Digest> = unknown.into_iter().collect();
    let found =
        if unknown.is_empty() { BTreeMap::new() } else { unit.first_batches(&unknown).await? };
    let covers_of = covering(unit, requests).await?;
    let batch = |request: &ClaimRequest| {
        let backfill = || covers_of.get(&request.job).filter(|_| request.batch.is_none());
        let asked = request.batch.or_else(|| backfill().map(|cover| cover.batch));
        asked.or_else(|| found.get(&request.job.digest).copied())
    };
    let covers = |budget: &Budget, request: &ClaimRequest| {
        request.lease.is_some() && budget.covers(&request.job.analyzer)
    };
    let of_batches: Vec<&Budget> = budgets.iter().filter(|one| one.batch.is_some()).collect();
    let asked: BTreeSet<BatchId> = requests
        .iter()
        .filter(|request| of_batches.iter().any(|budget| covers(budget, request)))
        .filter_map(batch)
        .collect();
    let asked: Vec<BatchId> = asked.into_iter().collect();
    // Jobs overtake the report that names their batch. Until it is written down, no budget of batches can tell what it is
    // about: they wait for one step of delay.
    let known = if asked.is_empty() { BTreeSet::new() } else { unit.named(&asked, "*").await? };
    let is_early = |request: &ClaimRequest| {
        of_batches.iter().any(|budget| covers(budget, request))
            && batch(request).is_some_and(|batch| !known.contains(&batch))
    };
    let mut paused: Vec<Option<(String, bool)>> = vec![None; requests.len()];
    for (analyzer, reason) in unit.pauses().await? {
        for (request, paused) in requests.iter().zip(&mut paused) {
            if request.job.analyzer.as_str() == analyzer {
                *paused = Some((reason.clone(), true));
            }
        }
    }
    for (request, paused) in requests.iter().zip(&mut paused) {
        let cover = covers_of.get(&request.job).filter(|_| request.batch.is_none());
        if let Some(reason) = cover.and_then(|cover| cover.paused.clone()) {
            paused.get_or_insert((reason, false));
        }
    }
    let verdicts = orders::verdicts(unit, requests).await?;
    for (verdict, paused) in verdicts.iter().zip(&mut paused) {
        if *verdict == Some(Verdict::Waits) {
            paused.get_or_insert((orders::REASON.to_owned(), false));
        }
    }
    for budget in budgets {
        let covered = |request: &ClaimRequest| covers(budget, request);
        if !requests.iter().any(covered) || !unit.sum(budget).await?.reaches(&budget.limit) {
            continue;
        }
        let batches: BTreeSet<BatchId> = requests.iter().filter_map(batch).collect();
        let named = match &budget.batch {
            Some(pattern) => {
                Some(unit.named(&batches.into_iter().collect::<Vec<_>>(), pattern).await?)
            }
            None => None,
        };
        for (request, paused) in requests.iter().zip(&mut paused) {
            let meant = named
                .as_ref()
                .is_none_or(|named| batch(request).is_some_and(|batch| named.contains(&batch)));
            if covered(request) && meant && paused.as_ref().is_none_or(|(_, all)| !all) {
                *paused = Some((over(budget), named.is_none()));
            }
        }
    }
    // By who cancelled the batch, or the backfill.
    let is_withdrawn = |request: &ClaimRequest, verdict: &Option<Verdict>| {
        let cover = covers_of.get(&request.job).filter(|_| request.batch.is_none());
        *verdict == Some(Verdict::Withdrawn) || cover.is_some_and(|cover| cover.withdrawn)
    };
    // The first of several wishes for one job; in the order of keys, so that claimers never wait for each other in a ring.
    let mut first: BTreeMap<&JobKey, &ClaimRequest> = BTreeMap::new();
    for ((request, paused), verdict) in requests.iter().zip(&paused).zip(&verdicts) {
        if request.lease.is_some()
            && paused.is_none()
            && !is_early(request)
            && !is_withdrawn(request, verdict)
        {
            first.entry(&request.job).or_insert(request);
        }
    }
    // With the batch that pays: what an answer costs counts against it while the answer is on its way.
    let paying = first.into_values().map(|one| ClaimRequest { batch: batch(one), ..one.clone() });
    let paying: Vec<ClaimRequest> = paying.collect();
    let wished: Vec<&ClaimRequest> = paying.iter().collect();
    if !wished.is_empty() {
        lost.extend(unit.take_out(&wished).await?);
        unit.take(&wished).await?;
    }
    let all: Vec<&ClaimRequest> = requests.iter().collect();
    let standing = unit.standing(&all).await?;
    let mine = |(request, standing): &(&ClaimRequest, &Standing)| {
        standing.attempt == Some(request.attempt)
    };
    let needless: Vec<&ClaimRequest> = requests
        .iter()
        .zip(&standing)
        .filter(|pair| pair.0.lease.is_some() && pair.1.done && mine(pair))
        .map(|(request, _)| request)
        .collect();
    if !needless.is_empty() {
        unit.give_up(&needless).await?;
    }
    let answer =
        |(((request, standing), paused), verdict): (((&ClaimRequest, &Standing), _), _)| {
            Ok(match paused {
                _ if standing.done => Claim::Done,
                _ if is_withdrawn(request, verdict) => Claim::Withdrawn,
                Some((reason, all)) => Claim::Paused { reason, all },
                None if is_early(request) => Claim::Held {
                    holder: "the collector (the name of its batch is on its way)".to_owned(),
                    until: Timestamp::now(),
                },
                None if request.lease.is_none() || mine(&(request, standing)) => {
                    Claim::Free { batch: batch(request) }
                }
                None => {
                    Claim::Held { holder: standing.holder.clone(), until: time(standing.until)? }
                }
            })
        };
    Ok(requests
        .iter()
        .zip(&standing)
        .zip(paused)
        .zip(&verdicts)
        .map(answer)
        .collect::<Read<_>>()?)
}

/// Microseconds of a duration.
pub(crate) fn span(duration: Duration) -> i64 {
    i64::try_from(duration.as_micros()).unwrap_or(i64::MAX / 4)
}

/// The currency of a budget in money.
pub(crate) fn currency(budget: &Budget) -> Option<&str> {
    match &budget.limit {
        Limit::Money { currency, .. } => Some(currency),
        Limit::Tokens(_) => None,
    }
}

/// A claim that was renewed later than this from now was not: the clock of the database was set back.
pub(crate) const CLOCK_SLACK_MICROSECONDS: i64 = 5_000_000;

/// What attempts cost that were not heard of for this long is written down as lost, whether or not anybody takes their jobs
/// over. Longer than any message is on its way where all is well.
pub(crate) const LOST_AFTER_MICROSECONDS: i64 = 3_600 * 1_000_000;

/// Claims that nobody renewed for a day are of jobs that nobody wants any more.
pub(crate) const FORGET_CLAIMS_AFTER_MICROSECONDS: i64 = 24 * 3_600 * 1_000_000;
