//! `ocelli-samples FOLDER`: draws the sample images that are not there yet.

use std::path::PathBuf;

use clap::Parser;

/// Draw ocelli's sample images into a folder. Files that are there already are kept.
#[derive(Parser)]
#[command(name = "ocelli-samples", version)]
struct Arguments {
    /// The folder; made when missing.
    folder: PathBuf,
    /// Print what text each image holds instead of drawing, as tab-separated lines.
    #[arg(long)]
    truth: bool,
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    if arguments.truth {
        for sample in ocelli_samples::samples() {
            println!(
                "{}\t{}",
                arguments.folder.join(sample.file).display(),
                sample.truth.join(" ")
            );
        }
        return Ok(());
    }
    let drawn = ocelli_samples::draw(&arguments.folder)?;
    if drawn.written > 0 {
        eprintln!("drew {} sample images into {}", drawn.written, arguments.folder.display());
    }
    Ok(())
}
