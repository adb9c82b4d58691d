//! What an order means for a job.

use std::collections::{BTreeMap, BTreeSet};

use ocelli_core::claim::ClaimRequest;
use ocelli_core::{BatchId, Digest};

use super::BatchOrder;
use crate::error::Fault;
use crate::rows::{Read, batch};

/// Why a job may not be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// Every batch that it is for waits.
    Waits,
    /// Every batch that it is for was cancelled.
    Withdrawn,
}

pub(crate) const REASON: &str =
    "its batch is paused; 'ocelli batch resume' lets it go on ('ocelli batch list' names it)";

/// Orders that keep jobs from being done.
pub(crate) type Orders = BTreeMap<BatchId, BatchOrder>;

/// Decides over the batches that a job is for. Pure.
pub(crate) fn verdict(batches: &BTreeSet<BatchId>, orders: &Orders) -> Option<Verdict> {
    let mut all = batches.iter().map(|batch| orders.get(batch));
    if batches.is_empty() || all.clone().any(|order| order.is_none()) {
        return None;
    }
    let is_cancelled = all.all(|order| order == Some(&BatchOrder::Cancelled));
    Some(if is_cancelled { Verdict::Withdrawn } else { Verdict::Waits })
}

/// Which rows of `batch_orders` keep jobs from being done.
macro_rules! holding {
    () => {
        "state IN ('paused', 'cancelled')"
    };
}
pub(crate) use holding;

/// Those of [`Orders`].
pub(crate) const ORDERS: &str = concat!("SELECT batch, state FROM batch_orders WHERE ", holding!());

/// The batches that saw the image `$1`. From the batches, which are few, to the images.
pub(crate) const SEEN_BY: &str = "SELECT b.batch FROM (SELECT batch FROM batches UNION SELECT batch FROM batch_orders) AS b \
     WHERE EXISTS (SELECT 1 FROM batch_images m WHERE m.batch = b.batch \
     AND m.image = (SELECT id FROM images WHERE digest = $1))";

/// Whether a failed job of the image `$1` was tried again by hand.
pub(crate) const TRIED_AGAIN: &str = "SELECT EXISTS (SELECT 1 FROM wants WHERE image = (SELECT id FROM images WHERE digest = $1) AND reopened IS NOT NULL)";

pub(crate) fn orders(rows: Vec<(Vec<u8>, String)>) -> Read<Orders> {
    rows.iter().map(|(id, state)| Ok((batch(id)?, BatchOrder::read(state)?))).collect()
}

pub(crate) fn batches(rows: Vec<Vec<u8>>) -> Read<BTreeSet<BatchId>> {
    rows.iter().map(|id| batch(id)).collect()
}

/// The part of a write transaction that knows orders.
pub(crate) trait Obeying {
    async fn orders(&mut self) -> Result<Orders, Fault>;
    /// The batches that saw an image.
    async fn seen_by(&mut self, digest: &Digest) -> Result<BTreeSet<BatchId>, Fault>;
    /// Whether people tried a failed job of this image again.
    async fn was_tried_again(&mut self, digest: &Digest) -> Result<bool, Fault>;
    /// Images of a batch behind this one that have open jobs, in the order of their numbers.
    async fn open_images(
        &mut self,
        batch: BatchId,
        after: &[u8],
        most: u32,
    ) -> Result<Vec<Digest>, Fault>;
    /// Takes wants out, with the notes about their next attempts.
    async fn delete_wants(
        &mut self,
        wants: &[(Digest, ocelli_core::AnalyzerName)],
    ) -> Result<(), Fault>;
    async fn count_withdrawn(&mut self, batch: BatchId, jobs: u64) -> Result<(), Fault>;
}

