//! How the work went lately: outcomes in equal spans of time, and failures by what they have in common.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use jiff::{SignedDuration, Timestamp};
use ocelli_core::{AnalyzerName, FailureClass};
use serde::Serialize;

use crate::catalog::{Catalog, ask};
use crate::error::CatalogError;
use crate::rows::{Read, number, parse};

/// Failures of one analyzer and class.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct FailureCount {
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// What kind of failure.
    pub class: FailureClass,
    /// How many are the last word about their job.
    pub count: u64,
}

impl Catalog {
    /// Outcomes of each analyzer in `spans` spans of `length` before `now`, the earliest first. Analyzers that finished
    /// nothing are missing.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn pulse(
        &self,
        now: Timestamp,
        spans: u32,
        length: SignedDuration,
    ) -> Result<BTreeMap<AnalyzerName, Vec<u64>>, CatalogError> {
        let step = i64::try_from(length.as_micros()).unwrap_or(i64::MAX).max(1);
        let until = now.as_microsecond();
        let since = until.saturating_sub(step.saturating_mul(i64::from(spans)));
        // Behind `since` and not at it, so that the last span ends with `now` and has no microsecond more than the others.
        let rows: Vec<(String, i64, i64)> = ask!(self, "count outcomes", pool => sqlx::query_as(
            "SELECT analyzer, (finished_at - 1 - $1) / $2, COUNT(*) FROM analyses \
             WHERE finished_at > $1 AND finished_at <= $3 GROUP BY 1, 2",
        )
        .bind(since)
        .bind(step)
        .bind(until)
        .fetch_all(pool))?;
        let mut all: BTreeMap<AnalyzerName, Vec<u64>> = BTreeMap::new();
        let mut add = |(analyzer, span, count): (String, i64, i64)| -> Read<()> {
            let spans = all
                .entry(parse("analyzer name", &analyzer)?)
                .or_insert_with(|| vec![0; spans as usize]);
            let place = number::<usize>("span", span)?;
            if let Some(slot) = spans.get_mut(place) {
                *slot += number::<u64>("count", count)?;
            }
            Ok(())
        };
        rows.into_iter().try_for_each(&mut add).map_err(|error| self.unreadable(error))?;
        Ok(all)
    }

    /// Failures that are the last word about their job, counted by analyzer and class, most first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn failure_counts(&self) -> Result<Vec<FailureCount>, CatalogError> {
        let rows: Vec<(String, Option<String>, i64)> = ask!(self, "count failures", pool => sqlx::query_as(
            "SELECT a.analyzer, a.class, COUNT(*) FROM analyses a \
             LEFT JOIN wants w ON w.image = a.image AND w.analyzer = a.analyzer \
             WHERE a.kind = 'failed' AND (w.image IS NULL OR w.answer = a.revision) \
             GROUP BY a.analyzer, a.class ORDER BY 3 DESC, 1, 2",
        )
        .fetch_all(pool))?;
        rows.into_iter()
            .map(|(analyzer, class, count)| {
                Ok(FailureCount {
                    analyzer: parse("analyzer name", &analyzer)?,
                    class: parse("class", &class.unwrap_or_default())?,
                    count: number("count", count)?,
                })
            })
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }
}
