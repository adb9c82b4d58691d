//! Who is told of complete records, and what each of them has not been told yet.
//!
//! The note that a listener is to be told is written in the transaction that completes the record, whoever does that, so there is no
//! moment in which a process can die and leave a complete record that nobody ever hears of. It is taken out once the listener has
//! confirmed. In between it may be told twice, never not at all.
//!
//! Taking a note is a lease by the clock of the database: whoever dies with it leaves it to the next.

use std::time::Duration;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::Digest;
use serde::Serialize;

use crate::catalog::{Catalog, ask, change, transact};
use crate::claims::span;
use crate::error::{CatalogError, Fault};
use crate::gather::clean;
use crate::rows::{Read, digest, number, time};
use crate::unit::Unit;

/// The longest reason that is kept.
const LONGEST_REASON: usize = 500;

/// Something to be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Due {
    /// Which record.
    pub digest: Digest,
    /// When it became complete, for the last time.
    pub completed_at: Timestamp,
    /// Attempts so far.
    pub attempts: u32,
    /// For how long it has been waiting to be told.
    pub waits: Duration,
}

/// What becomes of something that could not be told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Retry {
    /// It is tried again.
    After(Duration),
    /// It is not, until people say so.
    Never,
}

/// How a listener stands.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ListenerState {
    /// Its name.
    pub name: String,
    /// It is told of what became complete since then.
    pub since: Timestamp,
    /// Records that it is still to be told of.
    pub waiting: u64,
    /// Records that it could not be told of for too long.
    pub dead: u64,
    /// When the one that waits longest became complete.
    pub oldest: Option<Timestamp>,
    /// Why one of them was not told.
    pub reason: Option<String>,
}

/// `digest, completed_at, attempts` and the microseconds that it waits.
pub(crate) type DueColumns = (Vec<u8>, i64, i64, i64);

/// The part of a write transaction that knows listeners.
pub(crate) trait Telling {
    async fn listeners(&mut self) -> Result<Vec<String>, Fault>;
    /// Notes that a listener is to be told of these records.
    async fn tell_later(&mut self, listener: &str, digests: &[Digest]) -> Result<(), Fault>;
    /// Takes what is due, the longest due first, for so many microseconds.
    async fn take_due(
        &mut self,
        listener: &str,
        lease: i64,
        most: u32,
    ) -> Result<Vec<DueColumns>, Fault>;
    /// Takes a note out, unless the record became complete once more.
    async fn told(&mut self, listener: &str, due: &Due) -> Result<(), Fault>;
    /// Puts a note off, unless the record became complete once more.
    async fn not_told(
        &mut self,
        listener: &str,
        due: &Due,
        reason: &str,
        retry: &Retry,
    ) -> Result<(), Fault>;
}

/// Implements [`Telling`]: the backends differ in their clock, in how many rows a statement takes, and in that PostgreSQL passes over what
/// another one takes at this moment.
macro_rules! telling {
    ($unit:ty, $now:literal, $later:literal, $skip:literal, $insert:path) => {
        impl crate::deliveries::Telling for $unit {
            async fn listeners(&mut self) -> Result<Vec<String>, crate::error::Fault> {
                Ok(sqlx::query_scalar("SELECT name FROM listeners ORDER BY name")
                    .fetch_all(&mut *self.0)
                    .await?)
            }

            async fn tell_later(
                &mut self,
                listener: &str,
                digests: &[ocelli_core::Digest],
            ) -> Result<(), crate::error::Fault> {
                Ok($insert(self, listener, digests).await?)
            }

            async fn take_due(
                &mut self,
                listener: &str,
                lease: i64,
                most: u32,
            ) -> Result<Vec<crate::deliveries::DueColumns>, crate::error::Fault> {
                Ok(sqlx::query_as(concat!(
                    "UPDATE deliveries SET next_at = ", $now, " + $2 WHERE (listener, digest) IN \
                     (SELECT listener, digest FROM deliveries WHERE listener = $1 AND dead = 0 AND next_at <= ", $now,
                    " ORDER BY next_at, digest LIMIT $3", $skip,
                    ") RETURNING digest, completed_at, attempts, ", $later, "(0, ", $now, " - since)"
                ))
                .bind(listener)
                .bind(lease)
                .bind(i64::from(most))
                .fetch_all(&mut *self.0)
                .await?)
            }

            async fn told(
                &mut self,
                listener: &str,
                due: &crate::deliveries::Due,
            ) -> Result<(), crate::error::Fault> {
                sqlx::query(
                    "DELETE FROM deliveries WHERE listener = $1 AND digest = $2 AND completed_at = $3",
                )
                .bind(listener)
                .bind(due.digest.as_bytes().to_vec())
                .bind(due.completed_at.as_microsecond())
                .execute(&mut *self.0)
                .await?;
                Ok(())
            }

            async fn not_told(
                &mut self,
                listener: &str,
                due: &crate::deliveries::Due,
                reason: &str,
                retry: &crate::deliveries::Retry,
            ) -> Result<(), crate::error::Fault> {
                let (pause, dead) = crate::deliveries::columns(retry);
                sqlx::query(concat!(
                    "UPDATE deliveries SET attempts = attempts + 1, reason = $4, dead = $5, next_at = ", $now,
                    " + $6 WHERE listener = $1 AND digest = $2 AND completed_at = $3"
                ))
                .bind(listener)
                .bind(due.digest.as_bytes().to_vec())
                .bind(due.completed_at.as_microsecond())
                .bind(reason)
                .bind(dead)
                .bind(pause)
                .execute(&mut *self.0)
                .await?;
                Ok(())
            }
        }
    };
}
pub(crate) use telling;

