//! `ocelli-chaos scale`: how throughput grows with worker processes, and what gives out first.
//!
//! Every analysis takes 100 ms and no processor time, so what is measured is everything around it: the broker, the pipe,
//! the catalog. The jobs lie in their queue before the workers start; a window of some seconds is measured once all of
//! them consume.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::time::{Duration, Instant};

use ocelli_broker::{Broker, RabbitOptions};
use ocelli_core::routing::Queue;
use ocelli_testkit::servers::RabbitmqServer;
use rustix::process::Signal;

use super::fleet::Fleet;
use super::lab::Lab;
use super::program::Program;
use super::row::{Fallible, Row};

/// What an analysis takes.
const LATENCY: Duration = Duration::from_millis(100);
/// What starting all processes may take, on a machine that is busy with them.
const PATIENCE: Duration = Duration::from_secs(90);
/// Processes measured one after the other; linear up to here is asked for.
const PROCESSES: [u64; 6] = [1, 2, 4, 8, 16, 32];
const LINEAR_TO: u64 = 16;
const LINEAR: f64 = 0.95;
/// Slots of each of 32 processes, to find out what gives out first.
const SLOTS: [u64; 3] = [2, 4, 8];
/// Kernel clock ticks in a second (proc(5): `sysconf(_SC_CLK_TCK)`, 100 on every Linux of the last decades).
const TICKS: f64 = 100.0;

/// One measured fleet.
struct Measured {
    processes: u64,
    slots: u64,
    /// Jobs a second.
    rate: f64,
    /// Processor cores in use, by program.
    cores: BTreeMap<&'static str, f64>,
}

impl Measured {
    /// What the analyses alone would allow.
    fn ideal(&self) -> f64 {
        (self.processes * self.slots) as f64 / LATENCY.as_secs_f64()
    }

    fn print(&self) {
        let cores = |name| self.cores.get(name).copied().unwrap_or(0.0);
        println!(
            "| {} | {} | {:.0} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} |",
            self.processes,
            self.slots,
            self.rate,
            self.rate / self.ideal(),
            cores("workers"),
            cores("collector"),
            cores("RabbitMQ"),
            cores("PostgreSQL"),
        );
    }
}

/// Measures all, prints a table in Markdown. True when it grew as it should.
pub(super) async fn all(lab: &Lab, window: Duration, ceiling: bool) -> Fallible<bool> {
    println!(
        "| processes | slots each | jobs/s | of ideal | cores: workers | collector | RabbitMQ | PostgreSQL |"
    );
    println!("|---|---|---|---|---|---|---|---|");
    let mut linear = true;
    for processes in PROCESSES {
        let measured = measure(lab, processes, 1, window).await?;
        measured.print();
        linear &= processes > LINEAR_TO || measured.rate >= LINEAR * measured.ideal();
    }
    for slots in SLOTS.into_iter().filter(|_| ceiling) {
        measure(lab, 32, slots, window).await?.print();
    }
    println!();
    let row = join_and_leave(lab).await?;
    let passed = row.passed() && linear;
    row.print("JOIN", "workers join and leave under load", Duration::ZERO, &lab.take_kept());
    println!("{} to {LINEAR_TO} processes", if linear { "linear" } else { "NOT linear" });
    Ok(passed)
}

/// A fleet of one analyzer, and the virtual host that has to live as long.
async fn fleet(lab: &Lab, slots: u64) -> Fallible<(Fleet, RabbitmqServer)> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.set("analyzers.null-b.enabled", false);
    fleet.set("analyzers.null-a.children", slots);
    fleet.mischief.extend(["--latency", "100"].map(str::to_owned));
    Ok((fleet, vhost))
}

async fn measure(lab: &Lab, processes: u64, slots: u64, window: Duration) -> Fallible<Measured> {
    let (fleet, _vhost) = fleet(lab, slots).await?;
    let ideal = (processes * slots) as f64 / LATENCY.as_secs_f64();
    // Enough for the window, and for what is done until the last process has started.
    let images = (ideal * (window.as_secs_f64() * 1.5 + 4.0 + processes as f64 / 4.0)) as u64 + 200;
    fleet.images(images)?;
    let _collector = fleet.collector()?;
    fleet.produce().await?;
    // What was enqueued is written, so that the collector has nothing left of it to do.
    fleet_has(&fleet, images).await?;
    let workers = fleet.workers(usize::try_from(processes)?)?;
    consumed(&fleet, processes).await?;
    let (before, cores_before, started) = (done(&fleet).await?, ticks(), Instant::now());
    tokio::time::sleep(window).await;
    let (after, cores_after, took) =
        (done(&fleet).await?, ticks(), started.elapsed().as_secs_f64());
    if after >= images {
        return Err(format!(
            "{processes} processes: the jobs ran out before the end of the window"
        )
        .into());
    }
    drop(workers);
    fleet.noted(Row::default());
    let cores = cores_after.into_iter().map(|(name, now)| {
        let before = cores_before.get(name).copied().unwrap_or(0.0);
        (name, (now - before).max(0.0) / TICKS / took)
    });
    let rate = (after - before) as f64 / took;
    Ok(Measured { processes, slots, rate, cores: cores.collect() })
}

