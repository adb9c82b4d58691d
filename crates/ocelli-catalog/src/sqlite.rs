//! The SQLite backend: one writing connection, several reading ones, WAL so that both coexist, also across processes.
//!
//! `synchronous=FULL`: what was acknowledged to the queue survives a power cut, not only a killed process. One fsync per
//! batch is cheap beside the batch.

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::query_builder::Separated;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{QueryBuilder, Sqlite};

use crate::error::{CatalogError, Fault};
use crate::fold::Stored;
use crate::gather::{body, text_key};
use crate::rows::{OutcomeColumns, Rows, column, json};
use crate::unit::Unit;
use crate::{CatalogOptions, load, migration, upserts};

/// The clock of the database, in microseconds.
const NOW: &str = "CAST(unixepoch('subsec') * 1000000 AS INTEGER)";

static MIGRATOR: Migrator = sqlx::migrate!("migrations/sqlite");

/// How many rows one statement inserts: large enough to make the cost per statement small, few enough sizes for the
/// statement cache. 32,766 parameters are the limit of SQLite.
const PIECES: [usize; 3] = [64, 8, 1];

#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// One connection: SQLite has one writer, and waiting here is fair, unlike its busy loop.
    write: SqlitePool,
    pub(crate) read: SqlitePool,
}

load::loads!(
    SqliteConnection,
    "(SELECT unhex(value) AS digest FROM json_each($1)) AS asked",
    list,
    "group_concat",
    ""
);

/// A JSON array of hexadecimal texts: one parameter for any number of digests.
pub(crate) fn list(digests: &[Digest]) -> String {
    json(&digests)
}

impl Store {
    pub(crate) async fn open(path: &Path, options: &CatalogOptions) -> Result<Self, CatalogError> {
        let place = path.display().to_string();
        let fail = |error| Fault::Sql(error).at(&place, "open the database");
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(options.busy_timeout)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", "-65536")
            .pragma("temp_store", "memory")
            .pragma("journal_size_limit", "67108864");
        let pool = |connections| {
            SqlitePoolOptions::new()
                .max_connections(connections)
                .acquire_timeout(options.operation_timeout)
                .test_before_acquire(false)
                .idle_timeout(None)
                .max_lifetime(None)
        };
        // Two processes that create the file at once: the switch to WAL does not wait for the other by itself.
        let started = Instant::now();
        let write = loop {
            match pool(1).connect_with(connect.clone()).await {
                Ok(write) => break write,
                Err(error) => match fail(error) {
                    CatalogError::Locked { .. } if started.elapsed() < options.busy_timeout => {
                        tokio::time::sleep(Duration::from_millis(20)).await;
                    }
                    error => return Err(error),
                },
            }
        };
        let store =
            Self { write, read: pool(options.connections.max(1)).connect_lazy_with(connect) };
        store.migrate(&place).await?;
        Ok(store)
    }

    async fn migrate(&self, place: &str) -> Result<(), CatalogError> {
        let fail = |error| Fault::Sql(error).at(place, "read the schema");
        let mut connection = self.write.acquire().await.map_err(fail)?;
        let tables: Vec<String> =
            sqlx::query_scalar("SELECT name FROM sqlite_schema WHERE type = 'table'")
                .fetch_all(&mut *connection)
                .await
                .map_err(fail)?;
        if tables.iter().any(|name| name == migration::TABLE) {
            let applied: Vec<(i64, Vec<u8>)> = sqlx::query_as(migration::APPLIED)
                .fetch_all(&mut *connection)
                .await
                .map_err(fail)?;
            if migration::is_current(&MIGRATOR, &applied, place)? {
                return Ok(());
            }
        } else if !tables.is_empty() {
            return Err(CatalogError::NotACatalog { place: place.to_owned() });
        }
        drop(connection);
        // One transaction around all: two processes that open a new file take turns.
        let mut transaction = self.write.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
        MIGRATOR
            .run_direct(None, &mut *transaction, false)
            .await
            .map_err(|error| migration::failed(error, &MIGRATOR, place))?;
        transaction.commit().await.map_err(|error| Fault::Sql(error).at(place, "migrate"))
    }

    pub(crate) async fn begin(&self) -> Result<Writing, Fault> {
        // The lock is taken at once, so that the transaction never has to give up in between.
        Ok(Writing(Guard::begin(&self.write, "BEGIN IMMEDIATE").await?))
    }

