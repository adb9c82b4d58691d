//! One batch: what became of each of its references, and how far it is.
//!
//! Accepted references are rows of `batch_images`, whose source is in `sightings`; all others are rows of `problems`. A page is
//! asked behind the last row of the one before, so that a batch of any size is listed in constant memory.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use ocelli_core::wire::{BatchReport, Told};
use ocelli_core::{AnalyzerName, BatchId, Digest, SourceUri};
use serde::Serialize;

use crate::catalog::{Catalog, ask};
use crate::error::CatalogError;
use crate::model::BatchCount;
use crate::overview::{BatchColumns, report};
use crate::rows::{Read, digest, from_json, number, parse, parse_some, unreadable};

/// What became of a reference.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum ReferenceOutcome {
    /// An image of which something was asked.
    Accepted,
    /// An image of which everything was known, or on its way.
    Known,
    /// An image that no analyzer can use.
    Refused,
    /// Passed over by a rule.
    Skipped,
    /// No image came of it.
    Failed,
}

/// A reference of a batch.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Reference {
    /// As people write it.
    pub reference: String,
    /// What became of it.
    pub outcome: ReferenceOutcome,
    /// Which image it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub digest: Option<Digest>,
    /// Where its bytes are, when that is known.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub source: Option<SourceUri>,
    /// Which rule passed it over: `type` (it is no image), or a name from the settings.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub rule: Option<String>,
    /// Why it was not accepted.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// Of one that failed: what its list says about it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub told: Option<Told>,
}

/// Where a page ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReferenceCursor {
    /// Among the images.
    Images(Digest, Vec<u8>),
    /// Among the others.
    Others(Vec<u8>),
}

/// Where a page of sources ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SightingCursor(Digest, Vec<u8>);

/// A page of the places where images were seen, in the order of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SightingPage {
    /// Image and source.
    pub sources: Vec<(Digest, SourceUri)>,
    /// For the next page.
    pub next: Option<SightingCursor>,
}

/// A page of references, and where the next one begins; none at the end.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReferencePage {
    /// Those with an image come first.
    pub references: Vec<Reference>,
    /// For the next page.
    pub next: Option<ReferenceCursor>,
}

type ImageColumns = (Vec<u8>, Vec<u8>, Option<String>, Option<bool>, Option<String>);
type OtherColumns = (Vec<u8>, String, String, Option<String>, Option<String>, Option<String>);

