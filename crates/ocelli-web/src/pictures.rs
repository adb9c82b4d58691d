//! Images as the site shows them: thumbnails and views, decoded within limits and encoded again, made once.
//!
//! A browser never gets a foreign encoder's bytes as part of a page: what it shows is upright, of bounded size, and what
//! ocelli's own readers saw, so that word boxes stand where the words do. The bytes are the kept copy, or come from where the image
//! was seen, and count only when their digest is the record's.

mod shelf;
mod work;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ocelli_catalog::Catalog;
use ocelli_core::{Digest, ImageFormat, Record, chain};
use ocelli_media::{Encoding, Fetcher, Prepare, Sniff, sniff};
use tokio::sync::Semaphore;

use crate::failure::WebError;
use crate::options::WebOptions;
use shelf::Shelf;
use work::Work;

/// Images fetched at once: they wait for disks and networks, each holds up to `limits.image_bytes`.
const FETCHES: usize = 8;
/// Sources that are asked for one image: one that was seen in a thousand places is not looked for in all of them.
const SOURCES: usize = 5;
/// Pages that look at once whether their image can be shown.
const LOOKS: usize = 8;
/// How long such a page waits: a photograph takes a third of it.
const LOOK: Duration = Duration::from_millis(300);
/// How long an image that cannot be shown is not tried again.
const GONE_FOR: Duration = Duration::from_secs(30);
/// How many such images are remembered, with the reason, until one of them can be shown again.
const GONE_MOST: usize = 4096;
/// Requests for one image wait for each other here, so that it is made once.
const LANES: usize = 64;

/// In which size an image is shown.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Size {
    /// In a gallery.
    Thumb,
    /// On its own page.
    View,
}

impl Size {
    pub(crate) const ALL: [Self; 2] = [Self::Thumb, Self::View];

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Thumb => "thumb",
            Self::View => "view",
        }
    }

    /// The longest side in pixels, and the quality. A thumbnail is twice the size of its place, for dense screens.
    const fn how(self) -> Prepare {
        let (longest_side, quality) = match self {
            Self::Thumb => (480, 72),
            Self::View => (1800, 88),
        };
        Prepare { longest_side, encoding: Encoding::Jpeg { quality }, hash: false }
    }
}

/// Makes and keeps pictures. Clones share everything.
#[derive(Clone)]
pub(crate) struct Pictures(Arc<Inner>);

struct Inner {
    catalog: Catalog,
    fetcher: Fetcher,
    shelf: Shelf,
    work: Work,
    fetches: Semaphore,
    looks: Arc<Semaphore>,
    lanes: Vec<tokio::sync::Mutex<()>>,
    gone: Mutex<Vec<(Digest, Instant, String)>>,
}

impl Pictures {
    /// Pictures in the folder of the options; what is there already is used.
    pub(crate) fn open(catalog: Catalog, fetcher: Fetcher, options: &WebOptions) -> Self {
        Self(Arc::new(Inner {
            catalog,
            fetcher,
            shelf: Shelf::open(options.pictures.clone(), options.picture_bytes),
            work: Work::new(options),
            fetches: Semaphore::new(FETCHES),
            looks: Arc::new(Semaphore::new(LOOKS)),
            lanes: (0..LANES).map(|_| tokio::sync::Mutex::default()).collect(),
            gone: Mutex::default(),
        }))
    }

    /// A picture as JPEG.
    ///
    /// # Errors
    /// [`WebError::Missing`] with the reason, when there is no such image or it cannot be shown; [`WebError::Catalog`].
    pub(crate) async fn get(&self, digest: &Digest, size: Size) -> Result<Bytes, WebError> {
        if let Some(bytes) = self.0.shelf.get(*digest, size).await {
            return Ok(bytes);
        }
        let lane = usize::from(digest.as_bytes()[0]) % LANES;
        let _turn = self.0.lanes[lane].lock().await;
        // Whoever was here before may have made it.
        if let Some(bytes) = self.0.shelf.get(*digest, size).await {
            return Ok(bytes);
        }
        if let Some(reason) = self.known_gone(digest) {
            return Err(WebError::Missing(reason));
        }
        let made = self.make(digest, size).await;
        if let Err(WebError::Missing(reason)) = &made {
            self.note_gone(*digest, reason.clone());
        }
        made
    }

    /// Makes the view of an image that is near, and says why it cannot be shown, where that is known within a moment. Whoever
    /// asks for the picture next finds it.
    pub(crate) async fn look(&self, digest: &Digest) -> Option<String> {
        let place = Arc::clone(&self.0.looks).try_acquire_owned().ok()?;
        let (pictures, digest) = (self.clone(), *digest);
        let looking = tokio::spawn(async move {
            let _place = place;
            pictures.get(&digest, Size::View).await
        });
        match tokio::time::timeout(LOOK, looking).await {
            Ok(Ok(Err(WebError::Missing(reason)))) => Some(reason),
            _ => None,
        }
    }