    /// A transaction that sees one state; it holds no writer up.
    pub(crate) async fn snapshot(&self) -> Result<Guard, sqlx::Error> {
        Guard::begin(&self.read, "BEGIN").await
    }

    pub(crate) async fn close(&self) {
        self.read.close().await;
        self.write.close().await;
    }
}

/// A transaction on a connection that goes back to its pool only after a clean end. After an error (a full disk, a broken
/// read) SQLite may have ended the transaction by itself and left the driver's idea of it wrong, so then the connection
/// is closed, which undoes whatever is left.
pub(crate) struct Guard(Option<PoolConnection<Sqlite>>);

impl Guard {
    async fn begin(pool: &SqlitePool, statement: &'static str) -> Result<Self, sqlx::Error> {
        let mut guard = Self(Some(pool.acquire().await?));
        sqlx::query(statement).execute(&mut *guard).await?;
        Ok(guard)
    }

    /// Commits.
    pub(crate) async fn end(mut self) -> Result<(), sqlx::Error> {
        sqlx::query("COMMIT").execute(&mut *self).await?;
        drop(self.0.take());
        Ok(())
    }
}

impl Deref for Guard {
    type Target = SqliteConnection;
    fn deref(&self) -> &SqliteConnection {
        self.0.as_ref().expect("only the end takes the connection out")
    }
}

impl DerefMut for Guard {
    fn deref_mut(&mut self) -> &mut SqliteConnection {
        self.0.as_mut().expect("only the end takes the connection out")
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if let Some(connection) = &mut self.0 {
            connection.close_on_drop();
        }
    }
}

/// A write transaction.
pub(crate) struct Writing(Guard);

type Tuple<'row> = Separated<'row, Sqlite, &'static str>;

