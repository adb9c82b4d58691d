//! What the catalog remembers of references, put to them before anything is read: files and objects that look as they did, URLs whose
//! digest a list says, URLs whose servers gave something to know them by.
//!
//! All of it is memory and no truth: what is remembered is believed only where the catalog has the image and its sighting at that place.

use std::sync::Arc;

use ocelli_catalog::{Catalog, CatalogError, RememberedUrl, SeenImage};
use ocelli_core::{Digest, SourceUri, chain};
use ocelli_media::Validators;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use crate::ProducerOptions;
use crate::listing::{Listed, Reference};
use crate::unchanged::stamps;

/// The stage between lister and readers: what is remembered of files is put to their references, many at once. A catalog that does
/// not answer costs reading.
pub(crate) async fn remember_all(
    catalog: Catalog,
    options: Arc<ProducerOptions>,
    mut listed: mpsc::Receiver<Listed>,
    looked_up: mpsc::Sender<Listed>,
    stop: CancellationToken,
) {
    let mut items = Vec::new();
    loop {
        let received = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            received = listed.recv_many(&mut items, options.lookup_batch) => received,
        };
        if received == 0 {
            return;
        }
        let looking = look_up(&catalog, &options, &mut items);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            () = looking => {}
        }
        for item in items.drain(..) {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                sent = looked_up.send(item) => if sent.is_err() { return },
            }
        }
    }
}

async fn look_up(catalog: &Catalog, options: &ProducerOptions, items: &mut [Listed]) {
    let (mut files, mut listed, mut urls) = (Vec::new(), Vec::new(), Vec::new());
    for item in items {
        let Listed::Reference(one) = item else { continue };
        if one.path.is_some() || one.stamp.is_some() {
            files.push(&mut **one);
        } else if one.source.is_web() {
            match one.digest.filter(|_| options.trusts()) {
                Some(digest) => listed.push((&mut **one, digest)),
                None => urls.push(&mut **one),
            }
        }
    }
    let asked = async {
        of_files(catalog, options.readers, files).await?;
        of_listed(catalog, listed).await?;
        of_urls(catalog, urls).await
    };
    if let Err(error) = asked.await {
        tracing::warn!(reason = %chain(&error), "references are read, known or not");
    }
}

async fn of_files(
    catalog: &Catalog,
    readers: usize,
    files: Vec<&mut Reference>,
) -> Result<(), CatalogError> {
    if files.is_empty() {
        return Ok(());
    }
    let sources: Vec<SourceUri> = files.iter().map(|one| one.source.clone()).collect();
    let mut remembered = catalog.remembered_files(&sources).await?.into_iter();
    // What a file looks like is asked only where there is something to compare it with.
    let mut found = Vec::new();
    for file in files {
        if let Some(one) = remembered.next().flatten()
            && is_expected(file, &one.image.digest)
        {
            found.push((file, one));
        }
    }
    let paths = found.iter().filter(|(one, _)| one.stamp.is_none());
    let paths = paths.filter_map(|(one, _)| one.path.clone()).collect();
    let mut looks = stamps(paths, readers).await.into_iter();
    for (reference, one) in found {
        // What could not be looked at is read, and says why it cannot be.
        let stamp = reference.stamp.or_else(|| looks.next().flatten());
        if Some(one.stamp) == stamp {
            reference.known = Some(SeenImage { image: one.image, refusal: one.refusal });
        }
    }
    Ok(())
}

/// URLs with digests: an image that was seen there before is nothing new.
async fn of_listed(
    catalog: &Catalog,
    listed: Vec<(&mut Reference, Digest)>,
) -> Result<(), CatalogError> {
    let places: Vec<_> = listed.iter().map(|(one, digest)| (one.source.clone(), *digest)).collect();
    let seen = catalog.seen_images(&places).await?;
    for ((reference, _), seen) in listed.into_iter().zip(seen) {
        reference.known = seen;
    }
    Ok(())
}

async fn of_urls(catalog: &Catalog, urls: Vec<&mut Reference>) -> Result<(), CatalogError> {
    let sources: Vec<SourceUri> = urls.iter().map(|one| one.source.clone()).collect();
    let remembered = catalog.remembered_urls(&sources).await?;
    for (reference, remembered) in urls.into_iter().zip(remembered) {
        if let Some(RememberedUrl { etag, modified, seen }) = remembered
            && is_expected(reference, &seen.image.digest)
            // What it is came with no message yet: rules would not know it.
            && !seen.image.is_unread()
        {
            reference.conditions = Some((Validators { etag, modified }, seen));
        }
    }
    Ok(())
}

/// Whether it has the digest that a list says.
fn is_expected(reference: &Reference, found: &Digest) -> bool {
    reference.digest.is_none_or(|digest| digest == *found)
}
