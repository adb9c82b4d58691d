//! Where an export goes: a folder, or a prefix of a bucket. One meaning: whole files, then a manifest that lists them.

use std::path::Path;

use async_recursion::async_recursion;
use ocelli_catalog::search::Place;

use crate::folder::Folder;
use crate::ledger::{Ledger, Manifest};
use crate::objects::{Objects, Remote};
use crate::writers::Body;
use crate::{ExportError, Options};

/// A place that is exported to.
pub struct Target(Kind);

enum Kind {
    Folder(Folder),
    Remote(Remote),
}

impl Target {
    /// A folder, which is made where it is missing. What a killed export left unfinished goes.
    ///
    /// # Errors
    /// When it cannot be read or written, or holds something else.
    pub fn folder(
        path: &Path,
        options: &Options,
        since: Option<Place>,
    ) -> Result<Self, ExportError> {
        Folder::open(path, options, since).map(|folder| Self(Kind::Folder(folder)))
    }

    /// A prefix of a bucket. What a killed export left unfinished goes.
    ///
    /// # Errors
    /// When it cannot be read or written, or holds something else.
    #[async_recursion]
    pub async fn objects(
        objects: Box<dyn Objects>,
        options: &Options,
        since: Option<Place>,
    ) -> Result<Self, ExportError> {
        Remote::open(objects, options, since).await.map(|remote| Self(Kind::Remote(remote)))
    }

    fn ledger(&self) -> &Ledger {
        match &self.0 {
            Kind::Folder(folder) => &folder.ledger,
            Kind::Remote(remote) => &remote.ledger,
        }
    }

    /// What it holds.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.ledger().manifest
    }

    /// Records that were in it when it was opened.
    #[must_use]
    pub fn found(&self) -> u64 {
        self.ledger().found
    }

    /// What an earlier run left and this one cannot take back, for people.
    #[must_use]
    pub fn left(&self) -> Option<&str> {
        match &self.0 {
            Kind::Folder(_) => None,
            Kind::Remote(remote) => remote.left.as_deref(),
        }
    }

    /// Behind the last record of its last whole file.
    pub(crate) fn cursor(&self) -> Option<Place> {
        self.ledger().cursor
    }

    /// Whether stopping gives up the file that is being written. In a folder it is made whole, which takes no time.
    pub(crate) const fn stops_at_once(&self) -> bool {
        matches!(self.0, Kind::Remote(_))
    }

    /// The next file.
    pub(crate) fn begin(&mut self, options: &Options) -> Result<Body, ExportError> {
        match &mut self.0 {
            Kind::Folder(folder) => folder.begin(options),
            Kind::Remote(remote) => remote.begin(options),
        }
    }

    /// A record was written.
    pub(crate) async fn written(&mut self, added: std::io::Result<()>) -> Result<(), ExportError> {
        match &mut self.0 {
            Kind::Folder(folder) => added.map_err(|source| folder.unwritten(source)),
            Kind::Remote(remote) => {
                added.map_err(|source| ExportError::Stream { source })?;
                remote.hand_on().await
            }
        }
    }

    /// Makes the file that is being written a whole one, and lists it. Without one only the cursor moves.
    pub(crate) async fn close(
        &mut self,
        body: Option<Body>,
        place: Place,
    ) -> Result<(), ExportError> {
        match &mut self.0 {
            Kind::Folder(folder) => folder.close(body, place),
            Kind::Remote(remote) => remote.close(body, place).await,
        }
    }

    /// Notes that there was no more.
    pub(crate) async fn complete(&mut self) -> Result<(), ExportError> {
        match &mut self.0 {
            Kind::Folder(folder) => folder.complete(),
            Kind::Remote(remote) => remote.complete().await,
        }
    }

    /// Gives up a file that is not whole.
    pub(crate) async fn give_up(&mut self) {
        if let Kind::Remote(remote) = &mut self.0 {
            remote.give_up().await;
        }
    }
}
