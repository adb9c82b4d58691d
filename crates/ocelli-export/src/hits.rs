//! Many queries in, all their hits out as lines, page by page, so that memory does not grow with what is found.
//!
//! `ocelli search --queries` and the web site ask and write with this.

use std::collections::VecDeque;
use std::io::{self, BufRead as _, BufReader, Read, Write as _};

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_catalog::Catalog;
use ocelli_catalog::query::{Query, QueryLimits};
use ocelli_catalog::search::{Hit, HitAnswer, Search, Sort, Total};
use ocelli_core::Digest;
use serde::Serialize;
use thiserror::Error;

use crate::ExportError;
use crate::buffer::Buffer;

/// Hits asked for at once.
const PAGE: u32 = 200;

/// Why a list of queries cannot be asked.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0}")]
pub struct NoQueries(String);

/// How hits are laid out, one line for each answer that matches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Table {
    /// One JSON object a line.
    Ndjson,
    /// Comma-separated values with a header.
    Csv,
}

/// A query as it was written, and what it means.
pub type Written = (String, Query);

/// Reads queries, one in a line; empty lines and those that begin with # are left out. All are read before the first is
/// asked, so that a mistake on the last line costs no hour. `name` is what errors call the list.
///
/// # Errors
/// With the line, when one is no query, or there are more than `most`, or none.
pub fn read(
    from: impl Read,
    name: &str,
    limits: &QueryLimits,
    most: usize,
) -> Result<Vec<Written>, NoQueries> {
    let mut lines = BufReader::new(from);
    let mut queries = Vec::new();
    let characters = limits.characters;
    let longest = characters as u64 * 4 + 2;
    for number in 1_u64.. {
        let mut bytes = Vec::new();
        (&mut lines)
            .take(longest)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| NoQueries(format!("the queries in {name} cannot be read: {error}")))?;
        if bytes.is_empty() {
            break;
        }
        let wrong =
            |what: &dyn std::fmt::Display| NoQueries(format!("{name}, line {number}: {what}"));
        if bytes.len() as u64 == longest && bytes.last() != Some(&b'\n') {
            return Err(wrong(&format!("the query has more than {characters} characters")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(&"this is not UTF-8 text"))?;
        // A byte order mark is what spreadsheet programs begin a text file with.
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if queries.len() == most {
            return Err(wrong(&format!("more than {most} queries: ask them in several files")));
        }
        let query = Query::parse_within(text, limits).map_err(|error| wrong(&error))?;
        queries.push((text.to_owned(), query));
    }
    if queries.is_empty() {
        return Err(NoQueries(format!("there is no query in {name}")));
    }
    Ok(queries)
}

/// One line of the answer.
#[derive(Default, Serialize)]
struct Line<'a> {
    query: &'a str,
    digest: Option<Digest>,
    first_seen: Option<Timestamp>,
    source: Option<&'a str>,
    analyzer: Option<&'a str>,
    revision: Option<&'a str>,
    outcome: Option<&'static str>,
    /// The part of the text where the words stand.
    snippet: Option<&'a str>,
    /// Where it begins, in characters of the whole text.
    start: Option<usize>,
    reason: Option<&'a str>,
}

/// Not all hits of a query were written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cut {
    /// Of which.
    pub query: String,
    /// How many records match in all.
    pub total: Total,
}

/// A part of the answer.
#[derive(Debug, Default)]
pub struct Piece {
    /// Lines; perhaps none.
    pub bytes: Vec<u8>,
    /// The query that ended here before its hits did.
    pub cut: Option<Cut>,
}

/// Queries that are being asked.
pub struct Hits {
    queries: VecDeque<Written>,
    sort: Sort,
    /// Records of one query.
    most: u32,
    /// Whether a query that is cut short has a line that says so.
    told: bool,
    open: Option<(String, Search, u32)>,
    out: Out,
    /// Records found so far.
    pub records: usize,
    /// Queries without any.
    pub without: usize,
}

enum Out {
    Csv(Box<csv::Writer<Buffer>>, Buffer),
    Ndjson(Buffer),
}

impl Hits {
    /// At most `most` records of each of these. Where `told`, a query that has more gets a line whose reason says so.
    #[must_use]
    pub fn of(queries: Vec<Written>, sort: Sort, most: u32, table: Table, told: bool) -> Self {
        let out = match table {
            Table::Csv => {
                let buffer = Buffer::default();
                Out::Csv(Box::new(csv::Writer::from_writer(buffer.clone())), buffer)
            }
            Table::Ndjson => Out::Ndjson(Buffer::default()),
        };
        let queries = queries.into();
        Self { queries, sort, most, told, open: None, out, records: 0, without: 0 }
    }

