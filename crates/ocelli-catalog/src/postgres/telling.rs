//! Listeners on PostgreSQL: see `deliveries`, which has most of the statements.

use ocelli_core::Digest;

use super::list;
use super::writing::Writing;

crate::deliveries::telling!(
    Writing,
    "(EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint",
    "GREATEST",
    " FOR UPDATE SKIP LOCKED",
    tell_later
);

async fn tell_later(
    writing: &mut Writing,
    listener: &str,
    digests: &[Digest],
) -> Result<(), sqlx::Error> {
    sqlx::query(concat!(
        "INSERT INTO deliveries (listener, digest, completed_at, since, next_at) \
         SELECT $1, d, at, at, at FROM UNNEST($2::bytea[]) AS d, \
         (SELECT (EXTRACT(EPOCH FROM clock_timestamp()) * 1000000)::bigint AS at) AS clock",
        crate::deliveries::once_more!("GREATEST")
    ))
    .bind(listener)
    .bind(list(digests))
    .execute(&mut *writing.0)
    .await?;
    Ok(())
}
