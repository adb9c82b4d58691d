//! `ocelli-producer`: lists sources and enqueues what the archive still needs.

use clap::Parser;
use ocelli_producer::role;
use ocelli_runtime::ExitCode;
use ocelli_wiring::{CommonArgs, Fault, Process, SourceArgs, parse, start};

/// Enqueues images for the workers: lists folders, files, URLs and manifests, and publishes what is still needed. Run
/// again over the same sources, it enqueues only what is missing.
#[derive(Parser)]
#[command(name = "ocelli-producer", version)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    sources: SourceArgs,
    /// Stay, and enqueue new files as they appear in the folders.
    #[arg(long)]
    watch: bool,
}

fn main() -> std::process::ExitCode {
    let Arguments { common, sources, watch } = parse();
    start("ocelli-producer", &common, |process| produce(process, sources, watch))
}

async fn produce(
    process: Process,
    arguments: SourceArgs,
    watch: bool,
) -> Result<(Process, ExitCode), Fault> {
    let sources = role::sources(&arguments)?;
    let options = role::options(&process.settings, &arguments)?;
    let produced = role::produce(&process, sources, options, watch).await?;
    produced.say();
    Ok((process, produced.exit_code()))
}
