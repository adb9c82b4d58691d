//! Backfills: one revision of one analyzer, asked of images that are in the archive already.
//!
//! What is missing is a set difference: the images that match a query, without those that this revision has answered, that it is
//! being asked about, or that were refused. Every page of it is decided again in the transaction that writes its wants, so that
//! two backfills of the same images, and a backfill beside producers, ask once. A job is written down first and published
//! afterwards; `published` says how far that came, so that whoever was killed in between goes on there.
//!
//! A backfill is a batch as well, which pays for its jobs. Its cap is looked at where claims are made (see `covering`), and so
//! are its pause and its end.
//!
//! | module | room for |
//! |---|---|
//! | this | [`Backfill`], and everything that changes one |
//! | `adding` | the transactions: wants that are added, wants that are taken back |
//! | `covering` | what a worker is told about a job that a backfill asked for |
//! | `extent` | which images are missing, how many, and what answers have cost so far |

mod adding;
pub(crate) mod covering;
mod extent;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, BatchId, Budget, Digest, Limit, Period, Revision};
use serde::Serialize;

pub(crate) use adding::{Backfilling, Job, backfilling};
pub(crate) use covering::{Cover, CoverColumns, cover, covers};
pub use extent::{Extent, Measured};

use crate::catalog::{Catalog, Store, ask, snapshot};
use crate::error::{CatalogError, Fault};
use crate::gather::{clean, micros};
use crate::rows::{Read, batch, column, digest, number, parse, time, unreadable};

/// Whether a backfill goes on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum BackfillState {
    /// Its jobs are done.
    Running,
    /// Nothing of it is enqueued or begun until it is resumed.
    Paused,
    /// What had not begun was taken back.
    Cancelled,
}

impl BackfillState {
    const ALL: [Self; 3] = [Self::Running, Self::Paused, Self::Cancelled];

    /// As in the database.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Paused => "paused",
            Self::Cancelled => "cancelled",
        }
    }

    fn read(name: &str) -> Read<Self> {
        let state = Self::ALL.into_iter().find(|state| state.name() == name);
        state.ok_or_else(|| unreadable("state of a backfill", name))
    }
}

/// A backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backfill {
    /// The batch that pays for it.
    pub batch: BatchId,
    /// Its name, which is that of the batch.
    pub name: String,
    /// Who is asked.
    pub analyzer: AnalyzerName,
    /// In which revision.
    pub revision: Revision,
    /// Of which images, as it was typed.
    pub query: String,
    /// Whether it goes on.
    pub state: BackfillState,
    /// What it may cost.
    pub cap: Option<Limit>,
    /// When it was begun.
    pub created_at: Timestamp,
}

impl Backfill {
    /// Its cap as a budget.
    #[must_use]
    pub fn budget(&self) -> Option<Budget> {
        self.cap.as_ref().map(|cap| budget(&self.name, cap))
    }
}

fn budget(name: &str, cap: &Limit) -> Budget {
    Budget {
        analyzer: None,
        batch: Some(name.to_owned()),
        period: Period::Total,
        limit: cap.clone(),
    }
}

/// How far a backfill is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackfillProgress {
    /// Which.
    pub backfill: Backfill,
    /// Images that it asked for, without those that were taken back.
    pub images: u64,
    /// Of these, those that wait for their answer.
    pub open: u64,
    /// Images that were taken back.
    pub withdrawn: u64,
    /// What it has cost, in the unit of its cap.
    pub spent: Option<u64>,
}

/// What became of a wish for a backfill.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Begun {
    /// It is new, or goes on.
    Running(Backfill),
    /// It is there, and paused.
    Paused(Backfill),
    /// Another one has this name.
    Taken(Backfill),
}

/// What one page of images led to.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Added {
    /// Images that are wanted now, and whose job is to be published.
    pub jobs: Vec<Digest>,
    /// Images that are wanted now, and whose job waits for other analyzers.
    pub held: u64,
    /// The backfill was paused or cancelled: nothing was added.
    pub stopped: bool,
}

type Columns = (Vec<u8>, String, String, String, String, String, Option<String>, Option<i64>, i64);

const COLUMNS: &str = "SELECT f.batch, f.name, f.analyzer, f.revision, f.query, f.state, f.currency, f.cap, \
     f.created_at FROM backfills f";

