//! Lists of references: NDJSON, CSV and plain text, read line by line in bounded memory.
//!
//! A broken line is one error with its number; the lines after it are read as if it were not there. That includes a CSV
//! quote that is never closed: it costs its own line, not the rest of the file.

use std::ffi::OsStr;
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ocelli_core::{Digest, SourceUri};
use serde::Deserialize;

use crate::first_seen::parse_first_seen;
use crate::lines::{Line, Lines, MAX_LINE_BYTES, is_blank};
use crate::source::uri_text;

/// Lines one quoted CSV value may span: file names with line breaks exist, but have few of them.
const MAX_RECORD_LINES: usize = 8;

/// How a manifest is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// One JSON object per line.
    Ndjson,
    /// Comma-separated values (RFC 4180) with a first line that names the columns.
    Csv,
    /// One reference per line.
    Text,
}

impl Format {
    /// By the end of the name; `None` when it says nothing.
    pub(crate) fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "txt" => Some(Self::Text),
            _ => None,
        }
    }
}

/// The format of a list whose name says nothing.
pub(crate) fn guess_format<R: Read>(lines: &mut Lines<R>) -> io::Result<Format> {
    let Some(first) = lines.peek()? else { return Ok(Format::Text) };
    Ok(if first.bytes.trim_ascii_start().starts_with(b"{") {
        Format::Ndjson
    } else if first.bytes.contains(&b',') && Columns::of(&first.bytes).is_some() {
        Format::Csv
    } else {
        Format::Text
    })
}

/// Where the known columns of a CSV file are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Columns {
    count: usize,
    uri: Option<usize>,
    path: Option<usize>,
    first_seen: Option<usize>,
    digest: Option<usize>,
}

impl Columns {
    fn of(line: &[u8]) -> Option<Self> {
        let record = csv_record(line)?;
        let names: Vec<String> = record
            .iter()
            .map(|name| String::from_utf8_lossy(name).trim().to_ascii_lowercase())
            .collect();
        let find = |wanted: &str| names.iter().position(|name| name == wanted);
        let columns = Self {
            count: names.len(),
            uri: find("uri"),
            path: find("path"),
            first_seen: find("first_seen"),
            digest: find("digest"),
        };
        (columns.uri.is_some() || columns.path.is_some()).then_some(columns)
    }
}

/// The columns of a CSV file, whose first line stays to be read. The inner error is that line, when it names none.
pub(crate) fn columns<R: Read>(lines: &mut Lines<R>) -> io::Result<Result<Columns, String>> {
    Ok(match lines.peek()? {
        None => Err("(the file is empty)".to_owned()),
        Some(line) => Columns::of(&line.bytes)
            .ok_or_else(|| String::from_utf8_lossy(&line.bytes).chars().take(200).collect()),
    })
}

fn csv_record(bytes: &[u8]) -> Option<csv::ByteRecord> {
    let mut reader = csv::ReaderBuilder::new()
        .has_headers(false)
        .flexible(true)
        .buffer_capacity(bytes.len().max(64))
        .from_reader(bytes);
    let mut record = csv::ByteRecord::new();
    matches!(reader.read_byte_record(&mut record), Ok(true)).then_some(record)
}

/// Where the bytes of a reference are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Locator {
    File(PathBuf),
    Url(SourceUri),
}

/// What one line of a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) locator: Locator,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) digest: Option<Digest>,
}

/// The rows of a list. Ends after an error of the reader, which is the last item.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    format: Format,
    columns: Option<Columns>,
    base: PathBuf,
    now: Timestamp,
    ended: bool,
}

/// A line that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) number: u64,
    pub(crate) reason: String,
}

impl<R: Read> Rows<R> {
    /// `base` is the folder that relative paths begin at.
    pub(crate) fn new(lines: Lines<R>, format: Format, base: PathBuf, now: Timestamp) -> Self {
        Self { lines, format, columns: None, base, now, ended: false }
    }

