//! Questions about the whole: counts, workers, revisions, batches, problems.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use jiff::{SignedDuration, Timestamp};
use ocelli_core::wire::{BatchReport, Problem};
use ocelli_core::{AnalyzerName, BatchId, Revision};

use crate::catalog::{Catalog, Store, ask, snapshot};
use crate::error::CatalogError;
use crate::model::{AnalyzerStatus, Heard, Status};
use crate::rows::{Read, State, batch, from_json, number, parse, parse_some, time, unreadable};

pub(crate) type BatchColumns = (Vec<u8>, String, i64, i64, bool, i64, i64, i64, i64);
type ProblemColumns = (Vec<u8>, String, String, i64, Option<String>);

/// The span of [`AnalyzerStatus::finished_last_minute`].
const MINUTE: SignedDuration = SignedDuration::from_secs(60);

/// Who was heard lately, by one clock, that of the database. One that was set back since makes nobody present for that long.
const PRESENT_SQLITE: &str = "SELECT body, heard_at, moment - heard_at FROM workers, \
    (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS moment) AS clock \
    WHERE NOT leaving AND abs(moment - heard_at) <= $1 ORDER BY analyzer, worker";
const PRESENT_POSTGRES: &str = "SELECT body, heard_at, moment - heard_at FROM workers, \
    (SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint AS moment) AS clock \
    WHERE NOT leaving AND abs(moment - heard_at) <= $1 ORDER BY analyzer, worker";

const CLOCK_SQLITE: &str = "SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER)";
const CLOCK_POSTGRES: &str = "SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint";

/// What jobs wait for that are for the first of near-identical images only.
const NEAR: &str = "a near-identical image";

