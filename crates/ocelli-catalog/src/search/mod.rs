//! Search: which records have what a query asks for, in order, page by page, with counts and the places where the words stand.
//!
//! A query is asked of answers: all of it must hold for one answer of a record, and the answers for which it holds are the
//! hits of that record. Older revisions are not looked at unless the query says `is:older`. `docs/SEARCH.md` describes the
//! language.
//!
//! | module | room for |
//! |---|---|
//! | this | what is asked and answered; [`Catalog::search`] |
//! | `form` | the form in which texts are kept and asked: one meaning on both databases |
//! | `index`, `vocabulary` | what is written beside the analyses; which words need not be written again |
//! | `candidates` | which rows the indexes find |
//! | `sql` | what must hold of them |
//! | `run`, `run::facets` | the statements of one search, and its counts |
//! | `walk`, `whole` | every image, every record that matches, in constant memory |
//! | `records` | whole records of many images |
//! | `cursor`, `snippet` | where the next page begins; the part of a text that is shown |
//! | `lit` | where the words of a query stand in a whole text |
//!
//! How it is found: few candidates are taken from the index of words and sorted; where more match than are counted, they
//! are so dense that walking through the archive in the order of time finds a page sooner. Parts of words are first looked up
//! among all different words of the archive.

mod candidates;
mod cursor;
pub(crate) mod form;
pub(crate) mod index;
mod lit;
mod records;
pub(crate) mod run;
mod snippet;
pub(crate) mod sql;
pub(crate) mod vocabulary;
pub(crate) mod walk;
mod whole;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, Digest, ImageFormat, OutcomeKind, Revision, SourceUri};
use serde::Serialize;

pub use cursor::{Cursor, CursorError};
pub use records::Detail;
pub use snippet::Snippet;
pub use whole::{Listed, NoPlace, Place};

use crate::catalog::Catalog;
use crate::error::CatalogError;
use crate::query::Query;

/// Records are counted up to this where nothing else is set; beyond it the answer is "more than". Enough for people, and few
/// enough to be counted and sorted at once.
pub const COUNTED: u64 = 500;

/// What may be set at most: those are sorted in memory.
pub(crate) const MOST_COUNTED: u64 = 1_000_000;

/// The longest page. Texts of all its hits are in memory at once.
pub const LONGEST_PAGE: u32 = 1_000;

/// In which order records come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sort {
    /// Every answer that matches counts for its record, short ones more than long ones. Of equals the newest first. A query
    /// without words, or with more records than are counted, is sorted by [`Sort::Newest`].
    Relevance,
    /// First seen last.
    Newest,
    /// First seen first.
    Oldest,
}

/// What is asked.
#[derive(Debug, Clone)]
pub struct Search {
    /// Which records.
    pub query: Query,
    /// In which order.
    pub sort: Sort,
    /// Records on a page, 1 to [`LONGEST_PAGE`].
    pub limit: u32,
    /// Where the page begins: [`Page::next`] of the one before.
    pub cursor: Option<Cursor>,
    /// Whether to count by analyzer, outcome, format, month and batch.
    pub facets: bool,
}

/// A page of records.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Page {
    /// The records.
    pub hits: Vec<Hit>,
    /// How many records match in all; of the first page, when others follow it.
    pub total: Total,
    /// The order they are in.
    pub sort: Sort,
    /// Where the next page begins, when there is one.
    pub next: Option<Cursor>,
    /// The counts, when they were asked for.
    pub facets: Option<Facets>,
}

/// How many records match.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Total {
    /// So many, or
    pub records: u64,
    /// more than so many.
    pub more: bool,
}

/// A record that matches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Hit {
    /// Which image.
    pub digest: Digest,
    /// When it was first seen.
    pub first_seen: Option<Timestamp>,
    /// Where it was seen last.
    pub source: Option<SourceUri>,
    /// Its container format.
    pub format: Option<ImageFormat>,
    /// The answers that match, by name of analyzer. Empty for a record without any.
    pub answers: Vec<HitAnswer>,
}

/// An answer that matches.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct HitAnswer {
    /// Who answered.
    pub analyzer: AnalyzerName,
    /// In which revision.
    pub revision: Revision,
    /// What kind of answer.
    pub kind: OutcomeKind,
    /// Whether it is what readers of the record see now.
    pub current: bool,
    /// Why there is no text: of a failure or a skip.
    pub reason: Option<String>,
    /// Of a text: where the words stand.
    pub snippet: Option<Snippet>,
}

/// How many of the records that match are like that; where more match than are counted, of so many of them. Most first.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Facets {
    /// How many records were counted.
    pub of: u64,
    /// By analyzer of an answer that matches.
    pub analyzer: Vec<(String, u64)>,
    /// By kind of an answer that matches.
    pub outcome: Vec<(String, u64)>,
    /// By container format.
    pub format: Vec<(String, u64)>,
    /// By month of the first sighting, `2024-05`.
    pub month: Vec<(String, u64)>,
    /// By batch that saw the image, its name where it has one.
    pub batch: Vec<(String, u64)>,
}

impl Catalog {
    /// Searches.
    ///
    /// # Errors
    /// When the database does not answer, or not in time; [`CatalogError::Query`] when the query names an image that is not here or
    /// cannot be compared.
    #[async_recursion]
    pub async fn search(&self, search: &Search) -> Result<Page, CatalogError> {
        let query = self.settled(&search.query).await?;
        let search = Search { query, ..search.clone() };
        let plan = run::Plan::new(self, &search);
        self.timed("search", run::search(self, plan)).await
    }
}