    fn row(&mut self, line: &Line) -> Result<Option<Row>, String> {
        if line.too_long {
            return Err(format!("the line is longer than {MAX_LINE_BYTES} bytes"));
        }
        match self.format {
            Format::Text => {
                let locator = locate(&line.bytes, &self.base)?;
                Ok(Some(Row { locator, first_seen: None, digest: None }))
            }
            Format::Ndjson => self.json_row(&line.bytes).map(Some),
            Format::Csv => self.csv_row(line),
        }
    }

    fn json_row(&self, line: &[u8]) -> Result<Row, String> {
        #[derive(Deserialize)]
        struct Fields {
            uri: Option<String>,
            path: Option<String>,
            first_seen: Option<String>,
            digest: Option<String>,
        }
        let fields: Fields = serde_json::from_slice(line)
            .map_err(|error| format!("not a JSON object of a manifest: {error}"))?;
        self.checked(
            fields.uri.as_deref().map(str::as_bytes),
            fields.path.as_deref().map(str::as_bytes),
            fields.first_seen.as_deref(),
            fields.digest.as_deref(),
        )
    }

    fn csv_row(&mut self, line: &Line) -> Result<Option<Row>, String> {
        let Some(columns) = self.columns.clone() else {
            let columns =
                Columns::of(&line.bytes).ok_or("the first line names no column 'uri' or 'path'")?;
            self.columns = Some(columns);
            return Ok(None);
        };
        let bytes = self.whole_record(line)?;
        let record = csv_record(&bytes).ok_or("the line has no values")?;
        if record.len() != columns.count {
            return Err(format!(
                "the line has {} values, the first line names {} columns; a value with a comma is written in \"quotes\"",
                record.len(),
                columns.count
            ));
        }
        let field = |column: Option<usize>| {
            column.and_then(|index| record.get(index)).filter(|value| !value.is_empty())
        };
        let text = |column, name: &str| {
            field(column)
                .map(|value| {
                    std::str::from_utf8(value).map_err(|_| format!("{name} is not UTF-8 text"))
                })
                .transpose()
        };
        self.checked(
            field(columns.uri),
            field(columns.path),
            text(columns.first_seen, "first_seen")?,
            text(columns.digest, "digest")?,
        )
        .map(Some)
    }

    /// `line` and as many of the next lines as its quotes span.
    fn whole_record(&mut self, line: &Line) -> Result<Vec<u8>, String> {
        let is_open = |bytes: &[u8]| bytes.iter().filter(|byte| **byte == b'"').count() % 2 == 1;
        let mut bytes = line.bytes.clone();
        let mut taken = Vec::new();
        while is_open(&bytes) {
            let next = if taken.len() + 1 < MAX_RECORD_LINES && bytes.len() <= MAX_LINE_BYTES {
                self.lines.next().ok().flatten()
            } else {
                None
            };
            match next {
                Some(next) => {
                    bytes.push(b'\n');
                    bytes.extend_from_slice(&next.bytes);
                    taken.push(next);
                }
                None => {
                    self.lines.give_back(taken);
                    return Err("a quote (\") is opened and never closed".to_owned());
                }
            }
        }
        Ok(bytes)
    }

    fn checked(
        &self,
        uri: Option<&[u8]>,
        path: Option<&[u8]>,
        first_seen: Option<&str>,
        digest: Option<&str>,
    ) -> Result<Row, String> {
        let locator = match (uri, path) {
            (Some(_), Some(_)) => return Err("both uri and path are given; give one".to_owned()),
            (None, None) => return Err("neither uri nor path is given".to_owned()),
            (Some(uri), None) => locate(uri, &self.base)?,
            (None, Some(path)) => locate_path(path, &self.base)?,
        };
        let first_seen = first_seen
            .map(|text| parse_first_seen(text, self.now).map_err(|error| error.to_string()))
            .transpose()?;
        let digest = digest
            .map(|text| {
                let text = text.trim();
                text.strip_prefix("sha256:")
                    .unwrap_or(text)
                    .parse()
                    .map_err(|error: ocelli_core::ids::IdError| error.to_string())
            })
            .transpose()?;
        Ok(Row { locator, first_seen, digest })
    }
}

impl<R: Read> Iterator for Rows<R> {
    type Item = (u64, Result<Row, BadLine>);

