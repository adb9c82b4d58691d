//! What a transaction that decides between images asks of the database.

use std::collections::{BTreeMap, BTreeSet};

use ocelli_core::{AnalyzerName, Digest, PerceptualHash, Revision};

use crate::error::Fault;

/// An image of which the analyzer is or was asked.
#[derive(Debug, Clone)]
pub(crate) struct Asked {
    pub(crate) digest: Digest,
    pub(crate) wanted: Option<Revision>,
    /// The revision that answered; none while the answer is on its way.
    pub(crate) answer: Option<Revision>,
}

/// The part of a write transaction that compares images.
pub(crate) trait Comparing {
    /// Lets nobody else decide about jobs of this analyzer until the end of the transaction.
    async fn alone(&mut self, analyzer: &AnalyzerName) -> Result<(), Fault>;
    async fn hashes(
        &mut self,
        digests: &[Digest],
    ) -> Result<BTreeMap<Digest, PerceptualHash>, Fault>;
    /// The nearest hashes, at most so many: distance and image.
    async fn near(
        &mut self,
        hash: &PerceptualHash,
        distance: u32,
        most: usize,
    ) -> Result<BTreeSet<(u32, Digest)>, Fault>;
    /// Those of the images of which the analyzer was asked and has answered, or is being asked.
    async fn asked(
        &mut self,
        analyzer: &AnalyzerName,
        digests: &[Digest],
    ) -> Result<Vec<Asked>, Fault>;
    /// Images whose jobs wait for this one's.
    async fn waiting(
        &mut self,
        analyzer: &AnalyzerName,
        other: &Digest,
        most: u32,
    ) -> Result<Vec<Digest>, Fault>;
}

/// Implements [`Comparing`]: both backends understand the same statements, but for the lock.
macro_rules! comparing {
    ($unit:ty, $asked:literal, $list:path, $lock:expr) => {
        impl crate::firsts::Comparing for $unit {
            async fn alone(
                &mut self,
                analyzer: &ocelli_core::AnalyzerName,
            ) -> Result<(), crate::error::Fault> {
                let lock: Option<&'static str> = $lock;
                if let Some(lock) = lock {
                    sqlx::query(lock).bind(analyzer.as_str()).execute(&mut *self.0).await?;
                }
                Ok(())
            }

            async fn hashes(
                &mut self,
                digests: &[ocelli_core::Digest],
            ) -> Result<
                std::collections::BTreeMap<ocelli_core::Digest, ocelli_core::PerceptualHash>,
                crate::error::Fault,
            > {
                let rows: Vec<(Vec<u8>, String, i64)> = sqlx::query_as(concat!(
                    "SELECT h.digest, h.algorithm, h.bits FROM ",
                    $asked,
                    " CROSS JOIN perceptual_hashes h WHERE h.digest = asked.digest"
                ))
                .bind($list(digests))
                .fetch_all(&mut *self.0)
                .await?;
                let read = rows.into_iter().map(|(bytes, algorithm, bits)| {
                    Ok((crate::rows::digest(&bytes)?, crate::alike::hash(&algorithm, bits)?))
                });
                Ok(read.collect::<crate::rows::Read<_>>()?)
            }

            async fn near(
                &mut self,
                hash: &ocelli_core::PerceptualHash,
                distance: u32,
                most: usize,
            ) -> Result<std::collections::BTreeSet<(u32, ocelli_core::Digest)>, crate::error::Fault>
            {
                let connection = &mut *self.0;
                crate::alike::nearest!(connection, hash, distance, most)
            }

            async fn asked(
                &mut self,
                analyzer: &ocelli_core::AnalyzerName,
                digests: &[ocelli_core::Digest],
            ) -> Result<Vec<crate::firsts::Asked>, crate::error::Fault> {
                let rows: Vec<(Vec<u8>, Option<String>, Option<String>)> = sqlx::query_as(concat!(
                    "SELECT asked.digest, w.revision, w.answer FROM ",
                    $asked,
                    " CROSS JOIN wants w WHERE w.image = ",
                    crate::load::number_of_asked!(),
                    " AND w.analyzer = $2 \
                     AND (w.state IN ('done', 'empty') \
                          OR (w.state = 'open' AND (w.hold IS NULL OR w.hold = 'taken')))"
                ))
                .bind($list(digests))
                .bind(analyzer.as_str())
                .fetch_all(&mut *self.0)
                .await?;
                let read = rows.into_iter().map(|(bytes, wanted, answer)| {
                    Ok(crate::firsts::Asked {
                        digest: crate::rows::digest(&bytes)?,
                        wanted: crate::rows::parse_some("revision", wanted.as_deref())?,
                        answer: crate::rows::parse_some("revision", answer.as_deref())?,
                    })
                });
                Ok(read.collect::<crate::rows::Read<_>>()?)
            }

            async fn waiting(
                &mut self,
                analyzer: &ocelli_core::AnalyzerName,
                other: &ocelli_core::Digest,
                most: u32,
            ) -> Result<Vec<ocelli_core::Digest>, crate::error::Fault> {
                let rows: Vec<Vec<u8>> = sqlx::query_scalar(
                    "SELECT i.digest FROM wants w CROSS JOIN images i \
                     WHERE w.waits_for = $1 AND w.analyzer = $2 AND i.id = w.image ORDER BY w.image LIMIT $3",
                )
                .bind(other.as_bytes().to_vec())
                .bind(analyzer.as_str())
                .bind(i64::from(most))
                .fetch_all(&mut *self.0)
                .await?;
                let read = rows.iter().map(|bytes| crate::rows::digest(bytes));
                Ok(read.collect::<crate::rows::Read<_>>()?)
            }
        }
    };
}
pub(crate) use comparing;
