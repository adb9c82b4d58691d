//! A prefix of a bucket that is exported to. The program lends what writes there ([`Objects`]): this crate knows no protocol.
//!
//! A file is an object that appears when all of it has arrived; while it is made, its parts are on their way and memory holds a few of
//! them. Then the manifest is replaced by one that lists it. What the bucket keeps of a file that was not finished is named in the
//! manifest, so that the next run takes it back. So is the run: of two that export to one prefix the later one goes on.

use std::time::Duration;

use futures_util::future::BoxFuture;
use ocelli_catalog::search::Place;
use ocelli_failpoint::{Failpoint, reached};
use thiserror::Error;

use crate::buffer::Buffer;
use crate::hashed::Hashed;
use crate::ledger::{Counted, Ledger, MANIFEST, Unfinished, same_run};
use crate::writers::Body;
use crate::{ExportError, Options};

/// Bytes that are gathered before they are handed on.
const HANDED: usize = 256 * 1024;
/// How long taking parts back may take, and noting what is left: it is asked for when something is wrong already.
const GIVING_UP: Duration = Duration::from_secs(5);

/// Why a bucket did not do something, in words that name the object.
#[derive(Debug, Error)]
#[error("{reason}")]
pub struct ObjectsError {
    /// In words.
    pub reason: String,
    /// Whether the bucket takes nothing more.
    pub full: bool,
    /// Whether it is the settings, or what was asked for, that is wrong: nothing changes by itself.
    pub settings: bool,
}

/// What is done with a bucket, once it is there.
pub type Doing<'a, T> = BoxFuture<'a, Result<T, ObjectsError>>;

/// A prefix of a bucket. Every object appears whole or not at all.
pub trait Objects: Send + Sync {
    /// As people write it.
    fn shown(&self) -> String;

    /// Names below it in their order, behind `after`; none at the end.
    fn names<'a>(&'a self, after: Option<&'a str>) -> Doing<'a, Vec<String>>;

    /// A small object; none when there is none.
    fn read<'a>(&'a self, name: &'a str) -> Doing<'a, Option<Vec<u8>>>;

    /// Writes a small object, in place of one that is there.
    fn write<'a>(&'a self, name: &'a str, bytes: Vec<u8>) -> Doing<'a, ()>;

    /// Removes an object, which need not be there.
    fn remove<'a>(&'a self, name: &'a str) -> Doing<'a, ()>;

    /// Takes back the parts of an upload, which need not be there.
    fn abort<'a>(&'a self, name: &'a str, upload: &'a str) -> Doing<'a, ()>;

    /// Begins an object whose length is not known.
    ///
    /// # Errors
    /// When there can be none of this name.
    fn begin(&self, name: &str) -> Result<Box<dyn Upload>, ObjectsError>;
}

/// An object in the making.
pub trait Upload: Send {
    /// The bucket's name of it, as soon as it keeps parts that somebody must take back, and until they are taken back.
    fn id(&self) -> Option<&str>;

    /// Takes bytes, and waits where the bucket is slower than they come.
    fn write<'a>(&'a mut self, bytes: &'a [u8]) -> Doing<'a, ()>;

    /// Makes the object appear.
    fn finish(&mut self) -> Doing<'_, ()>;

    /// Takes back its parts.
    fn abort(&mut self) -> Doing<'_, ()>;
}

/// A prefix that is exported to.
pub(crate) struct Remote {
    objects: Box<dyn Objects>,
    pub(crate) ledger: Ledger,
    open: Option<(Box<dyn Upload>, Buffer)>,
    /// The name of this run.
    run: String,
    /// Whether the manifest says what is so.
    noted: bool,
    /// What of an earlier run could not be taken back.
    pub(crate) left: Option<String>,
}

impl Remote {
    /// Reads what is there, and takes away what a killed export left unfinished.
    pub(crate) async fn open(
        objects: Box<dyn Objects>,
        options: &Options,
        since: Option<Place>,
    ) -> Result<Self, ExportError> {
        let found = objects.read(MANIFEST).await.map_err(ExportError::Objects)?;
        let ledger = Ledger::open(found.as_deref(), options, since);
        let ledger =
            ledger.map_err(|reason| ExportError::Prefix { prefix: objects.shown(), reason })?;
        let run = uuid::Uuid::now_v7().to_string();
        let mut remote = Self { objects, ledger, open: None, run, noted: true, left: None };
        let unlisted = remote.unlisted().await?;
        // Before anything goes: one that is still at it finds that out before it writes the next file.
        remote.ledger.manifest.run = Some(remote.run.clone());
        remote.write().await?;
        remote.clean(unlisted).await?;
        Ok(remote)
    }

    /// As for a folder: what no manifest lists and is named as ours goes, anything else is not ours to write beside.
    async fn unlisted(&mut self) -> Result<Vec<String>, ExportError> {
        let known = self.ledger.names();
        let mut unlisted = Vec::new();
        let mut after: Option<String> = None;
        loop {
            let names = self.objects.names(after.as_deref()).await.map_err(ExportError::Objects)?;
            let Some(last) = names.last().cloned() else { return Ok(unlisted) };
            for name in names {
                if name == MANIFEST || known.contains(&name) {
                    continue;
                }
                let ours = self.ledger.is_ours(&name);
                let noted = self.ledger.unlisted((&name, ours), name.clone(), &mut unlisted);
                noted.map_err(|reason| ExportError::Prefix {
                    prefix: self.objects.shown(),
                    reason,
                })?;
            }
            after = Some(last);
        }
    }

