//! Listeners on SQLite: see `deliveries`, which has most of the statements.

use ocelli_core::Digest;

use super::writing::Writing;

crate::deliveries::telling!(
    Writing,
    "CAST(unixepoch('subsec') * 1000000 AS INTEGER)",
    "max",
    "",
    tell_later
);

async fn tell_later(
    writing: &mut Writing,
    listener: &str,
    digests: &[Digest],
) -> Result<(), sqlx::Error> {
    for digest in digests {
        sqlx::query(concat!(
            "INSERT INTO deliveries (listener, digest, completed_at, since, next_at) \
             SELECT $1, $2, at, at, at FROM (SELECT CAST(unixepoch('subsec') * 1000000 AS INTEGER) AS at) WHERE true",
            crate::deliveries::once_more!("max")
        ))
        .bind(listener)
        .bind(digest.as_bytes().to_vec())
        .execute(&mut *writing.0)
        .await?;
    }
    Ok(())
}
