//! Opening and closing a catalog, and everything that writes to it.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_recursion::async_recursion;
use ocelli_core::phash::DEFAULT_DISTANCE;
use ocelli_core::wire::Message;

use crate::error::{CatalogError, Fault};
use crate::letters::{Buried, Letter};
use crate::model::Applied;
use crate::{CatalogMetrics, agreements, postgres, search, sqlite, unit};

/// How to open a catalog.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// How long to wait for a PostgreSQL server when opening. Five seconds: a wrong address is noticed at once, a
    /// server on another continent is reached.
    pub connect_timeout: Duration,
    /// How long a SQLite write waits for another process that writes. Batches take milliseconds; ten seconds is a
    /// process that hangs.
    pub busy_timeout: Duration,
    /// How long a question or a batch may take, waiting for a connection included, before it is given up. A
    /// connection whose other end vanished is noticed by this.
    pub operation_timeout: Duration,
    /// Connections in use at once (SQLite: for reading, beside the writer). Four: a collector writes one batch after
    /// the other, the rest is for questions.
    pub connections: u32,
    /// SQLite: bytes of the file's pages that are kept in memory, half of them for the writer and half for the readers
    /// together. What a batch changes stays there until it is written; the system keeps pages of the file too.
    pub cache: u64,
    /// SQLite: bytes that the write-ahead log may grow to before it is begun anew. Pages that are written again and again go to the
    /// file once in that time. It is longer for as long as somebody reads an older state.
    pub log_size: u64,
    /// Whether to open a catalog into which another one was carried only half: for whoever goes on with that.
    pub half_carried: bool,
    /// So many of the records that match a query are counted and sorted by relevance; of more it is said that they are more,
    /// and they are sorted by time.
    pub counted: u64,
    /// Up to which distance images look alike, where a query does not say it.
    pub near_distance: u32,
    /// Where to count transactions and rows.
    pub metrics: Option<CatalogMetrics>,
}

impl Default for CatalogOptions {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            busy_timeout: Duration::from_secs(10),
            operation_timeout: Duration::from_secs(60),
            connections: 4,
            cache: 128 << 20,
            log_size: 64 << 20,
            half_carried: false,
            counted: search::COUNTED,
            near_distance: DEFAULT_DISTANCE,
            metrics: None,
        }
    }
}

/// How often a transaction that lost against another is done again before the error is shown.
pub(crate) const CONFLICTS: u32 = 10;

/// Runs one write transaction on either backend within the time limit, again when it lost against another one.
macro_rules! transact {
    ($catalog:expr, $action:literal, $unit:ident => $work:expr) => {
        match &$catalog.store {
            $crate::catalog::Store::Sqlite(store) => {
                let work = async {
                    let $unit = store.begin().await?;
                    $work.await
                };
                $catalog.timed($action, work).await
            }
            $crate::catalog::Store::Postgres(store) => {
                let attempts = async {
                    let mut conflicts = 0_u32;
                    loop {
                        let attempt = async {
                            let $unit = store.begin().await?;
                            $work.await
                        };
                        match attempt.await {
                            Err(fault)
                                if $crate::error::Fault::is_conflict(&fault)
                                    && conflicts < $crate::catalog::CONFLICTS =>
                            {
                                conflicts += 1;
                            }
                            outcome => break outcome,
                        }
                    }
                };
                $catalog.timed($action, attempts).await
            }
        }
    };
}

/// The database of images, sightings, wants and analyses. Clones share their connections.
#[derive(Debug, Clone)]
pub struct Catalog {
    pub(crate) store: Store,
    pub(crate) place: Arc<str>,
    pub(crate) operation_timeout: Duration,
    pub(crate) counted: u64,
    pub(crate) near_distance: u32,
    metrics: Option<CatalogMetrics>,
}

#[derive(Debug, Clone)]
pub(crate) enum Store {
    Sqlite(sqlite::Store),
    Postgres(postgres::Store),
}