    fn next(&mut self) -> Option<Self::Item> {
        while !self.ended {
            let line = match self.lines.next() {
                Ok(Some(line)) => line,
                Ok(None) => break,
                Err(error) => {
                    self.ended = true;
                    let number = self.lines.next_number();
                    let reason = format!("the list cannot be read from here on: {error}");
                    return Some((number, Err(BadLine { number, reason })));
                }
            };
            if !line.too_long && is_blank(&line.bytes) {
                continue;
            }
            let number = line.number;
            match self.row(&line) {
                Ok(Some(row)) => return Some((number, Ok(row))),
                Ok(None) => {}
                Err(reason) => return Some((number, Err(BadLine { number, reason }))),
            }
        }
        None
    }
}

/// A reference that is a URI if it begins with a scheme, else a path.
fn locate(bytes: &[u8], base: &Path) -> Result<Locator, String> {
    let Some(text) = uri_text(bytes.trim_ascii()) else { return locate_path(bytes, base) };
    let uri: SourceUri =
        text.parse().map_err(|error: ocelli_core::source::SourceError| error.to_string())?;
    match (uri.url().scheme(), uri.path()) {
        ("file", Some(path)) => Ok(Locator::File(path)),
        ("file", None) => Err(format!("'{uri}' names no file of this machine")),
        _ => Ok(Locator::Url(uri)),
    }
}