impl Catalog {
    /// The references of a batch behind `after`, those without an image alone when `others_only`.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn references(
        &self,
        of: BatchId,
        after: Option<&ReferenceCursor>,
        others_only: bool,
        most: u32,
    ) -> Result<ReferencePage, CatalogError> {
        let page = match after {
            Some(ReferenceCursor::Others(key)) => self.others(of, key, most).await?,
            None if others_only => self.others(of, &[], most).await?,
            None => self.images(of, (b"".as_slice(), b"".as_slice()), most).await?,
            Some(ReferenceCursor::Images(digest, key)) => {
                self.images(of, (digest.as_bytes().as_slice(), key.as_slice()), most).await?
            }
        };
        page.map_err(|error| self.unreadable(error))
    }

    async fn images(
        &self,
        of: BatchId,
        after: (&[u8], &[u8]),
        most: u32,
    ) -> Result<Read<ReferencePage>, CatalogError> {
        let rows: Vec<ImageColumns> = ask!(self, "list references", pool => sqlx::query_as(
            "SELECT i.digest, m.reference_key, s.source, m.known, i.refusal FROM \
             (SELECT image, reference_key, source_key, known FROM batch_images WHERE batch = $1 \
              AND (image, reference_key) > (coalesce((SELECT id FROM images WHERE digest = $2), 0), $3) \
              ORDER BY image, reference_key LIMIT $4) AS m JOIN images i ON i.id = m.image \
             LEFT JOIN sightings s ON s.image = m.image AND s.source_key = m.source_key \
             ORDER BY m.image, m.reference_key",
        )
        .bind(of.uuid().into_bytes().to_vec())
        .bind(after.0.to_vec())
        .bind(after.1.to_vec())
        .bind(i64::from(most))
        .fetch_all(pool))?;
        let full = rows.len() == most as usize;
        let read = || {
            let last = match rows.last().filter(|_| full) {
                Some((image, key, ..)) => ReferenceCursor::Images(digest(image)?, key.clone()),
                None => ReferenceCursor::Others(Vec::new()),
            };
            let references = rows.iter().map(of_image).collect::<Read<_>>()?;
            Ok(ReferencePage { references, next: Some(last) })
        };
        Ok(read())
    }

    async fn others(
        &self,
        of: BatchId,
        after: &[u8],
        most: u32,
    ) -> Result<Read<ReferencePage>, CatalogError> {
        let rows: Vec<OtherColumns> = ask!(self, "list references", pool => sqlx::query_as(
            "SELECT reference_key, reference, reason, source, rule, told FROM problems \
             WHERE batch = $1 AND reference_key > $2 ORDER BY reference_key LIMIT $3",
        )
        .bind(of.uuid().into_bytes().to_vec())
        .bind(after.to_vec())
        .bind(i64::from(most))
        .fetch_all(pool))?;
        let full = rows.len() == most as usize;
        let next = rows.last().filter(|_| full).map(|row| ReferenceCursor::Others(row.0.clone()));
        let references = rows.into_iter().map(other).collect::<Read<_>>();
        Ok(references.map(|references| ReferencePage { references, next }))
    }

    /// All places where images were seen, behind `after`.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn sighted_sources(
        &self,
        after: Option<&SightingCursor>,
        most: u32,
    ) -> Result<SightingPage, CatalogError> {
        let (image, key) = after.map_or_else(Default::default, |SightingCursor(digest, key)| {
            (digest.as_bytes().to_vec(), key.clone())
        });
        let rows: Vec<(Vec<u8>, Vec<u8>, String)> = ask!(self, "list sources", pool => sqlx::query_as(
            "SELECT i.digest, s.source_key, s.source FROM (SELECT image, source_key, source FROM sightings \
             WHERE (image, source_key) > (coalesce((SELECT id FROM images WHERE digest = $1), 0), $2) \
             ORDER BY image, source_key LIMIT $3) AS s JOIN images i ON i.id = s.image ORDER BY s.image, s.source_key",
        )
        .bind(image)
        .bind(key)
        .bind(i64::from(most))
        .fetch_all(pool))?;
        let full = rows.len() == most as usize;
        let read = || {
            let last = rows.last().filter(|_| full);
            let next = last.map(|(image, key, _)| Ok(SightingCursor(digest(image)?, key.clone())));
            let sources = rows.iter().map(|(image, _, source)| {
                Ok((digest(image)?, parse::<SourceUri>("source", source)?))
            });
            Ok(SightingPage { sources: sources.collect::<Read<_>>()?, next: next.transpose()? })
        };
        read().map_err(|error| self.unreadable(error))
    }

    /// The batches that a person means: one by its id, or those of this name, the latest first.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn find_batches(
        &self,
        text: &str,
        most: u32,
    ) -> Result<Vec<BatchReport>, CatalogError> {
        let id = text.parse::<BatchId>().ok().map(|id| id.uuid().into_bytes().to_vec());
        let rows: Vec<BatchColumns> = ask!(self, "look for a batch", pool => sqlx::query_as(
            "SELECT batch, name, started_at, at, finished, accepted, known, skipped, problems FROM batches \
             WHERE name = $1 OR batch = $2 ORDER BY started_at DESC, batch DESC LIMIT $3",
        )
        .bind(text)
        .bind(id.unwrap_or_default())
        .bind(i64::from(most))
        .fetch_all(pool))?;
        rows.into_iter().map(report).collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }

    /// What became of the images of a batch, by analyzer.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn batch_counts(
        &self,
        of: BatchId,
    ) -> Result<BTreeMap<AnalyzerName, BatchCount>, CatalogError> {
        let rows: Vec<(String, String, i64)> = ask!(self, "count a batch", pool => sqlx::query_as(
            "SELECT w.analyzer, w.state, COUNT(*) FROM (SELECT DISTINCT image FROM batch_images WHERE batch = $1) AS m \
             JOIN wants w ON w.image = m.image GROUP BY w.analyzer, w.state",
        )
        .bind(of.uuid().into_bytes().to_vec())
        .fetch_all(pool))?;
        let read = || {
            let mut counts: BTreeMap<AnalyzerName, BatchCount> = BTreeMap::new();
            for (analyzer, state, rows) in rows {
                let count = counts.entry(parse("analyzer name", &analyzer)?).or_default();
                let rows: u64 = number("count", rows)?;
                count.accepted += rows;
                *match state.as_str() {
                    "done" => &mut count.done,
                    "empty" => &mut count.empty,
                    "skipped" => &mut count.skipped,
                    "failed" => &mut count.failed,
                    "refused" => &mut count.refused,
                    "open" => &mut count.open,
                    _ => return Err(unreadable("state", state)),
                } += rows;
            }
            Ok(counts)
        };
        read().map_err(|error| self.unreadable(error))
    }
}

fn of_image((image, _, source, known, refusal): &ImageColumns) -> Read<Reference> {
    let source: Option<SourceUri> = parse_some("source", source.as_deref())?;
    let digest = digest(image)?;
    Ok(Reference {
        // An older ocelli did not keep which of the image's sources it was.
        reference: source.as_ref().map_or_else(|| digest.to_string(), ToString::to_string),
        outcome: match (refusal, known) {
            (Some(_), _) => ReferenceOutcome::Refused,
            (None, Some(true)) => ReferenceOutcome::Known,
            (None, _) => ReferenceOutcome::Accepted,
        },
        digest: Some(digest),
        source,
        rule: None,
        reason: refusal.clone(),
        told: None,
    })
}

fn other((_, reference, reason, source, rule, told): OtherColumns) -> Read<Reference> {
    let outcome = match rule {
        Some(_) => ReferenceOutcome::Skipped,
        None => ReferenceOutcome::Failed,
    };
    let source = parse_some("source", source.as_deref())?;
    let told = told.map(|text| from_json("what a list says", &text)).transpose()?;
    Ok(Reference { reference, outcome, digest: None, source, rule, reason: Some(reason), told })
}
