//! `ocelli-llm-worker`: takes images from the queue, asks vision models about them, publishes the answers.

use clap::Parser;
use ocelli_core::AnalyzerName;
use ocelli_llm::{LlmAnalyzer, LlmMetrics, LlmOptions, Preparation};
use ocelli_runtime::ExitCode;
use ocelli_runtime::settings::Kind;
use ocelli_wiring::{CommonArgs, Fault, parse, start, workers::work};

const NAME: &str = "ocelli-llm-worker";

/// Asks vision models about images: takes jobs from RabbitMQ and publishes partial results. Start as many as you like.
#[derive(Parser)]
#[command(name = NAME, version)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    /// Only this analyzer of kind 'llm'; may be given several times (default: all that are switched on).
    #[arg(long, value_name = "NAME")]
    analyzer: Vec<AnalyzerName>,
}

fn main() -> std::process::ExitCode {
    let Arguments { common, analyzer: only } = parse();
    start(NAME, &common, async |process| {
        let metrics = LlmMetrics::register(&process.registry)?;
        let preparation = Preparation::from_settings(&process.settings);
        work(process, NAME, Kind::Llm, &only, |settings, configured| {
            let options = LlmOptions::from_settings(settings, configured)
                .map_err(|message| Fault::new(ExitCode::Usage, message))?;
            LlmAnalyzer::new(options, preparation.clone(), &metrics)
                .map_err(|error| Fault::caused(ExitCode::Usage, &error))
        })
        .await
    })
}
