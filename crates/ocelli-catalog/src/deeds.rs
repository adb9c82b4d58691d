//! The log of what people did, beside what they did to failures: who paused an analyzer, who brought images in.

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::AnalyzerName;
use serde::Serialize;

use crate::catalog::{Catalog, Store, ask};
use crate::error::CatalogError;
use crate::gather::clean;
use crate::rows::{Read, digest, from_json, json, parse_some, time};

/// The longest kind of deed that is kept.
const LONGEST_KIND: usize = 100;

/// Something that somebody did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Deed {
    /// Its number: later ones are larger.
    pub id: i64,
    /// When.
    pub at: Timestamp,
    /// What: `failure reopened`, `analyzer paused`, `images brought in`.
    pub kind: String,
    /// The image, when it is about one.
    pub digest: Option<ocelli_core::Digest>,
    /// The analyzer, when it is about one.
    pub analyzer: Option<AnalyzerName>,
    /// The rest.
    pub detail: serde_json::Value,
}

type DeedColumns = (i64, i64, String, Option<Vec<u8>>, Option<String>, String);

impl Catalog {
    /// Notes that somebody did something.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn note_deed(
        &self,
        at: Timestamp,
        kind: &str,
        analyzer: Option<&AnalyzerName>,
        detail: &serde_json::Value,
    ) -> Result<(), CatalogError> {
        const NOTE: &str =
            "INSERT INTO events (at, kind, digest, analyzer, detail) VALUES ($1, $2, NULL, $3, $4)";
        let kind: String = clean(kind).chars().take(LONGEST_KIND).collect();
        let detail = clean(&json(detail));
        macro_rules! on {
            ($pool:expr) => {{
                let query = sqlx::query(NOTE)
                    .bind(at.as_microsecond())
                    .bind(kind)
                    .bind(analyzer.map(AnalyzerName::as_str))
                    .bind(detail);
                self.timed("note an action", query.execute($pool)).await?;
            }};
        }
        match &self.store {
            Store::Sqlite(store) => on!(&store.write),
            Store::Postgres(store) => on!(&store.pool),
        }
        Ok(())
    }

    /// What was done, the latest first; below the number `before` when one is given.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn deeds(&self, before: Option<i64>, limit: u32) -> Result<Vec<Deed>, CatalogError> {
        let rows: Vec<DeedColumns> = ask!(self, "list actions", pool => sqlx::query_as(
            "SELECT id, at, kind, digest, analyzer, detail FROM events WHERE id < $1 ORDER BY id DESC LIMIT $2",
        )
        .bind(before.unwrap_or(i64::MAX))
        .bind(i64::from(limit))
        .fetch_all(pool))?;
        rows.into_iter()
            .map(|(id, at, kind, image, analyzer, detail)| {
                Ok(Deed {
                    id,
                    at: time(at)?,
                    kind,
                    digest: image.map(|bytes| digest(&bytes)).transpose()?,
                    analyzer: parse_some("analyzer name", analyzer.as_deref())?,
                    detail: from_json("event", &detail)?,
                })
            })
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }
}
