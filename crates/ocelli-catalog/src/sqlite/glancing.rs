//! One question for the usual case of a look at jobs: nothing is paused, ordered or backfilled.

use ocelli_core::claim::JobKey;

use super::Store;
use crate::claims::Glance;
use crate::orders::holding;
use crate::rows::json;

impl Store {
    /// What is known of each job, in their order.
    pub(crate) async fn glance(&self, jobs: &[&JobKey]) -> Result<Vec<Glance>, sqlx::Error> {
        let asked: Vec<_> =
            jobs.iter().map(|job| (&job.digest, &job.analyzer, &job.revision)).collect();
        let rows: Vec<(bool, bool)> = sqlx::query_as(concat!(
            "SELECT EXISTS (SELECT 1 FROM analyses WHERE image = (SELECT id FROM images WHERE digest = unhex(asked.value ->> 0)) \
             AND analyzer = asked.value ->> 1 AND revision = asked.value ->> 2), \
             EXISTS (SELECT 1 FROM backfill_jobs WHERE digest = unhex(asked.value ->> 0)) \
             OR EXISTS (SELECT 1 FROM pauses) OR EXISTS (SELECT 1 FROM batch_orders WHERE ",
            holding!(),
            ") FROM json_each($1) asked ORDER BY asked.key"
        ))
        .bind(json(&asked))
        .fetch_all(&self.read)
        .await?;
        Ok(rows.into_iter().map(|(done, ruled)| Glance { done, ruled }).collect())
    }
}
