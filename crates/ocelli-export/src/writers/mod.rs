//! One file in the making, for each format.

mod csv;
mod parquet;
mod tar;

use std::io::{self, Write as _};

use ocelli_catalog::search::Detail;
use ocelli_core::Record;
use serde::{Deserialize, Serialize};

use crate::document::Document;
use crate::hashed::Hashed;
use crate::{Options, Parts};

/// How records are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// One JSON object a line, with everything there is.
    Jsonl,
    /// One line for each answer.
    Csv,
    /// The same columns, typed and compressed.
    Parquet,
    /// Tar files whose members are named by digest: `.json` and `.txt`.
    Webdataset,
    /// As people read a record.
    Text,
    /// Tar files with one hOCR document for each reading of words.
    Hocr,
}

impl Format {
    /// As it is typed.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Webdataset => "webdataset",
            Self::Text => "text",
            Self::Hocr => "hocr",
        }
    }

    /// How its files end.
    #[must_use]
    pub const fn ending(self) -> &'static str {
        match self {
            Self::Jsonl => "jsonl",
            Self::Csv => "csv",
            Self::Parquet => "parquet",
            Self::Webdataset | Self::Hocr => "tar",
            Self::Text => "txt",
        }
    }

    /// What it shows of an answer.
    pub(crate) const fn detail(self) -> Detail {
        match self {
            Self::Csv | Self::Parquet => Detail::Outline,
            Self::Jsonl | Self::Webdataset | Self::Text | Self::Hocr => Detail::Whole,
        }
    }

    /// Whether it can be a stream to a terminal or a pipe.
    #[must_use]
    pub const fn is_lines(self) -> bool {
        matches!(self, Self::Jsonl | Self::Csv | Self::Text)
    }
}

enum Kind {
    Lines(Hashed),
    Csv(Box<csv::Table>),
    Parquet(Box<parquet::Columns>),
    Tar(tar::Archive),
}

/// A file in the making.
pub(crate) struct Body {
    kind: Kind,
    records: u64,
    rows: u64,
}

impl Body {
    pub(crate) fn begin(options: &Options, out: Hashed) -> io::Result<Self> {
        let kind = match options.format {
            Format::Jsonl | Format::Text => Kind::Lines(out),
            Format::Csv => Kind::Csv(Box::new(csv::Table::begin(out)?)),
            Format::Parquet => Kind::Parquet(Box::new(parquet::Columns::begin(out)?)),
            Format::Webdataset | Format::Hocr => Kind::Tar(tar::Archive::begin(out)),
        };
        Ok(Self { kind, records: 0, rows: 0 })
    }

    pub(crate) fn add(&mut self, options: &Options, record: &Record) -> io::Result<()> {
        self.records += 1;
        self.rows += match &mut self.kind {
            Kind::Lines(out) if options.format == Format::Text => {
                writeln!(out, "== {}\n{}", record.image.digest, (options.text)(record).trim_end())?;
                1
            }
            Kind::Lines(out) => {
                serde_json::to_writer(&mut *out, &Document::of(record, options.older))?;
                out.write_all(b"\n")?;
                1
            }
            Kind::Csv(table) => table.add(record, options.older)?,
            Kind::Parquet(columns) => columns.add(record, options.older)?,
            Kind::Tar(archive) => {
                let parts = parts(options, record)?;
                let count = parts.len() as u64;
                for (ending, text) in parts {
                    archive.add(&format!("{}.{ending}", record.image.digest), text.as_bytes())?;
                }
                count
            }
        };
        Ok(())
    }

    /// Bytes that it will have, about.
    pub(crate) fn size(&self) -> u64 {
        match &self.kind {
            Kind::Lines(out) => out.bytes(),
            Kind::Csv(table) => table.size(),
            Kind::Parquet(columns) => columns.size(),
            Kind::Tar(archive) => archive.size(),
        }
    }

    /// Records and rows.
    pub(crate) const fn counts(&self) -> (u64, u64) {
        (self.records, self.rows)
    }

    pub(crate) fn finish(self) -> io::Result<Hashed> {
        match self.kind {
            Kind::Lines(out) => Ok(out),
            Kind::Csv(table) => table.finish(),
            Kind::Parquet(columns) => columns.finish(),
            Kind::Tar(archive) => archive.finish(),
        }
    }
}

/// The members of one record in a tar file.
fn parts(options: &Options, record: &Record) -> io::Result<Parts> {
    if options.format == Format::Hocr {
        return Ok((options.hocr)(record));
    }
    let json = serde_json::to_string(&Document::of(record, options.older))?;
    Ok(vec![("json".to_owned(), json), ("txt".to_owned(), (options.text)(record))])
}
