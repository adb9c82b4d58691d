//! Claims and payments on SQLite: row by row, for nobody else writes until the end of the transaction.

use std::collections::{BTreeMap, BTreeSet};

use ocelli_core::claim::{ClaimRequest, Cost, Ended, JobKey, Paid, Renewal};
use ocelli_core::{AnalyzerName, AttemptId, BatchId, Budget, Digest};
use sqlx::sqlite::SqliteConnection;

use super::writing::Writing;
use crate::backfills::{Cover, CoverColumns, cover, covers};
use crate::claims::{
    CLOCK_SLACK_MICROSECONDS, Claiming, LOST_AFTER_MICROSECONDS, Standing, currency, span,
};
use crate::error::Fault;
use crate::payments::{
    Amounts, Lost, LostColumns, Paying, Payment, SumColumns, SumKey, bounded, columns_of_lost,
    columns_of_payment, columns_of_sum, sum_columns,
};
use crate::rows::batch;
use crate::spending::{Sum, sum_of_budget};
use crate::tidying::Tidying;

/// A statement with the clock of the database in microseconds.
macro_rules! at_now {
    ($before:literal $(, $after:literal)*) => {
        concat!($before $(, "CAST(unixepoch('subsec') * 1000000 AS INTEGER)", $after)*)
    };
}

/// A pattern of batch names for `GLOB`: only `*` has a meaning.
fn glob(pattern: &str) -> String {
    pattern.replace('[', "[[]").replace('?', "[?]")
}

/// What counts against a budget.
pub(crate) async fn sum(connection: &mut SqliteConnection, budget: &Budget) -> Result<Sum, Fault> {
    let row: (i64, i64) =
        sqlx::query_as(sum_of_budget!("GLOB", "CAST(strftime('%Y%m', 'now') AS INTEGER)"))
            .bind(budget.analyzer.as_ref().map(AnalyzerName::as_str))
            .bind(budget.period == ocelli_core::Period::Month)
            .bind(budget.batch.as_deref().map(glob))
            .bind(currency(budget))
            .fetch_one(connection)
            .await?;
    Ok(Sum::read(row)?)
}

/// Open jobs of images that batches of this name saw.
pub(crate) async fn open_of_batches(
    connection: &mut SqliteConnection,
    analyzer: &AnalyzerName,
    pattern: &str,
) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar(
        "SELECT COUNT(*) FROM wants w WHERE w.state = 'open' AND w.analyzer = $1 AND w.image IN \
         (SELECT m.image FROM batch_images m JOIN batches b ON b.batch = m.batch WHERE b.name GLOB $2)",
    )
    .bind(analyzer.as_str())
    .bind(glob(pattern))
    .fetch_one(connection)
    .await?)
}

/// Binds the key of a job as the first three parameters.
macro_rules! of_job {
    ($sql:expr, $job:expr) => {
        of_job!(query, $sql, $job)
    };
    ($query:ident, $sql:expr, $job:expr) => {
        sqlx::$query($sql)
            .bind($job.digest.as_bytes().to_vec())
            .bind($job.analyzer.as_str())
            .bind($job.revision.as_str())
    };
}

