//! Rows of images: locked before anything is written about them, and numbered.

use ocelli_core::Digest;

use super::writing::Writing;
use super::{list, stored};
use crate::error::Fault;
use crate::numbers::Numbers;
use crate::rows::{Rows, column, json};
use crate::upserts;

impl Writing {
    /// Locks the rows of images, and makes those that are missing, in the order of digests.
    pub(super) async fn lock(&mut self, digests: &[Digest]) -> Result<(), sqlx::Error> {
        sqlx::query(
            "INSERT INTO images (digest, complete) SELECT digest, false FROM UNNEST($1::bytea[]) AS new (digest) \
             ORDER BY digest ON CONFLICT DO NOTHING",
        )
        .bind(list(digests))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    /// Finds the numbers of the images that rows are about. Those that are new got theirs when they were locked.
    pub(super) async fn number(&mut self, rows: &Rows) -> Result<Numbers, Fault> {
        let mut numbers = std::mem::take(&mut self.2);
        let missing = numbers.missing(rows);
        if !missing.is_empty() {
            self.lock(&missing).await?;
            numbers.learn(&missing, &stored(&mut self.0, &missing).await?);
        }
        Ok(numbers)
    }

    pub(super) async fn write_images(
        &mut self,
        rows: &Rows,
        numbers: &Numbers,
    ) -> Result<(), sqlx::Error> {
        let rows = &rows.images;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO images (id, digest, bytes, format, width, height, refusal, first_seen, complete, learned) OVERRIDING SYSTEM VALUE ",
            "SELECT * FROM UNNEST($1::bigint[], $2::bytea[], $3::bigint[], $4::text[], $5::bigint[], $6::bigint[], $7::text[], $8::bigint[], $9::bool[], $10::text[])",
            upserts::images!()
        ))
        .bind(rows.iter().map(|(digest, _)| numbers.of(digest)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().map(|facts| column(facts.bytes))).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().and_then(|facts| facts.format).map(|format| format.name())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().and_then(|facts| facts.width).map(i64::from)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.facts.as_ref().and_then(|facts| facts.height).map(i64::from)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.refusal.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.first_seen.map(|at| at.as_microsecond())).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.complete).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, image)| image.learned.as_ref().map(json)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
