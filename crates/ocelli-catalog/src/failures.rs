//! Failed analyses: listing them, opening them again, settling them, and everything that is known about those of one image.

use std::fmt;
use std::str::FromStr;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, Digest, Revision};

use crate::catalog::{Catalog, Store, ask, snapshot, transact};
use crate::disagreements::NoCursor;
use crate::error::CatalogError;
use crate::fold::Key;
use crate::gather::{clean, micros};
use crate::letters::{self, LetterColumns};
use crate::model::{Event, Failure, FailureFilter, History, Postponed};
use crate::rows::{Read, digest, from_json, number, parse, parse_some, time};
use crate::unit;

type FailureColumns =
    (Vec<u8>, String, String, Option<String>, Option<String>, i64, i64, Option<String>);
type PostponedColumns = (String, String, String, i64, i64);
type EventColumns = (i64, String, Option<String>, String);

/// How many failures are reopened or discarded in one transaction, so that writers in between wait only shortly.
const CHANGED_AT_ONCE: u32 = 500;

/// Behind which failure a list goes on. As text it is opaque for everyone else.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailureCursor {
    at: Timestamp,
    digest: Digest,
    analyzer: AnalyzerName,
    revision: Revision,
}

impl From<&Failure> for FailureCursor {
    fn from(failure: &Failure) -> Self {
        let Failure { at, digest, analyzer, revision, .. } = failure;
        Self { at: *at, digest: *digest, analyzer: analyzer.clone(), revision: revision.clone() }
    }
}

impl fmt::Display for FailureCursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let at = self.at.as_microsecond();
        write!(f, "f1.{at}.{}.{}@{}", self.digest, self.analyzer, self.revision)
    }
}

impl FromStr for FailureCursor {
    type Err = NoCursor;
    fn from_str(text: &str) -> Result<Self, NoCursor> {
        // The names of analyzers may have dots.
        let mut parts = text.strip_prefix("f1.").ok_or(NoCursor)?.splitn(3, '.');
        let mut part = || parts.next().ok_or(NoCursor);
        let at = part()?.parse().map_err(|_| NoCursor)?;
        let digest = part()?.parse().map_err(|_| NoCursor)?;
        let (analyzer, revision) = part()?.split_once('@').ok_or(NoCursor)?;
        Ok(Self {
            at: Timestamp::from_microsecond(at).map_err(|_| NoCursor)?,
            digest,
            analyzer: analyzer.parse().map_err(|_| NoCursor)?,
            revision: revision.parse().map_err(|_| NoCursor)?,
        })
    }
}

impl Catalog {
    /// Takes the failures that `filter` lists (at most its limit) out of the archive, so that their jobs are open again;
    /// each stays as an event. A duplicate of a message about such a failure that arrives later is ignored. Returns the
    /// jobs that were opened.
    ///
    /// # Errors
    /// When the database does not take it; what was reopened before the error stays reopened.
    #[async_recursion]
    pub async fn reopen_failures(
        &self,
        filter: &FailureFilter,
    ) -> Result<Vec<(Digest, AnalyzerName)>, CatalogError> {
        let mut reopened = Vec::new();
        let mut left = filter.limit;
        while left > 0 {
            let part = FailureFilter { limit: left.min(CHANGED_AT_ONCE), ..filter.clone() };
            let keys = self.failed_jobs(&part).await?;
            if keys.is_empty() {
                break;
            }
            let jobs = transact!(self, "reopen failures", unit => unit::reopen(unit, &keys))?;
            left = left.saturating_sub(part.limit);
            if jobs.is_empty() {
                // Somebody else is reopening the same ones.
                break;
            }
            reopened.extend(jobs);
        }
        Ok(reopened)
    }

