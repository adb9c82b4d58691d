//! An analyzer that reads nothing: it waits, and answers with a text computed from the digest. For chosen images it
//! crashes, hangs or fails, so that a run knows beforehand which ones must end how.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ocelli_core::{
    AnalyzerName, Digest, FailureClass, Outcome, Provenance, Reading, Revision, RevisionBuilder,
};
use ocelli_runtime::settings::AnalyzerSettings;
use ocelli_worker::{AnalyzeError, Analyzer, Answer, Job, Unavailable};

/// How many of a thousand images misbehave.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Mischief {
    pub(crate) crash: u16,
    pub(crate) hang: u16,
    pub(crate) fail: u16,
}

/// What an image does to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    Crashes,
    Hangs,
    Fails,
}

impl Mischief {
    /// The nature of an image: a matter of its digest alone, so that everybody can tell.
    pub(crate) fn nature(self, digest: &Digest) -> Nature {
        let bytes = digest.as_bytes();
        let place = u16::from_be_bytes([bytes[0], bytes[1]]) % 1000;
        let (crash, hang) = (self.crash, self.crash + self.hang);
        match place {
            place if place < crash => Nature::Crashes,
            place if place < hang => Nature::Hangs,
            place if place < hang + self.fail => Nature::Fails,
            _ => Nature::Good,
        }
    }
}

pub(crate) struct Null {
    name: AnalyzerName,
    slots: usize,
    latency: Duration,
    mischief: Mischief,
    calls: File,
}

impl Null {
    pub(crate) fn new(
        configured: &AnalyzerSettings,
        latency: Duration,
        mischief: Mischief,
        calls: &Path,
    ) -> Result<Self, String> {
        let slots = configured.ocr().map_or(1, |ocr| ocr.children).max(1);
        // One file for each process: a line is written with one call, and what is written survives a kill.
        let path = calls.join(format!("{}-{}", configured.name, std::process::id()));
        let calls = File::options()
            .create(true)
            .append(true)
            .open(&path)
            .map_err(|error| format!("cannot open '{}': {error}", path.display()))?;
        Ok(Self { name: configured.name.clone(), slots, latency, mischief, calls })
    }
}

impl Analyzer for Null {
    fn name(&self) -> &AnalyzerName {
        &self.name
    }

    fn kind(&self) -> &'static str {
        "ocr"
    }

    fn description(&self) -> String {
        "reads nothing".to_owned()
    }

    fn slots(&self) -> usize {
        self.slots
    }

    async fn probe(&self) -> Result<Revision, Unavailable> {
        Ok(RevisionBuilder::new("null").part("name", &self.name).build())
    }

    async fn analyze(&self, job: Job) -> Result<Answer, AnalyzeError> {
        let digest = job.image.digest;
        let line = format!("{digest} {}\n", self.name);
        (&self.calls).write_all(line.as_bytes()).map_err(|error| AnalyzeError {
            class: FailureClass::Outage,
            reason: format!("the call cannot be written down: {error}"),
            provenance: None,
        })?;
        tokio::time::sleep(self.latency).await;
        let failed = |class, reason: &str| {
            Err(AnalyzeError { class, reason: reason.to_owned(), provenance: None })
        };
        match self.mischief.nature(&digest) {
            Nature::Good => Ok(Answer {
                outcome: Outcome::Done(Reading {
                    text: format!("nothing was read in {}", digest.short()),
                    ..Reading::default()
                }),
                provenance: Provenance { engine: "null".to_owned(), ..Provenance::default() },
            }),
            Nature::Crashes => failed(FailureClass::Crash, "the reader crashed"),
            Nature::Fails => failed(FailureClass::Permanent, "the image cannot be decoded"),
            Nature::Hangs => std::future::pending().await,
        }
    }
}
