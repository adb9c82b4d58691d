//! The stage between lister and decision: reads many references at once, within the widths of the options.
//!
//! A task keeps its permit until the next stage has taken its result, so a slow broker or catalog slows the reading,
//! and memory stays bounded.

use std::sync::Arc;

use jiff::Timestamp;
use ocelli_broker::trace;
use ocelli_catalog::{FileStamp, NotedFile, NotedUrl, SeenImage};
use ocelli_core::trace::TraceContext;
use ocelli_core::wire::Told;
use ocelli_core::{ImageFacts, SourceUri};
use ocelli_media::Validators;
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::ProducerOptions;
use crate::examine::{NO_IMAGE, Verdict};
use crate::listing::{Listed, Reference};
use crate::read::{Looked, Reader, name};
use crate::source::shown;
use crate::tally::Tally;

/// A reference after its bytes were looked at.
#[derive(Debug)]
pub(crate) struct Loaded {
    /// As people write it.
    pub(crate) name: String,
    /// `None` when there was nothing to look at.
    pub(crate) seen: Option<(SourceUri, Timestamp)>,
    pub(crate) verdict: Verdict,
    pub(crate) file: FileNews,
    /// What a list says about it.
    pub(crate) told: Told,
    /// Its way through the system, which begins here.
    pub(crate) context: TraceContext,
}

impl Loaded {
    /// What the catalog should remember of a file that was read.
    pub(crate) fn noted_file(&self) -> Option<NotedFile> {
        match (&self.verdict, &self.seen, &self.file) {
            (Verdict::Image { facts, .. }, Some((source, _)), FileNews::Read(stamp)) => {
                Some(NotedFile { source: source.clone(), digest: facts.digest, stamp: *stamp })
            }
            _ => None,
        }
    }

    /// And of a URL that was fetched.
    pub(crate) fn noted_url(&self) -> Option<NotedUrl> {
        match (&self.verdict, &self.seen, &self.file) {
            (Verdict::Image { facts, .. }, Some((source, _)), FileNews::Fetched(validators)) => {
                let Validators { etag, modified } = validators.clone();
                Some(NotedUrl { source: source.clone(), digest: facts.digest, etag, modified })
            }
            _ => None,
        }
    }
}

/// What a run learned about the file of an image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum FileNews {
    /// Nothing to remember.
    None,
    /// It was read, and this may be remembered.
    Read(FileStamp),
    /// It was fetched, and its server knows it again by these.
    Fetched(Validators),
    /// It is as it was, and so is everything that is known of it.
    Unchanged,
    /// It is as it was, and something else is told about it.
    Told,
}

/// An image that need not be read: it is as it was.
fn unread(mut reference: Reference, known: SeenImage) -> Loaded {
    let SeenImage { image, refusal } = known;
    Loaded {
        name: name(&reference),
        file: if reference.is_news() { FileNews::Told } else { FileNews::Unchanged },
        verdict: Verdict::Image { facts: image, refusal, hash: None },
        told: reference.told(),
        seen: Some((reference.source, reference.seen_at)),
        context: trace::begin(),
    }
}

/// The image at a URL whose list says its digest, where that is enough: nothing goes to the network here. Whoever reads it first, by
/// then with the manners that its host may expect, compares.
fn trusted(options: &ProducerOptions, reference: &mut Reference) -> Option<Loaded> {
    let digest = reference.digest.filter(|_| options.trusts() && reference.source.is_web())?;
    Some(Loaded {
        name: name(reference),
        file: FileNews::None,
        verdict: Verdict::Image { facts: ImageFacts::unread(digest), refusal: None, hash: None },
        told: reference.told(),
        seen: Some((reference.source.clone(), reference.seen_at)),
        context: trace::begin(),
    })
}

/// Reads what is listed until the lister ends or `stop` is cancelled.
pub(crate) async fn read_all(
    reader: Arc<Reader>,
    options: Arc<ProducerOptions>,
    tally: Tally,
    mut listed: mpsc::Receiver<Listed>,
    loaded: mpsc::Sender<Loaded>,
    stop: CancellationToken,
) {
    let files = Arc::new(Semaphore::new(options.readers));
    let urls = Arc::new(Semaphore::new(options.fetchers));
    loop {
        let next = tokio::select! {
            biased;
            () = stop.cancelled() => return,
            next = listed.recv() => next,
        };
        let nothing = |name, verdict| Loaded {
            name,
            seen: None,
            verdict,
            file: FileNews::None,
            told: Told::default(),
            context: trace::begin(),
        };
        let done = match next {
            None => return,
            Some(Listed::End) => {
                tally.count(|progress| progress.all_listed = true);
                continue;
            }
            Some(Listed::Skipped(path, why)) => {
                nothing(shown(&path), Verdict::Skipped { rule: NO_IMAGE, why: why.to_owned() })
            }
            Some(Listed::Problem { reference, reason }) => {
                nothing(reference, Verdict::Problem { reason })
            }
            Some(Listed::Reference(mut reference)) => {
                tally.count(|progress| progress.listed += 1);
                let unread = match reference.known.take() {
                    Some(known) => Ok(unread(*reference, known)),
                    None => trusted(&options, &mut reference).ok_or(reference),
                };
                let mut reference = match unread {
                    Err(reference) => reference,
                    Ok(unread) => {
                        tokio::select! {
                            biased;
                            () = stop.cancelled() => return,
                            sent = loaded.send(unread) => if sent.is_err() { return },
                        }
                        continue;
                    }
                };
                let is_local = reference.source.url().host_str().is_none();
                let width = if is_local { &files } else { &urls };
                let permit = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    permit = Arc::clone(width).acquire_owned() => permit,
                };
                let (reader, loaded) = (Arc::clone(&reader), loaded.clone());
                let (stop, tally) = (stop.clone(), tally.clone());
                let context = trace::begin();
                tokio::spawn(async move {
                    let read = async {
                        let Looked { verdict, read, file } = reader.read(&reference).await;
                        tally.count(|progress| progress.bytes += read);
                        let name = name(&reference);
                        let told = reference.told();
                        let seen = Some((reference.source, reference.seen_at));
                        let done = Loaded { name, seen, verdict, file, told, context };
                        // Nobody takes it only when the run is ending.
                        let _ = loaded.send(done).await;
                    };
                    let read = read.instrument(trace::shown(context));
                    tokio::select! {
                        () = stop.cancelled() => {}
                        () = read => {}
                    }
                    drop(permit);
                });
                continue;
            }
        };
        tally.count(|progress| progress.listed += 1);
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            sent = loaded.send(done) => if sent.is_err() { return },
        }
    }
}
