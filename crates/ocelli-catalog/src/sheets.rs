//! What a page of images needs beside the records: sizes and states of many at once, the images before and behind one, and
//! how far one batch is.

use std::collections::{BTreeMap, HashMap};

use async_recursion::async_recursion;
use ocelli_core::wire::BatchReport;
use ocelli_core::{AnalyzerName, BatchId, Digest, ImageFacts};
use serde::Serialize;

use crate::catalog::{Catalog, ask, snapshot};
use crate::error::CatalogError;
use crate::model::AnalyzerStatus;
use crate::overview::{BatchColumns, report};
use crate::rows::{Read, State, digest, facts, number, parse, unreadable};

/// Images of one statement: a page is shorter.
const ASKED_AT_ONCE: usize = 500;

/// One image of a contact sheet.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Sheet {
    /// Digest, format, size.
    pub image: ImageFacts,
    /// Why its bytes were refused, where they were.
    pub refusal: Option<String>,
    /// Whether every wanted analyzer has an outcome.
    pub complete: bool,
    /// Analyzers whose outcome is a failure.
    pub failed: u64,
    /// Wanted analyzers without an outcome.
    pub open: u64,
}

/// The images beside one in the order of time.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub struct Neighbours {
    /// First seen next after it.
    pub newer: Option<Digest>,
    /// First seen last before it.
    pub older: Option<Digest>,
}

/// How far a batch is.
#[derive(Debug, Clone, PartialEq)]
pub struct BatchView {
    /// What its producer said last.
    pub report: BatchReport,
    /// Different images of it.
    pub images: u64,
    /// By analyzer, over these images.
    pub analyzers: BTreeMap<AnalyzerName, AnalyzerStatus>,
    /// Some of them, those that came first, in the order of digests.
    pub sample: Vec<Digest>,
}

type SheetColumns = (
    Vec<u8>,
    Option<i64>,
    Option<String>,
    Option<i64>,
    Option<i64>,
    Option<String>,
    bool,
    i64,
    i64,
);

/// The order of time, as the index `images_in_time` has it.
macro_rules! seen {
    ($images:literal) => {
        concat!("coalesce(", $images, ".first_seen, -9000000000000000000)")
    };
}

