//! Whether anything that an export holds has changed: a mark of the whole archive, made of its short columns.
//!
//! Counters that writers keep would make collectors wait for each other, and what databases count themselves also counts what
//! workers say every few seconds. So it is looked at when somebody asks: a walk through indexes and short rows, a small part of
//! the export that would follow it.

use async_recursion::async_recursion;
use ocelli_core::Digest;

use crate::catalog::{Catalog, Store, snapshot};
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

/// What lists said, by the beginning of each text's digest, out of an index: lengths alone would miss texts of the same length. No
/// function that reads a byte is known to both.
const TOLD_SQLITE: &str = "SELECT COUNT(*), CAST(0 AS BIGINT), CAST(coalesce(SUM( \
    instr('0123456789ABCDEF', substr(hex(text_key), 1, 1)) * 4096 + instr('0123456789ABCDEF', substr(hex(text_key), 2, 1)) * 256 + \
    instr('0123456789ABCDEF', substr(hex(text_key), 3, 1)) * 16 + instr('0123456789ABCDEF', substr(hex(text_key), 4, 1)) \
    ), 0) AS BIGINT) FROM sighting_meta";
const TOLD_POSTGRES: &str = "SELECT COUNT(*), CAST(0 AS BIGINT), \
    CAST(coalesce(SUM(get_byte(text_key, 0) * 256 + get_byte(text_key, 1)), 0) AS BIGINT) FROM sighting_meta";

impl Catalog {
    /// A mark of all records: another one when something of a record has changed, or a batch began, unless counts and sums stay the same
    /// by chance. What workers and producers say beside that changes nothing. Catalogs that were opened to take other images for near
    /// ones have other marks, because a query may ask for that.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn fingerprint(&self) -> Result<String, CatalogError> {
        let told = match &self.store {
            Store::Sqlite(_) => TOLD_SQLITE,
            Store::Postgres(_) => TOLD_POSTGRES,
        };
        let rows = snapshot!(self, connection => async {
            let mut all: Vec<(i64, i64, i64)> = Vec::with_capacity(PARTS.len() + 1);
            for part in PARTS.into_iter().chain([told]) {
                all.push(sqlx::query_as(part).fetch_one(&mut *connection).await?);
            }
            Ok::<_, Fault>(all)
        }.await);
        let rows = self.timed("look whether the archive has changed", rows).await?;
        Ok(Digest::of(format!("{} {rows:?}", self.near_distance).as_bytes()).short())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::CatalogOptions;

    #[tokio::test]
    async fn what_lists_say_counts_and_so_does_another_text_of_the_same_length() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        let Store::Sqlite(store) = &catalog.store else { unreachable!() };
        let mut marks = vec![catalog.fingerprint().await.unwrap()];
        for change in [
            "INSERT INTO sighting_meta (digest, source_key, name, batch, text, text_key) \
             VALUES (zeroblob(32), zeroblob(16), 'author', zeroblob(16), 'Ann', unhex('0a1b0000000000000000000000000000'))",
            "UPDATE sighting_meta SET text = 'Bob', text_key = unhex('0a1c0000000000000000000000000000')",
        ] {
            sqlx::query(change).execute(&store.write).await.unwrap();
            marks.push(catalog.fingerprint().await.unwrap());
        }
        assert!(marks[0] != marks[1] && marks[1] != marks[2] && marks[0] != marks[2], "{marks:?}");
    }

    #[tokio::test]
    async fn who_takes_others_for_near_ones_has_another_mark() {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let options = CatalogOptions::default();
        let near_distance = options.near_distance + 1;
        let catalog = Catalog::open(&url, options).await.unwrap();
        let mark = catalog.fingerprint().await.unwrap();
        catalog.close().await;
        let options = CatalogOptions { near_distance, ..CatalogOptions::default() };
        let other = Catalog::open(&url, options).await.unwrap();
        assert_ne!(other.fingerprint().await.unwrap(), mark);
    }
}
