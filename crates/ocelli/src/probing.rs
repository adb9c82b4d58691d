//! The revision that an analyzer of this machine would answer with now: without a fleet nobody announces it before it is asked.

use std::time::Duration;

use ocelli_core::{AnalyzerName, Revision};
use ocelli_llm::{LlmAnalyzer, LlmMetrics, LlmOptions, Preparation};
use ocelli_ocr::{OcrMetrics, OcrOptions, TesseractAnalyzer};
use ocelli_runtime::settings::Reader;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use ocelli_worker::Analyzer;

/// How long an analyzer may take to say.
const PATIENCE: Duration = Duration::from_secs(20);

/// Asks. The inner error says why it cannot work.
///
/// # Errors
/// When its settings are wrong.
pub(crate) async fn revision(
    settings: &Settings,
    name: &AnalyzerName,
) -> Result<Result<Revision, String>, Fault> {
    let Some(configured) = settings.analyzer(name) else {
        return Ok(Err("it is not in the settings".to_owned()));
    };
    // Nobody asks this process for its numbers.
    let registry = prometheus::Registry::new();
    let usage = |message: String| Fault::new(ExitCode::Usage, message);
    match &configured.reader {
        Reader::Ocr(_) => {
            let options = OcrOptions::from_settings(settings, configured).map_err(usage)?;
            probe(&TesseractAnalyzer::new(options, OcrMetrics::register(&registry)?)).await
        }
        Reader::Llm(_) => {
            let options = LlmOptions::from_settings(settings, configured).map_err(usage)?;
            let preparation = Preparation::from_settings(settings);
            let metrics = LlmMetrics::register(&registry)?;
            let analyzer = LlmAnalyzer::new(options, preparation, &metrics)
                .map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
            probe(&analyzer).await
        }
    }
}

async fn probe(analyzer: &impl Analyzer) -> Result<Result<Revision, String>, Fault> {
    Ok(match tokio::time::timeout(PATIENCE, analyzer.probe()).await {
        Ok(answer) => answer.map_err(|unavailable| unavailable.reason),
        Err(_) => Err(format!("no answer within {} s", PATIENCE.as_secs())),
    })
}
