//! An analyzer that reads nothing: it waits, and answers with a text computed from the digest. Chosen images crash
//! their reader, hang, fail or take long, so that a run knows beforehand which ones must end how.

use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use ocelli_core::{
    AnalyzerName, Digest, FailureClass, Outcome, Provenance, Reading, Revision, RevisionBuilder,
};
use ocelli_runtime::settings::AnalyzerSettings;
use ocelli_worker::{AnalyzeError, Analyzer, Answer, Job, Unavailable};

use crate::readers::Readers;

/// How many of a thousand images misbehave.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub(crate) struct Mischief {
    /// So many images of a thousand crash their reader.
    #[arg(long, default_value_t = 0)]
    pub(crate) crash: u16,
    /// So many never come to an end.
    #[arg(long, default_value_t = 0)]
    pub(crate) hang: u16,
    /// So many cannot be decoded.
    #[arg(long, default_value_t = 0)]
    pub(crate) fail: u16,
    /// So many take `--slow-ms`.
    #[arg(long, default_value_t = 0)]
    pub(crate) slow: u16,
}

/// What an image does to its reader.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Nature {
    Good,
    Crashes,
    Hangs,
    Fails,
    Slow,
}

impl Mischief {
    /// The nature of an image: a matter of its digest alone, so that everybody can tell.
    pub(crate) fn nature(self, digest: &Digest) -> Nature {
        let bytes = digest.as_bytes();
        let place = u16::from_be_bytes([bytes[0], bytes[1]]) % 1000;
        let (crash, hang) = (self.crash, self.crash + self.hang);
        let fail = hang + self.fail;
        match place {
            place if place < crash => Nature::Crashes,
            place if place < hang => Nature::Hangs,
            place if place < fail => Nature::Fails,
            place if place < fail + self.slow => Nature::Slow,
            _ => Nature::Good,
        }
    }
}

/// How long an analysis takes.
#[derive(Debug, Clone, Copy, clap::Args)]
pub(crate) struct Pace {
    /// Milliseconds that an analysis takes.
    #[arg(long, default_value_t = 50)]
    pub(crate) latency: u64,
    /// Milliseconds that the analysis of a slow image takes.
    #[arg(long, default_value_t = 5_000)]
    pub(crate) slow_ms: u64,
    /// Read in child processes, which die or are killed in place of this one.
    #[arg(long)]
    pub(crate) readers: bool,
}

pub(crate) struct Null {
    name: AnalyzerName,
    slots: usize,
    pace: Pace,
    mischief: Mischief,
    calls: Option<File>,
    readers: Option<Readers>,
}

impl Null {
    pub(crate) fn new(
        configured: &AnalyzerSettings,
        pace: Pace,
        mischief: Mischief,
        calls: Option<&Path>,
    ) -> Result<Self, String> {
        let ocr = configured.ocr().ok_or("a null analyzer is configured as an ocr analyzer")?;
        if !pace.readers && mischief.crash + mischief.hang > 0 {
            return Err("images that crash or hang need --readers".to_owned());
        }
        // One file for each process: a line is written with one call, and what is written survives a kill.
        let open = |calls: &Path| {
            let path = calls.join(format!("{}-{}", configured.name, std::process::id()));
            File::options()
                .create(true)
                .append(true)
                .open(&path)
                .map_err(|error| format!("cannot open '{}': {error}", path.display()))
        };
        let calls = calls.map(open).transpose()?;
        Ok(Self {
            name: configured.name.clone(),
            slots: ocr.children.max(1),
            pace,
            mischief,
            calls,
            readers: pace.readers.then(|| Readers::new(ocr.hard_deadline)),
        })
    }

    async fn read(&self, nature: Nature) -> Result<(), String> {
        let slow = nature == Nature::Slow;
        let took = Duration::from_millis(if slow { self.pace.slow_ms } else { self.pace.latency });
        match &self.readers {
            Some(readers) => readers.read(nature, took).await,
            None if took.is_zero() => Ok(()),
            None => {
                tokio::time::sleep(took).await;
                Ok(())
            }
        }
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
        let failed = |class, reason: String| AnalyzeError { class, reason, provenance: None };
        if let Some(mut calls) = self.calls.as_ref() {
            let line = format!("{digest} {}\n", self.name);
            calls.write_all(line.as_bytes()).map_err(|error| {
                failed(FailureClass::Outage, format!("the call cannot be written down: {error}"))
            })?;
        }
        let nature = self.mischief.nature(&digest);
        self.read(nature).await.map_err(|reason| failed(FailureClass::Crash, reason))?;
        if nature == Nature::Fails {
            return Err(failed(FailureClass::Permanent, "the image cannot be decoded".to_owned()));
        }
        Ok(Answer {
            outcome: Outcome::Done(Reading { text: text(&digest), ..Reading::default() }),
            provenance: Provenance { engine: "null".to_owned(), ..Provenance::default() },
            hash: None,
        })
    }
}

/// What a null analyzer reads in an image.
pub(crate) fn text(digest: &Digest) -> String {
    format!("nothing was read in {}", digest.short())
}
