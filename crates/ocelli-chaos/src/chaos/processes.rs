//! Processes that die, are told to stop, or lose their database.

use std::time::{Duration, Instant};

use ocelli_core::routing::Queue;
use ocelli_testkit::servers::OwnRabbitmq;
use rustix::process::Signal;

use super::Lab;
use super::fleet::{AHEAD, ANALYZERS, Fleet, SLOTS};
use super::program::Program;
use super::row::{Fallible, Row};

/// Longest time for anything to come to its end. Generous: a loaded machine must not turn a test red.
pub(super) const PATIENCE: Duration = Duration::from_secs(600);

/// Starts with the collector and four workers, and everything enqueued.
pub(super) async fn busy(fleet: &Fleet) -> Fallible<(Program, Vec<Program>)> {
    let collector = fleet.collector()?;
    let workers = (0..4).map(|_| fleet.null_worker()).collect::<Fallible<Vec<_>>>()?;
    Ok((collector, workers))
}

pub(super) async fn workers_killed(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.images(20_000, 4_000);
    fleet.images(images)?;
    let (_collector, mut workers) = busy(&fleet).await?;
    let mut kills = 0_usize;
    let (produced, took) = tokio::join!(
        fleet.produce(),
        fleet.complete(images, PATIENCE, Duration::from_secs(2), async |_| {
            // In turn: over the run every worker is hit as often as by chance.
            let victim = kills % workers.len();
            workers[victim].kill();
            workers[victim] = fleet.null_worker()?;
            kills += 1;
            Ok(())
        })
    );
    produced?;
    let (calls, different) = fleet.calls()?;
    let allowed = kills as u64 * ANALYZERS * (SLOTS + AHEAD);
    let row = Row::default()
        .took("drained in", took?)
        .figure("kills", kills)
        .figure("duplicate analyses", calls - different)
        .figure("allowed", allowed)
        .must("duplicates ≤ prefetch × kills", calls - different <= allowed)
        .must("at least one kill", kills > 0);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn collector_killed(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.images(10_000, 4_000);
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
        .took("after the last kill", drained)
        .figure("duplicate analyses", calls - different)
        .must("at least one kill", kills > 0)
        .must("drained within 30 s of the last kill", drained <= Duration::from_secs(30));
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn producer_killed(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.images(20_000, 10_000);
    fleet.images(images)?;
    let (_collector, _workers) = busy(&fleet).await?;
    let mut producer = fleet.producer()?;
    let started = Instant::now();
    let reached = loop {
        let known = fleet.status().await?.images;
        if known >= images / 50 || !producer.is_running() || started.elapsed() > PATIENCE {
            break known;
        }
    };
    let in_time = producer.is_running();
    producer.kill();
    // What was confirmed is on its way into the catalog.
    while fleet.waiting(&Queue::Results).await? > 0 {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    tokio::time::sleep(Duration::from_secs(1)).await;
    let known = fleet.status().await?.images;
    let again = fleet.produce().await?;
    let took = fleet.finishes(images, PATIENCE).await?;
    let (calls, different) = fleet.calls()?;
    let enqueued = again["enqueued"].as_u64().unwrap_or(0);
    let row = Row::default()
        .figure("killed at", reached)
        .figure("known after that", known)
        .figure("enqueued by the second run", enqueued)
        .took("drained in", took)
        .figure("duplicate analyses", calls - different)
        .must("the kill came in time", in_time)
        .must("the second run enqueued no more than was missing", enqueued <= images - known)
        .must("nothing was analyzed twice", calls == different);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn workers_stopped(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.images(10_000, 8_000);
    fleet.images(images)?;
    let (_collector, mut workers) = busy(&fleet).await?;
    let produced = fleet.produce().await?;
    let (mut stops, mut slowest, mut unclean) = (0_usize, Duration::ZERO, 0);
    let every = Duration::from_millis(200);
    let took = fleet
        .complete(images, PATIENCE, every, async |_| {
            if stops < 20 {
                let victim = stops % workers.len();
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
    let row = Row::default()
        .figure("enqueued", &produced["enqueued"])
        .took("drained in", took)
        .figure("stops", stops)
        .took("slowest stop", slowest)
        .figure("begun again", calls - different)
        .must("every stop ends with exit code 0", unclean == 0)
        .must("within 30 s", slowest <= Duration::from_secs(30))
        .must("20 stops came before the work was done", stops == 20)
        .must("≤ 1 % begun again", (calls - different) * 100 <= images * ANALYZERS);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn database_broken(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let mut fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.images(10_000, 4_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    fleet.produce().await?;
    let pause = lab.lasting(Duration::from_secs(15), Duration::from_secs(4));
    let mut longest = Duration::ZERO;
    for (n, part) in [(0, 1), (1, 3), (2, 5)] {
        fleet.reaches(images * part / 8, PATIENCE).await?;
        match n {
            0 => fleet.postgres.stop().await,
            1 => fleet.postgres.kill(),
            _ => fleet.postgres.pause(),
        }
        tokio::time::sleep(pause).await;
        match n {
            2 => fleet.postgres.resume(),
            _ => fleet.postgres.start_again().await,
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
        .took("slowest return", longest)
        .took("rest drained in", took)
        .figure("duplicate analyses", calls - different)
        .must("works again within 30 s", longest <= Duration::from_secs(30))
        .must("no process had to be started again", same);
    fleet.verdict(row, images, ANALYZERS).await
}
