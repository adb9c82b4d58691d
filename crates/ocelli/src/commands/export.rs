//! `ocelli export`: records as files that other programs read, in a folder, in a bucket or on standard output.

mod bucket;

use std::path::{Path, PathBuf};

use clap::ValueEnum;
use ocelli_catalog::search::Place;
use ocelli_core::object::Object;
use ocelli_core::{AnalyzerName, Reading, Record, SourceUri};
use ocelli_export::{ExportError, Exported, Options, Parts, Target};
use ocelli_runtime::{ExitCode, Settings, shutdown};
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::arguments::ExportArgs;
use crate::commands::search::parse;
use crate::formats::{Document, hocr};
use crate::{archive, layout, output};

/// Layouts, as they are typed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Layout {
    /// One JSON object a line, with everything there is.
    Jsonl,
    /// One line for each answer.
    Csv,
    /// The same columns, typed and compressed.
    Parquet,
    /// Tar files with a .json and a .txt for each record, named by digest.
    Webdataset,
    /// As 'ocelli show' prints a record.
    Text,
    /// Tar files with an hOCR document for each reading of words.
    Hocr,
}

impl From<Layout> for ocelli_export::Format {
    fn from(layout: Layout) -> Self {
        match layout {
            Layout::Jsonl => Self::Jsonl,
            Layout::Csv => Self::Csv,
            Layout::Parquet => Self::Parquet,
            Layout::Webdataset => Self::Webdataset,
            Layout::Text => Self::Text,
            Layout::Hocr => Self::Hocr,
        }
    }
}

pub(crate) async fn export(settings: &Settings, arguments: &ExportArgs) -> Result<ExitCode, Fault> {
    let query = parse(settings, &arguments.query)?;
    let since: Option<Place> =
        arguments.since.as_deref().map(str::parse).transpose().map_err(|error| usage(&error))?;
    let catalog = archive::open(settings).await?;
    let options = Options {
        format: arguments.format.into(),
        query,
        older: arguments.all_revisions,
        file_bytes: arguments.file_size.max(1),
        text: text(archive::order(settings), arguments.all_revisions),
        hocr: Box::new(pages),
    };
    let stop = shutdown::token().map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
    let done = match &arguments.out {
        Some(out) => {
            let mut target = match Out::parse(out)? {
                Out::Folder(folder) => Target::folder(&folder, &options, since),
                Out::Prefix(prefix) => {
                    let objects = bucket::Bucket::open(settings, &prefix, options.file_bytes)?;
                    Target::objects(Box::new(objects), &options, since).await
                }
            }
            .map_err(fault)?;
            if let Some(left) = target.left() {
                eprintln!("warning: {left}");
            }
            let done = ocelli_export::export(&catalog, &options, &mut target, &stop).await;
            let done = done.map_err(fault)?;
            say(&target, &done, out, arguments.json)?;
            done
        }
        None if options.format.is_lines() => {
            let out = std::io::stdout();
            let done = ocelli_export::stream(&catalog, &options, since, out, &stop).await;
            match done {
                // A reader that goes away (`ocelli export | head`) ends the program quietly.
                Err(ExportError::Stream { source })
                    if source.kind() == std::io::ErrorKind::BrokenPipe =>
                {
                    return Ok(ExitCode::Ok);
                }
                done => {
                    let done = done.map_err(fault)?;
                    let cursor = done.cursor.map_or_else(String::new, |place| {
                        format!("; what comes later: --since {place}")
                    });
                    eprintln!("{} records{cursor}", done.records);
                    done
                }
            }
        }
        None => {
            let name = options.format.name();
            return Err(usage(&format!("{name} is files: name a folder or a bucket with --out")));
        }
    };
    catalog.close().await;
    Ok(if done.complete {
        ExitCode::Ok
    } else {
        eprintln!("interrupted: the same command goes on behind the last whole file");
        ExitCode::Interrupted
    })
}

/// What `--out` names.
enum Out {
    Folder(PathBuf),
    Prefix(Object),
}

impl Out {
    fn parse(out: &Path) -> Result<Self, Fault> {
        let Some(text) = out.to_str().filter(|text| text.contains("://")) else {
            return Ok(Self::Folder(out.to_owned()));
        };
        let uri: Result<SourceUri, _> = text.parse();
        let uri = uri.map_err(|error| usage(&error))?;
        match (uri.object(), uri.path()) {
            (Some(object), _) => Ok(Self::Prefix(object)),
            (None, Some(path)) => Ok(Self::Folder(path)),
            (None, None) => Err(usage(&format!(
                "'{text}' is no place for files: name a folder, or s3://bucket/prefix/"
            ))),
        }
    }
}

