//! Sorting new words into their indexes beside whoever writes
//! (<https://www.postgresql.org/docs/current/gin-implementation.html>, "GIN Fast Update Technique").
//!
//! What is new waits in a list. Every search reads the list to its end, so it has to stay short; and the transaction that makes it too
//! long sorts it in, which takes the longer the larger the index is, while the rest of its batch waits. So a connection of its
//! own does it, in good time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use sqlx::postgres::PgPool;

use crate::search::index::{AnswerRow, IndexRows};

/// Bytes of text after which the lists are sorted in: in texts of 300 bytes they take about 4 MB then.
const SORTED_AFTER: u64 = 1_500_000;
/// What an answer counts beside its text, and one that is written anew without a look at its text.
const ANSWER: u64 = 50;
const ANEW: u64 = 500;

const SORT: &str =
    "SELECT gin_clean_pending_list('search_words') + gin_clean_pending_list('search_parts')";

/// What waits, as far as this process has written it. Clones share it.
#[derive(Debug, Clone, Default)]
pub(super) struct Sorting(Arc<State>);

#[derive(Debug, Default)]
struct State {
    waiting: AtomicU64,
    is_sorting: AtomicBool,
    has_warned: AtomicBool,
}

/// What one transaction adds.
#[derive(Debug)]
pub(super) struct Added {
    to: Sorting,
    pool: PgPool,
    bytes: u64,
}

impl Sorting {
    pub(super) fn adding(&self, pool: &PgPool) -> Added {
        Added { to: self.clone(), pool: pool.clone(), bytes: 0 }
    }
}

impl Added {
    pub(super) fn add(&mut self, rows: &IndexRows) {
        let length =
            |row: &AnswerRow| ANSWER + row.text.as_ref().map_or(0, |text| text.len() as u64);
        let anew = rows.shown.len() + rows.moved.len();
        self.bytes += rows.answers.iter().map(length).sum::<u64>() + anew as u64 * ANEW;
    }

    /// To be called after the commit.
    pub(super) fn committed(self) {
        let state = self.to.0;
        let waiting = state.waiting.fetch_add(self.bytes, Ordering::Relaxed) + self.bytes;
        if waiting < SORTED_AFTER || state.is_sorting.swap(true, Ordering::Acquire) {
            return;
        }
        state.waiting.store(0, Ordering::Relaxed);
        let pool = self.pool;
        tokio::spawn(async move {
            let sorted = sqlx::query_scalar::<_, i64>(SORT).fetch_one(&pool).await;
            state.is_sorting.store(false, Ordering::Release);
            // A closed pool is the end of this catalog. Whatever else it is, nothing is lost by it.
            if let Err(error) = sorted
                && !pool.is_closed()
                && !state.has_warned.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(%error, "words cannot be sorted into the search index beside the writing, which takes longer now");
            }
        });
    }
}
