//! Processes that die, are told to stop, or lose their database.

use std::time::{Duration, Instant};

use ocelli_core::routing::Queue;
use rustix::process::Signal;

use super::alarms::{CONFIRMED, Watched};
use super::fleet::{AHEAD, ANALYZERS, Fleet, SLOTS, Store};
use super::lab::Lab;
use super::program::Program;
use super::row::{Fallible, Row};

/// Longest time for anything to come to its end. Generous: a loaded machine must not turn a test red.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Workers of most tests.
pub(super) const WORKERS: usize = 4;
/// Messages a producer may have in the air, sighting and jobs of an image apart: some may have arrived without the others.
const WINDOW: u64 = 256;
/// `worker.drain` in the settings of the fleet, and the bound on closing connections after it.
const STOP: Duration = Duration::from_secs(5 + 5);

/// Starts the collector and the workers.
pub(super) async fn busy(fleet: &Fleet) -> Fallible<(Program, Vec<Program>)> {
    let collector = fleet.collector()?;
    Ok((collector, fleet.workers(WORKERS)?))
}

pub(super) async fn workers_killed(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.quick();
    let images = lab.count(20_000, 4_000);
    fleet.images(images)?;
    let (_collector, mut workers) = busy(&fleet).await?;
    let (mut chance, mut kills) = (lab.chance("R1"), 0_u64);
    let (produced, took) = tokio::join!(
        fleet.produce(),
        fleet.complete(images, PATIENCE, Duration::from_secs(2), async |_| {
            let victim = chance.pick(workers.len());
            workers[victim].kill();
            workers[victim] = fleet.null_worker()?;
            kills += 1;
            Ok(())
        })
    );
    produced?;
    let (calls, different) = fleet.calls()?;
    let allowed = kills * ANALYZERS * (SLOTS + AHEAD);
    let row = Row::default()
        .took("drained in", took?)
        .figure("kills", kills)
        .figure("duplicate analyses", calls - different)
        .figure("allowed", allowed)
        .must("duplicates ≤ prefetch × kills", calls - different <= allowed)
        .must("three or more kills", kills >= 3);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn collector_killed(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.quick();
    let images = lab.count(12_000, 9_000);
    fleet.images(images)?;
    let (mut collector, _workers) = busy(&fleet).await?;
    let (mut kills, mut last) = (0, Instant::now());
    let (produced, took) = tokio::join!(
        fleet.produce(),
        fleet.complete(images, PATIENCE, Duration::from_secs(5), async |status| {
            // The last tenth is left alone: it shows how soon the rest is through.
            if status.complete < images * 9 / 10 {
                collector.kill();
                collector = fleet.collector()?;
                kills += 1;
                last = Instant::now();
            }
            Ok(())
        })
    );
    produced?;
    let took = took?;
    let drained = last.elapsed();
    let (calls, different) = fleet.calls()?;
    let row = Row::default()
        .took("drained in", took)
        .figure("kills", kills)
        .figure("duplicate analyses", calls - different)
        .within("drained after the last kill", drained, Duration::from_secs(30))
        .must("two or more kills", kills >= 2);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn producer_killed(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.quick();
    let images = lab.count(8_000, 5_000);
    fleet.images(images)?;
    let (_collector, _workers) = busy(&fleet).await?;
    // From a tenth to six tenths of the messages.
    let at = images * (10 + lab.chance("R3").below(50)) / 100;
    let mut producer = Watched::start(&fleet, CONFIRMED).await?;
    producer.more_than(at * (1 + ANALYZERS), PATIENCE).await?;
    let in_time = producer.program.is_running();
    producer.program.kill();
    // What was confirmed is on its way into the catalog: in the queue, or in the hands of the collector.
    let (mut known, mut quiet) = (fleet.status().await?.images, Instant::now());
    while quiet.elapsed() < Duration::from_secs(2) || fleet.waiting(&Queue::Results).await? > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = fleet.status().await?.images;
        if now != known {
            (known, quiet) = (now, Instant::now());
        }
    }
    let again = fleet.produce().await?;
    let took = fleet.finishes(images, PATIENCE).await?;
    let (calls, different) = fleet.calls()?;
    let enqueued = again["enqueued"].as_u64().unwrap_or(0);
    let row = Row::default()
        .figure("killed when about", at)
        .figure("were sent; known after that", known)
        .figure("enqueued by the second run", enqueued)
        .took("drained in", took)
        .figure("duplicate analyses", calls - different)
        .must("the kill came in time", in_time && known < images)
        .must("the second run enqueued what was missing and no more", enqueued == images - known)
        .must(
            "duplicates ≤ what the producer had in the air",
            calls - different <= WINDOW * ANALYZERS,
        );
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn workers_stopped(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let fleet = Fleet::null(lab, &vhost.url).await?;
    let images = lab.count(6_500, 6_500);
    let digests = fleet.images(images)?;
    let (_collector, mut workers) = busy(&fleet).await?;
    let produced = fleet.produce().await?;
    let (mut stops, mut slowest, mut unclean) = (0_u64, Duration::ZERO, 0);
    let mut chance = lab.chance("R13");
    let every = Duration::from_millis(200);
    let took = fleet
        .complete(images, PATIENCE, every, async |_| {
            if stops < 20 {
                let victim = chance.pick(workers.len());
                let asked = Instant::now();
                workers[victim].signal(Signal::TERM);
                let code = workers[victim].ended(Duration::from_secs(40)).await;
                slowest = slowest.max(asked.elapsed());
                unclean += usize::from(code != Some(0));
                workers[victim] = fleet.null_worker()?;
                stops += 1;
            }
            Ok(())
        })
        .await?;
    let (calls, different) = fleet.calls()?;
    let attempts = fleet.most_attempts(&digests).await?;
    let row = Row::default()
        .figure("enqueued", &produced["enqueued"])
        .took("drained in", took)
        .figure("stops", stops)
        .figure("begun again", calls - different)
        .figure("most attempts of a job", attempts)
        .within("slowest stop", slowest, STOP)
        .must("every stop ends with exit code 0", unclean == 0)
        .must("what was interrupted is no attempt", attempts == 1)
        .must("20 stops came before the work was done", stops == 20)
        .must("≤ 1 % begun again", (calls - different) * 100 <= images * ANALYZERS);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn database_broken(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null_in(lab, &vhost.url, Store::Own).await?;
    let images = lab.count(6_000, 4_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    fleet.produce().await?;
    let pause = lab.lasting(Duration::from_secs(5), Duration::from_secs(4));
    let mut longest = Duration::ZERO;
    for (n, part) in [(0, 1), (1, 3), (2, 5)] {
        fleet.reaches(images * part / 8, PATIENCE).await?;
        match n {
            0 => fleet.postgres()?.stop().await,
            1 => fleet.postgres()?.kill(),
            _ => fleet.postgres()?.pause(),
        }
        tokio::time::sleep(pause).await;
        match n {
            2 => fleet.postgres()?.resume(),
            _ => fleet.postgres()?.start_again().await,
        }
        let returned = Instant::now();
        let before = fleet.status().await?.complete;
        if before < images {
            fleet.reaches(before + 1, PATIENCE).await?;
        }
        longest = longest.max(returned.elapsed());
    }
    let took = fleet.finishes(images, PATIENCE).await?;
    let same = collector.is_running() && workers.iter_mut().all(Program::is_running);
    let (calls, different) = fleet.calls()?;
    let row = Row::default()
        .figure("each away for", format!("{} s", pause.as_secs()))
        .took("rest drained in", took)
        .figure("duplicate analyses", calls - different)
        .within("slowest return", longest, Duration::from_secs(30))
        .must("no process had to be started again", same);
    fleet.verdict(row, images, ANALYZERS).await
}
