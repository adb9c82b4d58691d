//! What PostgreSQL's planner is told, for the rest of a transaction: it guesses how many answers have a word, and a wrong guess takes
//! seconds.

use super::super::sql::Dialect;
use super::Plan;

/// PostgreSQL takes the index that is meant, also where it knows nothing yet about the tables. It compiles no statement that takes
/// milliseconds, nor starts processes for one. That a page anywhere costs four times one that follows is true of disks that turn, and not of
/// memory.
pub(super) const PLANNER: &str = "SELECT set_config('jit', 'off', true) || set_config('enable_seqscan', 'off', true) || \
     set_config('enable_hashagg', 'off', true) || set_config('enable_hashjoin', 'off', true) || \
     set_config('enable_mergejoin', 'off', true) || set_config('max_parallel_workers_per_gather', '0', true) || \
     set_config('random_page_cost', '1.1', true)";
/// Where no word narrows a search, it goes along the index of time until it has enough; it would look through all of that first.
const ALONG_TIME: &str = "SELECT set_config('enable_bitmapscan', 'off', true)";
/// Where the words do that have a part, of which most are in few answers, they are asked of their index. It takes each of them for one that
/// stands in more, and would go along the order of time through all that has none of them.
const BY_WORDS: &str = "SELECT set_config('enable_indexscan', 'off', true)";
/// What follows is found by its keys.
pub(super) const EITHER_WAY: &str = "SELECT set_config('enable_indexscan', 'on', true)";

impl Plan<'_> {
    /// What is to be said before answers are looked for.
    pub(super) fn told(&self) -> Option<&'static str> {
        let of_part = || self.parts.values().flatten().any(|words| words.len() > 1);
        match self.dialect {
            Dialect::Sqlite => None,
            Dialect::Postgres if self.question.is_none() => Some(ALONG_TIME),
            Dialect::Postgres => of_part().then_some(BY_WORDS),
        }
    }
}
