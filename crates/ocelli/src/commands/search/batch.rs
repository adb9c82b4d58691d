//! `ocelli search --queries`: a file of queries in, all their hits out, page by page, so that nothing is held in memory.

use std::io::{BufRead as _, BufReader, Read, Write as _};
use std::path::Path;

use jiff::Timestamp;
use ocelli_catalog::CatalogError;
use ocelli_catalog::query::{Query, QueryLimits};
use ocelli_catalog::search::{Hit, HitAnswer, Search};
use ocelli_core::Digest;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};
use serde::Serialize;

use super::arguments::{SearchArgs, Table};
use super::{NOTHING, usage};
use crate::archive;

/// Queries of one file. They are all read before the first is asked, so that a mistake on the last line costs no hour.
const MOST_QUERIES: usize = 100_000;
/// Hits of one query, unless something else is asked for.
const LIMIT: u32 = 1_000;
/// Hits asked for at once.
const PAGE: u32 = 200;

/// One line of the answer.
#[derive(Serialize)]
struct Line<'a> {
    query: &'a str,
    digest: Digest,
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

enum Out {
    Csv(Box<csv::Writer<std::io::Stdout>>),
    Ndjson(std::io::BufWriter<std::io::Stdout>),
}

pub(super) async fn batch(
    settings: &Settings,
    arguments: &SearchArgs,
    file: &Path,
) -> Result<ExitCode, Fault> {
    let limits = parts::query_limits(settings);
    let queries = if file == Path::new("-") {
        read(std::io::stdin().lock(), "standard input", &limits)?
    } else {
        let name = file.display().to_string();
        let open = std::fs::File::open(file)
            .map_err(|error| usage(&format!("the queries in '{name}' cannot be read: {error}")))?;
        read(open, &name, &limits)?
    };
    let catalog = archive::open(settings).await?;
    let mut out = match arguments.format {
        Table::Csv => Out::Csv(Box::new(csv::Writer::from_writer(std::io::stdout()))),
        Table::Ndjson => Out::Ndjson(std::io::BufWriter::new(std::io::stdout())),
    };
    let most = arguments.limit.unwrap_or(LIMIT);
    let (mut records, mut without) = (0_usize, 0_usize);
    for (text, query) in queries {
        let mut search = Search {
            query,
            sort: arguments.sort.into(),
            limit: PAGE.min(most),
            cursor: None,
            facets: false,
        };
        let mut left = most;
        loop {
            let page = catalog.search(&search).await.map_err(|error| match error {
                CatalogError::Query(error) => usage(&format!("'{text}': {error}")),
                other => other.into(),
            })?;
            for hit in &page.hits {
                if let Err(error) = out.hit(&text, hit) {
                    // A reader that went away has what it wanted.
                    return if error.kind() == std::io::ErrorKind::BrokenPipe {
                        Ok(ExitCode::Ok)
                    } else {
                        Err(Fault::new(
                            ExitCode::Internal,
                            format!("cannot write to standard output: {error}"),
                        ))
                    };
                }
            }
            without += usize::from(page.hits.is_empty());
            records += page.hits.len();
            left = left.saturating_sub(u32::try_from(page.hits.len()).unwrap_or(u32::MAX));
            match page.next {
                Some(next) if left > 0 => {
                    search.limit = PAGE.min(left);
                    search.cursor = Some(next);
                }
                Some(_) => {
                    let count = if page.total.more { "more than " } else { "" };
                    eprintln!(
                        "'{text}': {most} of {count}{} records printed; --limit sets how many",
                        page.total.records
                    );
                    break;
                }
                None => break,
            }
        }
    }
    catalog.close().await;
    match out.end() {
        Err(error) if error.kind() != std::io::ErrorKind::BrokenPipe => {
            return Err(Fault::new(
                ExitCode::Internal,
                format!("cannot write to standard output: {error}"),
            ));
        }
        _ => {}
    }
    eprintln!("{records} records; {without} queries found nothing");
    Ok(if records == 0 { NOTHING } else { ExitCode::Ok })
}

