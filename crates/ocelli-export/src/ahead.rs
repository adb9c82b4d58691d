//! Records in the order of their first sightings, read ahead of whoever writes them.

use std::panic::resume_unwind;

use futures_util::{Stream, StreamExt as _, TryStreamExt as _, stream};
use ocelli_catalog::Catalog;
use ocelli_catalog::query::Query;
use ocelli_catalog::search::Place;
use ocelli_core::Record;
use tokio_util::task::AbortOnDropHandle;

use crate::{AT_ONCE, ExportError, LISTED};

/// Parts that are being read, or wait, while another one is written.
const AHEAD: usize = 3;

/// Places with their records; none where one went since it was listed.
pub(crate) type Part = Vec<(Place, Option<Record>)>;

/// What stands behind `after`, in parts of [`AT_ONCE`] records. Reading happens on other threads than the caller's.
pub(crate) fn parts<'a>(
    catalog: &'a Catalog,
    query: &'a Query,
    after: Option<Place>,
) -> impl Stream<Item = Result<Part, ExportError>> + Send + 'a {
    let pages = stream::try_unfold(after, move |after| async move {
        let page = catalog.places(query, after, LISTED).await?;
        Ok::<_, ExportError>(page.last().copied().map(|last| (page, Some(last))))
    });
    let listed = pages.map_ok(|page| {
        let parts: Vec<_> = page.chunks(AT_ONCE).map(<[_]>::to_vec).collect();
        stream::iter(parts).map(Ok)
    });
    listed.try_flatten().map(|part| read(catalog.clone(), part)).buffered(AHEAD)
}

async fn read(
    catalog: Catalog,
    part: Result<Vec<Place>, ExportError>,
) -> Result<Part, ExportError> {
    let part = part?;
    let reading = tokio::spawn(async move {
        let digests: Vec<_> = part.iter().map(|place| place.digest).collect();
        let mut records = catalog.records(&digests).await?;
        Ok(part.into_iter().map(|place| (place, records.remove(&place.digest))).collect())
    });
    match AbortOnDropHandle::new(reading).await {
        Ok(read) => read,
        Err(error) if error.is_panic() => resume_unwind(error.into_panic()),
        Err(error) => Err(ExportError::Stream { source: std::io::Error::other(error) }),
    }
}