impl Catalog {
    /// Sizes and states of these images. Unknown ones are missing from the answer.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn sheets(&self, digests: &[Digest]) -> Result<HashMap<Digest, Sheet>, CatalogError> {
        let mut all = HashMap::with_capacity(digests.len());
        for part in digests.chunks(ASKED_AT_ONCE) {
            let places: Vec<String> = (1..=part.len()).map(|place| format!("${place}")).collect();
            let sql = format!(
                "SELECT i.digest, i.bytes, i.format, i.width, i.height, i.refusal, i.complete, \
                 (SELECT COUNT(*) FROM wants w WHERE w.image = i.id AND w.state = 'failed'), \
                 (SELECT COUNT(*) FROM wants w WHERE w.image = i.id AND w.state = 'open') \
                 FROM images i WHERE i.digest IN ({})",
                places.join(", ")
            );
            let rows = snapshot!(self, connection => {
                let mut query = sqlx::query_as(sqlx::AssertSqlSafe(sql.clone())).persistent(self.keeps_statements());
                for one in part {
                    query = query.bind(one.as_bytes().to_vec());
                }
                query.fetch_all(&mut *connection).await
            });
            let rows: Vec<SheetColumns> = self.timed("look at images", rows).await?;
            for row in rows {
                if let Some(sheet) = sheet(row).map_err(|error| self.unreadable(error))? {
                    all.insert(sheet.image.digest, sheet);
                }
            }
        }
        Ok(all)
    }

    /// The images that were first seen next before and after this one.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn neighbours(&self, image: &Digest) -> Result<Neighbours, CatalogError> {
        // The rows behind each comparison of two columns are found by its first column alone, which is said once more: SQLite finds
        // its place in an index of an expression only so, and would walk through half of the archive otherwise.
        type Columns = (Option<Vec<u8>>, Option<Vec<u8>>);
        let row: Option<Columns> = ask!(self, "look beside an image", pool => sqlx::query_as(concat!(
            "SELECT (SELECT n.digest FROM images n WHERE n.bytes IS NOT NULL AND (", seen!("n"), ", n.digest) > (",
            seen!("i"), ", i.digest) AND ", seen!("n"), " >= ", seen!("i"), " ORDER BY ", seen!("n"),
            ", n.digest LIMIT 1), (SELECT n.digest FROM images n WHERE n.bytes IS NOT NULL AND (", seen!("n"),
            ", n.digest) < (", seen!("i"), ", i.digest) AND ", seen!("n"), " <= ", seen!("i"), " ORDER BY ", seen!("n"),
            " DESC, n.digest DESC LIMIT 1) FROM images i WHERE i.digest = $1"
        ))
        .bind(image.as_bytes().as_slice())
        .fetch_optional(pool))?;
        let (newer, older) = row.unwrap_or_default();
        let read = |bytes: Option<Vec<u8>>| bytes.map(|bytes| digest(&bytes)).transpose();
        let both =
            || -> Read<Neighbours> { Ok(Neighbours { newer: read(newer)?, older: read(older)? }) };
        both().map_err(|error| self.unreadable(error))
    }

    /// One run of a producer and what became of its images; none while nothing of it has arrived.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn batch(&self, of: BatchId, sample: u32) -> Result<Option<BatchView>, CatalogError> {
        let key = of.uuid().into_bytes().to_vec();
        let rows = snapshot!(self, connection => async {
            let report: Option<BatchColumns> = sqlx::query_as(
                "SELECT batch, name, started_at, at, finished, accepted, known, skipped, problems FROM batches \
                 WHERE batch = $1",
            )
            .bind(&key)
            .fetch_optional(&mut *connection)
            .await?;
            let images: i64 = sqlx::query_scalar(
                "SELECT COUNT(DISTINCT image) FROM batch_images WHERE batch = $1",
            )
            .bind(&key)
            .fetch_one(&mut *connection)
            .await?;
            let states: Vec<(String, String, i64)> = sqlx::query_as(
                "SELECT w.analyzer, w.state, COUNT(*) FROM \
                 (SELECT DISTINCT image FROM batch_images WHERE batch = $1) AS b \
                 JOIN wants w ON w.image = b.image GROUP BY w.analyzer, w.state",
            )
            .bind(&key)
            .fetch_all(&mut *connection)
            .await?;
            // No equality: by that, PostgreSQL would take the index of images for the order that is meant, and walk through the images of
            // all batches before this one.
            let sample: Vec<Vec<u8>> = sqlx::query_scalar(
                "SELECT (SELECT i.digest FROM images i WHERE i.id = b.image) AS digest FROM (SELECT DISTINCT batch, image \
                 FROM batch_images WHERE batch BETWEEN $1 AND $1 ORDER BY batch, image LIMIT $2) AS b ORDER BY digest",
            )
            .bind(&key)
            .bind(i64::from(sample))
            .fetch_all(&mut *connection)
            .await?;
            Ok::<_, sqlx::Error>((report, images, states, sample))
        }.await);
        let (row, images, states, sample) = self.timed("look at a batch", rows).await?;
        let read = || -> Read<Option<BatchView>> {
            let Some(row) = row else { return Ok(None) };
            let mut analyzers: BTreeMap<AnalyzerName, AnalyzerStatus> = BTreeMap::new();
            for (analyzer, state, count) in states {
                let state = State::from_name(&state).ok_or_else(|| unreadable("state", state))?;
                let count = number::<u64>("count", count)?;
                let entry = analyzers.entry(parse("analyzer name", &analyzer)?).or_default();
                entry.wanted += count;
                *entry.of(state) += count;
            }
            Ok(Some(BatchView {
                report: report(row)?,
                images: number("count", images)?,
                analyzers,
                sample: sample.iter().map(|bytes| digest(bytes)).collect::<Read<_>>()?,
            }))
        };
        read().map_err(|error| self.unreadable(error))
    }

    /// Asks for nothing: whether the database answers at all.
    ///
    /// # Errors
    /// When it does not.
    #[async_recursion]
    pub async fn ping(&self) -> Result<(), CatalogError> {
        let _: i64 = ask!(self, "ask whether it is there", pool => {
            sqlx::query_scalar("SELECT CAST(1 AS BIGINT)").fetch_one(pool)
        })?;
        Ok(())
    }
}

fn sheet(row: SheetColumns) -> Read<Option<Sheet>> {
    let (bytes, size, format, width, height, refusal, complete, failed, open) = row;
    let digest = digest(&bytes)?;
    let Some(image) = facts(digest, size, format.as_deref(), width, height)? else {
        return Ok(None);
    };
    Ok(Some(Sheet {
        image,
        refusal,
        complete,
        failed: number("count", failed)?,
        open: number("count", open)?,
    }))
}
