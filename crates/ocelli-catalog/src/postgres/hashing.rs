//! What images look like, as PostgreSQL takes it.

use super::writing::Writing;
use crate::rows::Rows;

impl Writing {
    pub(super) async fn write_hashes(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.hashes;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO perceptual_hashes (digest, algorithm, bits) \
             SELECT * FROM UNNEST($1::bytea[], $2::text[], $3::bigint[]) ON CONFLICT DO NOTHING",
        )
        .bind(rows.iter().map(|(digest, _)| digest.as_bytes().as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, hash)| hash.algorithm()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, hash)| hash.bits().cast_signed()).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