impl Claiming for Writing {
    async fn renew(&mut self, renewals: &[Renewal]) -> Result<(), Fault> {
        for one in renewals {
            of_job!(
                at_now!(
                    "UPDATE claims SET renewed_at = ",
                    ", until = ",
                    " + $5 \
                 WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND attempt = $4"
                ),
                one.job
            )
            .bind(one.attempt.as_bytes().to_vec())
            .bind(span(one.lease))
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn note_costs(&mut self, paid: &[Paid]) -> Result<(), Fault> {
        for Paid { job, attempt, cost } in paid {
            note_cost(&mut self.0, job, attempt, cost).await?;
        }
        Ok(())
    }

    async fn end(&mut self, ended: &[Ended]) -> Result<(), Fault> {
        for one in ended {
            of_job!(
                at_now!(
                    "UPDATE claims SET renewed_at = ",
                    ", until = CASE WHEN $5 = 0 THEN 0 ELSE ",
                    " + $5 END WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND attempt = $4"
                ),
                one.job
            )
            .bind(one.attempt.as_bytes().to_vec())
            .bind(one.answered.map_or(0, span))
            .execute(&mut *self.0)
            .await?;
            if one.answered.is_none() {
                // A row that says nothing more. What an attempt cost that is on its way stays.
                of_job!(
                    "DELETE FROM claims WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND attempt = $4 \
                     AND calls = 0",
                    one.job
                )
                .bind(one.attempt.as_bytes().to_vec())
                .execute(&mut *self.0)
                .await?;
            }
        }
        Ok(())
    }

    async fn take_out(&mut self, claims: &[&ClaimRequest]) -> Result<Vec<Lost>, Fault> {
        let mut all = Vec::new();
        for one in claims {
            let row: Option<LostColumns> = of_job!(
                query_as,
                concat!(
                    at_now!(
                        "DELETE FROM claims WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND calls > 0 \
                         AND (until <= ",
                        " OR renewed_at > ",
                        " + $4) RETURNING "
                    ),
                    columns_of_lost!("")
                ),
                one.job
            )
            .bind(CLOCK_SLACK_MICROSECONDS)
            .fetch_optional(&mut *self.0)
            .await?;
            all.extend(row.map(Lost::read).transpose()?);
        }
        Ok(all)
    }

    async fn take(&mut self, claims: &[&ClaimRequest]) -> Result<(), Fault> {
        for one in claims {
            of_job!(
                at_now!("INSERT INTO claims (digest, analyzer, revision, attempt, holder, renewed_at, until, batch) \
                 VALUES ($1, $2, $3, $4, $5, ", ", ", " + $6, $7) \
                 ON CONFLICT (digest, analyzer, revision) DO UPDATE SET attempt = excluded.attempt, \
                 holder = excluded.holder, renewed_at = excluded.renewed_at, until = excluded.until, \
                 batch = excluded.batch \
                 WHERE claims.calls = 0 \
                 AND (claims.until <= excluded.renewed_at OR claims.renewed_at > excluded.renewed_at + $8)"),
                one.job
            )
            .bind(one.attempt.as_bytes().to_vec())
            .bind(&one.holder)
            .bind(one.lease.map_or(0, span))
            .bind(one.batch.map(|batch| batch.uuid().into_bytes().to_vec()))
            .bind(CLOCK_SLACK_MICROSECONDS)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn standing(&mut self, claims: &[&ClaimRequest]) -> Result<Vec<Standing>, Fault> {
        let mut all = Vec::with_capacity(claims.len());
        for one in claims {
            let row: (bool, Option<Vec<u8>>, Option<String>, Option<i64>) = sqlx::query_as(
                "SELECT EXISTS (SELECT 1 FROM analyses WHERE image = (SELECT id FROM images WHERE digest = $1) \
                 AND analyzer = $2 AND revision = $3), c.attempt, c.holder, c.until FROM (SELECT 1) LEFT JOIN claims c \
                 ON c.digest = $1 AND c.analyzer = $2 AND c.revision = $3",
            )
            .bind(one.job.digest.as_bytes().to_vec())
            .bind(one.job.analyzer.as_str())
            .bind(one.job.revision.as_str())
            .fetch_one(&mut *self.0)
            .await?;
            all.push(Standing::of(row));
        }
        Ok(all)
    }

    async fn give_up(&mut self, claims: &[&ClaimRequest]) -> Result<(), Fault> {
        for one in claims {
            of_job!(
                "DELETE FROM claims WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND attempt = $4",
                one.job
            )
            .bind(one.attempt.as_bytes().to_vec())
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn pauses(&mut self) -> Result<Vec<(String, String)>, Fault> {
        Ok(sqlx::query_as("SELECT analyzer, reason FROM pauses").fetch_all(&mut *self.0).await?)
    }

    async fn sum(&mut self, budget: &Budget) -> Result<Sum, Fault> {
        sum(&mut self.0, budget).await
    }

    async fn named(
        &mut self,
        batches: &[BatchId],
        pattern: &str,
    ) -> Result<BTreeSet<BatchId>, Fault> {
        let mut named = BTreeSet::new();
        for one in batches {
            let found: bool = sqlx::query_scalar(
                "SELECT EXISTS (SELECT 1 FROM batches WHERE batch = $1 AND name GLOB $2)",
            )
            .bind(one.uuid().into_bytes().to_vec())
            .bind(glob(pattern))
            .fetch_one(&mut *self.0)
            .await?;
            if found {
                named.insert(*one);
            }
        }
        Ok(named)
    }

    async fn covering(&mut self, jobs: &[&JobKey]) -> Result<BTreeMap<JobKey, Cover>, Fault> {
        let mut found = BTreeMap::new();
        for job in jobs {
            let row: Option<CoverColumns> = sqlx::query_as(concat!(
                "SELECT ",
                covers!("$1", "$2", "$3"),
                " ORDER BY f.created_at DESC LIMIT 1"
            ))
            .bind(job.digest.as_bytes().to_vec())
            .bind(job.analyzer.as_str())
            .bind(job.revision.as_str())
            .fetch_optional(&mut *self.0)
            .await?;
            if let Some(row) = row {
                found.insert((*job).clone(), cover(row)?);
            }
        }
        Ok(found)
    }

    async fn first_batches(
        &mut self,
        digests: &[Digest],
    ) -> Result<BTreeMap<Digest, BatchId>, Fault> {
        let mut found = BTreeMap::new();
        for digest in digests {
            let row: Option<Vec<u8>> = sqlx::query_scalar(
                "SELECT batch FROM sightings WHERE image = (SELECT id FROM images WHERE digest = $1) \
                 ORDER BY seen_at, batch LIMIT 1",
            )
            .bind(digest.as_bytes().to_vec())
            .fetch_optional(&mut *self.0)
            .await?;
            if let Some(bytes) = row {
                found.insert(*digest, batch(&bytes)?);
            }
        }
        Ok(found)
    }
}

impl Paying for Writing {
    async fn pay(&mut self, payments: &[&Payment]) -> Result<BTreeSet<AttemptId>, Fault> {
        let mut new = BTreeSet::new();
        for one in payments {
            let (sum, amounts) = (&one.sum, &one.amounts);
            let done = of_job!(
                "INSERT INTO payments (digest, analyzer, revision, attempt, model, batch, month, currency, calls, \
                 tokens_in, tokens_out, micros, wasted_tokens, wasted_micros, kept, at, presumed) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12, $13, $14, $15, $16, $17) ON CONFLICT DO NOTHING",
                one.job
            )
            .bind(one.attempt.as_bytes().to_vec())
            .bind(&sum.model)
            .bind(&sum.batch)
            .bind(sum.month)
            .bind(&sum.currency)
            .bind(amounts.calls)
            .bind(amounts.tokens_in)
            .bind(amounts.tokens_out)
            .bind(amounts.micros)
            .bind(amounts.wasted_tokens)
            .bind(amounts.wasted_micros)
            .bind(one.kept)
            .bind(one.at)
            .bind(one.presumed)
            .execute(&mut *self.0)
            .await?;
            if done.rows_affected() > 0 {
                new.insert(one.attempt);
            }
        }
        Ok(new)
    }

    async fn unkeep(
        &mut self,
        jobs: &[(&JobKey, AttemptId)],
    ) -> Result<Vec<(SumKey, Amounts)>, Fault> {
        let mut all = Vec::new();
        for (job, attempt) in jobs {
            let rows: Vec<SumColumns> = sqlx::query_as(concat!(
                "UPDATE payments SET kept = 0 WHERE digest = $1 AND analyzer = $2 AND revision = $3 \
                 AND attempt <> $4 AND kept RETURNING ",
                columns_of_sum!()
            ))
            .bind(job.digest.as_bytes().to_vec())
            .bind(job.analyzer.as_str())
            .bind(job.revision.as_str())
            .bind(attempt.as_bytes().to_vec())
            .fetch_all(&mut *self.0)
            .await?;
            for row in rows {
                all.push(sum_columns(row)?);
            }
        }
        Ok(all)
    }

    async fn unpresume(&mut self, payments: &[&Payment]) -> Result<Vec<(SumKey, Amounts)>, Fault> {
        let mut all = Vec::new();
        for one in payments {
            let row: Option<SumColumns> = sqlx::query_as(concat!(
                "DELETE FROM payments WHERE digest = $1 AND analyzer = $2 AND attempt = $3 AND presumed RETURNING ",
                columns_of_sum!()
            ))
            .bind(one.job.digest.as_bytes().to_vec())
            .bind(one.job.analyzer.as_str())
            .bind(one.attempt.as_bytes().to_vec())
            .fetch_optional(&mut *self.0)
            .await?;
            all.extend(row.map(sum_columns).transpose()?);
        }
        Ok(all)
    }

    async fn horizon(&mut self) -> Result<i64, Fault> {
        Ok(sqlx::query_scalar("SELECT before FROM payment_horizon").fetch_one(&mut *self.0).await?)
    }

    async fn add_to_sums(&mut self, sums: &BTreeMap<SumKey, Amounts>) -> Result<(), Fault> {
        for (sum, amounts) in sums {
            sqlx::query(concat!(
                "INSERT INTO spend (",
                columns_of_sum!(),
                ") VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
                crate::upserts::spend!()
            ))
            .bind(sum.month)
            .bind(sum.analyzer.as_str())
            .bind(&sum.currency)
            .bind(&sum.model)
            .bind(&sum.batch)
            .bind(amounts.calls)
            .bind(amounts.tokens_in)
            .bind(amounts.tokens_out)
            .bind(amounts.micros)
            .bind(amounts.wasted_tokens)
            .bind(amounts.wasted_micros)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn end_answered(&mut self, jobs: &[&JobKey]) -> Result<Vec<Lost>, Fault> {
        let mut all = Vec::new();
        for job in jobs {
            let row: Option<LostColumns> = of_job!(
                query_as,
                concat!(
                    "DELETE FROM claims WHERE digest = $1 AND analyzer = $2 AND revision = $3 RETURNING ",
                    columns_of_lost!("")
                ),
                job
            )
            .fetch_optional(&mut *self.0)
            .await?;
            all.extend(row.map(Lost::read).transpose()?);
        }
        Ok(all)
    }

    async fn forget_pending(&mut self, arrived: &[(JobKey, AttemptId)]) -> Result<(), Fault> {
        for (job, attempt) in arrived {
            of_job!(
                "DELETE FROM claims WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND attempt = $4",
                job
            )
            .bind(attempt.as_bytes().to_vec())
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }
}

impl Tidying for Writing {
    async fn take_out_old(&mut self, most: u32) -> Result<Vec<Lost>, Fault> {
        let rows: Vec<LostColumns> = sqlx::query_as(concat!(
            at_now!(
                "DELETE FROM claims WHERE (digest, analyzer, revision) IN (SELECT digest, analyzer, revision FROM claims \
                 WHERE calls > 0 AND until <= ",
                " AND renewed_at < ",
                " - $1 LIMIT $2) RETURNING "
            ),
            columns_of_lost!("")
        ))
        .bind(LOST_AFTER_MICROSECONDS)
        .bind(i64::from(most))
        .fetch_all(&mut *self.0)
        .await?;
        rows.into_iter().map(|row| Ok(Lost::read(row)?)).collect()
    }

    async fn archive(&mut self, keep: i64, most: u32) -> Result<u64, Fault> {
        // The moment is looked at once: the statements below must be about the same rows.
        let before: i64 = sqlx::query_scalar(at_now!("SELECT ", " - $1"))
            .bind(keep)
            .fetch_one(&mut *self.0)
            .await?;
        let newest: Option<i64> = sqlx::query_scalar(
            "SELECT MAX(at) FROM (SELECT at FROM payments WHERE at < $1 ORDER BY at LIMIT $2)",
        )
        .bind(before)
        .bind(i64::from(most))
        .fetch_one(&mut *self.0)
        .await?;
        let Some(newest) = newest else { return Ok(0) };
        sqlx::query(concat!(
            "INSERT INTO old_payments AS spend (",
            columns_of_sum!(),
            ") SELECT month, analyzer, currency, model, batch, SUM(calls), SUM(tokens_in), SUM(tokens_out), \
             SUM(micros), SUM(wasted_tokens), SUM(wasted_micros) FROM (SELECT ",
            columns_of_payment!(),
            " FROM payments WHERE at <= $1) GROUP BY month, analyzer, currency, model, batch HAVING true",
            crate::upserts::spend!()
        ))
        .bind(newest)
        .execute(&mut *self.0)
        .await?;
        let gone = sqlx::query("DELETE FROM payments WHERE at <= $1")
            .bind(newest)
            .execute(&mut *self.0)
            .await?;
        sqlx::query("UPDATE payment_horizon SET before = max(before, $1)")
            .bind(newest.saturating_add(1))
            .execute(&mut *self.0)
            .await?;
        Ok(gone.rows_affected())
    }
}

/// Notes what an attempt has cost so far, if it holds its claim.
async fn note_cost(
    connection: &mut SqliteConnection,
    job: &JobKey,
    attempt: &AttemptId,
    cost: &Cost,
) -> Result<(), Fault> {
    of_job!(
        "UPDATE claims SET calls = max($5, 1), tokens_in = $6, tokens_out = $7, micros = $8, currency = $9, model = $10 \
         WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND attempt = $4",
        job
    )
    .bind(attempt.as_bytes().to_vec())
    .bind(i64::from(cost.calls))
    .bind(bounded(cost.tokens_in))
    .bind(bounded(cost.tokens_out))
    .bind(bounded(cost.micros))
    .bind(cost.currency.as_deref())
    .bind(cost.model.as_deref())
    .execute(connection)
    .await?;
    Ok(())
}
