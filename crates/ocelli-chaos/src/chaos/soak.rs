//! `ocelli-chaos soak`: a fleet at seven tenths of what it can do, for hours, while something breaks every now and then. What
//! a short run cannot show: whether memory, open files or waiting work grow.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use rustix::process::Signal;

use super::fleet::{ANALYZERS, Fleet, SLOTS};
use super::lab::{Chance, Lab};
use super::processes::{PATIENCE, WORKERS};
use super::program::Program;
use super::relay::Relay;
use super::row::{Fallible, Row};

/// What an analysis takes: so that the cores are not what limits the fleet.
const LATENCY: Duration = Duration::from_millis(200);
/// Of what the slots can do.
const LOAD: f64 = 0.7;
/// A folder is produced so often.
const STEP: Duration = Duration::from_secs(5);
/// Something breaks so often.
const FAULT: Duration = Duration::from_secs(45);
/// No job waits longer, whatever breaks.
const OLDEST: Duration = Duration::from_secs(60);
/// Folders that stay: what a worker may still have to fetch is in them.
const KEPT: u64 = 60;
/// By how much memory may grow from the second quarter to the last, and by how many files.
const GROWTH: f64 = 1.05;
const FILES: usize = 8;

/// The programs; the first of each kind is left alone, and it is the one that is watched.
struct Programs {
    collectors: Vec<Program>,
    workers: Vec<Program>,
}

/// One look at what is watched.
struct Look {
    collector: (u64, usize),
    worker: (u64, usize),
}

impl Programs {
    fn look(&self) -> Look {
        let of = |program: &Program| (program.resident(), program.size().1);
        Look { collector: of(&self.collectors[0]), worker: of(&self.workers[0]) }
    }

    /// Breaks one thing and puts another in its place.
    async fn harm(&mut self, fleet: &Fleet, relay: &Relay, chance: &mut Chance) -> Fallible<()> {
        match chance.below(4) {
            0 => {
                let victim = 1 + chance.pick(self.workers.len() - 1);
                self.workers[victim].kill();
                self.workers[victim] = fleet.null_worker()?;
            }
            1 => {
                let victim = 1 + chance.pick(self.workers.len() - 1);
                self.workers[victim].signal(Signal::TERM);
                // One that does not end in time is killed when it is replaced.
                let _code = self.workers[victim].ended(Duration::from_secs(20)).await;
                self.workers[victim] = fleet.null_worker()?;
            }
            2 => {
                self.collectors[1].kill();
                self.collectors[1] = fleet.collector()?;
            }
            _ => relay.cut(),
        }
        Ok(())
    }
}

/// Runs for so long, prints a row. True when nothing was lost and nothing grew.
pub(super) async fn run(lab: &Lab, lasting: Duration) -> Fallible<bool> {
    let row = soaked(lab, lasting).await?;
    row.print(
        "SOAK",
        "seven tenths of the load, with a fault every 45 s",
        lasting,
        &lab.take_kept(),
    );
    Ok(row.passed())
}

async fn soaked(lab: &Lab, lasting: Duration) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let upstream = vhost.url.split('@').nth(1).and_then(|rest| rest.split('/').next());
    let relay = Relay::start(vec![upstream.ok_or("a URL without a host")?.parse()?]).await?;
    let mut fleet = Fleet::null(lab, &format!("{}/{}", relay.url(), vhost.vhost)).await?;
    fleet.mischief.extend(["--latency".to_owned(), LATENCY.as_millis().to_string()]);
    let capacity = (WORKERS as u64 * SLOTS) as f64 / LATENCY.as_secs_f64();
    let each = (capacity * LOAD * STEP.as_secs_f64()) as u64;
    let mut programs = Programs {
        collectors: vec![fleet.collector()?, fleet.collector()?],
        workers: fleet.workers(WORKERS)?,
    };
    fleet.consumed_by(WORKERS as u64, PATIENCE).await?;
    let (mut chance, started) = (lab.chance("SOAK"), Instant::now());
    let (mut looks, mut images, mut faults, mut oldest) = (Vec::new(), 0, 0, Duration::ZERO);
    while started.elapsed() < lasting {
        let begun = Instant::now();
        let number = images / each;
        fleet.more(&number.to_string(), images..images + each)?;
        // Through the relay as everything: a cut in the middle of it is mended.
        fleet.produce_from(&number.to_string()).await?;
        images += each;
        if let Some(old) = number.checked_sub(KEPT) {
            std::fs::remove_dir_all(fleet.path("in").join(old.to_string()))?;
        }
        if started.elapsed() > FAULT * (faults + 1) {
            programs.harm(&fleet, &relay, &mut chance).await?;
            faults += 1;
        }
        looks.push(programs.look());
        oldest = oldest.max(waits(&fleet).await?);
        tokio::time::sleep(STEP.saturating_sub(begun.elapsed())).await;
    }
    let took = fleet.finishes(images, PATIENCE).await?;
    let row = Row::default()
        .took("lasted", started.elapsed())
        .figure("images/s", format!("{:.0}", images as f64 / started.elapsed().as_secs_f64()))
        .figure("of", format!("{capacity:.0} at most"))
        .figure("faults", faults)
        .within("the oldest open job", oldest, OLDEST)
        .took("drained in", took);
    let row = grown(row, "collector", &looks, |look| look.collector);
    let row = grown(row, "worker", &looks, |look| look.worker);
    fleet.verdict(row, images, ANALYZERS).await
}

/// How long the oldest open job has been waiting.
async fn waits(fleet: &Fleet) -> Fallible<Duration> {
    let oldest = fleet.catalog.oldest_open().await?.into_values().min();
    let waited = oldest.map(|at| Timestamp::now().duration_since(at));
    Ok(waited.and_then(|waited| waited.try_into().ok()).unwrap_or_default())
}

/// Memory and files of the last quarter beside the second: in the first, everything is used for the first time.
fn grown(row: Row, name: &str, looks: &[Look], of: impl Fn(&Look) -> (u64, usize)) -> Row {
    let quarter = looks.len() / 4;
    let (second, last) = (&looks[quarter..2 * quarter], &looks[3 * quarter..]);
    let memory = |part: &[Look]| {
        part.iter().map(|look| of(look).0 as f64 / 1e6).sum::<f64>() / part.len().max(1) as f64
    };
    let files = |part: &[Look]| part.iter().map(|look| of(look).1).max().unwrap_or(0);
    let ((before, after), (few, many)) =
        ((memory(second), memory(last)), (files(second), files(last)));
    row.figure(&format!("memory of a {name}"), format!("{before:.1} to {after:.1} MB"))
        .figure(&format!("its files {few} to"), many)
        .must(&format!("the memory of a {name} stays"), after <= before * GROWTH)
        .must(&format!("the files of a {name} stay"), many <= few + FILES)
}
