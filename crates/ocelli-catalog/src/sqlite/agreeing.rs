//! Agreements on SQLite.

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
        let numbers = std::mem::take(&mut self.2);
        let images: Vec<i64> = digests.iter().map(|digest| numbers.of(digest)).collect();
        sqlx::query("DELETE FROM agreements WHERE image IN (SELECT value FROM json_each($1))")
            .bind(json(&images))
            .execute(&mut *self.0)
            .await?;
        let head = "INSERT INTO agreements (image, a, b, score, percent, detail) ";
        self.insert(head, "", pairs, |tuple, (digest, pair)| {
            tuple
                .push_bind(numbers.of(digest))
                .push_bind(pair.a.as_str().to_owned())
                .push_bind(pair.b.as_str().to_owned())
                .push_bind(column(pair.score))
                .push_bind(percent(column(pair.score)))
                .push_bind(clean(&json(pair)));
        })
        .await?;
        self.2 = numbers;
        Ok(())
    }

    async fn uncompared(&mut self, most: u32) -> Result<Vec<Digest>, Fault> {
        let query = sqlx::query_scalar(UNCOMPARED).bind(i64::from(most));
        let rows: Vec<Vec<u8>> = query.fetch_all(&mut *self.0).await?;
        Ok(rows.iter().map(|bytes| digest(bytes)).collect::<Read<_>>()?)
    }

    async fn compared(&mut self, digests: &[Digest]) -> Result<(), Fault> {
        sqlx::query(
            "DELETE FROM agreement_backlog WHERE digest IN (SELECT unhex(value) FROM json_each($1))",
        )
        .bind(list(digests))
        .execute(&mut *self.0)
        .await?;
        Ok(())
    }
}
