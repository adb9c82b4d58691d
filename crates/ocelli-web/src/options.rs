//! What the site may do and cost. The binary fills these from the settings; this module reads no file.

use std::path::PathBuf;
use std::time::Duration;

use ocelli_catalog::query::QueryLimits;
use ocelli_core::{AnalyzerName, Budget};
use ocelli_media::{Converter, DecodeLimits};
use secrecy::SecretString;

/// How the archive is served.
#[derive(Debug, Clone)]
pub struct WebOptions {
    /// Who has this may change things; without one nobody can.
    pub token: Option<SecretString>,
    /// Host names that are answered besides those of this machine; a listener that others reach answers any when there
    /// are none.
    pub hosts: Vec<String>,
    /// Configured analyzers, in the order of display.
    pub analyzers: Vec<AnalyzerLine>,
    /// Budgets, for the fleet page.
    pub budgets: Vec<Budget>,
    /// Limits of decoders.
    pub decode: DecodeLimits,
    /// What makes PNG of AVIF and HEIC.
    pub converter: Converter,
    /// How long one image may be decoded before it is given up.
    pub decode_deadline: Duration,
    /// Images decoded at once: each takes up to [`DecodeLimits::memory`].
    pub decoders: usize,
    /// Folder of thumbnails and views; everything in it can be made again.
    pub pictures: PathBuf,
    /// Bytes that folder may hold.
    pub picture_bytes: u64,
    /// Folder for images that are brought in.
    pub uploads: PathBuf,
    /// Bytes of one upload, all files together.
    pub upload_bytes: u64,
    /// Files of one upload.
    pub upload_files: usize,
    /// How long one upload may take.
    pub upload_timeout: Duration,
    /// How long any other request may take.
    pub request_timeout: Duration,
    /// What a query may ask at most.
    pub query: QueryLimits,
    /// Exports and batch searches at once.
    pub exports: usize,
    /// How long the reader of one may take nothing.
    pub export_stall: Duration,
    /// Queries of one batch search.
    pub batch_queries: usize,
    /// Bytes of all of them.
    pub batch_bytes: usize,
    /// Records of each of them.
    pub batch_hits: u32,
    /// Searches that are kept.
    pub saved_searches: u32,
    /// Requests one address may make in a second, on average.
    pub rate: u32,
    /// Connections at once.
    pub connections: usize,
    /// How long a worker may have been silent to count as present.
    pub silence: jiff::SignedDuration,
    /// How far its clock may differ from the database's before that is said.
    pub clock_skew: Duration,
}

/// A configured analyzer, as pages name it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AnalyzerLine {
    /// Name.
    pub name: AnalyzerName,
    /// `ocr` or `llm`.
    pub kind: &'static str,
    /// Whether it is switched off.
    pub off: bool,
}

impl WebOptions {
    /// Names of the analyzers, in the order of display.
    pub(crate) fn order(&self) -> impl Iterator<Item = &AnalyzerName> {
        self.analyzers.iter().map(|line| &line.name)
    }

    /// The same, by value.
    pub(crate) fn names(&self) -> Vec<AnalyzerName> {
        self.order().cloned().collect()
    }

    /// Whether this analyzer is configured.
    pub(crate) fn knows(&self, name: &AnalyzerName) -> bool {
        self.order().any(|one| one == name)
    }
}
