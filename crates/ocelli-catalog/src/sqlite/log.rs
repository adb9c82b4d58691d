//! Keeping SQLite's write-ahead log short (<https://www.sqlite.org/wal.html>, "Avoiding Excessively Large WAL Files").
//!
//! SQLite carries pages from the log into the file by itself, but begins the log anew only in a moment without any reader. Where
//! somebody always reads there is none: the log grows to many times the file, fills the disk, and makes every look at a page
//! longer. So whoever writes waits for readers of the past now and then; those that come meanwhile read the file alone and
//! are not waited for.
//!
//! Carrying takes tenths of a second, and may be done beside a writer. So first a connection of its own carries what is there, and
//! then the writer what came meanwhile.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Executor as _};
use tokio::task::JoinHandle;
use tokio::time::timeout;

use super::Guard;

/// How long a writer waits for those who read an older state. Questions take milliseconds; an export, minutes.
const PATIENCE: Duration = Duration::from_secs(1);

/// The log of one file.
#[derive(Debug)]
pub(super) struct Log {
    path: PathBuf,
    /// Bytes at which it is begun anew.
    most: u64,
    /// Bytes at which that is tried next: later, where somebody read for longer.
    next: AtomicU64,
    busy_timeout: Duration,
    /// One connection, for carrying pages while others write.
    beside: SqlitePool,
    /// Whether it is carrying, or has carried since the log was begun anew the last time.
    carrying: Mutex<Option<JoinHandle<()>>>,
}

impl Log {
    pub(super) fn of(file: &Path, most: u64, busy_timeout: Duration, beside: SqlitePool) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push("-wal");
        let (next, carrying) = (AtomicU64::new(most), Mutex::default());
        Self { path: path.into(), most, next, busy_timeout, beside, carrying }
    }

    pub(super) async fn close(&self) {
        self.beside.close().await;
    }

    /// Has pages carried beside whoever writes. Whether that is done, as far as it can be waited for.
    async fn carried(&self, length: u64) -> bool {
        let carrying = {
            let mut carrying = self.carrying.lock().unwrap_or_else(PoisonError::into_inner);
            match carrying.take() {
                None => {
                    let beside = self.beside.clone();
                    *carrying = Some(tokio::spawn(async move {
                        // The second time what came meanwhile, so that the writer has little left to do.
                        for _ in 0..2 {
                            // What cannot be carried, the writer tries to carry, and says so.
                            if let Err(error) =
                                beside.execute("PRAGMA wal_checkpoint(PASSIVE)").await
                            {
                                tracing::debug!(%error, "the write-ahead log could not be carried into the file");
                                break;
                            }
                        }
                    }));
                    return false;
                }
                Some(task) if !task.is_finished() && length < self.most.saturating_mul(2) => {
                    *carrying = Some(task);
                    return false;
                }
                Some(task) => task,
            }
        };
        // A log that has become twice as long meanwhile is waited for.
        drop(timeout(PATIENCE, carrying).await);
        true
    }

    /// The length to which SQLite cuts a log that was begun anew, when it commits the next time. Up to it a page of the file is there
    /// already, which is cheaper than a new one; beyond it the file is as long as the log in it.
    pub(super) const fn kept(most: u64) -> u64 {
        most / 4 * 3
    }

    /// Begins the log anew when it has grown too long and nobody reads an old state for long. To be called without a transaction.
    pub(super) async fn shorten(&self, write: &SqlitePool) -> Result<(), sqlx::Error> {
        // Only looked at: whoever opened and closed one of SQLite's files beside it would let go its locks (POSIX says so).
        let length = std::fs::metadata(&self.path).map_or(0, |found| found.len());
        if length < self.most {
            self.next.store(self.most, Ordering::Relaxed);
        }
        if length < self.next.load(Ordering::Relaxed) || !self.carried(length).await {
            return Ok(());
        }
        let mut guard = Guard(Some(write.acquire().await?));
        guard.execute(patience(PATIENCE)).await?;
        let (busy, ..): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(RESTART)").fetch_one(&mut *guard).await?;
        guard.execute(patience(self.busy_timeout)).await?;
        drop(guard.0.take());
        // Somebody who reads for minutes is asked less and less often.
        let next = if busy == 0 { self.most } else { length.saturating_mul(2) };
        self.next.store(next, Ordering::Relaxed);
        if busy != 0 {
            tracing::debug!(
                bytes = length,
                "the write-ahead log stays: somebody reads an older state"
            );
        }
        Ok(())
    }
}

fn patience(wait: Duration) -> AssertSqlSafe<String> {
    AssertSqlSafe(format!("PRAGMA busy_timeout = {}", wait.as_millis()))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};

    use jiff::Timestamp;
    use ocelli_core::BatchId;
    use ocelli_core::wire::{Message, Problem};

    use super::super::{Guard, Store};
    use crate::catalog::Store as AnyStore;
    use crate::{Catalog, CatalogOptions};

    fn said(number: u32) -> Message {
        Message::Problem(Problem {
            batch: BatchId::new(uuid::Uuid::nil()),
            reference: format!("{number} {}", "x".repeat(50_000)),
            reason: String::new(),
            at: Timestamp::UNIX_EPOCH,
            source: None,
            rule: None,
            told: None,
        })
    }

    /// How many messages a reader sees.
    async fn seen(reader: &mut Guard) -> i64 {
        let asked = sqlx::query_scalar("SELECT count(*) FROM problems");
        asked.fetch_one(&mut **reader).await.unwrap()
    }

    /// A reader that has begun.
    async fn begun(store: &Store) -> Guard {
        let mut reader = store.snapshot().await.unwrap();
        seen(&mut reader).await;
        reader
    }

    #[tokio::test(flavor = "multi_thread")]
    async fn the_log_stays_short_where_somebody_always_reads_and_a_long_reader_is_not_waited_for() {
        const MOST: u64 = 1 << 20;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("catalog.db");
        let options = CatalogOptions { log_size: MOST, ..CatalogOptions::default() };
        let catalog = Catalog::open(&format!("sqlite:{}", path.display()), options).await.unwrap();
        let AnyStore::Sqlite(store) = &catalog.store else { unreachable!() };
        let length = || std::fs::metadata(folder.path().join("catalog.db-wal")).unwrap().len();

        // There is no moment without a reader: each begins before the one before it ends.
        let stop = Arc::new(AtomicBool::new(false));
        let reading = tokio::spawn({
            let (store, stop) = (store.clone(), Arc::clone(&stop));
            async move {
                let mut reader = begun(&store).await;
                while !stop.load(Ordering::Acquire) {
                    let next = begun(&store).await;
                    std::mem::replace(&mut reader, next).end().await.unwrap();
                }
                reader
            }
        });
        let mut longest = 0;
        for number in 0..400 {
            catalog.apply(&[said(number)]).await.unwrap();
            longest = longest.max(length());
        }
        // 400 messages are 20 MB.
        assert!(longest < 6 * MOST, "{longest} bytes");

        // One that stays costs the length of the log, and few waits.
        stop.store(true, Ordering::Release);
        let mut reader = reading.await.unwrap();
        let before = seen(&mut reader).await;
        for number in 400..600 {
            catalog.apply(&[said(number)]).await.unwrap();
        }
        assert!(length() > 6 * MOST, "{} bytes", length());
        assert_eq!(seen(&mut reader).await, before, "it reads what it began with");
        reader.end().await.unwrap();
        for number in 600..1_000 {
            catalog.apply(&[said(number)]).await.unwrap();
        }
        assert!(length() < 2 * MOST, "{} bytes", length());
    }
}
