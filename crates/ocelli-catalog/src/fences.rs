//! The sweeper's marks, and jobs that it takes for enqueueing.

use std::collections::{BTreeMap, BTreeSet};

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::wire::Announcement;
use ocelli_core::{AnalyzerName, Digest};

use crate::catalog::{Catalog, Store, ask, transact};
use crate::error::CatalogError;
use crate::gather::micros;
use crate::model::{FenceState, SeenJob};
use crate::rows::{Read, from_json, parse, time};
use crate::unit;

impl Catalog {
    /// All fences of each analyzer that are under way or remembered, the earliest first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn fences(&self) -> Result<BTreeMap<AnalyzerName, Vec<FenceState>>, CatalogError> {
        let rows: Vec<(String, i64, Option<i64>)> = ask!(self, "list fences", pool => sqlx::query_as(
            "SELECT analyzer, published_at, passed_at FROM fences ORDER BY analyzer, published_at",
        )
        .fetch_all(pool))?;
        let read = || -> Read<_> {
            let mut fences: BTreeMap<AnalyzerName, Vec<FenceState>> = BTreeMap::new();
            for (analyzer, published_at, passed_at) in rows {
                let fence = FenceState {
                    published_at: time(published_at)?,
                    passed_at: passed_at.map(time).transpose()?,
                };
                fences.entry(parse("analyzer name", &analyzer)?).or_default().push(fence);
            }
            Ok(fences)
        };
        read().map_err(|error| self.unreadable(error))
    }

    /// Notes that a fence goes into the queue now. To be called before it is published: one that is noted and was not
    /// published proves nothing and is replaced after a while; one that was published and is not noted is noted when it
    /// comes through.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn note_fence(
        &self,
        analyzer: &AnalyzerName,
        published_at: Timestamp,
    ) -> Result<(), CatalogError> {
        let sql =
            "INSERT INTO fences (analyzer, published_at) VALUES ($1, $2) ON CONFLICT DO NOTHING";
        self.change_fences("note a fence", sql, analyzer, published_at).await
    }

    /// Forgets fences that were published before this time: later ones prove more.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn forget_fences(
        &self,
        analyzer: &AnalyzerName,
        before: Timestamp,
    ) -> Result<(), CatalogError> {
        let sql = "DELETE FROM fences WHERE analyzer = $1 AND published_at < $2";
        self.change_fences("forget fences", sql, analyzer, before).await
    }

    async fn change_fences(
        &self,
        action: &'static str,
        sql: &'static str,
        analyzer: &AnalyzerName,
        at: Timestamp,
    ) -> Result<(), CatalogError> {
        let at = micros(at).as_microsecond();
        match &self.store {
            Store::Sqlite(store) => {
                let query = sqlx::query(sql).bind(analyzer.as_str()).bind(at);
                self.timed(action, query.execute(&store.write)).await.map(|_| ())
            }
            Store::Postgres(store) => {
                let query = sqlx::query(sql).bind(analyzer.as_str()).bind(at);
                self.timed(action, query.execute(&store.pool)).await.map(|_| ())
            }
        }
    }

    /// The last word of each worker process that was heard at or after this time, also of those that have left.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn last_words(
        &self,
        heard_after: Timestamp,
    ) -> Result<Vec<Announcement>, CatalogError> {
        let rows: Vec<String> = ask!(self, "list workers", pool => sqlx::query_scalar(
            "SELECT body FROM workers WHERE at >= $1 ORDER BY analyzer, worker",
        )
        .bind(heard_after.as_microsecond())
        .fetch_all(pool))?;
        rows.iter()
            .map(|body| from_json("announcement", body))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// Analyzers with open jobs that were last enqueued before this time.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn open_analyzers(
        &self,
        enqueued_before: Timestamp,
    ) -> Result<BTreeSet<AnalyzerName>, CatalogError> {
        let rows: Vec<String> = ask!(self, "list open analyzers", pool => sqlx::query_scalar(
            // Of the column itself, SQLite would read the whole of an index that is in its order.
            "SELECT DISTINCT analyzer || '' FROM wants WHERE state = 'open' AND enqueued_at < $1",
        )
        .bind(micros(enqueued_before).as_microsecond())
        .fetch_all(pool))?;
        rows.iter()
            .map(|name| parse("analyzer name", name))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// Takes open jobs for enqueueing at `at`: those that are still open and were not enqueued since they were seen. Of
    /// several that try at once, one gets each.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn claim_jobs(
        &self,
        jobs: &[SeenJob],
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, CatalogError> {
        if jobs.is_empty() {
            return Ok(BTreeSet::new());
        }
        transact!(self, "note enqueued jobs", unit => unit::claim(unit, jobs, at))
    }
}
