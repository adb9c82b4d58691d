//! What work has cost so far, as far as a plan for more of it needs to know.

use async_recursion::async_recursion;
use ocelli_core::{AnalyzerName, Provenance};

use crate::catalog::{Catalog, Store, ask};
use crate::error::CatalogError;
use crate::rows::{Read, from_json};

/// What one analyzer's latest answers took, on average.
#[derive(Debug, Clone, PartialEq)]
pub struct Service {
    /// Answers that were looked at.
    pub samples: u64,
    /// Seconds from fetching to the answer.
    pub seconds: f64,
    /// Tokens read and written.
    pub tokens: f64,
    /// Money in millionths, and its currency, where the settings had prices.
    pub micros: f64,
    /// ISO 4217.
    pub currency: Option<String>,
    /// Characters of what an answer holds: about the bytes of its message.
    pub bytes: f64,
}

impl Catalog {
    /// The averages over the latest `most` answers of an analyzer; none when it has not answered yet.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn service(
        &self,
        analyzer: &AnalyzerName,
        most: u32,
    ) -> Result<Option<Service>, CatalogError> {
        let rows: Vec<(String, i64)> = ask!(self, "look at the latest answers", pool => sqlx::query_as(
            "SELECT provenance, CAST(coalesce(length(text), 0) + coalesce(length(reading), 0) + length(provenance) \
             AS BIGINT) FROM analyses WHERE analyzer = $1 AND kind IN ('done', 'empty') \
             ORDER BY finished_at DESC LIMIT $2",
        )
        .bind(analyzer.as_str())
        .bind(i64::from(most))
        .fetch_all(pool))?;
        let read = rows.iter().map(|(row, _)| from_json::<Provenance>("provenance", row));
        let provenances = read.collect::<Read<Vec<_>>>().map_err(|error| self.unreadable(error))?;
        let Some(first) = provenances.first() else { return Ok(None) };
        let samples = provenances.len() as u64;
        let mean = |of: fn(&Provenance) -> u64| {
            provenances.iter().map(of).sum::<u64>() as f64 / samples as f64
        };
        Ok(Some(Service {
            samples,
            seconds: mean(|how| how.took_ms) / 1000.0,
            tokens: mean(|how| how.tokens_in.unwrap_or(0) + how.tokens_out.unwrap_or(0)),
            micros: mean(|how| how.cost_micros.unwrap_or(0)),
            currency: first.currency.clone(),
            bytes: rows.iter().map(|(_, bytes)| *bytes as f64).sum::<f64>() / samples as f64,
        }))
    }

    /// Bytes that the database takes on its disk.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn size(&self) -> Result<u64, CatalogError> {
        let bytes: i64 = match &self.store {
            Store::Sqlite(store) => {
                let sql =
                    "SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()";
                self.timed("measure the database", sqlx::query_scalar(sql).fetch_one(&store.read))
                    .await
            }
            Store::Postgres(store) => {
                let sql = "SELECT pg_database_size(current_database())";
                self.timed("measure the database", sqlx::query_scalar(sql).fetch_one(&store.pool))
                    .await
            }
        }?;
        Ok(u64::try_from(bytes).unwrap_or(0))
    }
}
