//! Links to the broker that break, and links that only look alive.

use std::time::{Duration, Instant};

use ocelli_testkit::servers::OwnRabbitmq;

use super::Lab;
use super::fleet::{ANALYZERS, Fleet};
use super::processes::{PATIENCE, busy};
use super::program::Program;
use super::relay::Relay;
use super::row::{Fallible, Row};

/// As in the settings of the fleet.
const HEARTBEAT: Duration = Duration::from_secs(4);

pub(super) async fn broken(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let relay = Relay::start(vec![broker.address()]).await?;
    let fleet = Fleet::null(lab, &relay.url()).await?;
    let images = lab.images(10_000, 4_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    fleet.reaches(0, PATIENCE).await?;
    let mut cuts = 0;
    let produced = fleet.produce();
    let cutting = fleet.complete(images, PATIENCE, Duration::from_secs(3), async |_| {
        relay.cut();
        cuts += 1;
        Ok(())
    });
    let (produced, took) = tokio::join!(produced, cutting);
    produced?;
    let took = took?;
    // Idle and cut very often: nothing may grow.
    let before = settled_size(&mut collector, &mut workers).await;
    let many = lab.lasting(Duration::from_secs(50), Duration::from_secs(5)).as_millis() / 100;
    for _ in 0..many {
        relay.cut();
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    // The longest pause before connecting again is 30 s.
    let (cut_last, mut growth) = (Instant::now(), usize::MAX);
    while growth > 5 && cut_last.elapsed() < Duration::from_secs(40) {
        let after = settled_size(&mut collector, &mut workers).await;
        growth = after.0.saturating_sub(before.0).max(after.1.saturating_sub(before.1));
    }
    // Dead without a word: a heartbeat has to notice.
    relay.deaden();
    let dead = Instant::now();
    let more = images + 200;
    fleet.images(more)?;
    fleet.produce().await?;
    fleet.finishes(more, PATIENCE).await?;
    let noticed = dead.elapsed();
    let (calls, different) = fleet.calls()?;
    let same = collector.is_running() && workers.iter_mut().all(Program::is_running);
    let row = Row::default()
        .figure("cuts under load", cuts)
        .took("drained in", took)
        .figure("cuts at rest", many)
        .figure("growth of threads or files per process", growth)
        .took("work done after links went dead", noticed)
        .figure("duplicate analyses", calls - different)
        .must("cuts under load", cuts > 0)
        .must("at most 5 threads or files more", growth <= 5)
        .must(
            "200 images are through within 2.5 heartbeats and 10 s",
            noticed <= HEARTBEAT * 5 / 2 + Duration::from_secs(10),
        )
        .must("no process had to be started again", same);
    fleet.verdict(row, more, ANALYZERS).await
}

/// The largest numbers of threads and of open files of any process, once they no longer change.
async fn settled_size(collector: &mut Program, workers: &mut [Program]) -> (usize, usize) {
    tokio::time::sleep(Duration::from_secs(4)).await;
    let sizes = workers.iter().chain(std::iter::once(&*collector)).map(Program::size);
    sizes.fold((0, 0), |most, size| (most.0.max(size.0), most.1.max(size.1)))
}
