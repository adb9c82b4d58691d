//! The PostgreSQL backend: several collectors at once, every batch a handful of `UNNEST` statements.
//!
//! A transaction first locks the rows of its images in the order of their digests (it makes them where they are missing),
//! so two collectors that write about one image take turns, and the fold sees what is really there. Everything else is
//! upserts in the order of keys; where two still meet head-on, the server ends one and it is done again.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest};
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres, Transaction};

use crate::error::{CatalogError, Fault};
use crate::fold::Stored;
use crate::gather::{body, text_key};
use crate::rows::{OutcomeColumns, Rows, column, json};
use crate::unit::Unit;
use crate::{CatalogOptions, load, migration, upserts};

static MIGRATOR: Migrator = sqlx::migrate!("migrations/postgres");

#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) pool: PgPool,
}

load::loads!(
    PgConnection,
    "(SELECT unnest($1::bytea[]) AS digest) AS asked",
    list,
    "string_agg",
    "ORDER BY i.digest FOR UPDATE OF i"
);

/// The parameter for any number of digests.
pub(crate) fn list(digests: &[Digest]) -> Vec<&[u8]> {
    digests.iter().map(|digest| digest.as_bytes().as_slice()).collect()
}

/// `host:port/database` and the user, for messages.
pub(crate) fn place(options: &PgConnectOptions) -> (String, String) {
    let user = options.get_username().to_owned();
    let database = options.get_database().unwrap_or(&user);
    let host = options
        .get_socket()
        .map_or_else(|| options.get_host().to_owned(), |path| path.display().to_string());
    (format!("{host}:{}/{database}", options.get_port()), user)
}

pub(crate) fn parse(url: &str) -> Result<PgConnectOptions, sqlx::Error> {
    Ok(PgConnectOptions::from_str(url)?.application_name("ocelli"))
}

impl Store {
    pub(crate) async fn open(
        connect: PgConnectOptions,
        options: &CatalogOptions,
    ) -> Result<Self, CatalogError> {
        let (place, user) = place(&connect);
        let fail = |error| match Fault::Sql(error).at(&place, "open the database") {
            CatalogError::Login { place, source, .. } => {
                CatalogError::Login { place, user: user.clone(), source }
            }
            error => error,
        };
        // One connection outside of the pool: a pool would try again until its timeout and then not say why.
        let mut connection =
            tokio::time::timeout(options.connect_timeout, PgConnection::connect_with(&connect))
                .await
                .map_err(|_| CatalogError::no_answer(&place, options.connect_timeout))?
                .map_err(fail)?;
        migrate(&mut connection, &place).await?;
        connection.close().await.map_err(fail)?;
        let pool = PgPoolOptions::new()
            .max_connections(options.connections.max(2))
            .acquire_timeout(options.operation_timeout)
            .idle_timeout(Duration::from_secs(600))
            .connect_lazy_with(connect);
        Ok(Self { pool })
    }

    pub(crate) async fn begin(&self) -> Result<Writing, Fault> {
        Ok(Writing(self.pool.begin().await?))
    }

    /// A transaction that sees one state; it holds no writer up.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, sqlx::Error> {
        let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
        Ok(Snapshot(self.pool.begin_with(begin).await?))
    }

    pub(crate) async fn close(&self) {
        self.pool.close().await;
    }
}

async fn migrate(connection: &mut PgConnection, place: &str) -> Result<(), CatalogError> {
    let fail = |error| Fault::Sql(error).at(place, "read the schema");
    let exists: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
        .bind(migration::TABLE)
        .fetch_one(&mut *connection)
        .await
        .map_err(fail)?;
    if exists {
        let applied: Vec<(i64, Vec<u8>)> =
            sqlx::query_as(migration::APPLIED).fetch_all(&mut *connection).await.map_err(fail)?;
        if migration::is_current(&MIGRATOR, &applied, place)? {
            return Ok(());
        }
    }
    // The migrator takes an advisory lock: several collectors that start at once take turns.
    MIGRATOR
        .run_direct(None, connection, false)
        .await
        .map_err(|error| migration::failed(error, &MIGRATOR, place))
}

