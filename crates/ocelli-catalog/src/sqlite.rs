//! The SQLite backend: one writing connection, several reading ones, WAL so that both coexist, also across processes.
//!
//! `synchronous=FULL`: what was acknowledged to the queue survives a power cut, not only a killed process. One fsync per
//! batch is cheap beside the batch.

mod agreeing;
mod backfilling;
mod claiming;
mod comparing;
mod glancing;
mod indexing;
mod log;
mod obeying;
mod telling;
mod writing;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::path::Path;
use std::sync::{Arc, LazyLock};
use std::time::{Duration, Instant};

use log::Log;
use ocelli_core::{Analysis, Digest};
use sqlx::migrate::Migrator;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::{
    SqliteConnectOptions, SqliteConnection, SqliteJournalMode, SqlitePool, SqlitePoolOptions,
    SqliteSynchronous,
};
use sqlx::{Connection as _, Sqlite};
use writing::Writing;

pub(crate) use claiming::{open_of_batches, sum};

use crate::error::{CatalogError, Fault};
use crate::fold::Stored;
use crate::numbers::Numbers;
use crate::rows::json;
use crate::search::sql::Dialect;
use crate::search::vocabulary::{Adding, Noted};
use crate::{CatalogOptions, load, migration};

pub(crate) static MIGRATOR: LazyLock<Migrator> = migration::embedded!("sqlite":
    "0001_records.sql",
    "0002_accounts.sql",
    "0003_spend.sql",
    "0004_dependent_jobs.sql",
    "0005_search.sql",
    "0006_vocabulary.sql",
    "0007_backfills.sql",
    "0008_agreement.sql",
    "0009_perceptual_hashes.sql",
    "0010_site.sql",
    "0011_known_files.sql",
    "0012_lost_payments.sql",
    "0014_batch_orders.sql",
    "0015_references.sql",
    "0016_listeners.sql",
    "0017_references.sql",
    "0018_rules.sql",
    "0019_filters.sql",
    "0020_hidden.sql",
    "0021_told.sql",
    "0022_heard.sql",
    "0023_numbered_images.sql",
    "0024_numbered_agreements.sql",
    "0025_places_of_words.sql",
);

#[derive(Debug, Clone)]
pub(crate) struct Store {
    /// One connection: SQLite has one writer, and waiting here is fair, unlike its busy loop.
    pub(crate) write: SqlitePool,
    pub(crate) read: SqlitePool,
    noted: Noted,
    log: Arc<Log>,
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

/// The same of numbers of images.
pub(crate) fn numbers(numbers: &[i64]) -> String {
    json(&numbers)
}

pub(crate) const DIALECT: Dialect = Dialect::Sqlite;

/// Rows that a reader may be ahead of whoever takes them.
const ROWS_WAITING: usize = 512;

impl Store {
    pub(crate) async fn open(path: &Path, options: &CatalogOptions) -> Result<Self, CatalogError> {
        let place = path.display().to_string();
        let fail = |error| Fault::Sql(error).at(&place, "open the database");
        let readers = options.connections.max(1);
        // In KiB, which is what a negative number means; SQLite takes what is larger than 31 bits for nothing.
        let cache = |bytes: u64| format!("-{}", (bytes >> 10).clamp(1, 0x7fff_ffff));
        let connect = SqliteConnectOptions::new()
            .filename(path)
            .create_if_missing(true)
            .busy_timeout(options.busy_timeout)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .pragma("cache_size", cache(options.cache / 2))
            .pragma("temp_store", "memory")
            // See `log`: this is for when it cannot. In pages of 4 KiB.
            .pragma("wal_autocheckpoint", (options.log_size / 1024).max(1).to_string())
            .pragma("journal_size_limit", Log::kept(options.log_size).to_string());
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
        let reading = connect
            .pragma("cache_size", cache(options.cache / 2 / u64::from(readers)))
            // Rows go from the thread that reads to whoever asked: the fewer of them may wait, the more often one wakes the other.
            .row_buffer_size(ROWS_WAITING);
        let beside = pool(1).connect_lazy_with(reading.clone());
        let log = Arc::new(Log::of(path, options.log_size, options.busy_timeout, beside));
        let read = pool(readers).connect_lazy_with(reading);
        let store = Self { write, read, noted: Noted::default(), log };
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
        // A table that others refer to is made anew: with its old rows, theirs would be deleted. No transaction can switch this.
        sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut *connection).await.map_err(fail)?;
        let done = migrated(&mut connection, place).await;
        sqlx::query("PRAGMA foreign_keys = ON").execute(&mut *connection).await.map_err(fail)?;
        done
    }

    pub(crate) async fn begin(&self) -> Result<Writing, Fault> {
        // The lock is taken at once, so that the transaction never has to give up in between.
        let guard = self.writing().await?;
        Ok(Writing(guard, Adding::to(&self.noted), Numbers::default()))
    }

    /// What a write transaction knows, for questions alone: it holds no writer up.
    pub(crate) async fn looking(&self) -> Result<Writing, Fault> {
        Ok(Writing(self.snapshot().await?, Adding::to(&self.noted), Numbers::default()))
    }

    /// A transaction for statements that know what they do.
    pub(crate) async fn writing(&self) -> Result<Guard, sqlx::Error> {
        if let Err(error) = self.log.shorten(&self.write).await {
            // Whatever is wrong is said by the transaction that follows.
            tracing::debug!(%error, "the write-ahead log could not be begun anew");
        }
        Guard::begin(&self.write, "BEGIN IMMEDIATE").await
    }

    /// A transaction that sees one state; it holds no writer up.
    pub(crate) async fn snapshot(&self) -> Result<Guard, sqlx::Error> {
        Guard::begin(&self.read, "BEGIN").await
    }

    /// A [`Self::snapshot`] for what is looked up by its key.
    pub(crate) async fn keyed(&self) -> Result<Guard, sqlx::Error> {
        self.snapshot().await
    }

    pub(crate) async fn close(&self) {
        self.log.close().await;
        self.read.close().await;
        self.write.close().await;
    }
}

/// One transaction around all: two processes that open a new file take turns.
async fn migrated(connection: &mut SqliteConnection, place: &str) -> Result<(), CatalogError> {
    let fail = |error| Fault::Sql(error).at(place, "migrate");
    let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await.map_err(fail)?;
    MIGRATOR
        .run_direct(None, &mut *transaction, false)
        .await
        .map_err(|error| migration::failed(error, &MIGRATOR, place))?;
    transaction.commit().await.map_err(fail)
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

#[cfg(test)]
mod tests {
    use jiff::Timestamp;
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
            source: None,
            rule: None,
            told: None,
        })
    }

    async fn pragma(catalog: &Catalog, text: &'static str) {
        let AnyStore::Sqlite(store) = &catalog.store else { unreachable!() };
        sqlx::query(text).execute(&store.write).await.unwrap();
    }

    #[tokio::test]
    async fn the_writer_keeps_its_connection_where_there_is_nothing_to_do() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        pragma(&catalog, "CREATE TEMP TABLE kept (one INTEGER)").await;
        catalog.tidy_accounts(Duration::ZERO).await.unwrap();
        catalog.apply(&[]).await.unwrap();
        let batch = BatchId::new(uuid::Uuid::nil());
        catalog.withdraw_batch(batch, None, 10).await.unwrap();
        catalog.catch_up().await.unwrap();
        // What is temporary belongs to a connection.
        pragma(&catalog, "INSERT INTO kept VALUES (1)").await;
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
}
