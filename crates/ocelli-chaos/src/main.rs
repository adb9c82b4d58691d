//! `ocelli-chaos`: damages a running fleet and counts what it cost. Development only, see `make chaos`.
//!
//! `run` starts the built programs beside it on a RabbitMQ and a PostgreSQL of its own; nothing outside of its temporary
//! folders and the loopback address is touched. `simulate` runs seeds of the simulation. `null-worker` is a worker whose
//! analyzer reads nothing: what is measured is the way to it and back. `next-worker` and `next-producer` stand for the
//! programs of the next version, whose messages carry more.

mod chaos;
mod next;
mod null;
mod readers;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use ocelli_chaos::simulation;
use ocelli_runtime::settings::Kind;
use ocelli_wiring::{CommonArgs, Fault, start, workers::work};

const NULL_WORKER: &str = "ocelli-null-worker";

#[derive(Parser)]
#[command(
    name = "ocelli-chaos",
    about = "Damages a running fleet and counts what it cost",
    version
)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Run the tests with real programs, RabbitMQ and PostgreSQL; prints one row each, exit code 1 if one fails.
    Run {
        /// About how long all tests together may take; the numbers scale with it.
        #[arg(long, default_value_t = 10.0)]
        minutes: f64,
        /// Only these tests: R1,R4
        #[arg(long, value_delimiter = ',', value_name = "TESTS")]
        only: Vec<String>,
        /// Repeats the choices of another run (which process dies when); a run prints its own.
        #[arg(long)]
        seed: Option<u64>,
        /// Keep settings and logs of tests that passed, too.
        #[arg(long)]
        keep: bool,
    },
    /// List the tests.
    List,
    /// Run seeds of the simulation.
    Simulate {
        /// How many, beginning with 0.
        #[arg(long, default_value_t = 2000)]
        seeds: u64,
        /// Only this one, with what it came to.
        #[arg(long, conflicts_with = "seeds")]
        seed: Option<u64>,
    },
    /// Measure throughput with 1 to 32 worker processes whose analyses take 100 ms; prints a table, exit code 1 when it does
    /// not grow as it should.
    Scale {
        /// How long each fleet is measured.
        #[arg(long, default_value_t = 6.0)]
        seconds: f64,
        /// Also with more slots, until something gives out.
        #[arg(long)]
        ceiling: bool,
    },
    /// Keep a fleet at seven tenths of its load, break something every now and then, and watch whether anything grows; prints a
    /// row, exit code 1 when something was lost or grew.
    Soak {
        /// How long.
        #[arg(long, default_value_t = 1.0)]
        hours: f64,
        /// Repeats the choices of another run.
        #[arg(long)]
        seed: Option<u64>,
        /// Keep settings and logs also when it passed.
        #[arg(long)]
        keep: bool,
    },
    /// A worker that reads nothing, for load.
    NullWorker(NullArguments),
    /// A worker of the next version, that reads nothing either.
    NextWorker {
        #[command(flatten)]
        common: CommonArgs,
    },
    /// A producer of the next version: enqueues a folder.
    NextProducer {
        #[command(flatten)]
        common: CommonArgs,
        /// What to enqueue.
        folder: PathBuf,
    },
    /// The test with a full disk, inside of the mount namespace that has the disk.
    #[command(hide = true)]
    FullDisk {
        #[arg(long)]
        minutes: f64,
    },
}

#[derive(clap::Args)]
struct NullArguments {
    #[command(flatten)]
    common: CommonArgs,
    #[command(flatten)]
    pace: null::Pace,
    #[command(flatten)]
    mischief: null::Mischief,
    /// A folder; each process writes one line per analysis it begins into a file of its own there. Nowhere without it.
    #[arg(long)]
    calls: Option<PathBuf>,
}

fn main() -> ExitCode {
    // A reader is a child of a null worker: no command line, no runtime.
    if std::env::args_os().nth(1).is_some_and(|word| word == readers::READER) {
        return readers::reader();
    }
    match Arguments::parse().command {
        Subcommands::Run { minutes, only, seed, keep } => {
            ended(chaos::run(minutes, &only, seed, keep))
        }
        Subcommands::List => {
            chaos::list();
            ExitCode::SUCCESS
        }
        Subcommands::Scale { seconds, ceiling } => ended(chaos::scale(seconds, ceiling)),
        Subcommands::Soak { hours, seed, keep } => ended(chaos::soak(hours, seed, keep)),
        Subcommands::Simulate { seeds, seed } => simulate(seeds, seed),
        Subcommands::NullWorker(arguments) => null_worker(arguments),
        Subcommands::NextWorker { common } => next::worker(&common),
        Subcommands::NextProducer { common, folder } => next::producer(&common, &folder),
        Subcommands::FullDisk { minutes } => ended(chaos::full_disk(minutes).map(|()| true)),
    }
}

fn ended(result: Result<bool, Box<dyn std::error::Error + Send + Sync>>) -> ExitCode {
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::from(2)
        }
    }
}

fn simulate(seeds: u64, only: Option<u64>) -> ExitCode {
    if let Some(seed) = only {
        let report = simulation::run(seed, None);
        println!("{report:#?}");
        return ExitCode::from(u8::from(!report.violations.is_empty()));
    }
    let started = std::time::Instant::now();
    let (mut broken, mut images, mut calls, mut kills) = (0_u64, 0, 0, 0);
    for seed in 0..seeds {
        let report = simulation::run(seed, None);
        images += report.accepted;
        calls += report.calls;
        kills += report.kills;
        if !report.violations.is_empty() {
            broken += 1;
            println!("seed {seed} (trace {:016x}):", report.trace);
            for violation in &report.violations {
                println!("  {violation}");
            }
        }
    }
    println!(
        "{seeds} seeds, {images} images, {calls} analyses, {kills} kills, {broken} seeds with a broken promise, {:.1} s",
        started.elapsed().as_secs_f64()
    );
    ExitCode::from(u8::from(broken > 0))
}

fn null_worker(arguments: NullArguments) -> ExitCode {
    let NullArguments { common, pace, mischief, calls } = arguments;
    start(NULL_WORKER, &common, async |process| {
        work(process, NULL_WORKER, Kind::Ocr, &[], |_, configured| {
            null::Null::new(configured, pace, mischief, calls.as_deref())
                .map_err(|message| Fault::new(ocelli_runtime::ExitCode::Usage, message))
        })
        .await
    })
}
