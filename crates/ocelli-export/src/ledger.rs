//! What an export has written and where it goes on: its manifest, which is replaced as a whole behind each whole file.

use std::collections::BTreeSet;

use ocelli_catalog::search::Place;
use serde::{Deserialize, Serialize};

use crate::document::SCHEMA;
use crate::writers::Body;
use crate::{Format, Options};

pub(crate) const MANIFEST: &str = "manifest.json";
/// Files that no manifest lists and that are taken away: a killed run leaves two. Where there are more, a manifest may be lost.
pub(crate) const MOST_UNLISTED: usize = 100;

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
    /// A file that a bucket was taking in parts: whoever goes on takes them back, nobody else knows of them.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unfinished: Option<Unfinished>,
    /// In a bucket, the run that exports to it at the moment, by a name of its own: another one that finds its own name gone stops.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<String>,
}

/// Of a manifest what [`same_run`] needs.
#[derive(Deserialize)]
struct Running {
    #[serde(default)]
    run: Option<String>,
}

/// Whether this manifest is that of this run. One that cannot be read is another's.
pub(crate) fn same_run(manifest: &[u8], run: &str) -> bool {
    serde_json::from_slice::<Running>(manifest).is_ok_and(|found| found.run.as_deref() == Some(run))
}

/// Parts of a file that is not whole.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unfinished {
    /// The name that it would have had.
    pub name: String,
    /// The bucket's name of the upload.
    pub upload: String,
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

/// The manifest of a place, and what is known of it.
#[derive(Debug)]
pub(crate) struct Ledger {
    pub(crate) manifest: Manifest,
    pub(crate) cursor: Option<Place>,
    /// Records that were there before.
    pub(crate) found: u64,
}

impl Ledger {
    /// Reads the manifest that is there, or begins one.
    ///
    /// # Errors
    /// What is strange about it.
    pub(crate) fn open(
        found: Option<&[u8]>,
        options: &Options,
        since: Option<Place>,
    ) -> Result<Self, String> {
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
            unfinished: None,
            run: None,
        };
        let manifest = match found {
            None => fresh,
            Some(bytes) => {
                let found: Manifest = serde_json::from_slice(bytes)
                    .map_err(|error| format!("has a manifest that cannot be read: {error}"))?;
                let asked = (&fresh.schema, fresh.format, &fresh.query, fresh.older);
                if (&found.schema, found.format, &found.query, found.older) != asked {
                    return Err(format!(
                        "holds an export of '{}' as {}, schema {}",
                        found.query,
                        found.format.name(),
                        found.schema
                    ));
                }
                found
            }
        };
        let cursor = match &manifest.cursor {
            None => None,
            Some(text) => {
                let place: Result<Place, _> = text.parse();
                Some(place.map_err(|_| "has a manifest with a broken cursor".to_owned())?)
            }
        };
        Ok(Self { found: manifest.records, manifest, cursor })
    }

    pub(crate) fn next_name(&self) -> String {
        let number = self.manifest.files.len();
        format!("records-{number:05}.{}", self.manifest.format.ending())
    }

    /// Whether a name that the manifest does not list is one of ours.
    pub(crate) fn is_ours(&self, name: &str) -> bool {
        is_ours(name, self.manifest.format)
    }

    /// Notes a file that no manifest lists among those to be taken away, if it is one of ours and there are not too many.
    ///
    /// # Errors
    /// Why nothing may be taken away here.
    pub(crate) fn unlisted<T>(
        &self,
        (name, ours): (&str, bool),
        file: T,
        gathered: &mut Vec<T>,
    ) -> Result<(), String> {
        if !ours {
            return Err(format!("holds '{name}', which is of no export"));
        }
        if gathered.len() >= MOST_UNLISTED {
            return Err(format!("holds more than {MOST_UNLISTED} files that no manifest lists"));
        }
        gathered.push(file);
        Ok(())
    }

    /// The names of whole files.
    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.manifest.files.iter().map(|file| file.name.clone()).collect()
    }

    /// Lists a whole file.
    pub(crate) fn push(&mut self, body: Counted, bytes: u64, sha256: String, place: Place) {
        let Counted { records, rows } = body;
        let (name, cursor) = (self.next_name(), place.to_string());
        self.manifest.files.push(FileEntry { name, bytes, sha256, records, rows, cursor });
        self.manifest.records += records;
        self.manifest.rows += rows;
    }

    /// Goes on behind this place.
    pub(crate) fn advance(&mut self, place: Place) {
        self.manifest.cursor = Some(place.to_string());
        self.manifest.complete = false;
        self.cursor = Some(place);
    }

    /// As it is written.
    pub(crate) fn bytes(&self) -> std::io::Result<Vec<u8>> {
        Ok(serde_json::to_vec_pretty(&self.manifest)?)
    }
}

/// What a file holds.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Counted {
    records: u64,
    rows: u64,
}

impl Counted {
    pub(crate) const fn of(body: &Body) -> Self {
        let (records, rows) = body.counts();
        Self { records, rows }
    }
}

fn is_ours(name: &str, format: Format) -> bool {
    name.strip_prefix("records-")
        .and_then(|rest| rest.strip_suffix(format.ending()))
        .and_then(|rest| rest.strip_suffix('.'))
        .is_some_and(|number| number.len() >= 5 && number.bytes().all(|byte| byte.is_ascii_digit()))
}
