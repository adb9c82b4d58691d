//! Sources → references, one after the other, on a thread of its own.
//!
//! The thread is a plain one and not of the runtime's pool: it may hang in a read of standard input for ever, and that
//! must not hold up the end of the process. It is stopped by closing the channel it writes to.

use std::io::Read;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use ocelli_catalog::{FileStamp, SeenImage};
use ocelli_core::wire::Told;
use ocelli_core::{Digest, Meta, SourceUri};
use ocelli_media::Validators;
use tokio::sync::{mpsc, oneshot};
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::error::ProducerError;
use crate::held::{Held, Holder, Room};
use crate::lines::Lines;
use crate::manifest::{Format, Rows, guess_format};
use crate::metadata::MetaLimits;
use crate::row::{BadLine, Locator, Reading, Row};
use crate::source::{Opened, shown};
use crate::walk::{Entry, walk};

/// An image to look at, perhaps.
#[derive(Debug, Clone)]
pub(crate) struct Reference {
    pub(crate) source: SourceUri,
    /// The file, for local ones.
    pub(crate) path: Option<PathBuf>,
    /// Whether somebody named it, so that it is never passed over in silence.
    pub(crate) named: bool,
    pub(crate) seen_at: Timestamp,
    /// What its digest should be.
    pub(crate) digest: Option<Digest>,
    /// The list and line that named it.
    pub(crate) listed_in: Option<(Arc<str>, u64)>,
    /// Its bytes, when listing it meant reading it.
    pub(crate) held: Option<Held>,
    /// Whether somebody said when it was first seen, which is news even of a known image.
    pub(crate) dated: bool,
    /// What it looks like, when listing it told.
    pub(crate) stamp: Option<FileStamp>,
    /// What a list says about it beside that.
    pub(crate) meta: Meta,
    /// What is known of an image that need not be read: a file or an object that has not changed since it was, or a URL with the digest
    /// that a list says.
    pub(crate) known: Option<SeenImage>,
    /// What is known of a URL whose server says that these still count.
    pub(crate) conditions: Option<(Validators, SeenImage)>,
}

impl Reference {
    /// Something that somebody named, seen now.
    pub(crate) fn named(source: SourceUri) -> Self {
        Self {
            path: source.path(),
            source,
            named: true,
            seen_at: clock::now(),
            digest: None,
            listed_in: None,
            held: None,
            dated: false,
            stamp: None,
            meta: Meta::default(),
            known: None,
            conditions: None,
        }
    }

    /// What is said about it, in its words; the metadata is taken.
    pub(crate) fn told(&mut self) -> Told {
        Told {
            first_seen: self.dated.then_some(self.seen_at),
            digest: self.digest,
            meta: std::mem::take(&mut self.meta),
        }
    }

    /// Whether more is said about it than that it is there.
    pub(crate) fn is_news(&self) -> bool {
        self.dated || !self.meta.is_empty()
    }
}

/// What a lister comes across.
#[derive(Debug, Clone)]
pub(crate) enum Listed {
    Reference(Box<Reference>),
    Skipped(PathBuf, &'static str),
    Problem {
        reference: String,
        reason: String,
    },
    /// Everything that was there at the start has been listed.
    End,
}

/// The lister's end of the channel. Breaks when nobody listens any more.
#[derive(Clone)]
pub(crate) struct Out {
    listed: mpsc::Sender<Listed>,
    stop: CancellationToken,
    holder: Holder,
    meta: MetaLimits,
}

impl Out {
    /// Room for bytes that are read while listing. Blocks until there is some.
    pub(crate) fn room(&self, bytes: u64) -> Option<Room> {
        self.holder.room(bytes)
    }

    pub(crate) fn send(&self, listed: Listed) -> ControlFlow<()> {
        if self.stop.is_cancelled() || self.listed.blocking_send(listed).is_err() {
            ControlFlow::Break(())
        } else {
            ControlFlow::Continue(())
        }
    }

    pub(crate) fn is_stopped(&self) -> bool {
        self.stop.is_cancelled() || self.listed.is_closed()
    }

    pub(crate) fn problem(&self, reference: String, reason: String) -> ControlFlow<()> {
        self.send(Listed::Problem { reference, reason })
    }

    /// A file that was found in a folder or named by the user.
    pub(crate) fn file(&self, path: PathBuf, named: bool) -> ControlFlow<()> {
        match SourceUri::from_path(&path) {
            Ok(source) => {
                let path = Some(path);
                let reference = Reference { path, named, ..Reference::named(source) };
                self.send(Listed::Reference(Box::new(reference)))
            }
            Err(error) => self.problem(shown(&path), error.to_string()),
        }
    }

    pub(crate) fn entry(&self, entry: Entry) -> ControlFlow<()> {
        match entry {
            Entry::File(path) => self.file(path, false),
            Entry::Skipped(path, why) => self.send(Listed::Skipped(path, why)),
            Entry::Problem(path, reason) => self.problem(shown(&path), reason),
        }
    }

