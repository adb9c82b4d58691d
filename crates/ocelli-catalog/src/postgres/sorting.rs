//! Sorting new words into their indexes beside whoever writes
//! (<https://www.postgresql.org/docs/current/gin-implementation.html>, "GIN Fast Update Technique").
//!
//! What is new waits in a list. Every search reads the list to its end, so it has to stay short; and the transaction that makes it too
//! long sorts it in, which takes the longer the larger the index is, while the rest of its batch waits. So a connection of its
//! own does it: while much is written when the list is long, and otherwise as soon as nothing comes any more.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use sqlx::postgres::PgPool;

use crate::error::Fault;
use crate::search::index::{AnswerRow, IndexRows};

/// Bytes of text after which the lists are sorted in: in texts of 300 bytes they take about 11 MB then, which a search reads in
/// some milliseconds.
const SORTED_AFTER: u64 = 4_000_000;
/// Nothing more comes for now …
const IDLE: Duration = Duration::from_secs(2);
/// … and where something always comes, but little, it is not waited for longer than so many times.
const PATIENCE: u32 = 15;
/// A connection whose other end vanished is noticed by this: sorting in 32 MB takes seconds.
const LONGEST: Duration = Duration::from_secs(600);
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
    /// Whether somebody waits until nothing comes any more.
    is_watched: AtomicBool,
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
        let (state, pool) = (self.to.0, self.pool);
        if self.bytes == 0 {
            return;
        }
        let waiting = state.waiting.fetch_add(self.bytes, Ordering::Relaxed) + self.bytes;
        if waiting >= SORTED_AFTER {
            let (state, pool) = (Arc::clone(&state), pool.clone());
            tokio::spawn(async move { state.sort(&pool).await });
        }
        if !state.is_watched.swap(true, Ordering::AcqRel) {
            tokio::spawn(async move { state.watch(&pool).await });
        }
    }
}

impl State {
    /// Sorts in what is left once nothing comes any more.
    async fn watch(&self, pool: &PgPool) {
        loop {
            let mut patience = PATIENCE;
            loop {
                let before = self.waiting.load(Ordering::Relaxed);
                tokio::time::sleep(IDLE).await;
                let waiting = self.waiting.load(Ordering::Relaxed);
                patience = patience.saturating_sub(1);
                let is_time = waiting == before || patience == 0;
                if waiting == 0 || (is_time && self.sort(pool).await) {
                    break;
                }
            }
            self.is_watched.store(false, Ordering::Release);
            // Whoever wrote just before that has left it to this task.
            let has_more = self.waiting.load(Ordering::Acquire) > 0;
            if !has_more || self.is_watched.swap(true, Ordering::AcqRel) {
                return;
            }
        }
    }

    /// Sorts in what is there, if nobody is at it; whether it did.
    async fn sort(&self, pool: &PgPool) -> bool {
        if self.is_sorting.swap(true, Ordering::Acquire) {
            return false;
        }
        if self.waiting.swap(0, Ordering::Relaxed) > 0 {
            let sorting = sqlx::query_scalar::<_, i64>(SORT).fetch_one(pool);
            let sorted = tokio::time::timeout(LONGEST, sorting).await;
            let fault = sorted.map_or(Some(Fault::TimedOut), |sorted| sorted.err().map(Fault::Sql));
            // A closed pool is the end of this catalog. Whatever else it is, nothing is lost by it.
            if let Some(fault) = fault
                && !pool.is_closed()
                && !self.has_warned.swap(true, Ordering::Relaxed)
            {
                tracing::warn!(
                    ?fault,
                    "words cannot be sorted into the search index beside the writing, which takes longer now"
                );
            }
        }
        self.is_sorting.store(false, Ordering::Release);
        true
    }
}
