//! The transactions that take jobs back. What that means for a record is decided by the same fold as for messages.

use std::collections::BTreeMap;

use async_recursion::async_recursion;
use ocelli_core::{AnalyzerName, BatchId, Digest, Revision};
use ocelli_failpoint::{Failpoint, reached};

use super::BatchOrder;
use super::obeying::{Obeying, Verdict, verdict};
use crate::catalog::{Catalog, snapshot, transact};
use crate::error::{CatalogError, Fault};
use crate::fold::{self, Stored};
use crate::gather::News;
use crate::rows::{Read, Rows, State, digest, parse};
use crate::unit::{self, Unit};

/// What one page of a cancelled batch led to.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Withdrawn {
    /// Jobs that were taken back.
    pub jobs: u64,
    /// The last image that was looked at: where the next page begins. None when there are no more.
    pub last: Option<Digest>,
}

impl Catalog {
    /// Takes back the open jobs of at most `most` images of a cancelled batch: what no other batch wants is wanted no more.
    /// What has an outcome keeps it, and what is being worked on is answered all the same.
    ///
    /// # Errors
    /// When the database does not take it: then nothing of it happened.
    #[async_recursion]
    pub async fn withdraw_batch(
        &self,
        batch: BatchId,
        after: Option<Digest>,
        most: u32,
    ) -> Result<Withdrawn, CatalogError> {
        transact!(self, "take back jobs of a batch", unit => withdraw(unit, batch, after, most))
    }

    /// Jobs of a batch whose next attempt is later than `now`: a page behind `after`. While the batch was paused, these waited
    /// for it.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn postponed_of_batch(
        &self,
        batch: BatchId,
        now: jiff::Timestamp,
        after: Option<&(Digest, AnalyzerName)>,
        most: u32,
    ) -> Result<Vec<(Digest, AnalyzerName)>, CatalogError> {
        let (image, analyzer) = after.map_or((Vec::new(), ""), |(digest, analyzer)| {
            (digest.as_bytes().to_vec(), analyzer.as_str())
        });
        let rows = snapshot!(self, connection => {
            sqlx::query_as(
                "SELECT n.digest, page.analyzer FROM (SELECT DISTINCT w.image, w.analyzer FROM batch_images m \
                 JOIN images i ON i.id = m.image JOIN wants w ON w.image = m.image AND w.state = 'open' \
                 JOIN deferrals d ON d.digest = i.digest AND d.analyzer = w.analyzer \
                 WHERE m.batch = $1 AND d.class = 'outage' AND d.next_at > $2 \
                 AND (w.image, w.analyzer) > (coalesce((SELECT id FROM images WHERE digest = $3), 0), $4) \
                 ORDER BY w.image, w.analyzer LIMIT $5) AS page JOIN images n ON n.id = page.image \
                 ORDER BY page.image, page.analyzer",
            )
            .bind(batch.uuid().into_bytes().to_vec())
            .bind(now.as_microsecond())
            .bind(image.clone())
            .bind(analyzer)
            .bind(i64::from(most))
            .fetch_all(&mut *connection)
            .await
        });
        let rows: Vec<(Vec<u8>, String)> =
            self.timed("list jobs of a batch that wait", rows).await?;
        rows.iter()
            .map(|(image, name)| Ok((digest(image)?, parse("analyzer name", name)?)))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// Jobs that wait because their batch is paused, over all paused batches, by analyzer.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn open_of_paused_batches(
        &self,
    ) -> Result<BTreeMap<AnalyzerName, u64>, CatalogError> {
        let rows = snapshot!(self, connection => {
            sqlx::query_as(
                "SELECT w.analyzer, COUNT(*) FROM (SELECT DISTINCT m.image FROM batch_orders o \
                 JOIN batch_images m ON m.batch = o.batch WHERE o.state = 'paused') AS waiting \
                 JOIN wants w ON w.image = waiting.image AND w.state = 'open' GROUP BY w.analyzer",
            )
            .fetch_all(&mut *connection)
            .await
        });
        let rows: Vec<(String, i64)> = self.timed("count jobs of paused batches", rows).await?;
        let read = rows.iter().map(|(name, count)| {
            Ok((parse("analyzer name", name)?, crate::rows::number("count", *count)?))
        });
        read.collect::<Read<_>>().map_err(|error| self.unreadable(error))
    }
}

