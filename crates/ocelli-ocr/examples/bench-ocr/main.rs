//! Measures accuracy, cost and speed of reading, side by side with the plain `tesseract` command in the same run.
//!
//! `bench-ocr [OPTIONS] [FOLDER ...]`; `--help` says more. Folders hold images with a `.txt` of the same stem beside
//! each. Contenders take turns, round after round, so that a busy moment of the machine hits all of them.

mod clock;
mod contenders;
mod each;
mod memes;
mod pages;
mod report;
mod score;
mod sets;
mod steady;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};
use ocelli_ocr::data;

use contenders::{Arena, LOOP, run_loop};
use sets::Amounts;

/// Compares ocelli's reading with the plain `tesseract` command.
#[derive(Parser)]
#[command(name = "bench-ocr")]
struct Arguments {
    /// More images to read: each with a .txt of the same stem beside it.
    folders: Vec<PathBuf>,
    /// Children, and processes of the command line program (default: one per core).
    #[arg(long)]
    children: Option<usize>,
    /// Languages for all contenders.
    #[arg(long, default_value = "eng")]
    languages: String,
    /// Memes to draw.
    #[arg(long, default_value_t = 300)]
    memes: u64,
    /// Pages to draw, and as many turned ones.
    #[arg(long, default_value_t = 100)]
    pages: u64,
    /// Images of the speed comparison.
    #[arg(long, default_value_t = 500)]
    mixed: usize,
    /// Rounds of the speed comparison.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Languages for images with texts in several (default: all that are installed).
    #[arg(long)]
    all_languages: Option<String>,
    /// Only this section.
    #[arg(long)]
    section: Option<Section>,
    /// Images for the command line program without a thread limit, which may take ten times as long.
    #[arg(long, default_value_t = 60)]
    unlimited: usize,
    /// Reads so many images in one child and watches its memory, instead of comparing.
    #[arg(long, value_name = "IMAGES")]
    steady: Option<usize>,
    /// Prints image after image what was read by which pass, instead of comparing.
    #[arg(long)]
    each: bool,
    /// Keep only images whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Set by set: recall, precision, errors, cost.
    Accuracy,
    /// Over a mixture.
    Speed,
}

/// All language data that is installed, the given languages first.
fn installed(first: &str) -> Result<String> {
    let mut names: Vec<String> = first.split('+').map(str::to_owned).collect();
    for name in data::present(&data::folder(None, None)?) {
        // Orientation and script detection is no language.
        if name != "osd" && !names.contains(&name) {
            names.push(name);
        }
    }
    Ok(names.join("+"))
}

fn main() -> Result<ExitCode> {
    if let Some(code) = ocelli_ocr::run_if_child() {
        return Ok(code);
    }
    let raw: Vec<String> = std::env::args().collect();
    if raw.get(1).is_some_and(|first| first == LOOP) {
        run_loop(&raw[2..])?;
        return Ok(ExitCode::SUCCESS);
    }
    let arguments = Arguments::parse();
    let scratch = tempfile::tempdir()?;
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    let arena = Arena {
        children: arguments.children.unwrap_or(cores),
        languages: arguments.languages.clone(),
        scratch: scratch.path().to_owned(),
    };
    let amounts = Amounts { memes: arguments.memes, pages: arguments.pages };
    let mut sets = sets::collect(scratch.path(), amounts, &arguments.folders)?;
    for set in &mut sets {
        set.samples.retain(|sample| sample.path.to_string_lossy().contains(&arguments.only));
    }
    sets.retain(|set| !set.samples.is_empty());
    if arguments.each {
        each::print(&arena, &sets)?;
    } else if let Some(images) = arguments.steady {
        steady::watch(&arena, &sets, images)?;
    } else {
        if arguments.section != Some(Section::Speed) {
            let all = match arguments.all_languages {
                Some(given) => given,
                None => installed(&arguments.languages)?,
            };
            report::accuracy(&arena, &sets, &all)?;
        }
        if arguments.section != Some(Section::Accuracy) {
            let Arguments { mixed, rounds, unlimited, .. } = arguments;
            report::speed(&arena, &sets, mixed, rounds, unlimited)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}
