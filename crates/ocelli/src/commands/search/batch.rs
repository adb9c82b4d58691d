//! `ocelli search --queries`: a file of queries in, all their hits out.

use std::io::{Read, Write as _};
use std::path::Path;

use ocelli_catalog::CatalogError;
use ocelli_export::ExportError;
use ocelli_export::hits::{Hits, Table as Layout, read};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};

use super::arguments::{SearchArgs, Table};
use super::{NOTHING, usage};
use crate::archive;

/// Queries of one file.
const MOST_QUERIES: usize = 100_000;
/// Hits of one query, unless something else is asked for.
const LIMIT: u32 = 1_000;

pub(super) async fn batch(
    settings: &Settings,
    arguments: &SearchArgs,
    file: &Path,
) -> Result<ExitCode, Fault> {
    let (name, from): (String, Box<dyn Read>) = if file == Path::new("-") {
        ("standard input".to_owned(), Box::new(std::io::stdin().lock()))
    } else {
        let name = file.display().to_string();
        let open = std::fs::File::open(file)
            .map_err(|error| usage(&format!("the queries in '{name}' cannot be read: {error}")))?;
        (name, Box::new(open))
    };
    let queries = read(from, &name, &parts::query_limits(settings), MOST_QUERIES)
        .map_err(|error| usage(&error))?;
    let catalog = archive::open(settings).await?;
    let layout = match arguments.format {
        Table::Csv => Layout::Csv,
        Table::Ndjson => Layout::Ndjson,
    };
    let most = arguments.limit.unwrap_or(LIMIT);
    let mut hits = Hits::of(queries, arguments.sort.into(), most, layout, false);
    let mut out = std::io::stdout();
    while let Some(piece) = hits.next(&catalog).await.map_err(fault)? {
        if let Err(error) = out.write_all(&piece.bytes).and_then(|()| out.flush()) {
            // A reader that went away has what it wanted.
            return if error.kind() == std::io::ErrorKind::BrokenPipe {
                Ok(ExitCode::Ok)
            } else {
                let said = format!("cannot write to standard output: {error}");
                Err(Fault::new(ExitCode::Internal, said))
            };
        }
        if let Some(cut) = piece.cut {
            let count = if cut.total.more { "more than " } else { "" };
            eprintln!(
                "'{}': {most} of {count}{} records printed; --limit sets how many",
                cut.query, cut.total.records
            );
        }
    }
    catalog.close().await;
    eprintln!("{} records; {} queries found nothing", hits.records, hits.without);
    Ok(if hits.records == 0 { NOTHING } else { ExitCode::Ok })
}

fn fault(error: ExportError) -> Fault {
    match error {
        ExportError::Catalog(CatalogError::Query(error)) => usage(&error),
        ExportError::Catalog(error) => error.into(),
        other => Fault::caused(ExitCode::Internal, &other),
    }
}
