//! Exports: records of an archive as files that other programs read, without a limit on their number.
//!
//! [`export`] goes through the archive page by page, in the order of first sightings, so its memory does not grow with it. Files
//! are rolled by size. A file is written under a name that ends in `.partial`, and gets its own name when it is whole and on
//! disk; then the manifest is replaced by one that lists it. So whatever is killed and whenever, a file that the manifest lists is
//! whole, and the same command goes on behind the last of them. `docs/EXPORT.md` describes the schema.
//!
//! | module | room for |
//! |---|---|
//! | this | what is asked for; [`export`] |
//! | `target` | where it goes: either of the two below |
//! | `folder` | files under their partial names |
//! | [`objects`] | objects of a bucket, in parts; what the program lends for that |
//! | `ledger` | the manifest, going on |
//! | `ahead` | records, read while others are written |
//! | `hashed` | a file that knows its size and checksum |
//! | `document` | a record as one JSON object |
//! | `row` | a record as rows of a table: the columns of CSV and Parquet |
//! | `writers` | one file for each format |
//! | `lines`, `buffer` | one stream of lines, piece by piece |
//! | [`layout`], [`agreements`] | a record as people read it |
//! | [`formats`] | its words with their boxes: hOCR, ALTO, TSV |
//! | [`hits`] | many queries in, the lines of all their hits out |
//!
//! In a bucket the same holds of objects, which appear when they are whole.
//!
//! Absent on purpose: the bytes of images, which an archive does not hold; protocols of buckets, which the program lends.

pub mod agreements;
mod ahead;
mod buffer;
mod document;
mod error;
mod folder;
pub mod formats;
mod hashed;
pub mod hits;
pub mod layout;
mod ledger;
mod lines;
pub mod objects;
mod row;
mod target;
mod writers;

use std::pin::pin;

use async_recursion::async_recursion;
use futures_util::StreamExt as _;
use ocelli_catalog::Catalog;
use ocelli_catalog::query::Query;
use ocelli_catalog::search::Place;
use ocelli_core::Record;
use tokio_util::sync::CancellationToken;

pub use document::{SCHEMA, document};
pub use error::ExportError;
pub use ledger::{FileEntry, Manifest, Unfinished};
pub use lines::Lines;
pub use target::Target;
use writers::Body;
pub use writers::Format;

/// Keys that are listed together.
const LISTED: u32 = 1_024;

/// Records of one part, as long as nothing is known of their length. One with the longest answers has tens of megabytes, and of an
/// export a few parts are in memory.
const AT_ONCE: usize = 32;

/// Names and texts of the files that an archive of files has for one record.
pub type Parts = Vec<(String, String)>;

/// What is exported, and how.
pub struct Options {
    /// The layout.
    pub format: Format,
    /// Which records.
    pub query: Query,
    /// Whether answers of older revisions are in it.
    pub older: bool,
    /// A file that has reached this size is closed.
    pub file_bytes: u64,
    /// A record as text for people.
    pub text: Box<dyn Fn(&Record) -> String + Send + Sync>,
    /// Its words with boxes, one part for each analyzer that read some.
    pub hocr: Box<dyn Fn(&Record) -> Parts + Send + Sync>,
}

/// What an export did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Exported {
    /// Records in this run.
    pub records: u64,
    /// Behind its last record.
    pub cursor: Option<Place>,
    /// Whether the end was reached; else it was interrupted.
    pub complete: bool,
}

/// Exports into a folder or a bucket, behind what is there already.
///
/// # Errors
/// When the catalog does not answer or the target does not take it. What the manifest lists stays, and the same call goes on there.
#[async_recursion]
pub async fn export(
    catalog: &Catalog,
    options: &Options,
    target: &mut Target,
    stop: &CancellationToken,
) -> Result<Exported, ExportError> {
    let complete = if target.stops_at_once() {
        // A bucket may be slow: whoever stops does not wait for it.
        stop.run_until_cancelled(fill(catalog, options, target, stop)).await.unwrap_or(Ok(false))
    } else {
        fill(catalog, options, target, stop).await
    };
    if !matches!(complete, Ok(true)) {
        target.give_up().await;
    }
    let complete = complete?;
    let records = target.manifest().records - target.found();
    Ok(Exported { records, cursor: target.cursor(), complete })
}

/// Whether the end was reached.
async fn fill(
    catalog: &Catalog,
    options: &Options,
    target: &mut Target,
    stop: &CancellationToken,
) -> Result<bool, ExportError> {
    let mut after = target.cursor();
    let mut open: Option<Body> = None;
    let mut parts = pin!(ahead::parts(catalog, &options.query, options.format.detail(), after));
    let complete = loop {
        let Some(next) = stop.run_until_cancelled(parts.next()).await else { break false };
        let Some(part) = next.transpose()? else { break true };
        for (place, record) in part {
            after = Some(place);
            let Some(record) = record else { continue };
            let body = match &mut open {
                Some(body) => body,
                None => open.insert(target.begin(options)?),
            };
            let added = body.add(options, &record);
            let is_whole = body.size() >= options.file_bytes;
            target.written(added).await?;
            if is_whole {
                let whole = open.take();
                target.close(whole, place).await?;
            }
        }
    };
    if let Some(place) = after {
        target.close(open, place).await?;
    }
    if complete {
        target.complete().await?;
    }
    Ok(complete)
}

/// Exports to a writer instead: one stream without a manifest. Only for formats that are lines.
///
/// # Errors
/// When the catalog does not answer or the writer does not take it.
#[async_recursion]
pub async fn stream(
    catalog: &Catalog,
    options: &Options,
    since: Option<Place>,
    mut out: impl std::io::Write + Send + 'static,
    stop: &CancellationToken,
) -> Result<Exported, ExportError> {
    let unwritten = |source| ExportError::Stream { source };
    let mut lines = Lines::begin(options, since, None)?;
    while !stop.is_cancelled() {
        let Some(piece) = lines.next(catalog, options).await? else { break };
        out.write_all(&piece).map_err(unwritten)?;
    }
    let rest = lines.finish()?;
    out.write_all(&rest.0).and_then(|()| out.flush()).map_err(unwritten)?;
    Ok(rest.1)
}