/// Implements [`Obeying`]: both backends understand the same statements.
macro_rules! obeying {
    ($unit:ty) => {
        impl crate::orders::Obeying for $unit {
            async fn orders(
                &mut self,
            ) -> Result<
                std::collections::BTreeMap<ocelli_core::BatchId, crate::orders::BatchOrder>,
                crate::error::Fault,
            > {
                let rows =
                    sqlx::query_as($crate::orders::ORDERS).fetch_all(&mut *self.0).await?;
                Ok($crate::orders::orders(rows)?)
            }

            async fn seen_by(
                &mut self,
                digest: &ocelli_core::Digest,
            ) -> Result<std::collections::BTreeSet<ocelli_core::BatchId>, crate::error::Fault>
            {
                let rows = sqlx::query_scalar($crate::orders::SEEN_BY)
                    .bind(digest.as_bytes().to_vec())
                    .fetch_all(&mut *self.0)
                    .await?;
                Ok($crate::orders::batches(rows)?)
            }

            async fn was_tried_again(
                &mut self,
                digest: &ocelli_core::Digest,
            ) -> Result<bool, crate::error::Fault> {
                Ok(sqlx::query_scalar($crate::orders::TRIED_AGAIN)
                    .bind(digest.as_bytes().to_vec())
                    .fetch_one(&mut *self.0)
                    .await?)
            }

            async fn open_images(
                &mut self,
                batch: ocelli_core::BatchId,
                after: &[u8],
                most: u32,
            ) -> Result<Vec<ocelli_core::Digest>, crate::error::Fault> {
                let rows: Vec<Vec<u8>> = sqlx::query_scalar(
                    "SELECT i.digest FROM (SELECT DISTINCT m.image FROM batch_images m WHERE m.batch = $1 \
                     AND m.image > coalesce((SELECT id FROM images WHERE digest = $2), 0) \
                     AND EXISTS (SELECT 1 FROM wants w WHERE w.image = m.image AND w.state = 'open') \
                     ORDER BY m.image LIMIT $3) AS page JOIN images i ON i.id = page.image ORDER BY page.image",
                )
                .bind(batch.uuid().into_bytes().to_vec())
                .bind(after.to_vec())
                .bind(i64::from(most))
                .fetch_all(&mut *self.0)
                .await?;
                let read = rows.iter().map(|bytes| crate::rows::digest(bytes));
                Ok(read.collect::<crate::rows::Read<_>>()?)
            }

            async fn delete_wants(
                &mut self,
                wants: &[(ocelli_core::Digest, ocelli_core::AnalyzerName)],
            ) -> Result<(), crate::error::Fault> {
                for (digest, analyzer) in wants {
                    for statement in [
                        "DELETE FROM wants WHERE image = (SELECT id FROM images WHERE digest = $1) AND analyzer = $2",
                        "DELETE FROM deferrals WHERE digest = $1 AND analyzer = $2",
                    ] {
                        sqlx::query(statement)
                            .bind(digest.as_bytes().to_vec())
                            .bind(analyzer.as_str())
                            .execute(&mut *self.0)
                            .await?;
                    }
                }
                Ok(())
            }

            async fn count_withdrawn(
                &mut self,
                batch: ocelli_core::BatchId,
                jobs: u64,
            ) -> Result<(), crate::error::Fault> {
                sqlx::query("UPDATE batch_orders SET withdrawn = withdrawn + $2 WHERE batch = $1")
                    .bind(batch.uuid().into_bytes().to_vec())
                    .bind(crate::rows::column(jobs))
                    .execute(&mut *self.0)
                    .await?;
                Ok(())
            }
        }
    };
}
pub(crate) use obeying;

/// What orders say about these jobs, in their order.
pub(crate) async fn verdicts<U: Obeying>(
    unit: &mut U,
    requests: &[ClaimRequest],
) -> Result<Vec<Option<Verdict>>, Fault> {
    let orders = unit.orders().await?;
    let mut verdicts = Vec::with_capacity(requests.len());
    for request in requests {
        if !concerns(&orders, request) {
            verdicts.push(None);
            continue;
        }
        let digest = &request.job.digest;
        let mut batches = unit.seen_by(digest).await?;
        batches.extend(request.batch);
        let found = verdict(&batches, &orders);
        let stays = found.is_some() && unit.was_tried_again(digest).await?;
        verdicts.push(found.filter(|_| !stays));
    }
    Ok(verdicts)
}

/// Whether a look at the batches of its image can make a difference.
fn concerns(orders: &Orders, request: &ClaimRequest) -> bool {
    !orders.is_empty() && request.batch.is_none_or(|batch| orders.contains_key(&batch))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(number: u128) -> BatchId {
        BatchId::new(uuid::Uuid::from_u128(number))
    }

    #[test]
    fn a_job_waits_or_ends_only_when_every_batch_of_its_image_does() {
        use BatchOrder::{Cancelled, Paused};
        let orders: Orders = [(id(1), Paused), (id(2), Cancelled), (id(3), Cancelled)].into();
        let of = |ids: &[u128]| verdict(&ids.iter().map(|one| id(*one)).collect(), &orders);
        assert_eq!(of(&[]), None, "nobody knows whose it is");
        assert_eq!(of(&[1]), Some(Verdict::Waits));
        assert_eq!(of(&[2, 3]), Some(Verdict::Withdrawn));
        assert_eq!(of(&[1, 2]), Some(Verdict::Waits), "the paused one still wants it");
        assert_eq!(of(&[2, 3, 4]), None, "another batch wants it now");
        assert_eq!(of(&[1, 4]), None);
    }
}