fn say(target: &Target, done: &Exported, out: &Path, json: bool) -> Result<(), Fault> {
    #[derive(Serialize)]
    struct Report<'a> {
        records: u64,
        records_in_all: u64,
        rows_in_all: u64,
        files: usize,
        complete: bool,
        cursor: Option<&'a str>,
    }
    let manifest = target.manifest();
    if json {
        return output::json(&Report {
            records: done.records,
            records_in_all: manifest.records,
            rows_in_all: manifest.rows,
            files: manifest.files.len(),
            complete: done.complete,
            cursor: manifest.cursor.as_deref(),
        });
    }
    let before = if target.found() > 0 {
        format!(" to {} that were there", target.found())
    } else {
        String::new()
    };
    eprintln!(
        "{} records{before}; {} records in {} files, listed in {}",
        done.records,
        manifest.records,
        manifest.files.len(),
        out.join("manifest.json").display()
    );
    Ok(())
}

/// A record as `ocelli show` prints it.
fn text(order: Vec<AnalyzerName>, older: bool) -> Box<dyn Fn(&Record) -> String + Send + Sync> {
    Box::new(move |record| {
        if older { crate::revisions::all(record, &order) } else { layout::text(record, &order) }
    })
}

/// Its words with boxes: what each analyzer read that reads words.
fn pages(record: &Record) -> Parts {
    let source = record.sightings.keys().next().map(ToString::to_string).unwrap_or_default();
    let nothing = Reading::default();
    let mut parts = Parts::new();
    for (name, _) in record.analyses.keys() {
        if parts.iter().any(|(ending, _)| *ending == ending_of(name)) {
            continue;
        }
        let Some(analysis) = record.current(name) else { continue };
        let is_empty = analysis.outcome.kind() == ocelli_core::OutcomeKind::Empty;
        let document =
            Document::of(&record.image, &source, analysis, &nothing).filter(|_| !is_empty);
        parts.extend(document.map(|document| (ending_of(name), hocr(&document))));
    }
    parts
}

fn ending_of(name: &AnalyzerName) -> String {
    format!("{name}.hocr")
}

/// `64MiB`, `500MB`, `1GB`, or bytes.
pub(crate) fn parse_size(text: &str) -> Result<u64, String> {
    const UNITS: [(&str, u64); 7] = [
        ("KiB", 1 << 10),
        ("MiB", 1 << 20),
        ("GiB", 1 << 30),
        ("KB", 1_000),
        ("MB", 1_000_000),
        ("GB", 1_000_000_000),
        ("", 1),
    ];
    let wrong = || format!("'{text}' is no size; one is 256MB, another 64MiB");
    let (digits, unit) = UNITS
        .iter()
        .find_map(|(name, unit)| Some((text.strip_suffix(name)?.trim(), *unit)))
        .ok_or_else(wrong)?;
    let number: u64 = digits.parse().map_err(|_| wrong())?;
    number.checked_mul(unit).filter(|bytes| *bytes > 0).ok_or_else(wrong)
}

fn fault(error: ExportError) -> Fault {
    let code = match &error {
        ExportError::Folder { .. } | ExportError::Prefix { .. } | ExportError::Another { .. } => {
            ExitCode::Usage
        }
        ExportError::Objects(error) if error.settings => ExitCode::Usage,
        _ => ExitCode::ServiceAway,
    };
    if error.is_full() {
        let hint = "hint: there is no room left; make some, or export to another place";
        return Fault::new(code, format!("{}\n{hint}", ocelli_core::chain(&error)));
    }
    Fault::caused(code, &error)
}

fn usage(error: &dyn std::fmt::Display) -> Fault {
    Fault::new(ExitCode::Usage, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::parse_size;

    #[test]
    fn sizes_have_units() {
        assert_eq!(parse_size("500"), Ok(500));
        assert_eq!(parse_size("64MiB"), Ok(64 << 20));
        assert_eq!(parse_size("1 GB"), Ok(1_000_000_000));
        for text in ["", "MB", "-1", "1.5GB", "0", "99999999999GB", "5 apples"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
    }
}