fn locate_path(bytes: &[u8], base: &Path) -> Result<Locator, String> {
    if bytes.contains(&0) {
        return Err("the path contains a zero byte".to_owned());
    }
    let path = base.join(OsStr::from_bytes(bytes));
    crate::source::resolve(&path)
        .map(Locator::File)
        .map_err(|error| format!("'{}' cannot be resolved: {error}", crate::source::shown(&path)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(text: &[u8], format: Format) -> Vec<(u64, Result<Row, BadLine>)> {
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        Rows::new(Lines::new(text), format, PathBuf::from("/base"), now).collect()
    }

    fn file(path: &str) -> Locator {
        Locator::File(PathBuf::from(path))
    }

    #[test]
    fn a_broken_line_costs_itself_and_names_its_number() {
        let long = "x".repeat(MAX_LINE_BYTES + 10);
        let text = format!(
            "{{\"uri\":\"http://h/a.png\",\"first_seen\":\"2024-05-04T09:00:51+00:00\",\"author\":{{\"x\":1}}}}\n\
             not json\n\n{{\"path\":\"b.png\"}}\n{{\"path\":\"c.png\",\"first_seen\":\"2024-05-04\"}}\n\
             {{\"uri\":7}}\n{{\"uri\":\"gs://b/k\"}}\n{{}}\n{long}\n{{\"path\":\"d\",\"digest\":\"xyz\"}}\n\
             {{\"path\":\"e\",\"uri\":\"f\"}}\n{{\"path\":\"/last.png\"}}"
        );
        let rows = rows(text.as_bytes(), Format::Ndjson);
        let bad: Vec<u64> =
            rows.iter().filter_map(|(n, row)| row.as_ref().err().map(|_| *n)).collect();
        assert_eq!(bad, [2, 5, 6, 7, 8, 9, 10, 11]);
        let good: Vec<_> =
            rows.iter().filter_map(|(n, row)| Some((*n, row.as_ref().ok()?))).collect();
        assert_eq!(good.len(), 3);
        assert_eq!(good[0].1.first_seen, Some("2024-05-04T09:00:51Z".parse().unwrap()));
        assert_eq!(
            good[1],
            (4, &Row { locator: file("/base/b.png"), first_seen: None, digest: None })
        );
        assert_eq!(good[2].1.locator, file("/last.png"));
    }

    #[test]
    fn csv_values_may_hold_commas_quotes_and_line_breaks() {
        let digest = Digest::of(b"");
        let text = format!(
            "\u{feff}Path , first_seen,digest\r\n\"a, \"\"b\"\".png\",,{digest}\r\n\"two\nlines.png\",2024-05-04T09:00:51Z,\n"
        );
        let rows = rows(text.as_bytes(), Format::Csv);
        assert_eq!(rows.len(), 2);
        let first = rows[0].1.as_ref().unwrap();
        assert_eq!(
            (first.locator.clone(), first.digest),
            (file("/base/a, \"b\".png"), Some(digest))
        );
        assert_eq!(rows[1].0, 3);
        assert_eq!(rows[1].1.as_ref().unwrap().locator, file("/base/two\nlines.png"));
    }

    #[test]
    fn a_quote_that_is_never_closed_costs_one_line() {
        let mut text = "uri\n\"http://h/open.png\n".to_owned();
        for n in 0..20 {
            text.push_str(&format!("http://h/{n}.png\n"));
        }
        let rows = rows(text.as_bytes(), Format::Csv);
        assert_eq!(rows.len(), 21);
        assert_eq!(rows.iter().filter(|(_, row)| row.is_err()).count(), 1);
        assert_eq!(rows[0].0, 2);
    }

    #[test]
    fn an_unquoted_comma_is_an_error_and_not_another_path() {
        let rows = rows(b"path,first_seen\na,b.png,\n", Format::Csv);
        assert!(rows[0].1.as_ref().unwrap_err().reason.contains("3 values"));
    }

    #[test]
    fn text_lines_are_paths_or_uris_and_keep_bytes_that_are_not_utf8() {
        let rows = rows(
            b"a\xff.png\r\n\nhttps://h/b.png\n name with spaces.png \n../up.png\n",
            Format::Text,
        );
        let path = PathBuf::from(OsStr::from_bytes(b"/base/a\xff.png"));
        assert_eq!(rows[0].1.as_ref().unwrap().locator, Locator::File(path));
        assert!(matches!(rows[1].1.as_ref().unwrap().locator, Locator::Url(_)));
        assert_eq!(rows[2].1.as_ref().unwrap().locator, file("/base/ name with spaces.png "));
        assert!(rows[3].1.is_err(), "/base does not exist, so '..' cannot be resolved");
    }

    #[test]
    fn the_format_of_a_nameless_list_is_guessed_from_its_first_line() {
        let guess = |text: &str| guess_format(&mut Lines::new(text.as_bytes())).unwrap();
        assert_eq!(guess("\n {\"uri\":1}"), Format::Ndjson);
        assert_eq!(guess("uri,first_seen\n"), Format::Csv);
        assert_eq!(guess("a,b.png\n"), Format::Text);
        assert_eq!(guess(""), Format::Text);
    }

    /// So many lines of which one in a hundred is broken, made while they are read.
    struct Many {
        next: u32,
        lines: u32,
        rest: Vec<u8>,
    }

    impl Read for Many {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            if self.rest.is_empty() && self.next < self.lines {
                self.rest = match self.next % 100 {
                    0 => b"{oops\n".to_vec(),
                    _ => format!("{{\"uri\":\"http://h/{}.png\"}}\n", self.next).into_bytes(),
                };
                self.next += 1;
            }
            let count = self.rest.len().min(buffer.len());
            buffer[..count].copy_from_slice(&self.rest[..count]);
            self.rest.drain(..count);
            Ok(count)
        }
    }

    #[test]
    fn of_a_million_lines_the_broken_ones_cost_only_themselves() {
        let many = Lines::new(Many { next: 0, lines: 1_000_000, rest: Vec::new() });
        let now = "2026-01-01T00:00:00Z".parse().unwrap();
        let (mut good, mut bad) = (0, 0);
        for (number, row) in Rows::new(many, Format::Ndjson, PathBuf::from("/"), now) {
            assert_eq!(row.is_err(), number % 100 == 1, "{number}");
            *(if row.is_ok() { &mut good } else { &mut bad }) += 1;
        }
        assert_eq!((good, bad), (990_000, 10_000));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_or_lose_count(bytes in proptest::collection::vec(0_u8.., 0..400)) {
            let lines = bytes.iter().filter(|byte| **byte == b'\n').count() as u64 + 1;
            for format in [Format::Ndjson, Format::Csv, Format::Text] {
                for (number, _) in rows(&bytes, format) {
                    proptest::prop_assert!(number >= 1 && number <= lines);
                }
            }
        }
    }
}
