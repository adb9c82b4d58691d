//! Agreements on PostgreSQL: see `agreements`, which has the statements.

use super::writing::Writing;

crate::agreements::agreeing!(Writing);
