//! The OCR analyzer as the worker's pipe sees it.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Instant;

use ocelli_core::{
    AnalyzerName, FailureClass, Flag, Outcome, Provenance, Reading, Revision, RevisionBuilder,
    chain,
};
use ocelli_worker::{AnalyzeError, Analyzer, Answer, Job, Unavailable};
use tokio::sync::OnceCell;

use crate::cascade::PREPROCESSING_VERSION;
use crate::metrics::OcrMetrics;
use crate::options::OcrOptions;
use crate::pool::{Pool, ReadError};
use crate::protocol::Transcript;
use crate::{data, engine};

/// Reads text with Tesseract in child processes.
#[derive(Debug)]
pub struct TesseractAnalyzer {
    options: OcrOptions,
    /// Value of `TESSDATA_PREFIX`, read by whoever made this.
    prefix: Option<PathBuf>,
    metrics: OcrMetrics,
    /// Made by the first probe that found the language data.
    pool: OnceCell<Arc<Pool>>,
    /// Which files of language data the last probe found, for people.
    data: Mutex<Option<String>>,
}

impl TesseractAnalyzer {
    /// Starts nothing yet: [`Analyzer::probe`] does.
    #[must_use]
    pub fn new(options: OcrOptions, metrics: OcrMetrics) -> Self {
        Self {
            options,
            prefix: crate::diagnose::data_prefix(),
            metrics,
            pool: OnceCell::new(),
            data: Mutex::default(),
        }
    }

    /// The children, once a probe has found the language data.
    #[must_use]
    pub fn pool(&self) -> Option<&Pool> {
        self.pool.get().map(Arc::as_ref)
    }

    fn provenance(&self, transcript: Option<&Transcript>) -> Provenance {
        Provenance {
            engine: format!("tesseract {}", engine::version()),
            model: Some(self.options.languages.clone()),
            model_digest: self.data.lock().unwrap_or_else(PoisonError::into_inner).clone(),
            steps: transcript.map(|transcript| transcript.steps.clone()).unwrap_or_default(),
            ..Provenance::default()
        }
    }

    fn error(&self, error: &ReadError) -> AnalyzeError {
        let class = match error {
            ReadError::Refused(refusal) => refusal.class,
            ReadError::Died(_) | ReadError::Deadline(_) => FailureClass::Crash,
            // Nothing is wrong with the image.
            ReadError::Start(_) | ReadError::Busy(_) => FailureClass::Outage,
            ReadError::Convert(error) => error.class(),
        };
        let provenance = Some(Box::new(self.provenance(None)));
        AnalyzeError { class, reason: chain(error), provenance }
    }
}

impl Analyzer for TesseractAnalyzer {
    fn name(&self) -> &AnalyzerName {
        &self.options.name
    }

    fn kind(&self) -> &'static str {
        "ocr"
    }

    fn description(&self) -> String {
        format!(
            "Tesseract {}, {}, {} children",
            engine::version(),
            self.options.languages,
            self.options.children()
        )
    }

    fn slots(&self) -> usize {
        self.options.children()
    }

    async fn probe(&self) -> Result<Revision, Unavailable> {
        let (options, prefix) = (self.options.clone(), self.prefix.clone());
        let Found { folder, revision, data } =
            tokio::task::spawn_blocking(move || look(&options, prefix.as_deref()))
                .await
                .map_err(unavailable)?
                .map_err(unavailable)?;
        *self.data.lock().unwrap_or_else(PoisonError::into_inner) = Some(data);
        let pool = self
            .pool
            .get_or_init(async || {
                Arc::new(Pool::new(self.options.clone(), folder, self.metrics.clone()))
            })
            .await;
        pool.warm_up().await.map_err(unavailable)?;
        Ok(revision)
    }

    async fn analyze(&self, job: Job) -> Result<Answer, AnalyzeError> {
        let Some(pool) = self.pool.get() else {
            return Err(AnalyzeError {
                class: FailureClass::Outage,
                reason: "the OCR children have not been started".to_owned(),
                provenance: None,
            });
        };
        let asked = Instant::now();
        let transcript =
            pool.read(job.bytes, job.deadline).await.map_err(|error| self.error(&error))?;
        // Whatever a child says, it cannot have taken longer than its answer.
        job.meter.decoded(transcript.decoded.min(asked.elapsed()));
        let provenance = self.provenance(Some(&transcript));
        let hash = transcript.hash.clone();
        let outcome = outcome(transcript, &self.options.languages);
        Ok(Answer { outcome, provenance, hash })
    }
}

/// What a probe finds on the disk.
struct Found {
    folder: PathBuf,
    revision: Revision,
    /// The files of language data by name and hash: `eng 7d4322bd2a774972`.
    data: String,
}

/// Looks at the language data. Reads each file once (4 to 15 MB each).
fn look(options: &OcrOptions, prefix: Option<&Path>) -> Result<Found, data::DataError> {
    let languages = data::languages(&options.languages)?;
    let folder = data::folder(options.data_path.as_deref(), prefix)?;
    data::check(&folder, &languages)?;
    let mut builder = RevisionBuilder::new("ocr")
        .part("engine", format!("tesseract {}", engine::version()))
        .part("preprocessing", PREPROCESSING_VERSION)
        .part("languages", &options.languages)
        .part("page mode", format!("{:?}", options.page_mode))
        .part("frames", options.frames)
        .part("effort", format!("{:?}", options.effort))
        .part("sufficient", options.sufficient_confidence);
    let hashes = data::hashes(&folder, &languages)?;
    for (language, hash) in &hashes {
        builder = builder.part(&format!("data {language}"), hash);
    }
    let files: Vec<String> =
        hashes.iter().map(|(language, hash)| format!("{language} {hash}")).collect();
    Ok(Found { folder, revision: builder.build(), data: files.join(", ") })
}

fn outcome(transcript: Transcript, languages: &str) -> Outcome {
    if transcript.words.is_empty() && !transcript.partial {
        return Outcome::Empty;
    }
    Outcome::Done(Reading {
        text: transcript.text,
        confidence: transcript.confidence,
        words: transcript.words,
        flags: if transcript.partial { vec![Flag::Partial] } else { Vec::new() },
        languages: Some(languages.to_owned()),
        rotation: transcript.rotation,
        ..Reading::default()
    })
}

fn unavailable(error: impl std::error::Error + 'static) -> Unavailable {
    Unavailable { reason: chain(&error) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_read_is_empty_unless_the_deadline_came_first() {
        assert_eq!(outcome(Transcript::default(), "eng"), Outcome::Empty);
        let partial = Transcript { partial: true, ..Transcript::default() };
        assert!(matches!(
            outcome(partial, "eng"),
            Outcome::Done(reading) if reading.flags == [Flag::Partial]
        ));
    }
}
