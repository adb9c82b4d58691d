//! Which images lack an answer, how many, and what answers have cost so far.

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, Digest, Provenance, Revision};
use serde::Serialize;

use crate::catalog::{Catalog, ask};
use crate::error::CatalogError;
use crate::query::Query;
use crate::rows::{Read, from_json, parse, time};
use crate::search::walk::{self, Lack};

/// How many images a backfill is about.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Extent {
    /// Images that match, without refused ones.
    pub matching: u64,
    /// Of these, images that this revision has answered.
    pub answered: u64,
    /// Of these, images about which it is being asked.
    pub on_their_way: u64,
    /// The rest: what a backfill would ask.
    pub missing: u64,
}

/// What one answer took.
#[derive(Debug, Clone, PartialEq)]
pub struct Measured {
    /// Which revision gave it.
    pub revision: Revision,
    /// When.
    pub at: Timestamp,
    /// How.
    pub provenance: Provenance,
}

impl Catalog {
    /// A page of the images that match and lack an answer of this revision that is not on its way either: in the order of their
    /// digests, behind `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn lacking(
        &self,
        query: &Query,
        lack: Option<(&AnalyzerName, &Revision)>,
        after: Option<Digest>,
        limit: u32,
    ) -> Result<Vec<Digest>, CatalogError> {
        let lack = lack.map_or(Lack::Nothing, |(analyzer, revision)| Lack::Job(analyzer, revision));
        self.timed("list images", walk::page(self, query, lack, after, limit)).await
    }

    /// Counts what a backfill would do. Takes time in proportion to the archive, and has no time limit.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn extent(
        &self,
        query: &Query,
        analyzer: &AnalyzerName,
        revision: Option<&Revision>,
    ) -> Result<Extent, CatalogError> {
        let fail = |fault: crate::error::Fault| fault.at(&self.place, "count images");
        let matching = walk::count(self, query, Lack::Nothing).await.map_err(fail)?;
        let Some(revision) = revision else {
            return Ok(Extent { matching, missing: matching, ..Extent::default() });
        };
        let lacking_answer = walk::count(self, query, Lack::Answer(analyzer, revision));
        let lacking_answer = lacking_answer.await.map_err(fail)?;
        let missing =
            walk::count(self, query, Lack::Job(analyzer, revision)).await.map_err(fail)?;
        Ok(Extent {
            matching,
            answered: matching.saturating_sub(lacking_answer),
            on_their_way: lacking_answer.saturating_sub(missing),
            missing,
        })
    }

    /// What the latest answers of an analyzer took, texts and empty ones alike; of this revision, or of any.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn measured(
        &self,
        analyzer: &AnalyzerName,
        revision: Option<&Revision>,
        most: u32,
    ) -> Result<Vec<Measured>, CatalogError> {
        let rows: Vec<(String, i64, String)> = ask!(self, "read what answers took", pool => sqlx::query_as(
            "SELECT revision, finished_at, provenance FROM analyses WHERE analyzer = $1 \
             AND (CAST($2 AS TEXT) IS NULL OR revision = $2) AND kind IN ('done', 'empty') \
             ORDER BY finished_at DESC LIMIT $3",
        )
        .bind(analyzer.as_str())
        .bind(revision.map(Revision::as_str))
        .bind(i64::from(most))
        .fetch_all(pool))?;
        let read = |(revision, at, provenance): (String, i64, String)| {
            Ok(Measured {
                revision: parse("revision", &revision)?,
                at: time(at)?,
                provenance: from_json("provenance", &provenance)?,
            })
        };
        rows.into_iter().map(read).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }
}