fn read(row: Columns) -> Read<Backfill> {
    let (id, name, analyzer, revision, query, state, currency, cap, created_at) = row;
    Ok(Backfill {
        batch: batch(&id)?,
        name,
        analyzer: parse("analyzer name", &analyzer)?,
        revision: parse("revision", &revision)?,
        query,
        state: BackfillState::read(&state)?,
        cap: limit(currency, cap)?,
        created_at: time(created_at)?,
    })
}

fn limit(currency: Option<String>, cap: Option<i64>) -> Read<Option<Limit>> {
    let Some(cap) = cap else { return Ok(None) };
    let cap = number("cap", cap)?;
    Ok(Some(match currency {
        Some(currency) => Limit::Money { micros: cap, currency },
        None => Limit::Tokens(cap),
    }))
}

/// The columns of a cap.
fn columns(cap: Option<&Limit>) -> (Option<&str>, Option<i64>) {
    match cap {
        None => (None, None),
        Some(Limit::Money { micros, currency }) => (Some(currency), Some(column(*micros))),
        Some(Limit::Tokens(tokens)) => (None, Some(column(*tokens))),
    }
}

/// Runs a statement that writes, on either backend.
macro_rules! execute {
    ($catalog:expr, $action:literal, $query:expr) => {
        match &$catalog.store {
            Store::Sqlite(store) => {
                $catalog.timed($action, $query.execute(&store.write)).await?.rows_affected()
            }
            Store::Postgres(store) => {
                $catalog.timed($action, $query.execute(&store.pool)).await?.rows_affected()
            }
        }
    };
}

