//! The check of the whole database against itself: every derived column is derived again, in SQL that shares nothing with
//! the code that maintains it. Reads everything; meant for people and tests, not for a timer.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, Store, snapshot};
use crate::error::{CatalogError, Fault};
use crate::model::Audit;

const TABLES: [&str; 11] = [
    "analyses",
    "batches",
    "deferrals",
    "events",
    "fences",
    "images",
    "problems",
    "revisions",
    "sightings",
    "wants",
    "workers",
];

/// What is wrong with the rows that a statement counts, and the statement.
const CHECKS: [(&str, &str); 10] = [
    (
        "images have analyses, but their intake has not arrived",
        "SELECT COUNT(*) FROM images WHERE bytes IS NULL",
    ),
    (
        "analyses belong to no row of images",
        "SELECT COUNT(*) FROM analyses a WHERE NOT EXISTS (SELECT 1 FROM images i WHERE i.digest = a.digest)",
    ),
    (
        "sightings belong to an image without intake",
        "SELECT COUNT(*) FROM sightings s WHERE NOT EXISTS \
         (SELECT 1 FROM images i WHERE i.digest = s.digest AND i.bytes IS NOT NULL)",
    ),
    (
        "wants belong to an image without intake",
        "SELECT COUNT(*) FROM wants w WHERE NOT EXISTS \
         (SELECT 1 FROM images i WHERE i.digest = w.digest AND i.bytes IS NOT NULL)",
    ),
    (
        "wants are noted as answered by an analysis that is not there or not of that kind",
        "SELECT COUNT(*) FROM wants w WHERE w.answer IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM analyses a WHERE a.digest = w.digest AND a.analyzer = w.analyzer \
          AND a.revision = w.answer AND a.kind = w.state \
          AND (w.revision IS NULL OR w.revision = a.revision))",
    ),
    (
        "wants are noted as open although there is an answer",
        "SELECT COUNT(*) FROM wants w WHERE w.answer IS NULL AND EXISTS \
         (SELECT 1 FROM analyses a WHERE a.digest = w.digest AND a.analyzer = w.analyzer \
          AND (w.revision IS NULL OR w.revision = a.revision))",
    ),
    (
        "wants without an answer contradict their image about whether it was refused",
        "SELECT COUNT(*) FROM wants w JOIN images i ON i.digest = w.digest WHERE w.answer IS NULL \
         AND w.state <> CASE WHEN i.refusal IS NULL THEN 'open' ELSE 'refused' END",
    ),
    (
        "images are noted as complete although a want is open",
        "SELECT COUNT(*) FROM images i WHERE i.complete AND (i.bytes IS NULL OR EXISTS \
         (SELECT 1 FROM wants w WHERE w.digest = i.digest AND w.state = 'open'))",
    ),
    (
        "images are noted as incomplete although no want is open",
        "SELECT COUNT(*) FROM images i WHERE NOT i.complete AND i.bytes IS NOT NULL AND NOT EXISTS \
         (SELECT 1 FROM wants w WHERE w.digest = i.digest AND w.state = 'open')",
    ),
    (
        "images have another first sighting than noted",
        "SELECT COUNT(*) FROM images i WHERE i.first_seen IS DISTINCT FROM \
         (SELECT MIN(s.seen_at) FROM sightings s WHERE s.digest = i.digest)",
    ),
];

impl Catalog {
    /// Checks everything, in one snapshot. Takes time in proportion to the catalog, and has no time limit.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn audit(&self) -> Result<Audit, CatalogError> {
        let mut audit = self.counts().await.map_err(|fault| fault.at(&self.place, "audit"))?;
        if let Store::Sqlite(store) = &self.store {
            let lines: Vec<String> = sqlx::query_scalar("PRAGMA quick_check")
                .fetch_all(&store.read)
                .await
                .map_err(|error| Fault::Sql(error).at(&self.place, "check the file"))?;
            let damage = lines.into_iter().filter(|line| line != "ok");
            audit.problems.extend(damage.map(|line| format!("the file is damaged: {line}")));
        }
        Ok(audit)
    }

    async fn counts(&self) -> Result<Audit, Fault> {
        snapshot!(self, connection => {
            let mut rows = BTreeMap::new();
            for table in TABLES {
                let sql = sqlx::AssertSqlSafe(format!("SELECT COUNT(*) FROM {table}"));
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
                rows.insert(table.to_owned(), u64::try_from(count).unwrap_or(0));
            }
            let mut problems = Vec::new();
            for (text, sql) in CHECKS {
                let count: i64 = sqlx::query_scalar(sql).fetch_one(&mut *connection).await?;
                if count > 0 {
                    problems.push(format!("{count} {text}"));
                }
            }
            Ok::<_, sqlx::Error>(Audit { rows, problems })
        })
        .await
    }
}
