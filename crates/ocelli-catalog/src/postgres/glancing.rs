//! One question for the usual case of a look at jobs: nothing is paused, ordered or backfilled.

use ocelli_core::claim::JobKey;

use super::Store;
use crate::claims::Glance;
use crate::orders::holding;

impl Store {
    /// What is known of each job, in their order. The transaction is there for what it tells the planner, see [`Self::keyed`].
    pub(crate) async fn glance(&self, jobs: &[&JobKey]) -> Result<Vec<Glance>, sqlx::Error> {
        let mut looking = self.keyed().await?;
        let rows: Vec<(bool, bool)> = sqlx::query_as(concat!(
            "SELECT (SELECT true FROM analyses a WHERE a.image = (SELECT i.id FROM images i WHERE i.digest = asked.digest) \
             AND a.analyzer = asked.analyzer AND a.revision = asked.revision LIMIT 1) IS NOT NULL, \
             (SELECT true FROM backfill_jobs b WHERE b.digest = asked.digest LIMIT 1) IS NOT NULL \
             OR EXISTS (SELECT 1 FROM pauses) OR EXISTS (SELECT 1 FROM batch_orders WHERE ",
            holding!(),
            ") FROM UNNEST($1::bytea[], $2::text[], $3::text[]) WITH ORDINALITY AS asked (digest, analyzer, revision, place) \
             ORDER BY asked.place"
        ))
        .bind(jobs.iter().map(|job| job.digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.analyzer.as_str()).collect::<Vec<_>>())
        .bind(jobs.iter().map(|job| job.revision.as_str()).collect::<Vec<_>>())
        .fetch_all(&mut *looking)
        .await?;
        looking.end().await?;
        Ok(rows.into_iter().map(|(done, ruled)| Glance { done, ruled }).collect())
    }
}