/// All queries, each with its text; an error names the line.
fn read(from: impl Read, name: &str, limits: &QueryLimits) -> Result<Vec<(String, Query)>, Fault> {
    let mut lines = BufReader::new(from);
    let mut queries = Vec::new();
    let most = limits.characters;
    let longest = most as u64 * 4 + 2;
    for number in 1_u64.. {
        let mut bytes = Vec::new();
        (&mut lines)
            .take(longest)
            .read_until(b'\n', &mut bytes)
            .map_err(|error| usage(&format!("the queries in {name} cannot be read: {error}")))?;
        if bytes.is_empty() {
            break;
        }
        let wrong = |what: &dyn std::fmt::Display| usage(&format!("{name}, line {number}: {what}"));
        if bytes.len() as u64 == longest && bytes.last() != Some(&b'\n') {
            return Err(wrong(&format!("the query has more than {most} characters")));
        }
        let text = std::str::from_utf8(&bytes).map_err(|_| wrong(&"this is not UTF-8 text"))?;
        // A byte order mark is what spreadsheet programs begin a text file with.
        let text = text.trim_start_matches('\u{feff}').trim();
        if text.is_empty() || text.starts_with('#') {
            continue;
        }
        if queries.len() == MOST_QUERIES {
            return Err(wrong(&format!(
                "more than {MOST_QUERIES} queries: ask them in several files"
            )));
        }
        let query = Query::parse_within(text, limits).map_err(|error| wrong(&error))?;
        queries.push((text.to_owned(), query));
    }
    if queries.is_empty() {
        return Err(usage(&format!("there is no query in {name}")));
    }
    Ok(queries)
}

impl Out {
    fn hit(&mut self, query: &str, hit: &Hit) -> std::io::Result<()> {
        let answers: Vec<Option<&HitAnswer>> = if hit.answers.is_empty() {
            vec![None]
        } else {
            hit.answers.iter().map(Some).collect()
        };
        for answer in answers {
            let snippet = answer.and_then(|answer| answer.snippet.as_ref());
            self.line(&Line {
                query,
                digest: hit.digest,
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

    fn line(&mut self, line: &Line<'_>) -> std::io::Result<()> {
        match self {
            Self::Csv(writer) => writer.serialize(line).map_err(|error| match error.into_kind() {
                csv::ErrorKind::Io(error) => error,
                other => std::io::Error::other(format!("{other:?}")),
            }),
            Self::Ndjson(writer) => {
                serde_json::to_writer(&mut *writer, line)?;
                writer.write_all(b"\n")
            }
        }
    }

    fn end(&mut self) -> std::io::Result<()> {
        match self {
            Self::Csv(writer) => writer.flush(),
            Self::Ndjson(writer) => writer.flush(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(bytes: &[u8]) -> String {
        read(bytes, "names.txt", &QueryLimits::default()).unwrap_err().message
    }

    #[test]
    fn queries_are_read_line_by_line_and_a_mistake_names_its_line() {
        let lines = "\u{feff}cat\r\n\n# a remark\n \"hot dog\" \n".as_bytes();
        let read = read(lines, "x", &QueryLimits::default()).unwrap();
        let texts: Vec<&str> = read.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, ["cat", "\"hot dog\""]);
        assert_eq!(
            error(b"cat\n(dog\n"),
            "names.txt, line 2: there is no ')' for the '(' at character 1"
        );
        assert_eq!(error(b"caf\xe9\n"), "names.txt, line 1: this is not UTF-8 text");
        assert_eq!(error(b"\n#\n"), "there is no query in names.txt");
        let long = vec![b'x'; 5_000_000];
        assert_eq!(error(&long), "names.txt, line 1: the query has more than 4000 characters");
    }
}