    /// Settles the failures that `filter` lists (at most its limit) without another attempt: each becomes an outcome that was
    /// skipped by the rule `discarded`, with its reason, and stays as an event. Returns how many.
    ///
    /// # Errors
    /// When the database does not take it; what was discarded before the error stays discarded.
    #[async_recursion]
    pub async fn discard_failures(&self, filter: &FailureFilter) -> Result<u64, CatalogError> {
        let mut discarded = 0;
        let mut left = filter.limit;
        while left > 0 {
            let part = FailureFilter { limit: left.min(CHANGED_AT_ONCE), ..filter.clone() };
            let keys = self.failed_jobs(&part).await?;
            if keys.is_empty() {
                break;
            }
            let count = transact!(self, "discard failures", unit => unit::discard(unit, &keys))?;
            left = left.saturating_sub(part.limit);
            if count == 0 {
                break;
            }
            discarded += count;
        }
        Ok(discarded)
    }

    /// Failures that are the last word about their job, the latest first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn failures(&self, filter: &FailureFilter) -> Result<Vec<Failure>, CatalogError> {
        let rows = self.failure_rows(filter, "list failures", "LEFT JOIN").await?;
        rows.into_iter().map(failure).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// The keys of [`Catalog::failures`] that answer a want.
    pub(crate) async fn failed_jobs(
        &self,
        filter: &FailureFilter,
    ) -> Result<Vec<(Digest, Key)>, CatalogError> {
        let rows = self.failure_rows(filter, "find failures", "JOIN").await?;
        rows.iter()
            .map(|row| {
                let key = (parse("analyzer name", &row.1)?, parse("revision", &row.2)?);
                Ok((digest(&row.0)?, key))
            })
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    async fn failure_rows(
        &self,
        filter: &FailureFilter,
        action: &'static str,
        join: &str,
    ) -> Result<Vec<FailureColumns>, CatalogError> {
        let position = self.position();
        let of_batch = if filter.batch.is_some() {
            "EXISTS (SELECT 1 FROM batch_images b WHERE b.batch = $7 AND b.image = a.image)"
        } else {
            "length($7) = 0"
        };
        let behind = if filter.behind.is_some() {
            "a.finished_at <= $8 AND (a.finished_at < $8 OR (a.image, a.analyzer, a.revision) > \
             ((SELECT id FROM images WHERE digest = $9), $10, $11))"
        } else {
            "true"
        };
        let sql = format!(
            "SELECT (SELECT i.digest FROM images i WHERE i.id = f.image), f.analyzer, f.revision, f.class, f.reason, f.attempts, \
             f.finished_at, (SELECT s.source FROM sightings s WHERE s.image = f.image \
              ORDER BY s.seen_at DESC, s.batch DESC, s.source_key LIMIT 1) FROM (\
             SELECT a.image, a.analyzer, a.revision, a.class, a.reason, a.attempts, a.finished_at \
             FROM analyses a {join} wants w ON w.image = a.image AND w.analyzer = a.analyzer \
             WHERE a.kind = 'failed' AND (w.image IS NULL OR w.answer = a.revision) \
             AND (CAST($1 AS TEXT) IS NULL OR a.analyzer = $1) \
             AND (CAST($2 AS TEXT) IS NULL OR a.class = $2) \
             AND (CAST($3 AS TEXT) IS NULL OR {position}(a.reason, $3) > 0) \
             AND (CAST($5 AS BIGINT) IS NULL OR a.finished_at >= $5) \
             AND (CAST($6 AS BIGINT) IS NULL OR a.finished_at < $6) \
             AND ({of_batch}) AND {behind} \
             ORDER BY a.finished_at DESC, a.image, a.analyzer, a.revision LIMIT $4) AS f \
             ORDER BY f.finished_at DESC, f.image, f.analyzer, f.revision"
        );
        let reason = filter.reason_contains.as_deref().map(clean);
        let batch = filter.batch.map(|batch| batch.uuid().into_bytes().to_vec());
        let question = snapshot!(self, connection => {
            let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql))
                .bind(filter.analyzer.as_ref().map(AnalyzerName::as_str))
                .bind(filter.class.map(|class| class.name()))
                .bind(reason)
                .bind(i64::from(filter.limit))
                .bind(filter.after.map(|at| micros(at).as_microsecond()))
                .bind(filter.before.map(|at| micros(at).as_microsecond()))
                .bind(batch.unwrap_or_default());
            if let Some(behind) = &filter.behind {
                query = query
                    .bind(behind.at.as_microsecond())
                    .bind(behind.digest.as_bytes().to_vec())
                    .bind(behind.analyzer.as_str())
                    .bind(behind.revision.as_str());
            }
            query.fetch_all(connection).await
        });
        self.timed(action, question).await
    }

    /// What happened to an image beside its record.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn history(&self, image: &Digest) -> Result<History, CatalogError> {
        let key = image.as_bytes().as_slice();
        // Of most images nothing is told, and every page of an image asks.
        let is_told: bool = ask!(self, "look for a history", pool => sqlx::query_scalar(
            "SELECT EXISTS (SELECT 1 FROM deferrals WHERE digest = $1) \
             OR EXISTS (SELECT 1 FROM events WHERE digest = $1) \
             OR EXISTS (SELECT 1 FROM dead_letters WHERE digest = $1)",
        )
        .bind(key)
        .fetch_one(pool))?;
        if !is_told {
            return Ok(History::default());
        }
        let rows = snapshot!(self, connection => {
            let deferrals: Vec<PostponedColumns> = sqlx::query_as(
                "SELECT analyzer, class, reason, attempts, next_at FROM deferrals WHERE digest = $1 ORDER BY analyzer",
            )
            .bind(key)
            .fetch_all(&mut *connection)
            .await?;
            let events: Vec<EventColumns> = sqlx::query_as(
                "SELECT at, kind, analyzer, detail FROM events WHERE digest = $1 ORDER BY id",
            )
            .bind(key)
            .fetch_all(&mut *connection)
            .await?;
            let letters: Vec<LetterColumns> = sqlx::query_as(
                "SELECT letter, at, queue, message_id, reason, fate, analyzer, size, body FROM dead_letters \
                 WHERE digest = $1 ORDER BY at, letter",
            )
            .bind(key)
            .fetch_all(&mut *connection)
            .await?;
            Ok::<_, sqlx::Error>((deferrals, events, letters))
        });
        let (deferrals, events, letters) = self.timed("read a history", rows).await?;
        let read = || -> Read<History> {
            Ok(History {
                deferrals: deferrals.into_iter().map(postponed).collect::<Read<_>>()?,
                events: events.into_iter().map(event).collect::<Read<_>>()?,
                letters: letters.into_iter().map(letters::letter).collect::<Read<_>>()?,
            })
        };
        read().map_err(|error| self.unreadable(error))
    }

    /// The function that finds a text in another.
    pub(crate) fn position(&self) -> &'static str {
        match &self.store {
            Store::Sqlite(_) => "instr",
            Store::Postgres(_) => "strpos",
        }
    }
}

fn postponed((analyzer, class, reason, attempts, next_at): PostponedColumns) -> Read<Postponed> {
    Ok(Postponed {
        analyzer: parse("analyzer name", &analyzer)?,
        class: parse("class", &class)?,
        reason,
        attempts: number("attempt count", attempts)?,
        next_at: time(next_at)?,
    })
}

fn event((at, kind, analyzer, detail): EventColumns) -> Read<Event> {
    Ok(Event {
        at: time(at)?,
        kind,
        analyzer: parse_some("analyzer name", analyzer.as_deref())?,
        detail: from_json("event", &detail)?,
    })
}

fn failure(row: FailureColumns) -> Read<Failure> {
    let (bytes, analyzer, revision, class, reason, attempts, at, source) = row;
    Ok(Failure {
        digest: digest(&bytes)?,
        source: parse_some("source", source.as_deref())?,
        analyzer: parse("analyzer name", &analyzer)?,
        revision: parse("revision", &revision)?,
        class: parse("class", &class.unwrap_or_default())?,
        reason: reason.unwrap_or_default(),
        attempts: number("attempt count", attempts)?,
        at: time(at)?,
    })
}
