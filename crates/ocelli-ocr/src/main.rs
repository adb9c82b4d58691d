//! `ocelli-ocr-worker`: takes images from the queue, reads them with Tesseract, publishes what it read.

use clap::Parser;
use ocelli_core::AnalyzerName;
use ocelli_ocr::{OcrMetrics, OcrOptions, TesseractAnalyzer};
use ocelli_runtime::ExitCode;
use ocelli_runtime::settings::Kind;
use ocelli_wiring::{CommonArgs, Fault, parse, start, workers::work};

const NAME: &str = "ocelli-ocr-worker";

/// Reads images with Tesseract: takes jobs from RabbitMQ and publishes partial results. Start as many as you like.
#[derive(Parser)]
#[command(name = NAME, version)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    /// Only this analyzer of kind 'ocr'; may be given several times (default: all that are switched on).
    #[arg(long, value_name = "NAME")]
    analyzer: Vec<AnalyzerName>,
}

fn main() -> std::process::ExitCode {
    // A reader child is this same program, started again: it must not parse a command line or start a runtime.
    if let Some(code) = ocelli_ocr::run_if_child() {
        return code;
    }
    let Arguments { common, analyzer: only } = parse();
    start(NAME, &common, async |process| {
        let metrics = OcrMetrics::register(&process.registry)?;
        work(process, NAME, Kind::Ocr, &only, |settings, configured| {
            let options = OcrOptions::from_settings(settings, configured)
                .map_err(|message| Fault::new(ExitCode::Usage, message))?;
            Ok(TesseractAnalyzer::new(options, metrics.clone()))
        })
        .await
    })
}
