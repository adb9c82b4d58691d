//! The tests with real programs, in the order in which they run.

mod broker;
mod cluster;
mod economy;
mod fleet;
mod links;
mod models;
mod poison;
mod processes;
mod program;
mod refusals;
mod relay;
mod row;

use std::time::{Duration, Instant};

use row::{Fallible, Row};

/// Scale of a run and what its tests share.
pub(crate) struct Lab {
    minutes: f64,
    keep: bool,
}

impl Lab {
    /// So many images at ten minutes, in proportion otherwise, and never fewer than `least`: below that the test no
    /// longer shows what it is for.
    fn images(&self, at_ten_minutes: u64, least: u64) -> u64 {
        let scaled = at_ten_minutes as f64 * self.minutes / 10.0;
        (scaled as u64).max(least)
    }

    /// So long at ten minutes, in proportion otherwise, and never shorter than `least`.
    fn lasting(&self, at_ten_minutes: Duration, least: Duration) -> Duration {
        at_ten_minutes.mul_f64(self.minutes / 10.0).max(least)
    }
}

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
    "R1" "a worker is killed (-9) every 2 s, in turn, under load" => processes::workers_killed,
    "R2" "the collector is killed (-9) every 5 s under load" => processes::collector_killed,
    "R3" "the producer is killed (-9) early and run again" => processes::producer_killed,
    "HALF" "everything is killed (-9) half way and started again" => economy::killed_half_way,
    "TEN" "the same folder is produced ten times" => economy::produced_ten_times,
    "R4" "a broker node of three is killed (-9) every 8 s, in turn" => broker::nodes_killed,
    "R5" "the broker is away for a while" => broker::away,
    "R6" "links to the broker are cut, and go dead without a word" => links::broken,
    "R7" "brokers that are silent, refuse or lack the virtual host" => refusals::refused,
    "R8" "memory and disk alarm of the broker under load" => broker::alarms,
    "R11" "3 % of the images crash, hang or cannot be decoded" => poison::mixed,
    "R12" "the model server is away, then broken, then busy" => models::away,
    "R13" "workers are told to stop (SIGTERM) 20 times under load" => processes::workers_stopped,
    "R15" "PostgreSQL is stopped, killed and frozen under load" => processes::database_broken,
}

pub(crate) fn list() {
    for (name, what) in TESTS {
        println!("{name:<5} {what}");
    }
}

/// Runs all tests or the named ones. True when all passed.
pub(crate) fn run(minutes: f64, only: &[String], keep: bool) -> Fallible<bool> {
    for name in only {
        if !TESTS.iter().any(|(known, _)| known.eq_ignore_ascii_case(name)) {
            return Err(format!("there is no test {name}; see `ocelli-chaos list`").into());
        }
    }
    let lab = Lab { minutes: minutes.clamp(0.5, 600.0), keep };
    let chosen = TESTS.iter().filter(|(name, _)| {
        only.is_empty() || only.iter().any(|wanted| wanted.eq_ignore_ascii_case(name))
    });
    // The servers end with the thread that starts them: this one, which stays in `block_on`.
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let started = Instant::now();
    let (mut ran, mut failed) = (0, 0);
    println!("scaled to {} minutes; ten are the figures of the full run", lab.minutes);
    for (name, what) in chosen {
        let began = Instant::now();
        let row = runtime.block_on(run_one(name, &lab)).unwrap_or_else(|error| {
            Row::default().must(&format!("could not be run to its end: {error}"), false)
        });
        ran += 1;
        failed += usize::from(!row.passed());
        row.print(name, what, began.elapsed());
    }
    println!("{ran} tests, {failed} failed, {:.0} s", started.elapsed().as_secs_f64());
    Ok(failed == 0)
}