    /// Asks for the next page; none when all is said.
    ///
    /// # Errors
    /// When the catalog does not answer.
    #[async_recursion]
    pub async fn next(&mut self, catalog: &Catalog) -> Result<Option<Piece>, ExportError> {
        let (text, mut search, left) = match self.open.take() {
            Some(open) => open,
            None => {
                let Some((text, query)) = self.queries.pop_front() else { return Ok(None) };
                let limit = PAGE.min(self.most);
                let search = Search { query, sort: self.sort, limit, cursor: None, facets: false };
                (text, search, self.most)
            }
        };
        let page = catalog.search(&search).await?;
        let broken = |source| ExportError::Stream { source };
        for hit in &page.hits {
            self.out.hit(&text, hit).map_err(broken)?;
        }
        self.without += usize::from(page.hits.is_empty());
        self.records += page.hits.len();
        let left = left.saturating_sub(u32::try_from(page.hits.len()).unwrap_or(u32::MAX));
        let mut cut = None;
        match page.next {
            Some(next) if left > 0 => {
                search.limit = PAGE.min(left);
                search.cursor = Some(next);
                self.open = Some((text, search, left));
            }
            Some(_) => {
                if self.told {
                    let more = if page.total.more { "more than " } else { "" };
                    let reason =
                        format!("only {} of {more}{} records", self.most, page.total.records);
                    let line = Line { query: &text, reason: Some(&reason), ..Line::default() };
                    self.out.line(&line).map_err(broken)?;
                }
                cut = Some(Cut { query: text, total: page.total });
            }
            None => {}
        }
        Ok(Some(Piece { bytes: self.out.take().map_err(broken)?, cut }))
    }
}

impl Out {
    fn hit(&mut self, query: &str, hit: &Hit) -> io::Result<()> {
        let answers: Vec<Option<&HitAnswer>> = if hit.answers.is_empty() {
            vec![None]
        } else {
            hit.answers.iter().map(Some).collect()
        };
        for answer in answers {
            let snippet = answer.and_then(|answer| answer.snippet.as_ref());
            self.line(&Line {
                query,
                digest: Some(hit.digest),
                first_seen: hit.first_seen,
                source: hit.source.as_ref().map(|source| source.as_str()),
                analyzer: answer.map(|answer| answer.analyzer.as_str()),
                revision: answer.map(|answer| answer.revision.as_str()),
                outcome: answer.map(|answer| answer.kind.name()),
                snippet: snippet.map(|snippet| snippet.text.as_str()),
                start: snippet.map(|snippet| snippet.start),
                reason: answer.and_then(|answer| answer.reason.as_deref()),
            })?;
        }
        Ok(())
    }

    fn line(&mut self, line: &Line<'_>) -> io::Result<()> {
        match self {
            Self::Csv(writer, _) => {
                writer.serialize(line).map_err(|error| match error.into_kind() {
                    csv::ErrorKind::Io(error) => error,
                    other => io::Error::other(format!("{other:?}")),
                })
            }
            Self::Ndjson(buffer) => {
                serde_json::to_writer(&mut *buffer, line)?;
                buffer.write_all(b"\n")
            }
        }
    }

    /// What was written since the last time.
    fn take(&mut self) -> io::Result<Vec<u8>> {
        match self {
            Self::Csv(writer, buffer) => {
                writer.flush()?;
                Ok(buffer.take())
            }
            Self::Ndjson(buffer) => Ok(buffer.take()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        read(bytes, "names.txt", &QueryLimits::default(), 3).unwrap_err().to_string()
    }

    #[test]
    fn queries_are_read_line_by_line_and_a_mistake_names_its_line() {
        let lines = "\u{feff}cat\r\n\n# a remark\n \"hot dog\" \n".as_bytes();
        let read = read(lines, "x", &QueryLimits::default(), 3).unwrap();
        let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["cat", "\"hot dog\""]);
        assert_eq!(
            error(b"cat\n(dog\n"),
            "names.txt, line 2: there is no ')' for the '(' at character 1"
        );
        assert_eq!(error(b"caf\xe9\n"), "names.txt, line 1: this is not UTF-8 text");
        assert_eq!(error(b"\n#\n"), "there is no query in names.txt");
        assert!(error(b"a\nb\nc\nd\n").starts_with("names.txt, line 4: more than 3 queries"));
        let long = vec![b'x'; 5_000_000];
        assert_eq!(error(&long), "names.txt, line 1: the query has more than 4000 characters");
    }
}