/// What a note becomes whose record is complete once more: due now, and alive. Its time grows in any case, so that whoever is telling the
/// older one does not take it out.
macro_rules! once_more {
    ($later:literal) => {
        concat!(
            " ON CONFLICT (listener, digest) DO UPDATE SET completed_at = ",
            $later,
            "(excluded.completed_at, deliveries.completed_at + 1), next_at = excluded.next_at, dead = 0, \
             attempts = CASE deliveries.dead WHEN 0 THEN deliveries.attempts ELSE 0 END, \
             since = CASE deliveries.dead WHEN 0 THEN deliveries.since ELSE excluded.since END"
        )
    };
}
pub(crate) use once_more;

/// The pause in microseconds, and whether it is for ever.
pub(crate) fn columns(retry: &Retry) -> (i64, i64) {
    match retry {
        Retry::After(pause) => (span(*pause), 0),
        Retry::Never => (0, 1),
    }
}

/// Notes for every listener that these records are complete.
pub(crate) async fn note<U: Telling>(unit: &mut U, completed: &[Digest]) -> Result<(), Fault> {
    if completed.is_empty() {
        return Ok(());
    }
    for listener in unit.listeners().await? {
        unit.tell_later(&listener, completed).await?;
    }
    Ok(())
}

fn due((image, completed_at, attempts, waits): DueColumns) -> Read<Due> {
    Ok(Due {
        digest: digest(&image)?,
        completed_at: time(completed_at)?,
        attempts: number("attempts", attempts)?,
        waits: Duration::from_micros(number("time", waits)?),
    })
}

impl Catalog {
    /// Makes a listener known: from now on it is told of every record that becomes complete. `false` when it was known.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn listen(&self, name: &str, at: Timestamp) -> Result<bool, CatalogError> {
        let sql = "INSERT INTO listeners (name, since) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        let rows = change!(
            self,
            "make a listener known",
            sqlx::query(sql).bind(name).bind(at.as_microsecond())
        );
        Ok(rows > 0)
    }

    /// Forgets a listener and all that it was not told. Answers how much that was; `None` when there was no such listener.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn forget_listener(&self, name: &str) -> Result<Option<u64>, CatalogError> {
        let known = change!(
            self,
            "forget a listener",
            sqlx::query("DELETE FROM listeners WHERE name = $1").bind(name)
        );
        let waiting = change!(
            self,
            "forget what a listener waits for",
            sqlx::query("DELETE FROM deliveries WHERE listener = $1").bind(name)
        );
        Ok((known + waiting > 0).then_some(waiting))
    }

    /// Takes what a listener is to be told now, at most so much: for `lease` nobody else gets it. In no order.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn take_due(
        &self,
        listener: &str,
        lease: Duration,
        most: u32,
    ) -> Result<Vec<Due>, CatalogError> {
        let rows = transact!(self, "take what is to be told", unit => take(unit, listener, span(lease), most))?;
        rows.into_iter().map(due).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// Notes what a listener was told, and what not. What became complete once more meanwhile stays to be told.
    ///
    /// # Errors
    /// When the database does not take it: it will be told once more.
    #[async_recursion]
    pub async fn note_told(
        &self,
        listener: &str,
        told: &[Due],
        not_told: &[(Due, String, Retry)],
    ) -> Result<(), CatalogError> {
        if told.is_empty() && not_told.is_empty() {
            return Ok(());
        }
        transact!(self, "note what was told", unit => settle(unit, listener, told, not_told))
    }

    /// All listeners, by name.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn listeners(&self) -> Result<Vec<ListenerState>, CatalogError> {
        type Columns = (String, i64, i64, i64, Option<i64>, Option<String>);
        let rows: Vec<Columns> = ask!(self, "list listeners", pool => sqlx::query_as(
            "SELECT l.name, l.since, COUNT(d.digest) FILTER (WHERE d.dead = 0), COUNT(d.digest) FILTER (WHERE d.dead = 1), \
             MIN(d.completed_at) FILTER (WHERE d.dead = 0), MAX(d.reason) FROM listeners l \
             LEFT JOIN deliveries d ON d.listener = l.name GROUP BY l.name, l.since ORDER BY l.name",
        )
        .fetch_all(pool))?;
        let read = |(name, since, waiting, dead, oldest, reason): Columns| {
            Ok(ListenerState {
                name,
                since: time(since)?,
                waiting: number("count", waiting)?,
                dead: number("count", dead)?,
                oldest: oldest.map(time).transpose()?,
                reason,
            })
        };
        rows.into_iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// Has a listener told what it could not be told for too long, from `at` on. Answers how much that is.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn tell_again(&self, listener: &str, at: Timestamp) -> Result<u64, CatalogError> {
        let sql = "UPDATE deliveries SET dead = 0, attempts = 0, since = $2, next_at = $2 \
                   WHERE listener = $1 AND dead = 1";
        let at = at.as_microsecond();
        Ok(change!(self, "tell again", sqlx::query(sql).bind(listener).bind(at)))
    }
}

async fn take<U: Unit>(
    mut unit: U,
    listener: &str,
    lease: i64,
    most: u32,
) -> Result<Vec<DueColumns>, Fault> {
    let rows = unit.take_due(listener, lease, most).await?;
    unit.commit().await?;
    Ok(rows)
}

async fn settle<U: Unit>(
    mut unit: U,
    listener: &str,
    told: &[Due],
    not_told: &[(Due, String, Retry)],
) -> Result<(), Fault> {
    for due in told {
        unit.told(listener, due).await?;
    }
    for (due, reason, retry) in not_told {
        let reason: String = clean(reason).chars().take(LONGEST_REASON).collect();
        unit.not_told(listener, due, &reason, retry).await?;
    }
    unit.commit().await
}
