//! How far answers agree, beside the answers: written in the transaction that completes a record, or changes a complete one, and
//! always derived from what is current then. So any order of messages leaves the same rows.

use std::collections::BTreeSet;

use ocelli_core::agreement::{Agreement, Pair};
use ocelli_core::{Analysis, Digest};

use crate::catalog::{Catalog, ask};
use crate::deliveries;
use crate::error::{CatalogError, Fault};
use crate::fold::Key;
use crate::rows::{Read, Rows, from_json};
use crate::unit::Unit;

/// Records whose answers are compared in one transaction when an older archive is opened.
pub(crate) const CAUGHT_UP_AT_ONCE: u32 = 100;

/// A record whose answers are to be compared, or not any more.
#[derive(Debug)]
pub(crate) struct Settled {
    pub(crate) digest: Digest,
    /// The current answers with a text; none while the record is not complete.
    pub(crate) keys: Vec<Key>,
}

/// The part of a write transaction that knows agreements.
pub(crate) trait Agreeing {
    /// Replaces all pairs of these records.
    async fn set_agreements(
        &mut self,
        digests: &[Digest],
        pairs: &[(Digest, Pair)],
    ) -> Result<(), Fault>;
    /// Complete records from before there were agreements: so many.
    async fn uncompared(&mut self, most: u32) -> Result<Vec<Digest>, Fault>;
    async fn compared(&mut self, digests: &[Digest]) -> Result<(), Fault>;
}

/// Implements [`Agreeing`]: both backends understand the same statements.
macro_rules! agreeing {
    ($unit:ty) => {
        impl crate::agreements::Agreeing for $unit {
            async fn set_agreements(
                &mut self,
                digests: &[ocelli_core::Digest],
                pairs: &[(ocelli_core::Digest, ocelli_core::agreement::Pair)],
            ) -> Result<(), crate::error::Fault> {
                for digest in digests {
                    sqlx::query("DELETE FROM agreements WHERE digest = $1")
                        .bind(digest.as_bytes().to_vec())
                        .execute(&mut *self.0)
                        .await?;
                }
                for (digest, pair) in pairs {
                    sqlx::query(
                        "INSERT INTO agreements (digest, a, b, score, detail) VALUES ($1, $2, $3, $4, $5)",
                    )
                    .bind(digest.as_bytes().to_vec())
                    .bind(pair.a.as_str())
                    .bind(pair.b.as_str())
                    .bind(crate::agreements::column(pair.score))
                    .bind(crate::gather::clean(&crate::rows::json(pair)))
                    .execute(&mut *self.0)
                    .await?;
                }
                Ok(())
            }

            async fn uncompared(
                &mut self,
                most: u32,
            ) -> Result<Vec<ocelli_core::Digest>, crate::error::Fault> {
                let rows: Vec<Vec<u8>> =
                    sqlx::query_scalar("SELECT digest FROM agreement_backlog ORDER BY digest LIMIT $1")
                        .bind(i64::from(most))
                        .fetch_all(&mut *self.0)
                        .await?;
                let read = rows.iter().map(|bytes| crate::rows::digest(bytes));
                Ok(read.collect::<crate::rows::Read<_>>()?)
            }

            async fn compared(
                &mut self,
                digests: &[ocelli_core::Digest],
            ) -> Result<(), crate::error::Fault> {
                for digest in digests {
                    sqlx::query("DELETE FROM agreement_backlog WHERE digest = $1")
                        .bind(digest.as_bytes().to_vec())
                        .execute(&mut *self.0)
                        .await?;
                }
                Ok(())
            }
        }
    };
}
pub(crate) use agreeing;

/// Four decimals, so that what people type compares with it.
pub(crate) fn column(score: f32) -> f64 {
    (f64::from(score) * 10_000.0).round() / 10_000.0
}

/// Writes rows, how far the answers of records agree that they complete or change, and for listeners that they are complete.
pub(crate) async fn write<U: Unit>(unit: &mut U, rows: &Rows) -> Result<(), Fault> {
    unit.write(rows).await?;
    settle(unit, &rows.settled).await?;
    deliveries::note(unit, &rows.completed).await
}

async fn settle<U: Unit>(unit: &mut U, settled: &[Settled]) -> Result<(), Fault> {
    if settled.is_empty() {
        return Ok(());
    }
    let digests: Vec<Digest> = settled.iter().map(|one| one.digest).collect();
    let several: Vec<&Settled> = settled.iter().filter(|one| one.keys.len() > 1).collect();
    let mut pairs = Vec::new();
    // A few records at a time: their texts are in memory, with all words.
    for part in several.chunks(16) {
        let wanted: Vec<Digest> = part.iter().map(|one| one.digest).collect();
        let contents = unit.contents(&wanted).await?;
        for one in part {
            let current: BTreeSet<&Key> = one.keys.iter().collect();
            let is_current = |analysis: &Analysis| {
                current.contains(&(analysis.analyzer.clone(), analysis.revision.clone()))
            };
            let answers = contents
                .iter()
                .filter(|(digest, analysis)| *digest == one.digest && is_current(analysis))
                .map(|(_, analysis)| analysis);
            pairs.extend(Agreement::of(answers).pairs.into_iter().map(|pair| (one.digest, pair)));
        }
    }
    unit.set_agreements(&digests, &pairs).await
}

/// Compares answers from before there were agreements. Part by part, so that others wait only shortly.
pub(crate) async fn catch_up<U: Unit>(mut unit: U) -> Result<(), Fault> {
    let digests = unit.uncompared(CAUGHT_UP_AT_ONCE).await?;
    if digests.is_empty() {
        return Ok(());
    }
    let stored = unit.load(&digests).await?;
    let settled: Vec<Settled> = stored
        .iter()
        .map(|(digest, stored)| Settled { digest: *digest, keys: stored.comparable() })
        .collect();
    settle(&mut unit, &settled).await?;
    unit.compared(&digests).await?;
    unit.commit().await
}

impl Catalog {
    /// How far the answers of a record agree, in the order of names; nothing while it is not complete.
    ///
    /// # Errors
    /// When the database does not answer.
    pub async fn agreement(&self, digest: &Digest) -> Result<Vec<Pair>, CatalogError> {
        let rows: Vec<String> = ask!(self, "read agreements", pool => sqlx::query_scalar(
            "SELECT detail FROM agreements WHERE digest = $1 ORDER BY a, b",
        )
        .bind(digest.as_bytes().to_vec())
        .fetch_all(pool))?;
        rows.iter()
            .map(|text| from_json("agreement", text))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }
}