impl Catalog {
    /// Counts over everything, of one moment.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn status(&self, now: Timestamp) -> Result<Status, CatalogError> {
        let since = now.checked_sub(MINUTE).unwrap_or(Timestamp::MIN).as_microsecond();
        let now = now.as_microsecond();
        let rows = snapshot!(self, connection => {
            let totals: (i64, i64, i64, i64, i64, i64, i64, i64, i64) = sqlx::query_as(
                "SELECT (SELECT COUNT(*) FROM images), \
                 (SELECT COUNT(*) FROM images WHERE bytes IS NULL), \
                 (SELECT COUNT(*) FROM images WHERE NOT complete), \
                 (SELECT COUNT(*) FROM images WHERE refusal IS NOT NULL), \
                 (SELECT COUNT(*) FROM sightings), (SELECT COUNT(*) FROM problems WHERE rule IS NULL), \
                 (SELECT COUNT(*) FROM batches), (SELECT COUNT(*) FROM batches WHERE NOT finished), \
                 (SELECT COUNT(*) FROM dead_letters WHERE fate = 'kept')",
            )
            .fetch_one(&mut *connection)
            .await?;
            let states: Vec<(String, String, i64)> =
                sqlx::query_as("SELECT analyzer, state, COUNT(*) FROM wants GROUP BY analyzer, state")
                    .fetch_all(&mut *connection)
                    .await?;
            let deferred: Vec<(String, i64)> = sqlx::query_as(
                "SELECT d.analyzer, COUNT(*) FROM deferrals d CROSS JOIN images i CROSS JOIN wants w \
                 WHERE i.digest = d.digest AND w.image = i.id AND w.analyzer = d.analyzer \
                 AND d.next_at > $1 AND w.state = 'open' GROUP BY d.analyzer",
            )
            .bind(now)
            .fetch_all(&mut *connection)
            .await?;
            let finished: Vec<(String, i64)> = sqlx::query_as(
                "SELECT analyzer, COUNT(*) FROM analyses WHERE finished_at > $1 AND finished_at <= $2 \
                 GROUP BY analyzer",
            )
            .bind(since)
            .bind(now)
            .fetch_all(&mut *connection)
            .await?;
            let waiting: Vec<(String, Option<String>, i64)> = sqlx::query_as(
                "SELECT analyzer, needs, COUNT(*) FROM (SELECT analyzer, CASE WHEN waits_for IS NULL THEN \
                 trim(coalesce(needs, '') || ' ' || coalesce(rules_after, '')) \
                 ELSE 'a near-identical image' END AS needs FROM wants WHERE hold = 'needs') AS waiting \
                 GROUP BY analyzer, needs",
            )
            .fetch_all(&mut *connection)
            .await?;
            Ok::<_, sqlx::Error>((totals, states, deferred, finished, waiting))
        });
        let (totals, states, deferred, finished, waiting) = self.timed("count", rows).await?;
        let read = || -> Read<Status> {
            let count = |value: i64| number::<u64>("count", value);
            let (
                images,
                unsighted,
                incomplete,
                refused,
                sightings,
                problems,
                batches,
                running,
                dead,
            ) = totals;
            let mut status = Status {
                images: count(images - unsighted)?,
                complete: count(images - incomplete)?,
                refused: count(refused)?,
                sightings: count(sightings)?,
                problems: count(problems)?,
                dead_letters: count(dead)?,
                batches: count(batches)?,
                batches_running: count(running)?,
                analyzers: BTreeMap::new(),
            };
            for (analyzer, state, rows) in states {
                let state = State::from_name(&state).ok_or_else(|| unreadable("state", state))?;
                let entry = status.analyzers.entry(parse("analyzer name", &analyzer)?).or_default();
                entry.wanted += count(rows)?;
                *entry.of(state) += count(rows)?;
            }
            for (analyzer, rows) in deferred {
                let analyzer = parse("analyzer name", &analyzer)?;
                status.analyzers.entry(analyzer).or_default().deferred = count(rows)?;
            }
            for (analyzer, rows) in finished {
                let analyzer = parse("analyzer name", &analyzer)?;
                status.analyzers.entry(analyzer).or_default().finished_last_minute = count(rows)?;
            }
            for (analyzer, needs, rows) in waiting {
                let needs = needs.unwrap_or_default();
                let needs = if needs == NEAR { needs } else { needs.replace(' ', ", ") };
                let analyzer = parse("analyzer name", &analyzer)?;
                let entry = status.analyzers.entry(analyzer).or_default();
                entry.waiting_for.insert(needs, count(rows)?);
            }
            Ok(status)
        };
        read().map_err(|error| self.unreadable(error))
    }

    /// When the oldest of each analyzer's open jobs was asked for, or opened again.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn oldest_open(&self) -> Result<BTreeMap<AnalyzerName, Timestamp>, CatalogError> {
        let rows: Vec<(String, i64)> = ask!(self, "look for the oldest open jobs", pool => sqlx::query_as(
            // By the column itself, SQLite would read the whole of an index that is in its order.
            "SELECT analyzer || '' AS name, MIN(CASE WHEN reopened > asked_at THEN reopened ELSE asked_at END) \
             FROM wants WHERE state = 'open' GROUP BY analyzer || ''",
        )
        .fetch_all(pool))?;
        rows.iter()
            .map(|(analyzer, at)| Ok((parse("analyzer name", analyzer)?, time(*at)?)))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// The latest announced revision of each analyzer.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn revisions(&self) -> Result<BTreeMap<AnalyzerName, Revision>, CatalogError> {
        let rows: Vec<(String, String)> = ask!(self, "list revisions", pool => sqlx::query_as(
            "SELECT analyzer, revision FROM revisions ORDER BY last_announced, revision",
        )
        .fetch_all(pool))?;
        rows.iter()
            .map(|(analyzer, revision)| {
                Ok((parse("analyzer name", analyzer)?, parse("revision", revision)?))
            })
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// The last word of each worker process that has not been silent for longer than this, by the clock of the database, and has
    /// not left. What clock the worker has, and who asks, does not matter.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn workers(&self, silence: SignedDuration) -> Result<Vec<Heard>, CatalogError> {
        let sql = match &self.store {
            Store::Sqlite(_) => PRESENT_SQLITE,
            Store::Postgres(_) => PRESENT_POSTGRES,
        };
        let silence = i64::try_from(silence.as_micros()).unwrap_or(i64::MAX);
        let rows: Vec<(String, i64, i64)> = ask!(self, "list workers", pool => sqlx::query_as(sql)
            .bind(silence)
            .fetch_all(pool))?;
        rows.iter()
            .map(|(body, heard_at, silent)| {
                Ok(Heard {
                    said: from_json("announcement", body)?,
                    heard_at: time(*heard_at)?,
                    silent: SignedDuration::from_micros(*silent),
                })
            })
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// What time it is for the database.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn clock(&self) -> Result<Timestamp, CatalogError> {
        let sql = match &self.store {
            Store::Sqlite(_) => CLOCK_SQLITE,
            Store::Postgres(_) => CLOCK_POSTGRES,
        };
        let now: i64 =
            ask!(self, "look at the clock", pool => sqlx::query_scalar(sql).fetch_one(pool))?;
        time(now).map_err(|error| self.unreadable(error))
    }

    /// Runs of producers, the latest first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn batches(&self, limit: u32) -> Result<Vec<BatchReport>, CatalogError> {
        self.batches_behind(None, limit).await
    }

    /// The same, behind the one that began then.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn batches_behind(
        &self,
        behind: Option<(Timestamp, BatchId)>,
        limit: u32,
    ) -> Result<Vec<BatchReport>, CatalogError> {
        let (at, id) = behind.map_or((i64::MAX, vec![0xff; 17]), |(at, batch)| {
            (at.as_microsecond(), batch.uuid().into_bytes().to_vec())
        });
        let rows: Vec<BatchColumns> = ask!(self, "list batches", pool => sqlx::query_as(
            "SELECT batch, name, started_at, at, finished, accepted, known, skipped, problems FROM batches \
             WHERE (started_at, batch) < ($2, $3) ORDER BY started_at DESC, batch DESC LIMIT $1",
        )
        .bind(i64::from(limit))
        .bind(at)
        .bind(id)
        .fetch_all(pool))?;
        rows.into_iter().map(report).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// References without an image behind them, the latest first; without those that a rule passed over.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn problems(
        &self,
        of: Option<BatchId>,
        limit: u32,
    ) -> Result<Vec<Problem>, CatalogError> {
        let rows: Vec<ProblemColumns> = match of {
            Some(of) => ask!(self, "list problems", pool => sqlx::query_as(
                "SELECT batch, reference, reason, at, source FROM problems WHERE rule IS NULL AND batch = $2 \
                 ORDER BY at DESC, reference LIMIT $1",
            )
            .bind(i64::from(limit))
            .bind(of.uuid().into_bytes().to_vec())
            .fetch_all(pool)),
            None => ask!(self, "list problems", pool => sqlx::query_as(
                "SELECT batch, reference, reason, at, source FROM problems WHERE rule IS NULL \
                 ORDER BY at DESC, batch DESC, reference LIMIT $1",
            )
            .bind(i64::from(limit))
            .fetch_all(pool)),
        }?;
        rows.into_iter()
            .map(|(id, reference, reason, at, source)| {
                let source = parse_some("source", source.as_deref())?;
                let (batch, at) = (batch(&id)?, time(at)?);
                Ok(Problem { batch, reference, reason, at, source, rule: None, told: None })
            })
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }
}

impl AnalyzerStatus {
    pub(crate) fn of(&mut self, state: State) -> &mut u64 {
        use ocelli_core::OutcomeKind::{Done, Empty, Failed, Skipped};
        match state {
            State::Open => &mut self.open,
            State::Refused => &mut self.refused,
            State::Answered(Done) => &mut self.done,
            State::Answered(Empty) => &mut self.empty,
            State::Answered(Skipped) => &mut self.skipped,
            State::Answered(Failed) => &mut self.failed,
        }
    }
}

pub(crate) fn report(row: BatchColumns) -> Read<BatchReport> {
    let (id, name, started_at, at, finished, accepted, known, skipped, problems) = row;
    Ok(BatchReport {
        batch: batch(&id)?,
        name,
        started_at: time(started_at)?,
        at: time(at)?,
        finished,
        accepted: number("count", accepted)?,
        known: number("count", known)?,
        skipped: number("count", skipped)?,
        problems: number("count", problems)?,
    })
}
