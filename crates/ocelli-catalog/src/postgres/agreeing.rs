//! Agreements on PostgreSQL.

use ocelli_core::Digest;
use ocelli_core::agreement::Pair;

use super::list;
use super::writing::Writing;
use crate::agreements::{Agreeing, UNCOMPARED, column, percent};
use crate::error::Fault;
use crate::gather::clean;
use crate::rows::{Read, digest, json};

impl Agreeing for Writing {
    async fn set_agreements(
        &mut self,
        digests: &[Digest],
        pairs: &[(Digest, Pair)],
    ) -> Result<(), Fault> {
        let numbers = &self.2;
        sqlx::query("DELETE FROM agreements WHERE image = ANY($1)")
            .bind(digests.iter().map(|digest| numbers.of(digest)).collect::<Vec<_>>())
            .execute(&mut *self.0)
            .await?;
        if pairs.is_empty() {
            return Ok(());
        }
        sqlx::query(
            "INSERT INTO agreements (image, a, b, score, percent, detail) \
             SELECT * FROM UNNEST($1::bigint[], $2::text[], $3::text[], $4::float8[], $5::bigint[], $6::text[])",
        )
        .bind(pairs.iter().map(|(digest, _)| numbers.of(digest)).collect::<Vec<_>>())
        .bind(pairs.iter().map(|(_, pair)| pair.a.as_str()).collect::<Vec<_>>())
        .bind(pairs.iter().map(|(_, pair)| pair.b.as_str()).collect::<Vec<_>>())
        .bind(pairs.iter().map(|(_, pair)| column(pair.score)).collect::<Vec<_>>())
        .bind(pairs.iter().map(|(_, pair)| percent(column(pair.score))).collect::<Vec<_>>())
        .bind(pairs.iter().map(|(_, pair)| clean(&json(pair))).collect::<Vec<_>>())
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }

    async fn uncompared(&mut self, most: u32) -> Result<Vec<Digest>, Fault> {
        let query = sqlx::query_scalar(UNCOMPARED).bind(i64::from(most));
        let rows: Vec<Vec<u8>> = query.fetch_all(&mut *self.0).await?;
        Ok(rows.iter().map(|bytes| digest(bytes)).collect::<Read<_>>()?)
    }

    async fn compared(&mut self, digests: &[Digest]) -> Result<(), Fault> {
        sqlx::query("DELETE FROM agreement_backlog WHERE digest = ANY($1)")
            .bind(list(digests))
            .execute(&mut *self.0)
            .await?;
        Ok(())
    }
}
