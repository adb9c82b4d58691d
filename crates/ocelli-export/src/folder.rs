//! The folder of an export: whole files, one that is being written, and the manifest that tells them apart.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ocelli_catalog::search::Place;
use ocelli_failpoint::{Failpoint, reached};

use crate::hashed::Hashed;
use crate::ledger::{Counted, Ledger, MANIFEST};
use crate::writers::Body;
use crate::{ExportError, Options};

const PARTIAL: &str = ".partial";

/// A folder that is exported to.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    pub(crate) ledger: Ledger,
}

impl Folder {
    /// Opens or creates it, and takes away what a killed export left unfinished.
    ///
    /// # Errors
    /// When it cannot be read or written, or holds something else.
    pub(crate) fn open(
        path: &Path,
        options: &Options,
        since: Option<Place>,
    ) -> Result<Self, ExportError> {
        let unwritten = |source| ExportError::Write { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritten)?;
        let found = match fs::read(path.join(MANIFEST)) {
            Ok(bytes) => Some(bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(unwritten(source)),
        };
        let ledger = Ledger::open(found.as_deref(), options, since);
        let ledger = ledger.map_err(|reason| strange(path, reason))?;
        let folder = Self { path: path.to_owned(), ledger };
        folder.clean().map_err(unwritten)??;
        Ok(folder)
    }

    /// Takes away files that no manifest lists and that are named as ours; anything else is not ours to write beside. Nothing goes
    /// before all names are known: what looks as ours in a foreign folder is not ours.
    fn clean(&self) -> io::Result<Result<(), ExportError>> {
        let known = self.ledger.names();
        let mut unlisted = Vec::new();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.contains(&name) || name == MANIFEST {
                continue;
            }
            let whole = name.trim_end_matches(PARTIAL);
            let ours = whole == MANIFEST || self.ledger.is_ours(whole);
            let noted = self.ledger.unlisted((&name, ours), entry.path(), &mut unlisted);
            if let Err(reason) = noted {
                return Ok(Err(strange(&self.path, reason)));
            }
        }
        for path in unlisted {
            fs::remove_file(path)?;
        }
        Ok(Ok(()))
    }

    fn partial(&self) -> PathBuf {
        self.path.join(self.ledger.next_name() + PARTIAL)
    }

    /// The next file.
    pub(crate) fn begin(&self, options: &Options) -> Result<Body, ExportError> {
        let out = File::create(self.partial()).map_err(|source| self.unwritten(source))?;
        Body::begin(options, Hashed::new(Box::new(out))).map_err(|source| self.unwritten(source))
    }

    /// The error of the file that is being written, which is taken away: a full disk has room again then.
    pub(crate) fn unwritten(&self, source: io::Error) -> ExportError {
        drop(fs::remove_file(self.partial()));
        ExportError::Write { path: self.path.join(self.ledger.next_name()), source }
    }

    /// Makes the file that is being written a whole one, and lists it. Without one only the cursor moves.
    pub(crate) fn close(&mut self, body: Option<Body>, place: Place) -> Result<(), ExportError> {
        let is_new = body.is_some();
        if let Some(body) = body {
            let counted = Counted::of(&body);
            let name = self.ledger.next_name();
            let whole = body.finish().and_then(Hashed::finish).and_then(|(bytes, sha256)| {
                // Only what is on disk is listed.
                File::open(self.partial())?.sync_all()?;
                fs::rename(self.partial(), self.path.join(&name))?;
                Ok((bytes, sha256))
            });
            let (bytes, sha256) = whole.map_err(|source| self.unwritten(source))?;
            reached(Failpoint::ExportRenamed);
            self.ledger.push(counted, bytes, sha256, place);
        }
        self.ledger.advance(place);
        self.note().inspect_err(|_| {
            // What no manifest lists is not left behind.
            if let Some(last) = self.ledger.manifest.files.last().filter(|_| is_new) {
                drop(fs::remove_file(self.path.join(&last.name)));
            }
        })
    }

    /// Notes that there was no more.
    pub(crate) fn complete(&mut self) -> Result<(), ExportError> {
        self.ledger.manifest.complete = true;
        self.note()
    }

    /// Replaces the manifest as a whole.
    fn note(&self) -> Result<(), ExportError> {
        let path = self.path.join(MANIFEST);
        let partial = self.path.join(format!("{MANIFEST}{PARTIAL}"));
        let written = || -> io::Result<()> {
            let mut file = File::create(&partial)?;
            file.write_all(&self.ledger.bytes()?)?;
            file.sync_all()?;
            fs::rename(&partial, &path)?;
            File::open(&self.path)?.sync_all()
        };
        written().map_err(|source| {
            drop(fs::remove_file(&partial));
            ExportError::Write { path, source }
        })
    }
}

fn strange(path: &Path, reason: String) -> ExportError {
    ExportError::Folder { path: path.to_owned(), reason }
}
