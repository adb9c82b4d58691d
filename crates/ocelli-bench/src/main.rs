//! `ocelli-bench`: ocelli beside its ceilings and beside what people would use instead. Development only, see `make bench`.
//!
//! It drives the built programs as processes, on a RabbitMQ and a PostgreSQL of its own whose disks are real: what is
//! confirmed or committed is on them. The contenders of a row take turns, round after round, so that a busy moment of the
//! machine hits all of them; the first round warms up and does not count. After every round it is checked that the work was
//! done: a figure without its records is no figure.
//!
//! Absent on purpose: thresholds that fail a build. A shared machine is no judge; the report says what was reached, and a
//! person compares it with the goal beside it.

mod bare;
mod chart;
mod cpu;
mod fleet;
mod lab;
mod machine;
mod markdown;
mod peer;
mod report;
mod rows;
mod series;
mod stored;
mod texts;

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Parser;

use crate::lab::{Fallible, Lab};
use crate::report::Report;

/// Measures ocelli beside its ceilings and its peers.
#[derive(Debug, Parser)]
#[command(name = "ocelli-bench", version)]
struct Arguments {
    /// Only these rows, in this order.
    #[arg(long, value_delimiter = ',', value_name = "ROWS")]
    only: Vec<String>,
    /// Rounds that count; one more warms up.
    #[arg(long, default_value_t = 5)]
    rounds: u32,
    /// Scales how much is done in a round: 10 takes ten times as many images.
    #[arg(long, default_value_t = 1.0)]
    size: f64,
    /// As many records and images as the goals name (1,000,000 before growth, 100,000 for memory, 500 for OCR): about half an hour more.
    #[arg(long)]
    whole: bool,
    /// Where the programs are (default: beside this one).
    #[arg(long, value_name = "DIR")]
    programs: Option<PathBuf>,
    /// A Python that has the peers (deploy/local/peers.sh); without it rows have no peers.
    #[arg(long, value_name = "FILE")]
    python: Option<PathBuf>,
    /// Where the report goes; rows that are not measured now stay in it.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    out: PathBuf,
    /// Also write the report's tables and chart into this folder: BENCHMARKS.md and images/benchmarks.svg.
    #[arg(long, value_name = "DIR")]
    publish: Option<PathBuf>,
    /// List the rows.
    #[arg(long)]
    list: bool,
}

fn main() -> ExitCode {
    match run(&Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: &Arguments) -> Fallible<()> {
    if arguments.list {
        for (name, what) in rows::ROWS {
            println!("{name:<10} {what}");
        }
        return Ok(());
    }
    for name in &arguments.only {
        if !rows::ROWS.iter().any(|(known, _)| known == name) {
            return Err(format!("there is no row '{name}'; see `ocelli-bench --list`").into());
        }
    }
    let lab = Lab::new(
        arguments.programs.clone(),
        arguments.python.clone(),
        arguments.rounds,
        arguments.size,
        arguments.whole,
    )?;
    std::fs::create_dir_all(&arguments.out)?;
    let mut report = Report::load(&arguments.out, &lab)?;
    // The servers and programs end with the thread that starts them: this one, which stays in `block_on`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let chosen = rows::ROWS.iter().filter(|(name, _)| {
        arguments.only.is_empty() || arguments.only.iter().any(|wanted| wanted == name)
    });
    let mut failed = Vec::new();
    for (name, what) in chosen {
        eprintln!("{name}: {what}");
        match runtime.block_on(rows::measure(name, &lab)) {
            Ok(row) => {
                row.print();
                report.put(name, what, row, &lab);
                report.save(&arguments.out)?;
            }
            Err(error) => failed.push(format!("{name}: {error}")),
        }
    }
    if let Some(folder) = &arguments.publish {
        markdown::publish(&report, folder)?;
    }
    if failed.is_empty() { Ok(()) } else { Err(failed.join("\n").into()) }
}
