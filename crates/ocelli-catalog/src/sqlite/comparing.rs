//! Images that are compared before jobs are enqueued. There is one writer: nobody else decides meanwhile.

crate::firsts::comparing!(
    super::writing::Writing,
    "(SELECT unhex(value) AS digest FROM json_each($1)) AS asked",
    super::list,
    None
);
