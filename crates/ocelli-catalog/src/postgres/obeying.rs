//! Orders about batches.

crate::orders::obeying!(super::writing::Writing);
