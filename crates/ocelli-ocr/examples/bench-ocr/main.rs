//! Measures accuracy, cost and speed of reading, side by side with the plain `tesseract` command in the same run.
//!
//! `bench-ocr [OPTIONS] [FOLDER ...]`; `--help` says more. Folders hold images with a `.txt` of the same stem beside
//! each. Contenders take turns, round after round, so that a busy moment of the machine hits all of them.

mod clock;
mod contenders;
mod each;
mod languages;
mod memes;
mod pages;
mod report;
mod scenes;
mod score;
mod sets;
mod speed;
mod steady;

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, ValueEnum};

use contenders::{Arena, LOOP, run_loop};
use sets::Wanted;

/// Compares ocelli's reading with the plain `tesseract` command.
#[derive(Parser)]
#[command(name = "bench-ocr")]
struct Arguments {
    /// More images to read: each with a .txt of the same stem beside it.
    folders: Vec<PathBuf>,
    /// Only these sections, in this order.
    #[arg(long = "section", value_enum, value_delimiter = ',', default_values_t = [Section::Accuracy, Section::Memory, Section::Speed])]
    sections: Vec<Section>,
    /// Only these sets: memes, pages, turned, photographs, screens, others, or the name of a folder.
    #[arg(long = "set", value_delimiter = ',')]
    sets: Vec<String>,
    /// Keep only images whose name holds this.
    #[arg(long, default_value = "")]
    only: String,
    /// Children, and processes of the command line program (default: one per core).
    #[arg(long)]
    children: Option<usize>,
    /// Languages for all contenders.
    #[arg(long, default_value = "eng")]
    languages: String,
    /// Draws other pictures. Those of the default were never tuned on.
    #[arg(long, default_value_t = sets::HELD_OUT)]
    seed: u64,
    /// Memes to draw.
    #[arg(long, default_value_t = 300)]
    memes: u64,
    /// Pages to draw, as many turned ones, and as many photographs without text.
    #[arg(long, default_value_t = 100)]
    pages: u64,
    /// Screens to draw, and twice as many of other kinds.
    #[arg(long, default_value_t = 24)]
    screens: u64,
    /// Images of the speed comparison.
    #[arg(long, default_value_t = 500)]
    mixed: usize,
    /// Rounds of the speed comparison.
    #[arg(long, default_value_t = 1)]
    rounds: usize,
    /// Contenders of the speed comparison (default: all).
    #[arg(long = "contender", value_enum, value_delimiter = ',')]
    contenders: Vec<speed::Contender>,
    /// Images of it for the command line program without a thread limit, which may take ten times as long; it is compared
    /// with a pool that reads the same ones.
    #[arg(long, default_value_t = 60)]
    unlimited: usize,
    /// Images that one child reads while its memory is watched: a leak of a few bytes for each shows only in thousands.
    #[arg(long, default_value_t = 5_000)]
    steady: usize,
    /// Keeps the drawn pictures and their texts in this folder.
    #[arg(long)]
    keep: Option<PathBuf>,
}

/// What is compared.
#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Section {
    /// Set by set: recall, precision, errors, cost.
    Accuracy,
    /// Memory of a child on one set after the other.
    Memory,
    /// Over a mixture.
    Speed,
    /// Image by image: the scores of both.
    Images,
    /// Image by image: what was read by which pass.
    Passes,
    /// Nothing: with --keep, the pictures are only drawn.
    Draw,
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
    let wanted = Wanted {
        seed: arguments.seed,
        memes: arguments.memes,
        pages: arguments.pages,
        screens: arguments.screens,
        folders: &arguments.folders,
        sets: &arguments.sets,
        only: &arguments.only,
    };
    let folder = arguments.keep.clone().unwrap_or_else(|| scratch.path().join("images"));
    let sets = sets::collect(&folder, &wanted)?;
    if arguments.keep.is_some() {
        for sample in sets.iter().filter(|set| !set.found).flat_map(|set| &set.samples) {
            std::fs::write(sample.path.with_extension("txt"), &sample.truth)?;
        }
    }
    for section in &arguments.sections {
        match section {
            Section::Accuracy => report::accuracy(&arena, &sets)?,
            Section::Images => report::images(&arena, &sets)?,
            Section::Passes => each::print(&arena, &sets)?,
            Section::Draw => {}
            Section::Memory => steady::watch(&arena, &sets, arguments.steady)?,
            Section::Speed => {
                let Arguments { mixed, rounds, unlimited, contenders, .. } = &arguments;
                let amounts =
                    speed::Amounts { mixed: *mixed, rounds: *rounds, unlimited: *unlimited };
                speed::compare(&arena, &sets, amounts, contenders)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}