impl Catalog {
    /// Opens the catalog at `sqlite:/path/to/file.db` (created when it is not there; the path is taken as it is written)
    /// or `postgres://user:password@host:port/database` (the database must exist), and brings its schema up to date.
    ///
    /// # Errors
    /// Every variant of [`CatalogError`] can occur here.
    #[async_recursion]
    pub async fn open(url: &str, options: CatalogOptions) -> Result<Self, CatalogError> {
        let operation_timeout = options.operation_timeout;
        let (store, place) = if let Some(path) = url.strip_prefix("sqlite:") {
            let path = path.strip_prefix("//").unwrap_or(path);
            if path.is_empty() || path == ":memory:" {
                let reason = "a catalog is a file".to_owned();
                return Err(CatalogError::Address { url: url.to_owned(), reason });
            }
            let store = sqlite::Store::open(Path::new(path), &options).await?;
            (Store::Sqlite(store), path.to_owned())
        } else if url.starts_with("postgres://") || url.starts_with("postgresql://") {
            let connect = postgres::parse(url).map_err(|error| CatalogError::Address {
                url: masked(url),
                reason: error.to_string(),
            })?;
            let (place, _) = postgres::place(&connect);
            let store = postgres::Store::open(connect, &options).await?;
            (Store::Postgres(store), place)
        } else {
            let reason = "it begins with neither sqlite: nor postgres://".to_owned();
            return Err(CatalogError::Address { url: masked(url), reason });
        };
        let catalog = Self {
            store,
            place: place.into(),
            operation_timeout,
            counted: options.counted.clamp(1, search::MOST_COUNTED),
            near_distance: options.near_distance,
            metrics: options.metrics,
        };
        if !options.half_carried {
            catalog.refuse_half().await?;
        }
        catalog.catch_up().await?;
        Ok(catalog)
    }

    /// A catalog that is half of another one must not be taken for a whole one.
    async fn refuse_half(&self) -> Result<(), CatalogError> {
        let from: Option<String> = ask!(self, "look for a transfer that did not end", pool => sqlx::query_scalar(
                "SELECT source FROM transfers WHERE NOT finished"
            )
            .fetch_optional(pool))?;
        from.map_or(Ok(()), |from| {
            Err(CatalogError::HalfCarried { place: self.place.to_string(), from })
        })
    }

    /// Puts what an older ocelli wrote into the search index, part by part: a process that dies here leaves the rest to the next.
    pub(crate) async fn catch_up(&self) -> Result<(), CatalogError> {
        let mut said = false;
        while ask!(self, "look for texts that are not in the search index", pool => {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM search_backlog)").fetch_one(pool)
        })? {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(catalog = %self.place, "texts from before the search index are put into it; this is done once");
            }
            transact!(self, "put texts into the search index", unit => search::index::catch_up(unit))?;
        }
        while ask!(self, "look for records whose answers were not compared", pool => {
            sqlx::query_scalar("SELECT EXISTS (SELECT 1 FROM agreement_backlog)").fetch_one(pool)
        })? {
            if !std::mem::replace(&mut said, true) {
                tracing::warn!(catalog = %self.place, "answers from before there were agreements are compared; this is done once");
            }
            transact!(self, "compare answers", unit => agreements::catch_up(unit))?;
        }
        Ok(())
    }

    /// Where it is, for people: a path, or `host:port/database`.
    #[must_use]
    pub fn place(&self) -> &str {
        &self.place
    }

    /// Takes messages in, all in one transaction: when it returns, they are kept for good, and may be acknowledged.
    ///
    /// The same messages may come again, in any order and any other grouping; the outcome is the same. One that cannot be
    /// kept is named in [`Applied::rejected`] and spoils no other. `completed` is only answered once: a caller that
    /// dies between this and telling others has to compare for itself.
    ///
    /// # Errors
    /// When the database does not take them: then none of them is kept.
    #[async_recursion]
    pub async fn apply(&self, messages: &[Message]) -> Result<Applied, CatalogError> {
        if messages.is_empty() {
            return Ok(Applied::default());
        }
        let started = Instant::now();
        let (applied, rows) = transact!(self, "write a batch of messages", unit => {
            unit::apply(unit, messages)
        })?;
        if let Some(metrics) = &self.metrics {
            metrics.committed(started.elapsed(), rows);
        }
        Ok(applied)
    }

    /// Takes dead letters in, all in one transaction: when it returns, they are kept for good, and may be acknowledged. A
    /// letter that was taken in before changes nothing.
    ///
    /// # Errors
    /// When the database does not take them: then none of them is kept.
    #[async_recursion]
    pub async fn bury(&self, letters: &[Letter]) -> Result<Buried, CatalogError> {
        if letters.is_empty() {
            return Ok(Buried::default());
        }
        let started = Instant::now();
        let (buried, rows) = transact!(self, "write dead letters", unit => {
            unit::bury(unit, letters)
        })?;
        if let Some(metrics) = &self.metrics {
            metrics.committed(started.elapsed(), rows);
        }
        Ok(buried)
    }

    /// Whether a statement that is put together for a question is worth keeping prepared. In SQLite it is compiled anew otherwise,
    /// which takes as long as a small question; PostgreSQL would plan it without knowing what is asked.
    pub(crate) const fn keeps_statements(&self) -> bool {
        matches!(self.store, Store::Sqlite(_))
    }

    /// Waits for what is running and closes all connections.
    #[async_recursion]
    pub async fn close(&self) {
        match &self.store {
            Store::Sqlite(store) => store.close().await,
            Store::Postgres(store) => store.close().await,
        }
    }

    /// Runs a question within the time limit.
    pub(crate) async fn timed<T, E: Into<Fault>>(
        &self,
        action: &'static str,
        future: impl Future<Output = Result<T, E>>,
    ) -> Result<T, CatalogError> {
        match tokio::time::timeout(self.operation_timeout, future).await {
            Ok(outcome) => outcome.map_err(Into::into),
            Err(_) => Err(Fault::TimedOut),
        }
        .map_err(|fault: Fault| fault.at(&self.place, action))
    }
}