/// A transaction for reading.
pub(crate) struct Snapshot(Transaction<'static, Postgres>);

impl Snapshot {
    pub(crate) async fn end(self) -> Result<(), sqlx::Error> {
        self.0.commit().await
    }
}

impl Deref for Snapshot {
    type Target = PgConnection;
    fn deref(&self) -> &PgConnection {
        &self.0
    }
}

impl DerefMut for Snapshot {
    fn deref_mut(&mut self) -> &mut PgConnection {
        &mut self.0
    }
}

/// A write transaction.
pub(crate) struct Writing(Transaction<'static, Postgres>);

impl Writing {
    async fn write_images(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.images;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO images (digest, bytes, format, width, height, refusal, first_seen, complete) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::bigint[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[], $8::bool[])",
            upserts::images!()
        ))
        .bind(rows.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().map(|facts| column(facts.bytes))).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().and_then(|facts| facts.format).map(|format| format.name())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().and_then(|facts| facts.width).map(i64::from)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().and_then(|facts| facts.height).map(i64::from)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.refusal.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.first_seen.map(|at| at.as_microsecond())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.complete).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_sightings(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.sightings;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO sightings (digest, source_key, source, seen_at, batch) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::bigint[], $5::bytea[])",
            upserts::sightings!()
        ))
        .bind(rows.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|(_, sighting)| text_key(sighting.source.as_str()).to_vec())
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|(_, sighting)| sighting.source.as_str()).collect::<Vec<_>>())
        .bind(
            rows.iter().map(|(_, sighting)| sighting.seen_at.as_microsecond()).collect::<Vec<_>>(),
        )
        .bind(
            rows.iter()
                .map(|(_, sighting)| sighting.batch.uuid().into_bytes().to_vec())
                .collect::<Vec<_>>(),
        )
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_wants(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.wants;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO wants (digest, analyzer, revision, asked_at, enqueued_at, state, answer, reopened) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::text[], $7::text[], $8::bigint[])",
            upserts::wants!()
        ))
        .bind(rows.iter().map(|(digest, _, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.revision.as_ref().map(|revision| revision.as_str())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.asked_at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.enqueued_at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.state.name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.answer.as_ref().map(|revision| revision.as_str())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, want)| want.reopened.map(|at| at.as_microsecond())).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_analyses(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.analyses;
        if rows.is_empty() {
            return Ok(());
        }
        let mut outcomes: Vec<OutcomeColumns> =
            rows.iter().map(|(_, analysis)| OutcomeColumns::of(&analysis.outcome)).collect();
        let mut texts = |field: fn(&mut OutcomeColumns) -> &mut Option<String>| {
            outcomes.iter_mut().map(|outcome| field(outcome).take()).collect::<Vec<_>>()
        };
        sqlx::query(concat!(
            "INSERT INTO analyses (digest, analyzer, revision, kind, attempts, finished_at, class, rule, reason, ",
            "text, reading, provenance) SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::text[], ",
            "$5::bigint[], $6::bigint[], $7::text[], $8::text[], $9::text[], $10::text[], $11::text[], $12::text[])",
            upserts::analyses!()
        ))
        .bind(rows.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.revision.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.outcome.kind().name()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| i64::from(row.attempts)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, row)| row.finished_at.as_microsecond()).collect::<Vec<_>>())
        .bind(texts(|outcome| &mut outcome.class))
        .bind(texts(|outcome| &mut outcome.rule))
        .bind(texts(|outcome| &mut outcome.reason))
        .bind(texts(|outcome| &mut outcome.text))
        .bind(texts(|outcome| &mut outcome.reading))
        .bind(rows.iter().map(|(_, row)| json(&row.provenance)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_deferrals(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.deferrals;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO deferrals (digest, analyzer, class, reason, attempts, next_at) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])",
            upserts::deferrals!()
        ))
        .bind(rows.iter().map(|(digest, _, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| deferral.class).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| deferral.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| i64::from(deferral.attempts)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, deferral)| deferral.next_at.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_workers(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.workers;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO workers (analyzer, worker, at, leaving, body) ",
            "SELECT * FROM UNNEST($1::text[], $2::text[], $3::bigint[], $4::bool[], $5::text[])",
            upserts::workers!()
        ))
        .bind(rows.iter().map(|said| said.analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| said.worker.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| said.at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| said.leaving).collect::<Vec<_>>())
        .bind(rows.iter().map(|said| body(said)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_revisions(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.revisions;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO revisions (analyzer, revision, kind, description, first_announced, last_announced) ",
            "SELECT * FROM UNNEST($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bigint[])",
            upserts::revisions!()
        ))
        .bind(rows.iter().map(|(analyzer, _, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, revision, _)| revision.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.kind.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.description.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.first.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, announced)| announced.last.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_batches(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.batches;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO batches (batch, name, started_at, at, finished, accepted, known, skipped, problems) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::bigint[], $4::bigint[], $5::bool[], $6::bigint[], $7::bigint[], $8::bigint[], $9::bigint[])",
            upserts::batches!()
        ))
        .bind(rows.iter().map(|report| report.batch.uuid().into_bytes().to_vec()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.name.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.started_at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.at.as_microsecond()).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| report.finished).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.accepted)).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.known)).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.skipped)).collect::<Vec<_>>())
        .bind(rows.iter().map(|report| column(report.problems)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_problems(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.problems;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO problems (batch, reference_key, reference, reason, at) ",
            "SELECT * FROM UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::bigint[])",
            upserts::problems!()
        ))
        .bind(
            rows.iter()
                .map(|(_, problem)| problem.batch.uuid().into_bytes().to_vec())
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.reference.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.at.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn write_fences(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        if rows.fences.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO fences (analyzer, published_at, passed_at) SELECT analyzer, published_at, ",
            "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint ",
            "FROM UNNEST($1::text[], $2::bigint[]) AS passed (analyzer, published_at)",
            upserts::fences!()
        ))
        .bind(rows.fences.iter().map(|(analyzer, _)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(rows.fences.iter().map(|(_, at)| at.as_microsecond()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn forget(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        if rows.forgotten.is_empty() {
            return Ok(());
        }
        for statement in [
            "INSERT INTO events (at, kind, digest, analyzer, detail) \
             SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint, 'failure reopened', a.digest, \
             a.analyzer, json_build_object('revision', a.revision, 'class', a.class, 'reason', a.reason, \
             'attempts', a.attempts, 'finished_at', a.finished_at)::text \
             FROM UNNEST($1::bytea[], $2::text[], $3::text[]) AS gone (digest, analyzer, revision) \
             JOIN analyses a USING (digest, analyzer, revision) WHERE a.kind = 'failed'",
            "DELETE FROM deferrals d USING UNNEST($1::bytea[], $2::text[], $3::text[]) \
             AS gone (digest, analyzer, revision) WHERE d.digest = gone.digest AND d.analyzer = gone.analyzer",
            "DELETE FROM analyses a USING UNNEST($1::bytea[], $2::text[], $3::text[]) \
             AS gone (digest, analyzer, revision) WHERE a.digest = gone.digest \
             AND a.analyzer = gone.analyzer AND a.revision = gone.revision AND a.kind = 'failed'",
        ] {
            let gone = &rows.forgotten;
            sqlx::query(statement)
                .bind(
                    gone.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>(),
                )
                .bind(gone.iter().map(|(_, key)| key.0.as_str()).collect::<Vec<_>>())
                .bind(gone.iter().map(|(_, key)| key.1.as_str()).collect::<Vec<_>>())
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }

    /// Locks the rows of images, and makes those that are missing, in the order of digests.
    async fn lock(&mut self, digests: &[Digest]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO images (digest, complete) SELECT digest, false FROM UNNEST($1::bytea[]) AS new (digest) \
             ORDER BY digest ON CONFLICT DO NOTHING",
        )
        .bind(list(digests))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}

impl Unit for Writing {
    async fn load(&mut self, digests: &[Digest]) -> Result<BTreeMap<Digest, Stored>, Fault> {
        self.lock(digests).await?;
        stored(&mut self.0, digests).await
    }

    async fn contents(&mut self, digests: &[Digest]) -> Result<Vec<(Digest, Analysis)>, Fault> {
        contents(&mut self.0, digests).await
    }

    async fn write(&mut self, rows: &Rows) -> Result<(), Fault> {
        self.forget(rows).await?;
        self.write_images(rows).await?;
        self.write_sightings(rows).await?;
        self.write_wants(rows).await?;
        self.write_analyses(rows).await?;
        self.write_deferrals(rows).await?;
        self.write_workers(rows).await?;
        self.write_revisions(rows).await?;
        self.write_batches(rows).await?;
        self.write_problems(rows).await?;
        self.write_fences(rows).await?;
        if let Some(latest) = rows.latest_announcement() {
            sqlx::query(
                "DELETE FROM workers WHERE at < \
                 LEAST($1, (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint) - $2",
            )
            .bind(latest.as_microsecond())
            .bind(upserts::FORGET_WORKERS_AFTER_MICROSECONDS)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn touch(&mut self, jobs: &[(Digest, AnalyzerName)], at: Timestamp) -> Result<(), Fault> {
        // The same lock as for messages, so that the two never meet head-on.
        let digests: Vec<&[u8]> =
            jobs.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect();
        sqlx::query("SELECT 1 FROM images WHERE digest = ANY($1) ORDER BY digest FOR UPDATE")
            .bind(&digests)
            .execute(&mut *self.0)
            .await?;
        sqlx::query(
            "UPDATE wants w SET enqueued_at = $3 FROM UNNEST($1::bytea[], $2::text[]) AS job (digest, analyzer) \
             WHERE w.digest = job.digest AND w.analyzer = job.analyzer AND w.enqueued_at < $3",
        )
        .bind(&digests)
        .bind(jobs.iter().map(|(_, analyzer)| analyzer.as_str()).collect::<Vec<_>>())
        .bind(at.as_microsecond())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn commit(self) -> Result<(), Fault> {
        Ok(self.0.commit().await?)
    }
}
