//! Keeping SQLite's write-ahead log short (<https://www.sqlite.org/wal.html>, "Avoiding Excessively Large WAL Files").
//!
//! SQLite carries pages from the log into the file by itself, but begins the log anew only in a moment without any reader. Where
//! somebody always reads there is none: the log grows to many times the file, fills the disk, and makes every look at a page
//! longer. So whoever writes waits for readers of the past now and then; those that come meanwhile read the file alone and
//! are not waited for.

use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use sqlx::sqlite::SqlitePool;
use sqlx::{AssertSqlSafe, Executor as _};

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
}

impl Log {
    pub(super) fn of(file: &Path, most: u64, busy_timeout: Duration) -> Self {
        let mut path = file.as_os_str().to_owned();
        path.push("-wal");
        Self { path: path.into(), most, next: AtomicU64::new(most), busy_timeout }
    }

    /// Begins the log anew when it has grown too long and nobody reads an old state for long. To be called without a transaction.
    pub(super) async fn shorten(&self, write: &SqlitePool) -> Result<(), sqlx::Error> {
        // Only looked at: whoever opened and closed one of SQLite's files beside it would let go its locks (POSIX says so).
        let length = std::fs::metadata(&self.path).map_or(0, |found| found.len());
        if length < self.most {
            self.next.store(self.most, Ordering::Relaxed);
        }
        if length < self.next.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut guard = Guard(Some(write.acquire().await?));
        guard.execute(patience(PATIENCE)).await?;
        let (busy, ..): (i64, i64, i64) =
            sqlx::query_as("PRAGMA wal_checkpoint(TRUNCATE)").fetch_one(&mut *guard).await?;
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