impl Writing {
    async fn insert<T>(
        &mut self,
        head: &str,
        tail: &str,
        rows: &[T],
        mut bind: impl FnMut(&mut Tuple<'_>, &T),
    ) -> Result<(), sqlx::Error> {
        for piece in pieces(rows) {
            let mut query = QueryBuilder::<Sqlite>::new(head);
            query.push_values(piece, |mut tuple, row| bind(&mut tuple, row));
            query.push(tail);
            query.build().execute(&mut *self.0).await?;
        }
        Ok(())
    }

    async fn write_records(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        self.insert(
            "INSERT INTO images (digest, bytes, format, width, height, refusal, first_seen, complete) ",
            upserts::images!(),
            &rows.images,
            |tuple, (digest, image)| {
                let facts = image.facts.as_ref();
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(facts.map(|facts| column(facts.bytes)))
                    .push_bind(facts.and_then(|facts| facts.format).map(|format| format.name()))
                    .push_bind(facts.and_then(|facts| facts.width).map(i64::from))
                    .push_bind(facts.and_then(|facts| facts.height).map(i64::from))
                    .push_bind(image.refusal.clone())
                    .push_bind(image.first_seen.map(|at| at.as_microsecond()))
                    .push_bind(image.complete);
            },
        )
        .await?;
        self.insert(
            "INSERT INTO sightings (digest, source_key, source, seen_at, batch) ",
            upserts::sightings!(),
            &rows.sightings,
            |tuple, (digest, sighting)| {
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(text_key(sighting.source.as_str()).to_vec())
                    .push_bind(sighting.source.as_str().to_owned())
                    .push_bind(sighting.seen_at.as_microsecond())
                    .push_bind(sighting.batch.uuid().into_bytes().to_vec());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO wants (digest, analyzer, revision, asked_at, enqueued_at, state, answer, reopened) ",
            upserts::wants!(),
            &rows.wants,
            |tuple, (digest, analyzer, want)| {
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(want.revision.as_ref().map(ToString::to_string))
                    .push_bind(want.asked_at.as_microsecond())
                    .push_bind(want.enqueued_at.as_microsecond())
                    .push_bind(want.state.name())
                    .push_bind(want.answer.as_ref().map(ToString::to_string))
                    .push_bind(want.reopened.map(|at| at.as_microsecond()));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO analyses (digest, analyzer, revision, kind, class, attempts, finished_at, rule, reason, \
             text, reading, provenance) ",
            upserts::analyses!(),
            &rows.analyses,
            |tuple, (digest, analysis)| {
                let outcome = OutcomeColumns::of(&analysis.outcome);
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(analysis.analyzer.as_str().to_owned())
                    .push_bind(analysis.revision.as_str().to_owned())
                    .push_bind(analysis.outcome.kind().name())
                    .push_bind(outcome.class)
                    .push_bind(i64::from(analysis.attempts))
                    .push_bind(analysis.finished_at.as_microsecond())
                    .push_bind(outcome.rule)
                    .push_bind(outcome.reason)
                    .push_bind(outcome.text)
                    .push_bind(outcome.reading)
                    .push_bind(json(&analysis.provenance));
            },
        )
        .await
    }

    async fn write_reports(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        self.insert(
            "INSERT INTO deferrals (digest, analyzer, class, reason, attempts, next_at) ",
            upserts::deferrals!(),
            &rows.deferrals,
            |tuple, (digest, analyzer, deferral)| {
                tuple
                    .push_bind(digest.as_bytes().to_vec())
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(deferral.class)
                    .push_bind(deferral.reason.clone())
                    .push_bind(i64::from(deferral.attempts))
                    .push_bind(deferral.next_at.as_microsecond());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO workers (analyzer, worker, at, leaving, body) ",
            upserts::workers!(),
            &rows.workers,
            |tuple, said| {
                tuple
                    .push_bind(said.analyzer.as_str().to_owned())
                    .push_bind(said.worker.clone())
                    .push_bind(said.at.as_microsecond())
                    .push_bind(said.leaving)
                    .push_bind(body(said));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO revisions (analyzer, revision, kind, description, first_announced, last_announced) ",
            upserts::revisions!(),
            &rows.revisions,
            |tuple, (analyzer, revision, announced)| {
                tuple
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(revision.as_str().to_owned())
                    .push_bind(announced.kind.clone())
                    .push_bind(announced.description.clone())
                    .push_bind(announced.first.as_microsecond())
                    .push_bind(announced.last.as_microsecond());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO batches (batch, name, started_at, at, finished, accepted, known, skipped, problems) ",
            upserts::batches!(),
            &rows.batches,
            |tuple, report| {
                tuple
                    .push_bind(report.batch.uuid().into_bytes().to_vec())
                    .push_bind(report.name.clone())
                    .push_bind(report.started_at.as_microsecond())
                    .push_bind(report.at.as_microsecond())
                    .push_bind(report.finished)
                    .push_bind(column(report.accepted))
                    .push_bind(column(report.known))
                    .push_bind(column(report.skipped))
                    .push_bind(column(report.problems));
            },
        )
        .await?;
        self.insert(
            "INSERT INTO problems (batch, reference_key, reference, reason, at) ",
            upserts::problems!(),
            &rows.problems,
            |tuple, (key, problem)| {
                tuple
                    .push_bind(problem.batch.uuid().into_bytes().to_vec())
                    .push_bind(key.to_vec())
                    .push_bind(problem.reference.clone())
                    .push_bind(problem.reason.clone())
                    .push_bind(problem.at.as_microsecond());
            },
        )
        .await?;
        self.insert(
            "INSERT INTO fences (analyzer, published_at, passed_at) ",
            upserts::fences!(),
            &rows.fences,
            |tuple, (analyzer, published_at)| {
                tuple
                    .push_bind(analyzer.as_str().to_owned())
                    .push_bind(published_at.as_microsecond())
                    .push(NOW);
            },
        )
        .await
    }

    async fn forget(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        for (digest, (analyzer, revision)) in &rows.forgotten {
            for statement in [
                "INSERT INTO events (at, kind, digest, analyzer, detail) \
                 SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER), 'failure reopened', digest, analyzer, \
                 json_object('revision', revision, 'class', class, 'reason', reason, 'attempts', attempts, \
                 'finished_at', finished_at) FROM analyses \
                 WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND kind = 'failed'",
                "DELETE FROM analyses WHERE digest = $1 AND analyzer = $2 AND revision = $3 AND kind = 'failed'",
            ] {
                sqlx::query(statement)
                    .bind(digest.as_bytes().to_vec())
                    .bind(analyzer.as_str())
                    .bind(revision.as_str())
                    .execute(&mut *self.0)
                    .await?;
            }
            sqlx::query("DELETE FROM deferrals WHERE digest = $1 AND analyzer = $2")
                .bind(digest.as_bytes().to_vec())
                .bind(analyzer.as_str())
                .execute(&mut *self.0)
                .await?;
        }
        Ok(())
    }
}

impl Unit for Writing {
    async fn load(&mut self, digests: &[Digest]) -> Result<BTreeMap<Digest, Stored>, Fault> {
        stored(&mut self.0, digests).await
    }

    async fn contents(&mut self, digests: &[Digest]) -> Result<Vec<(Digest, Analysis)>, Fault> {
        contents(&mut self.0, digests).await
    }

    async fn write(&mut self, rows: &Rows) -> Result<(), Fault> {
        self.forget(rows).await?;
        self.write_records(rows).await?;
        self.write_reports(rows).await?;
        if let Some(latest) = rows.latest_announcement() {
            sqlx::query(
                "DELETE FROM workers WHERE at < min($1, CAST(unixepoch('subsec') * 1000000 AS INTEGER)) - $2",
            )
            .bind(latest.as_microsecond())
            .bind(upserts::FORGET_WORKERS_AFTER_MICROSECONDS)
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn touch(&mut self, jobs: &[(Digest, AnalyzerName)], at: Timestamp) -> Result<(), Fault> {
        for (digest, analyzer) in jobs {
            sqlx::query(
                "UPDATE wants SET enqueued_at = $3 WHERE digest = $1 AND analyzer = $2 AND enqueued_at < $3",
            )
            .bind(digest.as_bytes().to_vec())
            .bind(analyzer.as_str())
            .bind(at.as_microsecond())
            .execute(&mut *self.0)
            .await?;
        }
        Ok(())
    }

    async fn commit(self) -> Result<(), Fault> {
        Ok(self.0.end().await?)
    }
}

/// Cuts rows into the sizes of [`PIECES`], largest first.
fn pieces<T>(mut rows: &[T]) -> impl Iterator<Item = &[T]> {
    std::iter::from_fn(move || {
        let size = PIECES.into_iter().find(|size| rows.len() >= *size)?;
        let (piece, rest) = rows.split_at(size);
        rows = rest;
        Some(piece)
    })
}

#[cfg(test)]
mod tests {
    use ocelli_core::BatchId;
    use ocelli_core::wire::{Message, Problem};

    use super::*;
    use crate::Catalog;
    use crate::catalog::Store as AnyStore;

    fn problem(reference: String) -> Message {
        let batch = BatchId::new(uuid::Uuid::nil());
        Message::Problem(Problem {
            batch,
            reference,
            reason: String::new(),
            at: Timestamp::UNIX_EPOCH,
        })
    }

    async fn pragma(catalog: &Catalog, text: &'static str) {
        let AnyStore::Sqlite(store) = &catalog.store else { unreachable!() };
        sqlx::query(text).execute(&store.write).await.unwrap();
    }

    #[tokio::test]
    async fn a_full_disk_and_a_read_only_file_are_told_and_lose_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        let url = format!("sqlite:{}", path.display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        catalog.apply(&[problem("first".to_owned())]).await.unwrap();

        pragma(&catalog, "PRAGMA max_page_count = 64").await;
        let large = [problem("x".repeat(2_000_000))];
        let error = catalog.apply(&large).await.unwrap_err();
        assert!(matches!(error, CatalogError::Full { .. }) && error.is_temporary(), "{error:?}");
        assert!(error.to_string().contains(path.to_str().unwrap()));
        assert_eq!(catalog.problems(None, 10).await.unwrap().len(), 1);
        pragma(&catalog, "PRAGMA max_page_count = 1000000").await;
        catalog.apply(&large).await.unwrap();

        pragma(&catalog, "PRAGMA query_only = 1").await;
        let error = catalog.apply(&large).await.unwrap_err();
        assert!(matches!(error, CatalogError::ReadOnly { .. }), "{error:?}");
        assert_eq!(catalog.problems(None, 10).await.unwrap().len(), 2);
    }

    #[test]
    fn rows_are_cut_into_few_sizes_in_order() {
        let rows: Vec<usize> = (0..150).collect();
        let sizes: Vec<usize> = pieces(&rows).map(<[usize]>::len).collect();
        assert_eq!(sizes, [64, 64, 8, 8, 1, 1, 1, 1, 1, 1]);
        assert!(pieces(&rows).flatten().eq(&rows));
    }
}