async fn fleet_has(fleet: &Fleet, images: u64) -> Fallible<()> {
    let started = Instant::now();
    while fleet.status().await?.images < images {
        if started.elapsed() > PATIENCE {
            return Err("the collector does not come after the producer".into());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    Ok(())
}

/// Jobs with an outcome.
async fn done(fleet: &Fleet) -> Fallible<u64> {
    Ok(fleet.status().await?.analyzers.values().map(|of| of.done).sum())
}

/// Waits until so many workers consume.
async fn consumed(fleet: &Fleet, workers: u64) -> Fallible<Duration> {
    let broker = Broker::rabbitmq(RabbitOptions::new(&fleet.broker_url)).await?;
    let (queue, started) = (Queue::Jobs("null-a".parse()?), Instant::now());
    while broker.depth(&queue).await?.consumers < workers {
        if started.elapsed() > PATIENCE {
            return Err(format!("fewer than {workers} workers consume").into());
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    broker.close().await;
    Ok(started.elapsed())
}

/// Clock ticks that programs have used so far, by what they are.
fn ticks() -> BTreeMap<&'static str, f64> {
    let mut sums = BTreeMap::new();
    let entries = std::fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    for entry in entries {
        let Ok(stat) = std::fs::read_to_string(entry.path().join("stat")) else { continue };
        let Some((front, back)) = stat.rsplit_once(") ") else { continue };
        let name = match front.rsplit_once('(').map(|(_, name)| name) {
            Some("ocelli-chaos") => "workers",
            Some(name) if name.starts_with("ocelli-collect") => "collector",
            Some("beam.smp") => "RabbitMQ",
            Some("postgres") => "PostgreSQL",
            _ => continue,
        };
        // User and system time: fields 14 and 15, counted from the name's end.
        let times = back.split(' ').skip(11).take(2).filter_map(|ticks| ticks.parse::<f64>().ok());
        *sums.entry(name).or_insert(0.0) += times.sum::<f64>();
    }
    sums
}

/// Jobs that each of these workers has begun: a line for each, in a file of its own, which is there from the start of
/// its process on.
fn begun(fleet: &Fleet, workers: &[Program]) -> Fallible<Vec<usize>> {
    let count = |worker: &Program| -> Fallible<usize> {
        let file = fleet.path("calls").join(format!("null-a-{}", worker.id()));
        match std::fs::read_to_string(file) {
            Ok(lines) => Ok(lines.lines().count()),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error.into()),
        }
    };
    workers.iter().map(count).collect()
}

/// Four workers are at work, four more come, and four go: the new ones have work and their share of it within five
/// seconds, and nothing is lost.
async fn join_and_leave(lab: &Lab) -> Fallible<Row> {
    let (mut fleet, _vhost) = fleet(lab, 4).await?;
    let images = 6_000;
    fleet.images(images)?;
    let _collector = fleet.collector()?;
    let mut old = fleet.workers(4)?;
    fleet.produce().await?;
    consumed(&fleet, 4).await?;
    let started = Instant::now();
    let joined = fleet.workers(4)?;
    while begun(&fleet, &joined)?.contains(&0) {
        if started.elapsed() > PATIENCE {
            return Err("the new workers get no work".into());
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let joining = started.elapsed();
    let all = |workers: &[Program]| Fallible::Ok(begun(&fleet, workers)?.iter().sum::<usize>());
    let (of_old, of_joined) = (all(&old)?, all(&joined)?);
    tokio::time::sleep(Duration::from_secs(5)).await;
    let (of_old, of_joined) = (all(&old)? - of_old, all(&joined)? - of_joined);
    let share = of_joined as f64 / (of_old + of_joined).max(1) as f64;
    let mut unclean = 0;
    for worker in &old {
        worker.signal(Signal::TERM);
    }
    for worker in &mut old {
        unclean += u64::from(worker.ended(Duration::from_secs(40)).await != Some(0));
    }
    let before = done(&fleet).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let after = done(&fleet).await?;
    let took = fleet.finishes(images, PATIENCE).await?;
    drop::<Vec<Program>>(joined);
    let row = Row::default()
        .within("each new worker has begun a job after", joining, Duration::from_secs(5))
        .figure("jobs begun in the five seconds after that", of_old + of_joined)
        .figure("of them by the new workers", format!("{:.0} %", share * 100.0))
        .figure("jobs in five seconds after four left", after - before)
        .took("drained in", took)
        // Half of the slots are theirs.
        .must("the new workers have their share", share >= 0.45)
        .must("every stop ends with exit code 0", unclean == 0)
        // Four workers with four slots are 160 jobs a second.
        .must("those that stay have all the work", after - before >= 700);
    fleet.mischief.clear();
    fleet.verdict(row, images, 1).await
}
