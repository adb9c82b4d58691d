//! Where the next page begins: the last record of the one before, so that pages neither repeat nor miss a record that was there
//! all the time.

use std::fmt;
use std::str::FromStr;

use ocelli_core::Digest;
use serde::{Serialize, Serializer};
use thiserror::Error;

use super::{Sort, Total};
use crate::query::Query;

/// Opaque for everyone else. It belongs to one query and one order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cursor {
    /// The order of the page it comes from.
    pub(super) sort: Sort,
    pub(super) total: Total,
    pub(super) score: i64,
    pub(super) seen: i64,
    pub(super) digest: Digest,
    /// Of query and asked order.
    pub(super) search: String,
}

/// Why a cursor cannot be used.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CursorError {
    /// Not made by a search.
    #[error("this is no cursor; take the one that the page before ends with")]
    Unreadable,
    /// Made by another search.
    #[error(
        "the cursor belongs to another query or order; take the one that the page before of the same search ends with"
    )]
    OfAnother,
}

impl Cursor {
    /// Checks that this cursor was made by a search for `query` in the order `sort`.
    ///
    /// # Errors
    /// When it was not.
    pub fn check(&self, query: &Query, sort: Sort) -> Result<(), CursorError> {
        if self.search == mark(query, sort) { Ok(()) } else { Err(CursorError::OfAnother) }
    }
}

/// Tells searches apart.
pub(super) fn mark(query: &Query, sort: Sort) -> String {
    Digest::of(format!("{} {query}", letter(sort)).as_bytes()).short()
}

const fn letter(sort: Sort) -> char {
    match sort {
        Sort::Relevance => 'r',
        Sort::Newest => 'n',
        Sort::Oldest => 'o',
    }
}

impl fmt::Display for Cursor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Total { records, more } = self.total;
        let plus = if more { "m" } else { "e" };
        let (sort, score, seen) = (letter(self.sort), self.score, self.seen);
        write!(f, "{sort}{plus}.{records}.{score}.{seen}.{}.{}", self.digest, self.search)
    }
}

impl FromStr for Cursor {
    type Err = CursorError;
    fn from_str(text: &str) -> Result<Self, CursorError> {
        let read = || {
            let parts: Vec<&str> = text.split('.').collect();
            let [kind, records, score, seen, digest, search] = parts.as_slice() else {
                return None;
            };
            let sorts = [Sort::Relevance, Sort::Newest, Sort::Oldest];
            let sort = sorts.into_iter().find(|sort| kind.starts_with(letter(*sort)))?;
            let more = match &kind[1..] {
                "m" => true,
                "e" => false,
                _ => return None,
            };
            Some(Self {
                sort,
                total: Total { records: records.parse().ok()?, more },
                score: score.parse().ok()?,
                seen: seen.parse().ok()?,
                digest: digest.parse().ok()?,
                search: (*search).to_owned(),
            })
        };
        read().ok_or(CursorError::Unreadable)
    }
}

impl Serialize for Cursor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_is_read_back_and_belongs_to_its_search() {
        let query = Query::parse("cat").unwrap();
        let cursor = Cursor {
            sort: Sort::Newest,
            total: Total { records: 10_000, more: true },
            score: 0,
            seen: -5,
            digest: Digest::of(b"a"),
            search: mark(&query, Sort::Relevance),
        };
        let again: Cursor = cursor.to_string().parse().unwrap();
        assert_eq!(again, cursor);
        assert_eq!(again.check(&query, Sort::Relevance), Ok(()));
        assert_eq!(again.check(&query, Sort::Newest), Err(CursorError::OfAnother));
        assert_eq!(
            again.check(&Query::parse("dog").unwrap(), Sort::Relevance),
            Err(CursorError::OfAnother)
        );
        for text in ["", "é", "r", "x.1.2.3.4.5", "ne.1.0.0.zz.x", &"é.".repeat(6)] {
            assert_eq!(text.parse::<Cursor>(), Err(CursorError::Unreadable), "{text}");
        }
    }
}
