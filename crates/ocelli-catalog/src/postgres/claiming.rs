//! Claims and payments on PostgreSQL: one `UNNEST` statement for all rows.

use std::collections::{BTreeMap, BTreeSet};

use ocelli_core::claim::{ClaimRequest, Cost, Ended, JobKey, Paid, Renewal};
use ocelli_core::{AnalyzerName, AttemptId, BatchId, Budget, Digest};
use sqlx::postgres::PgConnection;

use super::list;
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
use crate::rows::{Read, batch, digest};
use crate::spending::{Sum, sum_of_budget};
use crate::tidying::Tidying;

/// A statement with the clock of the database in microseconds.
macro_rules! at_now {
    ($before:literal $(, $after:literal)*) => {
        concat!($before $(, "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint", $after)*)
    };
}

/// A pattern of batch names for `LIKE`: only `*` has a meaning.
fn like(pattern: &str) -> String {
    let quoted = pattern.replace('\\', "\\\\").replace('%', "\\%").replace('_', "\\_");
    quoted.replace('*', "%")
}

/// What counts against a budget.
pub(crate) async fn sum(connection: &mut PgConnection, budget: &Budget) -> Result<Sum, Fault> {
    let row: (i64, i64) = sqlx::query_as(sum_of_budget!(
        "LIKE",
        "to_char(clock_timestamp() AT TIME ZONE 'UTC', 'YYYYMM')::bigint"
    ))
    .bind(budget.analyzer.as_ref().map(AnalyzerName::as_str))
    .bind(budget.period == ocelli_core::Period::Month)
    .bind(budget.batch.as_deref().map(like))
    .bind(currency(budget))
    .fetch_one(connection)
    .await?;
    Ok(Sum::read(row)?)
}

/// Open jobs of images that batches of this name saw.
pub(crate) async fn open_of_batches(
    connection: &mut PgConnection,
    analyzer: &AnalyzerName,
    pattern: &str,
) -> Result<i64, Fault> {
    Ok(sqlx::query_scalar(
        "SELECT COUNT(*) FROM wants w WHERE w.state = 'open' AND w.analyzer = $1 AND w.image IN \
         (SELECT m.image FROM batch_images m JOIN batches b ON b.batch = m.batch WHERE b.name LIKE $2)",
    )
    .bind(analyzer.as_str())
    .bind(like(pattern))
    .fetch_one(connection)
    .await?)
}

/// Binds keys of jobs as the first three parameters.
macro_rules! of_jobs {
    ($query:ident, $sql:expr, $jobs:expr) => {{
        let jobs: Vec<&JobKey> = $jobs.collect();
        sqlx::$query($sql)
            .bind(jobs.iter().map(|job| job.digest.as_bytes().to_vec()).collect::<Vec<_>>())
            .bind(jobs.iter().map(|job| job.analyzer.to_string()).collect::<Vec<_>>())
            .bind(jobs.iter().map(|job| job.revision.to_string()).collect::<Vec<_>>())
    }};
}

fn bytes<'a>(attempts: impl Iterator<Item = &'a AttemptId>) -> Vec<&'a [u8]> {
    attempts.map(|attempt| attempt.as_bytes().as_slice()).collect()
}

fn uuid(batch: &BatchId) -> Vec<u8> {
    batch.uuid().into_bytes().to_vec()
}

const REMOVE: &str = "DELETE FROM claims c USING UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[]) \
     AS gone (digest, analyzer, revision, attempt) WHERE c.digest = gone.digest AND c.analyzer = gone.analyzer \
     AND c.revision = gone.revision AND c.attempt = gone.attempt";