    /// Why an image could not be shown when it was last tried.
    pub(crate) fn trouble(&self, digest: &Digest) -> Option<String> {
        let gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.iter().rev().find(|(one, _, _)| one == digest).map(|(_, _, reason)| reason.clone())
    }

    /// Whether this picture is there, so that it can be shown at once.
    pub(crate) fn has(&self, digest: &Digest, size: Size) -> bool {
        self.0.shelf.has(*digest, size)
    }

    async fn make(&self, digest: &Digest, size: Size) -> Result<Bytes, WebError> {
        let (bytes, _) = self.original(digest).await?;
        let made = self.0.work.prepare(bytes, size.how()).await;
        let made = made
            .map_err(|reason| WebError::Missing(format!("the image cannot be shown: {reason}")))?;
        self.0.shelf.put(*digest, size, made.clone()).await;
        self.forget_gone(digest);
        Ok(made)
    }

    /// The bytes as they were seen: the kept copy, or from the first source that still has them.
    ///
    /// # Errors
    /// As [`Self::get`].
    pub(crate) async fn original(&self, digest: &Digest) -> Result<(Bytes, ImageFormat), WebError> {
        let record = self.0.catalog.record(digest).await?;
        let record =
            record.ok_or_else(|| WebError::Missing("there is no such image".to_owned()))?;
        let _turn = self.0.fetches.acquire().await.map_err(|_| WebError::Defect)?;
        let mut reason = "it was seen nowhere".to_owned();
        // As workers do: only of such sources copies are kept, and for others a store in a bucket would be asked in vain.
        let mut sources = record.sightings.keys();
        let first = sources.any(|source| source.is_web() || source.member().is_some());
        if first && let Some(bytes) = self.kept(digest, &mut reason).await? {
            return of_image(bytes);
        }
        for source in latest(&record) {
            match self.0.fetcher.fetch(source).await {
                Ok(bytes) => match only(digest, bytes).await? {
                    Some(bytes) => return of_image(bytes),
                    None => reason = format!("{source}: there is another image now"),
                },
                Err(error) => reason = chain(&error),
            }
        }
        if !first && let Some(bytes) = self.kept(digest, &mut reason).await? {
            return of_image(bytes);
        }
        Err(WebError::Missing(format!("the image is gone: {reason}")))
    }

    /// The kept copy, if it is there and undamaged; else why not, where that is worth telling.
    async fn kept(&self, digest: &Digest, reason: &mut String) -> Result<Option<Bytes>, WebError> {
        match self.0.fetcher.kept(digest).await {
            Ok(Some(bytes)) => {
                let bytes = only(digest, bytes).await?;
                if bytes.is_none() {
                    "its kept copy is damaged".clone_into(reason);
                }
                return Ok(bytes);
            }
            Ok(None) => {}
            Err(error) => *reason = chain(&error),
        }
        Ok(None)
    }

    fn known_gone(&self, digest: &Digest) -> Option<String> {
        let gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        let known = gone.iter().rev().find(|(one, _, _)| one == digest)?;
        (known.1.elapsed() < GONE_FOR).then(|| known.2.clone())
    }

    fn note_gone(&self, digest: Digest, reason: String) {
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|(one, _, _)| *one != digest);
        if gone.len() >= GONE_MOST {
            gone.remove(0);
        }
        gone.push((digest, Instant::now(), reason));
    }

    fn forget_gone(&self, digest: &Digest) {
        let mut gone = self.0.gone.lock().unwrap_or_else(PoisonError::into_inner);
        gone.retain(|(one, _, _)| one != digest);
    }
}

/// The bytes, if they are those of this digest.
async fn only(digest: &Digest, bytes: Bytes) -> Result<Option<Bytes>, WebError> {
    let digest = *digest;
    let hashing =
        tokio::task::spawn_blocking(move || (Digest::of(&bytes) == digest).then_some(bytes));
    hashing.await.map_err(|_| WebError::Defect)
}

fn of_image(bytes: Bytes) -> Result<(Bytes, ImageFormat), WebError> {
    match sniff(&bytes) {
        Sniff::Image(format) => Ok((bytes, format)),
        _ => Err(WebError::Missing("the bytes are no image".to_owned())),
    }
}

/// The sources of a record, those seen last first: the likeliest to be still there.
fn latest(record: &Record) -> impl Iterator<Item = &ocelli_core::SourceUri> {
    let mut sightings: Vec<_> = record.sightings.values().collect();
    sightings.sort_by_key(|sighting| std::cmp::Reverse(sighting.seen_at));
    sightings.into_iter().take(SOURCES).map(|sighting| &sighting.source)
}
