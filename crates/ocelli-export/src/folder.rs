//! The folder of an export: whole files, one that is being written, and the manifest that tells them apart.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use ocelli_catalog::search::Place;
use ocelli_failpoint::{Failpoint, reached};
use serde::{Deserialize, Serialize};

use crate::document::SCHEMA;
use crate::hashed::Hashed;
use crate::writers::Body;
use crate::{ExportError, Format, Options};

const MANIFEST: &str = "manifest.json";
const PARTIAL: &str = ".partial";

/// What an export consists of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The schema of its records: `ocelli.export/1`.
    pub schema: String,
    /// The program that wrote it.
    pub program: String,
    /// The layout of its files.
    pub format: Format,
    /// Which records, as the query is printed.
    pub query: String,
    /// Whether answers of older revisions are in it.
    pub older: bool,
    /// Whether the end of the archive was reached; a killed export has not.
    pub complete: bool,
    /// Records in all files.
    pub records: u64,
    /// Rows in all files: as many as records, or one for each answer in tables.
    pub rows: u64,
    /// Behind the last record.
    pub cursor: Option<String>,
    /// Whole files, in the order of their records.
    pub files: Vec<FileEntry>,
}

/// A whole file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FileEntry {
    /// Its name in the folder.
    pub name: String,
    /// Its length.
    pub bytes: u64,
    /// Its SHA-256 in hexadecimal.
    pub sha256: String,
    /// Records in it.
    pub records: u64,
    /// Rows in it.
    pub rows: u64,
    /// Behind its last record.
    pub cursor: String,
}

/// A folder that is exported to.
#[derive(Debug)]
pub struct Folder {
    path: PathBuf,
    manifest: Manifest,
    cursor: Option<Place>,
    /// Records that were in it before.
    found: u64,
}

impl Folder {
    /// Opens or creates it, and takes away what a killed export left unfinished.
    ///
    /// # Errors
    /// When it cannot be read or written, or holds something else.
    pub fn open(path: &Path, options: &Options, since: Option<Place>) -> Result<Self, ExportError> {
        let unwritten = |source| ExportError::Write { path: path.to_owned(), source };
        fs::create_dir_all(path).map_err(unwritten)?;
        let fresh = Manifest {
            schema: SCHEMA.to_owned(),
            program: format!("ocelli {}", env!("CARGO_PKG_VERSION")),
            format: options.format,
            query: options.query.to_string(),
            older: options.older,
            complete: false,
            records: 0,
            rows: 0,
            cursor: since.map(|place| place.to_string()),
            files: Vec::new(),
        };
        let strange = |reason: String| ExportError::Folder { path: path.to_owned(), reason };
        let manifest = match fs::read(path.join(MANIFEST)) {
            Ok(bytes) => {
                let found: Manifest = serde_json::from_slice(&bytes).map_err(|error| {
                    strange(format!("has a manifest that cannot be read: {error}"))
                })?;
                let asked = (&fresh.schema, fresh.format, &fresh.query, fresh.older);
                if (&found.schema, found.format, &found.query, found.older) != asked {
                    return Err(strange(format!(
                        "holds an export of '{}' as {}, schema {}",
                        found.query,
                        found.format.name(),
                        found.schema
                    )));
                }
                found
            }
            Err(error) if error.kind() == io::ErrorKind::NotFound => fresh,
            Err(source) => return Err(unwritten(source)),
        };
        let cursor = match &manifest.cursor {
            None => None,
            Some(text) => Some(
                text.parse()
                    .map_err(|_| strange("has a manifest with a broken cursor".to_owned()))?,
            ),
        };
        let folder = Self { path: path.to_owned(), found: manifest.records, manifest, cursor };
        folder.clean().map_err(unwritten)??;
        Ok(folder)
    }