impl Claiming for Writing {
    async fn renew(&mut self, renewals: &[Renewal]) -> Result<(), Fault> {
        of_jobs!(
            query,
            at_now!("UPDATE claims c SET renewed_at = ", ", until = ", " + mine.lease \
             FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[]) \
             AS mine (digest, analyzer, revision, attempt, lease) WHERE c.digest = mine.digest \
             AND c.analyzer = mine.analyzer AND c.revision = mine.revision AND c.attempt = mine.attempt"),
            renewals.iter().map(|one| &one.job)
        )
        .bind(bytes(renewals.iter().map(|one| &one.attempt)))
        .bind(renewals.iter().map(|one| span(one.lease)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn note_costs(&mut self, paid: &[Paid]) -> Result<(), Fault> {
        costs(&mut self.0, paid).await
    }

    async fn end(&mut self, ended: &[Ended]) -> Result<(), Fault> {
        of_jobs!(
            query,
            at_now!("UPDATE claims c SET renewed_at = ", ", until = CASE WHEN mine.lease = 0 THEN 0 ELSE ", " + mine.lease END \
             FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[]) \
             AS mine (digest, analyzer, revision, attempt, lease) \
             WHERE c.digest = mine.digest AND c.analyzer = mine.analyzer AND c.revision = mine.revision \
             AND c.attempt = mine.attempt"),
            ended.iter().map(|one| &one.job)
        )
        .bind(bytes(ended.iter().map(|one| &one.attempt)))
        .bind(ended.iter().map(|one| one.answered.map_or(0, span)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        let idle: Vec<&Ended> = ended.iter().filter(|one| one.answered.is_none()).collect();
        if !idle.is_empty() {
            // A row that says nothing more. What an attempt cost that is on its way stays.
            of_jobs!(
                query,
                "DELETE FROM claims c USING UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[]) \
                 AS gone (digest, analyzer, revision, attempt) WHERE c.digest = gone.digest \
                 AND c.analyzer = gone.analyzer AND c.revision = gone.revision AND c.attempt = gone.attempt \
                 AND c.calls = 0",
                idle.iter().map(|one| &one.job)
            )
            .bind(bytes(idle.iter().map(|one| &one.attempt)))
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn take_out(&mut self, claims: &[&ClaimRequest]) -> Result<Vec<Lost>, Fault> {
        let rows: Vec<LostColumns> = of_jobs!(
            query_as,
            concat!(
                at_now!(
                    "DELETE FROM claims c USING (SELECT l.digest, l.analyzer, l.revision FROM claims l \
                     JOIN UNNEST($1::bytea[], $2::text[], $3::text[]) AS asked (digest, analyzer, revision) \
                     ON l.digest = asked.digest AND l.analyzer = asked.analyzer AND l.revision = asked.revision \
                     WHERE l.calls > 0 AND (l.until <= ",
                    " OR l.renewed_at > ",
                    " + $4) ORDER BY l.digest, l.analyzer, l.revision FOR UPDATE OF l) AS gone \
                     WHERE c.digest = gone.digest AND c.analyzer = gone.analyzer AND c.revision = gone.revision RETURNING "
                ),
                columns_of_lost!("c.")
            ),
            claims.iter().map(|one| &one.job)
        )
        .bind(CLOCK_SLACK_MICROSECONDS)
        .fetch_all(&mut *self.0)
        .await?;
        Ok(rows.into_iter().map(Lost::read).collect::<Read<_>>()?)
    }

    async fn take(&mut self, claims: &[&ClaimRequest]) -> Result<(), Fault> {
        of_jobs!(
            query,
            at_now!("INSERT INTO claims AS c (digest, analyzer, revision, attempt, holder, renewed_at, until, batch) \
             SELECT digest, analyzer, revision, attempt, holder, ", ", ", " + lease, batch \
             FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bigint[], $7::bytea[]) \
             AS asked (digest, analyzer, revision, attempt, holder, lease, batch) \
             ORDER BY digest, analyzer COLLATE \"C\", revision COLLATE \"C\" \
             ON CONFLICT (digest, analyzer, revision) DO UPDATE SET attempt = excluded.attempt, \
             holder = excluded.holder, renewed_at = excluded.renewed_at, until = excluded.until, \
             batch = excluded.batch \
             WHERE c.calls = 0 AND (c.until <= excluded.renewed_at OR c.renewed_at > excluded.renewed_at + $8)"),
            claims.iter().map(|one| &one.job)
        )
        .bind(bytes(claims.iter().map(|one| &one.attempt)))
        .bind(claims.iter().map(|one| one.holder.as_str()).collect::<Vec<_>>())
        .bind(claims.iter().map(|one| one.lease.map_or(0, span)).collect::<Vec<_>>())
        .bind(claims.iter().map(|one| one.batch.as_ref().map(uuid)).collect::<Vec<_>>())
        .bind(CLOCK_SLACK_MICROSECONDS)
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn standing(&mut self, claims: &[&ClaimRequest]) -> Result<Vec<Standing>, Fault> {
        type Row = (bool, Option<Vec<u8>>, Option<String>, Option<i64>);
        let rows: Vec<Row> = of_jobs!(
            query_as,
            "SELECT EXISTS (SELECT 1 FROM analyses a WHERE a.image = (SELECT i.id FROM images i WHERE i.digest = asked.digest) \
             AND a.analyzer = asked.analyzer AND a.revision = asked.revision), \
             c.attempt, c.holder, c.until \
             FROM UNNEST($1::bytea[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (digest, analyzer, revision, place) \
             LEFT JOIN claims c ON c.digest = asked.digest AND c.analyzer = asked.analyzer \
             AND c.revision = asked.revision ORDER BY asked.place",
            claims.iter().map(|one| &one.job)
        )
        .fetch_all(&mut *self.0)
        .await?;
        Ok(rows.into_iter().map(Standing::of).collect())
    }

    async fn give_up(&mut self, claims: &[&ClaimRequest]) -> Result<(), Fault> {
        of_jobs!(query, REMOVE, claims.iter().map(|one| &one.job))
            .bind(bytes(claims.iter().map(|one| &one.attempt)))
            .execute(&mut *self.0)
            .await?;
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
        let rows: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT batch FROM batches WHERE batch = ANY($1) AND name LIKE $2")
                .bind(batches.iter().map(uuid).collect::<Vec<_>>())
                .bind(like(pattern))
                .fetch_all(&mut *self.0)
                .await?;
        rows.iter().map(|bytes| Ok(batch(bytes)?)).collect()
    }

    async fn covering(&mut self, jobs: &[&JobKey]) -> Result<BTreeMap<JobKey, Cover>, Fault> {
        // One question for the usual case, in which there is no backfill.
        let any: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM backfill_jobs WHERE digest = ANY($1))",
        )
        .bind(jobs.iter().map(|job| job.digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .fetch_one(&mut *self.0)
        .await?;
        let mut found = BTreeMap::new();
        for job in jobs.iter().filter(|_| any) {
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
        let rows: Vec<(Vec<u8>, Vec<u8>)> = sqlx::query_as(
            "SELECT DISTINCT ON (asked.digest) asked.digest, s.batch FROM UNNEST($1::bytea[]) AS asked (digest) JOIN sightings s \
             ON s.image = (SELECT i.id FROM images i WHERE i.digest = asked.digest) ORDER BY asked.digest, s.seen_at, s.batch",
        )
        .bind(list(digests))
        .fetch_all(&mut *self.0)
        .await?;
        rows.iter().map(|(image, first)| Ok((digest(image)?, batch(first)?))).collect()
    }
}

impl Paying for Writing {
    async fn pay(&mut self, payments: &[&Payment]) -> Result<BTreeSet<AttemptId>, Fault> {
        let of = |field: fn(&Payment) -> i64| {
            payments.iter().map(|one| field(one)).collect::<Vec<i64>>()
        };
        let new: Vec<Vec<u8>> = of_jobs!(
            query_scalar,
            "INSERT INTO payments (digest, analyzer, revision, attempt, model, batch, month, currency, calls, \
             tokens_in, tokens_out, micros, wasted_tokens, wasted_micros, kept, at, presumed) \
             SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::text[], $6::bytea[], \
             $7::bigint[], $8::text[], $9::bigint[], $10::bigint[], $11::bigint[], $12::bigint[], $13::bigint[], \
             $14::bigint[], $15::bool[], $16::bigint[], $17::bool[]) ON CONFLICT DO NOTHING RETURNING attempt",
            payments.iter().map(|one| &one.job)
        )
        .bind(bytes(payments.iter().map(|one| &one.attempt)))
        .bind(payments.iter().map(|one| one.sum.model.as_str()).collect::<Vec<_>>())
        .bind(payments.iter().map(|one| one.sum.batch.as_slice()).collect::<Vec<_>>())
        .bind(of(|one| one.sum.month))
        .bind(payments.iter().map(|one| one.sum.currency.as_str()).collect::<Vec<_>>())
        .bind(of(|one| one.amounts.calls))
        .bind(of(|one| one.amounts.tokens_in))
        .bind(of(|one| one.amounts.tokens_out))
        .bind(of(|one| one.amounts.micros))
        .bind(of(|one| one.amounts.wasted_tokens))
        .bind(of(|one| one.amounts.wasted_micros))
        .bind(payments.iter().map(|one| one.kept).collect::<Vec<_>>())
        .bind(of(|one| one.at))
        .bind(payments.iter().map(|one| one.presumed).collect::<Vec<_>>())
        .fetch_all(&mut *self.0)
        .await?;
        let ids = new.into_iter().filter_map(|bytes| bytes.try_into().ok());
        Ok(ids.map(AttemptId::from_bytes).collect())
    }

    async fn unkeep(
        &mut self,
        jobs: &[(&JobKey, AttemptId)],
    ) -> Result<Vec<(SumKey, Amounts)>, Fault> {
        let rows: Vec<SumColumns> = of_jobs!(
            query_as,
            concat!(
                "WITH gone AS (UPDATE payments p SET kept = false \
                 FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[]) \
                 AS answer (digest, analyzer, revision, attempt) WHERE p.digest = answer.digest \
                 AND p.analyzer = answer.analyzer AND p.revision = answer.revision \
                 AND p.attempt <> answer.attempt AND p.kept RETURNING p.*) SELECT ",
                columns_of_sum!(),
                " FROM gone"
            ),
            jobs.iter().map(|one| one.0)
        )
        .bind(bytes(jobs.iter().map(|(_, attempt)| attempt)))
        .fetch_all(&mut *self.0)
        .await?;
        rows.into_iter().map(|row| Ok(sum_columns(row)?)).collect()
    }

    async fn unpresume(&mut self, payments: &[&Payment]) -> Result<Vec<(SumKey, Amounts)>, Fault> {
        let rows: Vec<SumColumns> = of_jobs!(
            query_as,
            concat!(
                "WITH gone AS (DELETE FROM payments p \
                 USING UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[]) \
                 AS heard (digest, analyzer, revision, attempt) WHERE p.digest = heard.digest \
                 AND p.analyzer = heard.analyzer AND p.attempt = heard.attempt AND p.presumed RETURNING p.*) SELECT ",
                columns_of_sum!(),
                " FROM gone"
            ),
            payments.iter().map(|one| &one.job)
        )
        .bind(bytes(payments.iter().map(|one| &one.attempt)))
        .fetch_all(&mut *self.0)
        .await?;
        rows.into_iter().map(|row| Ok(sum_columns(row)?)).collect()
    }

    async fn horizon(&mut self) -> Result<i64, Fault> {
        Ok(sqlx::query_scalar("SELECT before FROM payment_horizon FOR SHARE")
            .fetch_one(&mut *self.0)
            .await?)
    }

    async fn add_to_sums(&mut self, sums: &BTreeMap<SumKey, Amounts>) -> Result<(), Fault> {
        let of = |field: fn(&Amounts) -> i64| sums.values().map(field).collect::<Vec<i64>>();
        // In the order of keys, as the map has them: collectors never wait for each other in a ring.
        sqlx::query(concat!(
            "INSERT INTO spend (",
            columns_of_sum!(),
            ") SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::text[], $5::bytea[], $6::bigint[], \
             $7::bigint[], $8::bigint[], $9::bigint[], $10::bigint[], $11::bigint[])",
            crate::upserts::spend!()
        ))
        .bind(sums.keys().map(|sum| sum.month).collect::<Vec<_>>())
        .bind(sums.keys().map(|sum| sum.analyzer.as_str()).collect::<Vec<_>>())
        .bind(sums.keys().map(|sum| sum.currency.as_str()).collect::<Vec<_>>())
        .bind(sums.keys().map(|sum| sum.model.as_str()).collect::<Vec<_>>())
        .bind(sums.keys().map(|sum| sum.batch.as_slice()).collect::<Vec<_>>())
        .bind(of(|amounts| amounts.calls))
        .bind(of(|amounts| amounts.tokens_in))
        .bind(of(|amounts| amounts.tokens_out))
        .bind(of(|amounts| amounts.micros))
        .bind(of(|amounts| amounts.wasted_tokens))
        .bind(of(|amounts| amounts.wasted_micros))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn end_answered(&mut self, jobs: &[&JobKey]) -> Result<Vec<Lost>, Fault> {
        // In the order of claimers.
        let rows: Vec<LostColumns> = of_jobs!(
            query_as,
            concat!("DELETE FROM claims c USING (SELECT l.digest, l.analyzer, l.revision FROM claims l \
             JOIN UNNEST($1::bytea[], $2::text[], $3::text[]) AS done (digest, analyzer, revision) \
             ON l.digest = done.digest AND l.analyzer = done.analyzer AND l.revision = done.revision \
             ORDER BY l.digest, l.analyzer, l.revision FOR UPDATE OF l) AS gone \
             WHERE c.digest = gone.digest AND c.analyzer = gone.analyzer AND c.revision = gone.revision RETURNING ",
            columns_of_lost!("c.")),
            jobs.iter().copied()
        )
        .fetch_all(&mut *self.0)
        .await?;
        Ok(rows.into_iter().map(Lost::read).collect::<Read<_>>()?)
    }

    async fn forget_pending(&mut self, arrived: &[(JobKey, AttemptId)]) -> Result<(), Fault> {
        of_jobs!(query, REMOVE, arrived.iter().map(|one| &one.0))
            .bind(bytes(arrived.iter().map(|(_, attempt)| attempt)))
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }
}

impl Tidying for Writing {
    async fn take_out_old(&mut self, most: u32) -> Result<Vec<Lost>, Fault> {
        let rows: Vec<LostColumns> = sqlx::query_as(concat!(
            at_now!(
                "DELETE FROM claims c USING (SELECT digest, analyzer, revision FROM claims \
                 WHERE calls > 0 AND until <= ",
                " AND renewed_at < ",
                " - $1 ORDER BY digest, analyzer, revision LIMIT $2 FOR UPDATE SKIP LOCKED) AS gone \
                 WHERE c.digest = gone.digest AND c.analyzer = gone.analyzer AND c.revision = gone.revision RETURNING "
            ),
            columns_of_lost!("c.")
        ))
        .bind(LOST_AFTER_MICROSECONDS)
        .bind(i64::from(most))
        .fetch_all(&mut *self.0)
        .await?;
        Ok(rows.into_iter().map(Lost::read).collect::<Read<_>>()?)
    }

    async fn archive(&mut self, keep: i64, most: u32) -> Result<u64, Fault> {
        let due: bool = sqlx::query_scalar(at_now!(
            "SELECT EXISTS (SELECT 1 FROM payments WHERE at < ",
            " - $1)"
        ))
        .bind(keep)
        .fetch_one(&mut *self.0)
        .await?;
        if !due {
            return Ok(0);
        }
        // Whoever counts at the moment is waited for, and waits from here on.
        sqlx::query("SELECT before FROM payment_horizon FOR UPDATE").execute(&mut *self.0).await?;
        let (count, newest): (i64, Option<i64>) = sqlx::query_as(concat!(
            at_now!(
                "WITH gone AS (DELETE FROM payments WHERE (digest, analyzer, attempt) IN \
                 (SELECT digest, analyzer, attempt FROM payments WHERE at < ",
                " - $1 ORDER BY at LIMIT $2) RETURNING *), added AS (INSERT INTO old_payments AS spend ("
            ),
            columns_of_sum!(),
            ") SELECT month, analyzer, currency, model, batch, SUM(calls)::bigint, SUM(tokens_in)::bigint, \
             SUM(tokens_out)::bigint, SUM(micros)::bigint, SUM(wasted_tokens)::bigint, SUM(wasted_micros)::bigint \
             FROM (SELECT ",
            columns_of_payment!(),
            " FROM gone) AS parts GROUP BY month, analyzer, currency, model, batch",
            crate::upserts::spend!(),
            ") SELECT COUNT(*), MAX(at) FROM gone"
        ))
        .bind(keep)
        .bind(i64::from(most))
        .fetch_one(&mut *self.0)
        .await?;
        sqlx::query("UPDATE payment_horizon SET before = GREATEST(before, $1)")
            .bind(newest.map_or(0, |newest| newest.saturating_add(1)))
            .execute(&mut *self.0)
            .await?;
        Ok(u64::try_from(count).unwrap_or(0))
    }
}

/// Notes what attempts have cost so far, as far as they hold their claims.
async fn costs(connection: &mut PgConnection, paid: &[Paid]) -> Result<(), Fault> {
    let of = |field: fn(&Cost) -> u64| {
        paid.iter().map(|one| bounded(field(&one.cost))).collect::<Vec<i64>>()
    };
    of_jobs!(
        query,
        "UPDATE claims c SET calls = GREATEST(mine.calls, 1), tokens_in = mine.tokens_in, tokens_out = mine.tokens_out, \
         micros = mine.micros, currency = mine.currency, model = mine.model \
         FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::bigint[], $7::bigint[], \
         $8::bigint[], $9::text[], $10::text[]) \
         AS mine (digest, analyzer, revision, attempt, calls, tokens_in, tokens_out, micros, currency, model) \
         WHERE c.digest = mine.digest AND c.analyzer = mine.analyzer AND c.revision = mine.revision \
         AND c.attempt = mine.attempt",
        paid.iter().map(|one| &one.job)
    )
    .bind(bytes(paid.iter().map(|one| &one.attempt)))
    .bind(of(|cost| u64::from(cost.calls)))
    .bind(of(|cost| cost.tokens_in))
    .bind(of(|cost| cost.tokens_out))
    .bind(of(|cost| cost.micros))
    .bind(paid.iter().map(|one| one.cost.currency.as_deref()).collect::<Vec<_>>())
    .bind(paid.iter().map(|one| one.cost.model.as_deref()).collect::<Vec<_>>())
    .execute(connection)
    .await?;
    Ok(())
}
