//! Records in the order of their first sightings, read ahead of whoever writes them.

use std::collections::VecDeque;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::{Stream, StreamExt as _, stream};
use ocelli_catalog::Catalog;
use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Detail, Listed, Place};
use ocelli_core::{Analysis, Outcome, Record};
use tokio_util::task::AbortOnDropHandle;

use crate::{AT_ONCE, ExportError, LISTED};

/// Parts that are being read, or wait, while another one is written.
const AHEAD: usize = 6;
/// About what a part has in memory; the next ones have as many records as that takes, by what the last one took.
const PART_BYTES: usize = 2 * 1024 * 1024;
/// But no more than so many: after short ones there may come long ones.
const MOST_AT_ONCE: usize = 4 * AT_ONCE;

/// Places with their records; none where one went since it was listed.
pub(crate) type Part = Vec<(Place, Option<Record>)>;

/// What stands behind `after`, in parts. Reading happens on other threads than the caller's.
pub(crate) fn parts<'a>(
    catalog: &'a Catalog,
    query: &'a Query,
    detail: Detail,
    after: Option<Place>,
) -> impl Stream<Item = Result<Part, ExportError>> + Send + 'a {
    let length = Arc::new(AtomicUsize::new(AT_ONCE));
    let next = Arc::clone(&length);
    let listed = stream::try_unfold((after, VecDeque::new()), move |(mut after, mut listed)| {
        let next = Arc::clone(&next);
        async move {
            if listed.is_empty() {
                listed = VecDeque::from(catalog.places(query, after, LISTED).await?);
                after = listed.back().map(|last: &Listed| last.place);
            }
            let part: Vec<_> =
                listed.drain(..listed.len().min(next.load(Ordering::Relaxed))).collect();
            Ok::<_, ExportError>((!part.is_empty()).then_some((part, (after, listed))))
        }
    });
    listed.map(move |part| read(catalog.clone(), detail, part, Arc::clone(&length))).buffered(AHEAD)
}

async fn read(
    catalog: Catalog,
    detail: Detail,
    part: Result<Vec<Listed>, ExportError>,
    length: Arc<AtomicUsize>,
) -> Result<Part, ExportError> {
    let part = part?;
    let reading = tokio::spawn(async move {
        let mut records = catalog.listed_records(&part, detail).await?;
        let bytes: usize = records.values().map(bytes).sum();
        let fitting = PART_BYTES * records.len() / bytes.max(1);
        length.store(fitting.clamp(1, MOST_AT_ONCE), Ordering::Relaxed);
        let places = part.into_iter().map(|listed| listed.place);
        Ok(places.map(|place| (place, records.remove(&place.digest))).collect())
    });
    match AbortOnDropHandle::new(reading).await {
        Ok(read) => read,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(error) => Err(ExportError::Stream { source: std::io::Error::other(error) }),
    }
}

/// About what a record takes in memory, by what can be long.
fn bytes(record: &Record) -> usize {
    let of = |analysis: &Analysis| match &analysis.outcome {
        Outcome::Done(reading) => {
            let sections = reading.sections.iter().map(|section| section.text.len());
            reading.text.len() + reading.words.len() * 128 + sections.sum::<usize>()
        }
        Outcome::Empty | Outcome::Skipped { .. } | Outcome::Failed { .. } => 0,
    };
    let seen = record.sightings.len() * 256;
    2_048 + seen + record.answers().map(of).sum::<usize>()
}