    /// Takes away files that no manifest lists and that are named as ours; anything else is not ours to write beside.
    fn clean(&self) -> io::Result<Result<(), ExportError>> {
        let known: BTreeSet<&str> =
            self.manifest.files.iter().map(|file| file.name.as_str()).collect();
        for entry in fs::read_dir(&self.path)? {
            let entry = entry?;
            let name = entry.file_name().to_string_lossy().into_owned();
            if known.contains(name.as_str()) || name == MANIFEST {
                continue;
            }
            let ours = name.trim_end_matches(PARTIAL);
            if ours != MANIFEST && !is_ours(ours, self.manifest.format) {
                return Ok(Err(ExportError::Folder {
                    path: self.path.clone(),
                    reason: format!("holds '{name}', which is of no export"),
                }));
            }
            fs::remove_file(entry.path())?;
        }
        Ok(Ok(()))
    }

    /// Behind the last record of its last whole file.
    #[must_use]
    pub const fn cursor(&self) -> Option<Place> {
        self.cursor
    }

    /// What it holds.
    #[must_use]
    pub const fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// Records that were in it when it was opened.
    #[must_use]
    pub const fn found(&self) -> u64 {
        self.found
    }

    fn next_name(&self) -> String {
        let number = self.manifest.files.len();
        format!("records-{number:05}.{}", self.manifest.format.ending())
    }

    fn partial(&self) -> PathBuf {
        self.path.join(self.next_name() + PARTIAL)
    }

    /// The next file.
    pub(crate) fn begin(&self, options: &Options) -> Result<Body, ExportError> {
        let out = File::create(self.partial()).map_err(|source| self.unwritten(source))?;
        Body::begin(options, Hashed::new(Box::new(out))).map_err(|source| self.unwritten(source))
    }

    /// The error of the file that is being written, which is taken away: a full disk has room again then.
    pub(crate) fn unwritten(&self, source: io::Error) -> ExportError {
        drop(fs::remove_file(self.partial()));
        ExportError::Write { path: self.path.join(self.next_name()), source }
    }

    /// Makes the file that is being written a whole one, and lists it. Without one only the cursor moves.
    pub(crate) fn close(&mut self, body: Option<Body>, place: Place) -> Result<(), ExportError> {
        let is_new = body.is_some();
        if let Some(body) = body {
            let (records, rows) = body.counts();
            let name = self.next_name();
            let whole = body.finish().and_then(Hashed::finish).and_then(|(bytes, sha256)| {
                // Only what is on disk is listed.
                File::open(self.partial())?.sync_all()?;
                fs::rename(self.partial(), self.path.join(&name))?;
                Ok((bytes, sha256))
            });
            let (bytes, sha256) = whole.map_err(|source| self.unwritten(source))?;
            reached(Failpoint::ExportRenamed);
            let cursor = place.to_string();
            self.manifest.files.push(FileEntry { name, bytes, sha256, records, rows, cursor });
            self.manifest.records += records;
            self.manifest.rows += rows;
        }
        self.manifest.cursor = Some(place.to_string());
        self.manifest.complete = false;
        self.cursor = Some(place);
        self.note().inspect_err(|_| {
            // What no manifest lists is not left behind.
            if let Some(last) = self.manifest.files.last().filter(|_| is_new) {
                drop(fs::remove_file(self.path.join(&last.name)));
            }
        })
    }

    /// Notes that there was no more.
    pub(crate) fn complete(&mut self) -> Result<(), ExportError> {
        self.manifest.complete = true;
        self.note()
    }

    /// Replaces the manifest as a whole.
    fn note(&self) -> Result<(), ExportError> {
        let path = self.path.join(MANIFEST);
        let partial = self.path.join(format!("{MANIFEST}{PARTIAL}"));
        let written = || -> io::Result<()> {
            let mut file = File::create(&partial)?;
            file.write_all(&serde_json::to_vec_pretty(&self.manifest)?)?;
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

fn is_ours(name: &str, format: Format) -> bool {
    name.strip_prefix("records-")
        .and_then(|rest| rest.strip_suffix(format.ending()))
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|number| number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
}
