//! What became of the references of batches.

use super::writing::Writing;
use crate::numbers::Numbers;
use crate::rows::{Rows, json};
use crate::upserts;

impl Writing {
    pub(super) async fn write_members(
        &mut self,
        rows: &Rows,
        numbers: &Numbers,
    ) -> Result<(), sqlx::Error> {
        let found = |member| rows.references.get(member);
        let rows = &rows.members;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO batch_images (batch, image, reference_key, source_key, known) SELECT * FROM \
             UNNEST($1::bytea[], $2::bigint[], $3::bytea[], $4::bytea[], $5::bool[]) ON CONFLICT DO NOTHING",
        )
        .bind(
            rows.iter().map(|(batch, _, _)| batch.uuid().into_bytes().to_vec()).collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|(_, digest, _)| numbers.of(digest)).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, _, key)| key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| found(row).map(|(key, _)| key.as_slice())).collect::<Vec<_>>())
        .bind(rows.iter().map(|row| found(row).map(|(_, known)| *known)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    pub(super) async fn write_problems(&mut self, rows: &Rows) -> Result<(), sqlx::Error> {
        let rows = &rows.problems;
        if rows.is_empty() {
            return Ok(());
        }
        sqlx::query(concat!(
            "INSERT INTO problems (batch, reference_key, reference, reason, at, source, rule, told) SELECT * FROM ",
            "UNNEST($1::bytea[], $2::bytea[], $3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])",
            upserts::problems!()
        ))
        .bind(
            rows.iter()
                .map(|(_, problem)| problem.batch.uuid().into_bytes().to_vec())
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|(key, _)| key.as_slice()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.reference.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.reason.as_str()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.at.as_microsecond()).collect::<Vec<_>>())
        .bind(
            rows.iter()
                .map(|(_, problem)| problem.source.as_ref().map(|source| source.as_str()))
                .collect::<Vec<_>>(),
        )
        .bind(rows.iter().map(|(_, problem)| problem.rule.as_deref()).collect::<Vec<_>>())
        .bind(rows.iter().map(|(_, problem)| problem.told.as_ref().map(json)).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
