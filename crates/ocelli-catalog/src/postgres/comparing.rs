//! Images that are compared before jobs are enqueued. Two collectors that decide about one analyzer take turns.

crate::firsts::comparing!(
    super::writing::Writing,
    "(SELECT unnest($1::bytea[]) AS digest) AS asked",
    super::list,
    Some("SELECT pg_advisory_xact_lock(hashtextextended('ocelli near ' || $1, 0))")
);
