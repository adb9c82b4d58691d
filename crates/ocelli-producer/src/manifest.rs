//! Lists of references: NDJSON, CSV and plain text, read line by line in bounded memory.
//!
//! A broken line is one error with its number; the lines after it are read as if it were not there. That includes a CSV
//! quote that is never closed: it costs its own line, not the rest of the file.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, Read};
use std::path::Path;
use std::sync::Arc;

use serde::Deserialize;

use crate::lines::{Line, Lines, MAX_LINE_BYTES, is_blank};
use crate::metadata::text;
use crate::row::{BadLine, Fields, KNOWN, Reading, Row};

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
    /// A table of columns, read by [`crate::table`].
    Parquet,
}

impl Format {
    /// By the end of the name; `None` when it says nothing.
    pub(crate) fn of_extension(path: &Path) -> Option<Self> {
        let extension = path.extension()?.to_str()?.to_ascii_lowercase();
        match extension.as_str() {
            "ndjson" | "jsonl" => Some(Self::Ndjson),
            "csv" => Some(Self::Csv),
            "txt" => Some(Self::Text),
            "parquet" => Some(Self::Parquet),
            _ => None,
        }
    }
}

/// The format of a list whose name says nothing.
pub(crate) fn guess_format<R: Read>(lines: &mut Lines<R>) -> io::Result<Format> {
    let Some(first) = lines.peek()? else { return Ok(Format::Text) };
    Ok(if first.number == 1 && first.bytes.starts_with(b"PAR1") {
        Format::Parquet
    } else if first.bytes.trim_ascii_start().starts_with(b"{") {
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
    /// Names of the others; empty where there is none.
    others: Vec<(usize, String)>,
}

impl Columns {
    fn of(line: &[u8]) -> Option<Self> {
        let record = csv_record(line)?;
        let names: Vec<String> =
            record.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned()).collect();
        let find = |wanted: &str| names.iter().position(|name| name.eq_ignore_ascii_case(wanted));
        let is_known = |name: &str| KNOWN.iter().any(|known| name.eq_ignore_ascii_case(known));
        let others = names.iter().enumerate().filter(|(_, name)| !is_known(name));
        let columns = Self {
            count: names.len(),
            uri: find("uri"),
            path: find("path"),
            first_seen: find("first_seen"),
            digest: find("digest"),
            others: others.map(|(place, name)| (place, name.clone())).collect(),
        };
        (columns.uri.is_some() || columns.path.is_some()).then_some(columns)
    }

    /// A name that two columns have: nobody could tell which of them counts.
    fn twice(&self) -> Option<&str> {
        let mut met = BTreeSet::new();
        let named = self.others.iter().map(|(_, name)| name.as_str());
        named.filter(|name| !name.is_empty()).find(|name| !met.insert(*name))
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

/// The rows of a list. Ends after an error of the reader, which is the last item.
pub(crate) struct Rows<R> {
    lines: Lines<R>,
    format: Format,
    columns: Option<Arc<Columns>>,
    reading: Reading,
    ended: bool,
}

impl<R: Read> Rows<R> {
    pub(crate) fn new(lines: Lines<R>, format: Format, reading: Reading) -> Self {
        Self { lines, format, columns: None, reading, ended: false }
    }

    fn row(&mut self, line: &Line) -> Result<Option<Row>, String> {
        if line.too_long {
            return Err(format!("the line is longer than {MAX_LINE_BYTES} bytes"));
        }
        match self.format {
            Format::Text => self.reading.bare(&line.bytes).map(Some),
            Format::Ndjson => self.json_row(&line.bytes).map(Some),
            Format::Csv => self.csv_row(line),
            Format::Parquet => Err("a Parquet file has no lines".to_owned()),
        }
    }

    fn json_row(&self, line: &[u8]) -> Result<Row, String> {
        #[derive(Deserialize)]
        struct Object {
            uri: Option<String>,
            path: Option<String>,
            first_seen: Option<String>,
            digest: Option<String>,
            #[serde(flatten)]
            others: BTreeMap<String, serde_json::Value>,
        }
        let fields: Object = serde_json::from_slice(line)
            .map_err(|error| format!("not a JSON object of a manifest: {error}"))?;
        let known = Fields {
            uri: fields.uri.as_deref().map(str::as_bytes),
            path: fields.path.as_deref().map(str::as_bytes),
            first_seen: fields.first_seen.as_deref(),
            digest: fields.digest.as_deref(),
        };
        let others = fields.others.into_iter();
        self.reading.row(known, others.filter_map(|(name, value)| Some((name, text(value)?))))
    }

    fn csv_row(&mut self, line: &Line) -> Result<Option<Row>, String> {
        let Some(columns) = self.columns.clone() else {
            let columns =
                Columns::of(&line.bytes).ok_or("the first line names no column 'uri' or 'path'")?;
            let twice = columns
                .twice()
                .map(|name| format!("two columns are named '{}'", crate::source::clip(name)));
            self.columns = Some(Arc::new(columns));
            return twice.map_or(Ok(None), Err);
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
        let fields = Fields {
            uri: field(columns.uri),
            path: field(columns.path),
            first_seen: text(columns.first_seen, "first_seen")?,
            digest: text(columns.digest, "digest")?,
        };
        let mut others = Vec::new();
        for (place, name) in &columns.others {
            let Some(value) = text(Some(*place), name)? else { continue };
            if name.is_empty() {
                return Err(format!("column {} has a value and no name", place + 1));
            }
            others.push((name.clone(), value.to_owned()));
        }
        self.reading.row(fields, others).map(Some)
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

#[cfg(test)]
mod tests;