    async fn clean(&mut self, unlisted: Vec<String>) -> Result<(), ExportError> {
        for name in unlisted {
            self.objects.remove(&name).await.map_err(ExportError::Objects)?;
        }
        if let Some(Unfinished { name, upload }) = self.ledger.manifest.unfinished.take() {
            // Somebody who may write need not be allowed to do that; it is no reason to export nothing.
            if let Err(error) = self.objects.abort(&name, &upload).await {
                self.left = Some(format!(
                    "the parts of '{name}' that an earlier run left cannot be taken back ({error}); remove the unfinished upload \
                     '{upload}' by hand, or by a lifecycle rule of the bucket"
                ));
            }
            self.note().await?;
        }
        Ok(())
    }

    pub(crate) fn begin(&mut self, options: &Options) -> Result<Body, ExportError> {
        let upload = self.objects.begin(&self.ledger.next_name()).map_err(ExportError::Objects)?;
        let written = Buffer::default();
        self.open = Some((upload, written.clone()));
        Body::begin(options, Hashed::new(Box::new(written)))
            .map_err(|source| ExportError::Stream { source })
    }

    /// Hands on what was written, when it is worth a call.
    pub(crate) async fn hand_on(&mut self) -> Result<(), ExportError> {
        match &self.open {
            Some((_, written)) if written.len() >= HANDED => self.send().await,
            _ => Ok(()),
        }
    }

    async fn send(&mut self) -> Result<(), ExportError> {
        let Some((upload, written)) = &mut self.open else { return Ok(()) };
        let sent = upload.write(&written.take()).await.map_err(ExportError::Objects);
        let Some(id) = upload.id().filter(|_| self.ledger.manifest.unfinished.is_none()) else {
            return sent;
        };
        // Also when that did not go well: what is begun must be taken back.
        let (name, upload) = (self.ledger.next_name(), id.to_owned());
        self.ledger.manifest.unfinished = Some(Unfinished { name, upload });
        self.noted = false;
        sent?;
        self.note().await?;
        reached(Failpoint::ExportPart);
        Ok(())
    }

    pub(crate) async fn close(
        &mut self,
        body: Option<Body>,
        place: Place,
    ) -> Result<(), ExportError> {
        if let Some(body) = body {
            let counted = Counted::of(&body);
            let whole = body.finish().and_then(Hashed::finish);
            let (bytes, sha256) = whole.map_err(|source| ExportError::Stream { source })?;
            self.send().await?;
            // A file of this name would take the place of another run's.
            self.check().await?;
            if let Some((upload, _)) = &mut self.open {
                upload.finish().await.map_err(ExportError::Objects)?;
            }
            reached(Failpoint::ExportRenamed);
            self.open = None;
            self.ledger.push(counted, bytes, sha256, place);
            self.ledger.manifest.unfinished = None;
        }
        self.ledger.advance(place);
        self.noted = false;
        self.note().await
    }

    pub(crate) async fn complete(&mut self) -> Result<(), ExportError> {
        self.ledger.manifest.complete = true;
        self.ledger.manifest.run = None;
        self.note().await
    }

    /// Gives up the file that is being written. What cannot be taken back now is named in the manifest.
    pub(crate) async fn give_up(&mut self) {
        if let Some((mut upload, _)) = self.open.take() {
            let begun = self.ledger.manifest.unfinished.take();
            let aborted = tokio::time::timeout(GIVING_UP, upload.abort()).await;
            if !matches!(aborted, Ok(Ok(()))) {
                // The next run does what this one cannot.
                let name = self.ledger.next_name();
                let id = upload.id().map(|id| Unfinished { name, upload: id.to_owned() });
                self.ledger.manifest.unfinished = id.or_else(|| begun.clone());
            }
            self.noted &= self.ledger.manifest.unfinished == begun;
        }
        self.noted &= self.ledger.manifest.run.take().is_none();
        if !self.noted {
            drop(tokio::time::timeout(GIVING_UP, self.note()).await);
        }
    }

    /// Whether the prefix is still ours. One that nobody knows anything of is.
    async fn check(&mut self) -> Result<(), ExportError> {
        match self.objects.read(MANIFEST).await.map_err(ExportError::Objects)? {
            Some(found) if !same_run(&found, &self.run) => {
                Err(ExportError::Another { prefix: self.objects.shown() })
            }
            _ => Ok(()),
        }
    }

    async fn note(&mut self) -> Result<(), ExportError> {
        self.check().await?;
        self.write().await
    }

    async fn write(&mut self) -> Result<(), ExportError> {
        let bytes = self.ledger.bytes().map_err(|source| ExportError::Stream { source })?;
        self.objects.write(MANIFEST, bytes).await.map_err(ExportError::Objects)?;
        self.noted = true;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
