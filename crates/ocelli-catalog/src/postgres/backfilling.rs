//! Backfills on PostgreSQL: see `backfills::adding`, which has the statements.

use super::writing::Writing;

crate::backfills::backfilling!(Writing);