async fn withdraw<U: Unit + Obeying>(
    mut unit: U,
    batch: BatchId,
    after: Option<Digest>,
    most: u32,
) -> Result<Withdrawn, Fault> {
    let after = after.map_or_else(Vec::new, |digest| digest.as_bytes().to_vec());
    let mut images = unit.open_images(batch, &after, most).await?;
    let full = images.len() == most as usize;
    let last = images.last().copied().filter(|_| full);
    // Pages follow the numbers of images, writers their digests.
    images.sort_unstable();
    if images.is_empty() {
        unit.commit().await?;
        return Ok(Withdrawn::default());
    }
    let mut stored = unit.load(&images).await?;
    let orders = unit.orders().await?;
    let (mut rows, mut gone) = (Rows::default(), Vec::new());
    for digest in images {
        let old = stored.remove(&digest).unwrap_or_default();
        if old.wants.values().any(|want| want.reopened.is_some())
            || verdict(&unit.seen_by(&digest).await?, &orders) != Some(Verdict::Withdrawn)
        {
            continue;
        }
        let open = old.wants.iter().filter(|(_, want)| want.state == State::Open);
        let open: Vec<AnalyzerName> = open.map(|(analyzer, _)| analyzer.clone()).collect();
        fold::withdraw(digest, &open, old, &mut rows);
        gone.extend(open.into_iter().map(|analyzer| (digest, analyzer)));
    }
    unit::write(&mut unit, rows).await?;
    unit.delete_wants(&gone).await?;
    unit.count_withdrawn(batch, gone.len() as u64).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(Withdrawn { jobs: gone.len() as u64, last })
}

/// Takes out of the news what only cancelled batches ask and what is not wanted yet: their messages may come after their end.
pub(crate) async fn leave_out_withdrawn<U: Obeying>(
    unit: &mut U,
    images: &mut BTreeMap<Digest, News>,
    stored: &BTreeMap<Digest, Stored>,
) -> Result<(), Fault> {
    if images.values().all(|news| news.members.is_empty() || news.wants.is_empty()) {
        return Ok(());
    }
    let orders = unit.orders().await?;
    let is_cancelled = |batch: &BatchId| orders.get(batch) == Some(&BatchOrder::Cancelled);
    for (digest, news) in images {
        let mut batches: std::collections::BTreeSet<BatchId> =
            news.members.iter().map(|(batch, _)| *batch).collect();
        if news.wants.is_empty() || batches.is_empty() || !batches.iter().all(is_cancelled) {
            continue;
        }
        batches.extend(unit.seen_by(digest).await?);
        if verdict(&batches, &orders) != Some(Verdict::Withdrawn) {
            continue;
        }
        let known = stored.get(digest);
        let is_new = |analyzer: &AnalyzerName| {
            known.is_none_or(|stored| !stored.wants.contains_key(analyzer))
        };
        let is_job =
            |revision: &Option<Revision>| !revision.as_ref().is_some_and(Revision::is_of_rule);
        let gone = news.wants.iter().filter(|(analyzer, want)| is_new(analyzer) && is_job(&want.1));
        let left_out = gone.count() as u64;
        news.wants.retain(|analyzer, _| !is_new(analyzer));
        news.analyses.retain(|one| !(one.revision.is_of_rule() && is_new(&one.analyzer)));
        if let (Some(batch), true) = (batches.first(), left_out > 0) {
            unit.count_withdrawn(*batch, left_out).await?;
        }
    }
    Ok(())
}
