//! The tests with real programs, in the order in which they run.

mod alarms;
mod broker;
mod clocks;
mod cluster;
mod conformance;
mod consumers;
mod disk;
mod economy;
mod fleet;
mod lab;
mod links;
mod models;
mod poison;
mod processes;
mod refusals;
mod relay;
mod rolling;
mod row;
mod scale;
mod soak;

use std::time::Instant;

use lab::Lab;
use ocelli_testkit::program;
use row::{Fallible, Row};

pub(crate) use disk::full_disk;

/// Name, what is done, and how to run it.
macro_rules! tests {
    ($($name:literal $what:literal => $run:path),* $(,)?) => {
        const TESTS: &[(&str, &str)] = &[$(($name, $what)),*];

        async fn run_one(name: &str, lab: &Lab) -> Fallible<Row> {
            match name {
                $($name => $run(lab).await,)*
                _ => Err(format!("there is no test {name}").into()),
            }
        }
    };
}

tests! {
    "R1" "a random worker is killed (-9) every 2 s under load" => processes::workers_killed,
    "R2" "the collector is killed (-9) every 5 s under load" => processes::collector_killed,
    "R3" "the producer is killed (-9) in the middle and run again" => processes::producer_killed,
    "HALF" "everything is killed (-9) half way and started again" => economy::killed_half_way,
    "TEN" "the same folder is produced ten times" => economy::produced_ten_times,
    "R4" "a random broker node of three is killed (-9) every 8 s" => broker::nodes_killed,
    "R5" "the broker restarts, and is away for long" => broker::away,
    "R6" "links to the broker are cut, slow, and go dead without a word" => links::broken,
    "R7" "brokers that are silent, refuse, or have other queues" => refusals::refused,
    "R8" "memory alarm, disk alarm and a full queue" => alarms::raised,
    "R9" "queues and exchanges are deleted, jobs outlast consumer_timeout" => consumers::bereft,
    "R10" "the prefetch after a hundred reconnects" => consumers::prefetch,
    "R11" "3 % of the images crash their reader, hang or cannot be decoded" => poison::mixed,
    "R12" "the model server is away, broken, busy and endlessly slow" => models::away,
    "R13" "workers are told to stop (SIGTERM) 20 times under load" => processes::workers_stopped,
    "R14" "the disk under catalog and broker is full" => disk::filled,
    "R15" "PostgreSQL is stopped, killed and frozen under load" => processes::database_broken,
    "R18" "the conformance suites, again and again" => conformance::repeated,
    "R19" "clocks jump by an hour, messages come late, twice and in any order" => clocks::jump,
    "R21" "collector and workers go to the next version and back with a live queue" => rolling::update,
}

pub(crate) fn list() {
    for (name, what) in TESTS {
        println!("{name:<5} {what}");
    }
}

/// Measures how throughput grows with worker processes; with `ceiling` until something gives out.
pub(crate) fn scale(seconds: f64, ceiling: bool) -> Fallible<bool> {
    let lab = Lab::new(10.0, 0, false);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(scale::all(&lab, std::time::Duration::from_secs_f64(seconds), ceiling))
}

/// Keeps a fleet under load and breaks something now and then, for so long.
pub(crate) fn soak(hours: f64, seed: Option<u64>, keep: bool) -> Fallible<bool> {
    let lab = Lab::new(10.0, seed.unwrap_or(0), keep);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(soak::run(&lab, std::time::Duration::from_secs_f64(hours.max(0.01) * 3600.0)))
}

/// Runs all tests or the named ones. True when all passed.
pub(crate) fn run(minutes: f64, only: &[String], seed: Option<u64>, keep: bool) -> Fallible<bool> {
    for name in only {
        if !TESTS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(format!("there is no test {name}; see `ocelli-chaos list`").into());
        }
    }
    // The last bits of a fresh identifier are random.
    let seed = seed.unwrap_or_else(|| uuid::Uuid::now_v7().as_u64_pair().1 & 0xffff_ffff);
    let lab = Lab::new(minutes, seed, keep);
    let chosen = TESTS.iter().filter(|(name, _)| {
        only.is_empty() || only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    });
    // The servers end with the thread that starts them: this one, which stays in `block_on`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let started = Instant::now();
    let (mut ran, mut failed) = (0, Vec::new());
    println!("scaled to {} minutes (ten is the default), --seed {}", lab.minutes(), lab.seed());
    for (name, what) in chosen {
        let began = Instant::now();
        let row = runtime.block_on(run_one(name, &lab)).unwrap_or_else(|error| {
            Row::default().must(&format!("could not be run to its end: {error}"), false)
        });
        ran += 1;
        if !row.passed() {
            failed.push(*name);
        }
        row.print(name, what, began.elapsed(), &lab.take_kept());
    }
    let took = started.elapsed().as_secs_f64();
    println!(
        "{ran} tests, {} failed{}{}, {took:.0} s",
        failed.len(),
        if failed.is_empty() { "" } else { ": " },
        failed.join(" ")
    );
    Ok(failed.is_empty())
}
