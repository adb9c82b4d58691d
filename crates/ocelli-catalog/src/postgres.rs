//! The PostgreSQL backend: several collectors at once, every batch a handful of `UNNEST` statements.
//!
//! A transaction first locks the rows of its images in the order of their digests (it makes them where they are missing),
//! so two collectors that write about one image take turns, and the fold sees what is really there. Everything else is
//! upserts in the order of keys; where two still meet head-on, the server ends one and it is done again.

mod agreeing;
mod backfilling;
mod claiming;
mod comparing;
mod glancing;
mod hashing;
mod images;
mod indexing;
mod obeying;
mod references;
mod sorting;
mod telling;
mod writing;

use std::collections::BTreeMap;
use std::ops::{Deref, DerefMut};
use std::str::FromStr;
use std::sync::LazyLock;
use std::time::Duration;

use ocelli_core::{Analysis, Digest};
use sorting::Sorting;
use sqlx::migrate::Migrator;
use sqlx::postgres::{PgConnectOptions, PgConnection, PgPool, PgPoolOptions};
use sqlx::{Connection, Postgres, Transaction};
use writing::Writing;

pub(crate) use claiming::{open_of_batches, sum};

use crate::error::{CatalogError, Fault};
use crate::fold::Stored;
use crate::numbers::Numbers;
use crate::search::sql::Dialect;
use crate::search::vocabulary::{Adding, Noted};
use crate::{CatalogOptions, load, migration};

pub(crate) static MIGRATOR: LazyLock<Migrator> = migration::embedded!("postgres":
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
    "0021_told.sql",
    "0022_heard.sql",
    "0023_numbered_images.sql",
    "0024_numbered_agreements.sql",
    "0026_sorted_beside.sql",
);

/// Compiling a statement takes longer than all of ours but a few, and is done wherever the planner expects many rows: of tables that
/// were not analyzed yet, for a hundred images.
const SNAPSHOT: &str = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SET LOCAL jit = off";

/// Everything in these transactions is looked up by its key. Of tables that were not analyzed yet (of a new archive: all of them) the
/// planner knows nothing; it would read them from one end to the other, and its prepared statements would go on doing so.
macro_rules! by_keys {
    ($begin:literal) => {
        concat!(
            $begin,
            "; SET LOCAL enable_seqscan = off; SET LOCAL enable_hashjoin = off; SET LOCAL enable_mergejoin = off; \
             SET LOCAL jit = off"
        )
    };
}
const WRITE: &str = by_keys!("BEGIN");
const LOOK: &str = by_keys!("BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY");

/// A connection that answered so short a time ago is not asked whether it is there before it is used: that is one of six round trips
/// of a short transaction. No server dies and returns within it, so whoever uses one that is gone would have met no server either.
const FRESH: Duration = Duration::from_millis(50);

#[derive(Debug, Clone)]
pub(crate) struct Store {
    pub(crate) pool: PgPool,
    noted: Noted,
    sorting: Sorting,
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

/// The same of numbers of images.
pub(crate) const fn numbers(numbers: &[i64]) -> &[i64] {
    numbers
}

pub(crate) const DIALECT: Dialect = Dialect::Postgres;

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
            .test_before_acquire(false)
            .before_acquire(|connection, known| {
                // A connection that is gone is no news: another one is made, and what hinders that is told.
                Box::pin(
                    async move { Ok(known.idle_for < FRESH || connection.ping().await.is_ok()) },
                )
            })
            .connect_lazy_with(connect);
        Ok(Self { pool, noted: Noted::default(), sorting: Sorting::default() })
    }

    pub(crate) async fn begin(&self) -> Result<Writing, Fault> {
        Ok(self.writing(self.pool.begin_with(WRITE).await?))
    }

    /// What a write transaction knows, for questions alone: it holds no writer up.
    pub(crate) async fn looking(&self) -> Result<Writing, Fault> {
        Ok(self.writing(self.pool.begin_with(LOOK).await?))
    }

    fn writing(&self, transaction: Transaction<'static, Postgres>) -> Writing {
        let (adding, sorted) = (Adding::to(&self.noted), self.sorting.adding(&self.pool));
        Writing(transaction, adding, Numbers::default(), sorted)
    }

    /// A [`Self::snapshot`] for what is looked up by its key.
    pub(crate) async fn keyed(&self) -> Result<Snapshot, sqlx::Error> {
        Ok(Snapshot(self.pool.begin_with(LOOK).await?))
    }

    /// A transaction that sees one state; it holds no writer up.
    pub(crate) async fn snapshot(&self) -> Result<Snapshot, sqlx::Error> {
        Ok(Snapshot(self.pool.begin_with(SNAPSHOT).await?))
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
    trigrams(connection, place).await?;
    // The migrator takes an advisory lock: several collectors that start at once take turns.
    MIGRATOR
        .run_direct(None, connection, false)
        .await
        .map_err(|error| migration::failed(error, &MIGRATOR, place))
}

/// The search index needs the extension pg_trgm, which whoever may create things in the database may create (it is trusted
/// since PostgreSQL 13).
async fn trigrams(connection: &mut PgConnection, place: &str) -> Result<(), CatalogError> {
    let fail = |error| Fault::Sql(error).at(place, "look for the extension pg_trgm");
    const THERE: &str = "SELECT EXISTS (SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm')";
    let there: bool = sqlx::query_scalar(THERE).fetch_one(&mut *connection).await.map_err(fail)?;
    if there {
        return Ok(());
    }
    let made =
        sqlx::query("CREATE EXTENSION IF NOT EXISTS pg_trgm").execute(&mut *connection).await;
    match made {
        Ok(_) => Ok(()),
        Err(source @ sqlx::Error::Database(_)) => {
            // Another process may have been quicker.
            if sqlx::query_scalar(THERE).fetch_one(&mut *connection).await.map_err(fail)? {
                return Ok(());
            }
            Err(CatalogError::Extension { place: place.to_owned(), source })
        }
        Err(error) => Err(fail(error)),
    }
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