/// Asks one question of either backend: `$pool` is its connections.
macro_rules! ask {
    ($catalog:expr, $action:literal, $pool:ident => $question:expr) => {
        match &$catalog.store {
            $crate::catalog::Store::Sqlite(store) => {
                let $pool = &store.read;
                $catalog.timed($action, $question).await
            }
            $crate::catalog::Store::Postgres(store) => {
                let $pool = &store.pool;
                $catalog.timed($action, $question).await
            }
        }
    };
}

/// Runs a statement that writes, on either backend, and says how many rows it changed.
macro_rules! change {
    ($catalog:expr, $action:literal, $query:expr) => {
        match &$catalog.store {
            $crate::catalog::Store::Sqlite(store) => {
                $catalog.timed($action, $query.execute(&store.write)).await?.rows_affected()
            }
            $crate::catalog::Store::Postgres(store) => {
                $catalog.timed($action, $query.execute(&store.pool)).await?.rows_affected()
            }
        }
    };
}

/// Asks several questions of one state of either backend: `$connection` is in a transaction that sees nothing newer,
/// `$backend`, where it is named, the module of the backend.
macro_rules! snapshot {
    // Of things that are looked up by their keys.
    (keyed, $catalog:expr, $connection:ident $(, $backend:ident)? => $questions:expr) => {
        $crate::catalog::snapshot!(@keyed, $catalog, $connection $(, $backend)? => $questions)
    };
    ($catalog:expr, $connection:ident $(, $backend:ident)? => $questions:expr) => {
        $crate::catalog::snapshot!(@snapshot, $catalog, $connection $(, $backend)? => $questions)
    };
    (@$begin:ident, $catalog:expr, $connection:ident $(, $backend:ident)? => $questions:expr) => {
        async {
            match &$catalog.store {
                $crate::catalog::Store::Sqlite(store) => {
                    $(use $crate::sqlite as $backend;)?
                    let mut transaction = store.$begin().await?;
                    let answers = {
                        let $connection = &mut *transaction;
                        $questions?
                    };
                    transaction.end().await?;
                    Ok::<_, $crate::error::Fault>(answers)
                }
                $crate::catalog::Store::Postgres(store) => {
                    $(use $crate::postgres as $backend;)?
                    let mut transaction = store.$begin().await?;
                    let answers = {
                        let $connection = &mut *transaction;
                        $questions?
                    };
                    transaction.end().await?;
                    Ok::<_, $crate::error::Fault>(answers)
                }
            }
        }
    };
}
pub(crate) use {ask, change, snapshot, transact};

/// An address without its password.
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else {
        return url.chars().take(20).collect();
    };
    match rest.rsplit_once('@') {
        Some((user, host)) => {
            let user = user.split_once(':').map_or(user, |(user, _)| user);
            format!("{scheme}://{user}:***@{host}")
        }
        None => url.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_masked_address_has_no_password() {
        assert_eq!(masked("postgres://me:se:c@ret@host/db"), "postgres://me:***@host/db");
        assert_eq!(masked("mysql://host/db"), "mysql://host/db");
        assert_eq!(masked("me:secret-that-goes-on-and-on"), "me:secret-that-goes-");
    }
}