impl Catalog {
    /// Begins a backfill, or goes on with the one of this name when it asks the same. A cap replaces the one before. One that
    /// was cancelled begins again.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn begin_backfill(&self, wish: &Backfill) -> Result<Begun, CatalogError> {
        const BATCH: &str = "INSERT INTO batches (batch, name, started_at, at, finished, accepted, known, skipped, problems) \
             SELECT f.batch, f.name, f.created_at, f.created_at, $2, 0, 0, 0, 0 FROM backfills f WHERE f.name = $1 \
             ON CONFLICT (batch) DO NOTHING";
        const CHANGE: &str = "UPDATE backfills SET currency = CASE WHEN $3 THEN $4 ELSE currency END, \
             cap = CASE WHEN $3 THEN $5 ELSE cap END, state = $2 WHERE name = $1";
        let (currency, cap) = columns(wish.cap.as_ref());
        let (name, query) = (clean(&wish.name), clean(&wish.query));
        let added = execute!(self, "begin a backfill", sqlx::query(
            "INSERT INTO backfills (batch, name, analyzer, revision, query, state, currency, cap, created_at) \
             VALUES ($1, $2, $3, $4, $5, 'running', $6, $7, $8) ON CONFLICT (name) DO NOTHING",
        )
        .bind(wish.batch.uuid().into_bytes().to_vec())
        .bind(&name)
        .bind(wish.analyzer.as_str())
        .bind(wish.revision.as_str())
        .bind(&query)
        .bind(currency)
        .bind(cap)
        .bind(micros(wish.created_at).as_microsecond()));
        let Some(found) = self.backfill(&name).await? else {
            return Ok(Begun::Taken(wish.clone()));
        };
        if added == 0 {
            if (&found.analyzer, &found.revision, &found.query)
                != (&wish.analyzer, &wish.revision, &query)
            {
                return Ok(Begun::Taken(found));
            }
            let state = match found.state {
                BackfillState::Paused => BackfillState::Paused,
                _ => BackfillState::Running,
            };
            execute!(
                self,
                "go on with a backfill",
                sqlx::query(CHANGE)
                    .bind(&name)
                    .bind(state.name())
                    .bind(wish.cap.is_some())
                    .bind(currency)
                    .bind(cap)
            );
            if state == BackfillState::Paused {
                return Ok(Begun::Paused(found));
            }
        }
        // A process that dies before this leaves it to the next: no budget knows the batch until then.
        execute!(self, "name the batch of a backfill", sqlx::query(BATCH).bind(&name).bind(false));
        let cap = wish.cap.clone().or(found.cap);
        Ok(Begun::Running(Backfill { state: BackfillState::Running, cap, ..found }))
    }

    /// The backfill of this name.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn backfill(&self, name: &str) -> Result<Option<Backfill>, CatalogError> {
        let row: Option<Columns> = ask!(self, "look up a backfill", pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!("{COLUMNS} WHERE f.name = $1")))
                .bind(name)
                .fetch_optional(pool)
        })?;
        row.map(read).transpose().map_err(|error| self.unreadable(error))
    }

    /// All backfills, the latest first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn all_backfills(&self) -> Result<Vec<Backfill>, CatalogError> {
        let rows: Vec<Columns> = ask!(self, "list backfills", pool => {
            sqlx::query_as(sqlx::AssertSqlSafe(format!(
                "{COLUMNS} ORDER BY f.created_at DESC, f.name"
            )))
            .fetch_all(pool)
        })?;
        rows.into_iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// The same with how far they are, which takes time in proportion to their jobs.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn backfills(&self) -> Result<Vec<BackfillProgress>, CatalogError> {
        const COUNTS: &str = "SELECT COUNT(*), COUNT(w.image), \
             (SELECT COUNT(*) FROM backfill_jobs j WHERE j.batch = $1 AND j.withdrawn = 1) FROM backfill_jobs j \
             LEFT JOIN images i ON i.digest = j.digest \
             LEFT JOIN wants w ON w.image = i.id AND w.analyzer = $2 AND w.revision = $3 AND w.state = 'open' \
             WHERE j.batch = $1 AND j.withdrawn = 0";
        let rows = snapshot!(self, connection, backend => async {
            let sql = sqlx::AssertSqlSafe(format!("{COLUMNS} ORDER BY f.created_at DESC, f.name"));
            let rows: Vec<Columns> = sqlx::query_as(sql).fetch_all(&mut *connection).await?;
            let mut all = Vec::with_capacity(rows.len());
            for row in rows {
                let backfill = read(row)?;
                let (images, open, withdrawn): (i64, i64, i64) = sqlx::query_as(COUNTS)
                    .bind(backfill.batch.uuid().into_bytes().to_vec())
                    .bind(backfill.analyzer.as_str())
                    .bind(backfill.revision.as_str())
                    .fetch_one(&mut *connection)
                    .await?;
                let spent = match backfill.budget() {
                    Some(budget) => {
                        Some(backend::sum(&mut *connection, &budget).await?.of(&budget.limit))
                    }
                    None => None,
                };
                let count = |count| number("count", count);
                all.push(BackfillProgress {
                    backfill,
                    images: count(images)?,
                    open: count(open)?,
                    withdrawn: count(withdrawn)?,
                    spent,
                });
            }
            Ok::<_, Fault>(all)
        }.await);
        self.timed("list backfills", rows).await
    }

    /// Pauses, resumes or ends a backfill; none when there is none of this name. What a cancelled one asked for is taken
    /// back by [`Catalog::withdraw_backfill`].
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn set_backfill(
        &self,
        name: &str,
        state: BackfillState,
    ) -> Result<Option<Backfill>, CatalogError> {
        execute!(
            self,
            "change a backfill",
            sqlx::query("UPDATE backfills SET state = $2 WHERE name = $1")
                .bind(name)
                .bind(state.name())
        );
        self.backfill(name).await
    }

    /// Images of a backfill whose job was written down and, as far as is known, not published: a process was killed.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn unpublished(
        &self,
        backfill: &Backfill,
        limit: u32,
    ) -> Result<Vec<Digest>, CatalogError> {
        let rows: Vec<Vec<u8>> = ask!(self, "list jobs of a backfill", pool => sqlx::query_scalar(
            "SELECT digest FROM backfill_jobs WHERE batch = $1 AND published = 0 ORDER BY digest LIMIT $2",
        )
        .bind(backfill.batch.uuid().into_bytes().to_vec())
        .bind(i64::from(limit))
        .fetch_all(pool))?;
        rows.iter()
            .map(|bytes| digest(bytes))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// Notes that a backfill has listed all its images.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn note_listed(
        &self,
        backfill: &Backfill,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        execute!(
            self,
            "note the end of a list",
            sqlx::query("UPDATE batches SET finished = $2, at = $3 WHERE batch = $1",)
                .bind(backfill.batch.uuid().into_bytes().to_vec())
                .bind(true)
                .bind(micros(at).as_microsecond())
        );
        Ok(())
    }
}
