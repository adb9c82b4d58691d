//! Whether anything that an export holds has changed: a mark of the whole archive, made of its short columns.
//!
//! Counters that writers keep would make collectors wait for each other, and what databases count themselves also counts what
//! workers say every few seconds. So it is looked at when somebody asks: a walk through indexes and short rows, a small part of
//! the export that would follow it.

use ocelli_core::Digest;

use crate::catalog::{Catalog, snapshot};
use crate::error::{CatalogError, Fault};

/// Times are added up by their rest: the sum of all fits into a number.
const PARTS: [&str; 6] = [
    "SELECT COUNT(bytes), COUNT(refusal), CAST(coalesce(SUM(first_seen % 999999937), 0) AS BIGINT) FROM images",
    "SELECT COUNT(*), CAST(0 AS BIGINT), CAST(coalesce(SUM(seen_at % 999999937), 0) AS BIGINT) FROM sightings",
    "SELECT COUNT(*), coalesce(MAX(id), 0), CAST(coalesce(SUM(finished_at % 999999937), 0) AS BIGINT) FROM analyses",
    "SELECT COUNT(*), COUNT(answer), CAST(coalesce(SUM((asked_at + coalesce(reopened, 0)) % 999999937), 0) AS BIGINT) \
     FROM wants",
    "SELECT COUNT(*), CAST(0 AS BIGINT), CAST(coalesce(SUM(CAST(score * 10000 AS BIGINT)), 0) AS BIGINT) FROM agreements",
    // What a query can ask of records beside what they hold.
    "SELECT (SELECT COUNT(*) FROM perceptual_hashes), (SELECT COUNT(*) FROM batch_images), (SELECT COUNT(*) FROM batches)",
];

impl Catalog {
    /// A mark of all records: another one as soon as something of a record has changed, or a batch began. What workers and
    /// producers say beside that changes nothing.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn fingerprint(&self) -> Result<String, CatalogError> {
        let rows = snapshot!(self, connection => async {
            let mut all: Vec<(i64, i64, i64)> = Vec::with_capacity(PARTS.len());
            for part in PARTS {
                all.push(sqlx::query_as(part).fetch_one(&mut *connection).await?);
            }
            Ok::<_, Fault>(all)
        }.await);
        let rows = self.timed("look whether the archive has changed", rows).await?;
        Ok(Digest::of(format!("{rows:?}").as_bytes()).short())
    }
}
