//! `ocelli-producer`: lists sources and enqueues what the archive still needs.

use std::ffi::OsString;

use clap::Parser;
use ocelli_producer::{ProducerOptions, Source, role};
use ocelli_runtime::ExitCode;
use ocelli_wiring::{CommonArgs, Fault, Process, parse, start};

/// Enqueues images for the workers: lists folders, files, URLs and manifests, and publishes what is still needed. Run
/// again over the same sources, it enqueues only what is missing.
#[derive(Parser)]
#[command(name = "ocelli-producer", version)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    /// Folders, image files, URLs, buckets (s3://BUCKET/PREFIX/), archives, manifests (.ndjson, .csv, .parquet, .txt), or - for standard input.
    #[arg(required = true, value_name = "SOURCE")]
    sources: Vec<OsString>,
    /// Name of this batch.
    #[arg(long, value_name = "NAME")]
    batch: Option<String>,
    /// Read every file, also those that look as they did when they were read last.
    #[arg(long)]
    verify: bool,
}

fn main() -> std::process::ExitCode {
    let Arguments { common, sources, batch, verify } = parse();
    start("ocelli-producer", &common, |process| produce(process, sources, batch, verify))
}

async fn produce(
    process: Process,
    arguments: Vec<OsString>,
    batch: Option<String>,
    verify: bool,
) -> Result<(Process, ExitCode), Fault> {
    let sources = arguments.iter().map(|argument| {
        Source::parse(argument).map_err(|error| {
            Fault::new(ExitCode::Usage, format!("{error}\nhint: {}", error.hint()))
        })
    });
    let sources = sources.collect::<Result<Vec<_>, _>>()?;
    let mut options = ProducerOptions::from_settings(&process.settings)?;
    options.batch_name = batch;
    options.skip_unchanged &= !verify;
    options.exclude_dirs.push(process.settings.data.dir.clone());
    let produced = role::produce(&process, sources, options).await?;
    produced.say();
    Ok((process, produced.exit_code()))
}