    fn rows(
        &self,
        rows: impl Iterator<Item = (u64, Result<Row, BadLine>)>,
        list: &str,
    ) -> ControlFlow<()> {
        let list: Arc<str> = list.into();
        for (line, row) in rows {
            let row = match row {
                Ok(row) => row,
                Err(bad) => {
                    self.problem(format!("{list}:{}", bad.number), bad.reason)?;
                    continue;
                }
            };
            let (source, path) = match row.locator {
                Locator::Url(source) => (Ok(source), None),
                Locator::File(path) => (SourceUri::from_path(&path), Some(path)),
            };
            match source {
                Ok(source) => self.send(Listed::Reference(Box::new(Reference {
                    path,
                    seen_at: row.first_seen.map_or_else(clock::now, clock::whole_microseconds),
                    digest: row.digest,
                    listed_in: Some((Arc::clone(&list), line)),
                    dated: row.first_seen.is_some(),
                    meta: row.meta,
                    ..Reference::named(source)
                })))?,
                Err(error) => self.problem(format!("{list}:{line}"), error.to_string())?,
            }
        }
        ControlFlow::Continue(())
    }

    /// Lists one source to its end.
    pub(crate) fn source(&self, source: Opened) -> ControlFlow<()> {
        match source {
            Opened::File(path) => self.file(path, true),
            Opened::Folder(filter) => walk(&filter, filter.root(), &mut |entry| self.entry(entry)),
            Opened::Url(source) => self.send(Listed::Reference(Box::new(Reference::named(source)))),
            Opened::Failed(again) => again.list(self),
            Opened::Archive(archive) => archive.list(self),
            Opened::Bucket(bucket) => bucket.list(self),
            Opened::Stdin => {
                let base = std::env::current_dir().unwrap_or_else(|_| PathBuf::from("/"));
                self.piped(std::io::stdin().lock(), "standard input", &base)
            }
            Opened::Manifest { lines, format, shown, base } => {
                self.rows(Rows::new(lines, format, self.reading(&base)), &shown)
            }
            Opened::Table { table, shown, base } => {
                self.rows(table.rows(self.reading(&base)), &shown)
            }
        }
    }

    /// Lists a list without a name: how it is written is told by how it begins.
    fn piped(&self, reader: impl Read, name: &str, base: &Path) -> ControlFlow<()> {
        let mut lines = Lines::new(reader);
        match guess_format(&mut lines) {
            Ok(Format::Parquet) => {
                let reason = "a list in Parquet is read from a file, and not as a stream";
                self.problem(name.to_owned(), reason.to_owned())
            }
            Ok(format) => self.rows(Rows::new(lines, format, self.reading(base)), name),
            Err(error) => self.problem(name.to_owned(), format!("it cannot be read: {error}")),
        }
    }

    fn reading(&self, base: &Path) -> Reading {
        Reading { base: base.to_owned(), now: clock::now(), meta: self.meta }
    }
}

/// The thread of a lister, to be waited for.
pub(crate) struct Lister {
    ended: oneshot::Receiver<()>,
    stop: CancellationToken,
}

impl Lister {
    /// Runs `list` on a thread of its own, which writes `ahead` items ahead of the reader.
    pub(crate) fn spawn(
        ahead: usize,
        meta: MetaLimits,
        stop: &CancellationToken,
        list: impl FnOnce(&Out) + Send + 'static,
    ) -> Result<(mpsc::Receiver<Listed>, Self), ProducerError> {
        let (listed, receiver) = mpsc::channel(ahead);
        let (done, ended) = oneshot::channel();
        let out = Out { listed, stop: stop.clone(), holder: Holder::new(), meta };
        std::thread::Builder::new()
            .name("lister".to_owned())
            .spawn(move || {
                list(&out);
                // When nobody waits any more, the run has ended.
                let _ = done.send(());
            })
            .map_err(ProducerError::Thread)?;
        Ok((receiver, Self { ended, stop: stop.clone() }))
    }

    /// Waits for its end, or until the run is stopped: it may hang in a read then.
    pub(crate) async fn end(self) -> Result<(), ProducerError> {
        tokio::select! {
            biased;
            ended = self.ended => ended.map_err(|_| ProducerError::Lister),
            () = self.stop.cancelled() => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn standard_input_gives_one_reference_per_line() {
        let stop = CancellationToken::new();
        let (mut listed, lister) = Lister::spawn(10, MetaLimits::default(), &stop, |out| {
            let text = &b"/a.png\n\nrelative.png\nhttp://h/b.png\nftp://h/c.png\n"[..];
            let _ = out.piped(text, "standard input", Path::new("/base"));
        })
        .unwrap();
        let mut found = Vec::new();
        while let Some(item) = listed.recv().await {
            found.push(match item {
                Listed::Reference(reference) => reference.source.to_string(),
                Listed::Problem { reference, .. } => reference,
                other => panic!("{other:?}"),
            });
        }
        lister.end().await.unwrap();
        assert_eq!(found, ["/a.png", "/base/relative.png", "http://h/b.png", "standard input:5"]);
    }

    #[tokio::test]
    async fn a_lister_that_dies_is_an_error_and_not_an_early_end() {
        let (limits, stop) = (MetaLimits::default(), CancellationToken::new());
        let (_listed, lister) = Lister::spawn(1, limits, &stop, |_| panic!("on purpose")).unwrap();
        assert!(matches!(lister.end().await, Err(ProducerError::Lister)));
    }
}
