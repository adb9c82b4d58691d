//! What repeating and resuming costs.

use std::time::Duration;

use super::fleet::{ANALYZERS, Fleet};
use super::lab::Lab;
use super::processes::{PATIENCE, busy};
use super::row::{Fallible, Row};

pub(super) async fn produced_ten_times(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.quick();
    let images = lab.count(4_000, 1_000);
    fleet.images(images)?;
    let _running = busy(&fleet).await?;
    let first = fleet.produce().await?;
    let took = fleet.finishes(images, PATIENCE).await?;
    let (before, _) = fleet.calls()?;
    let mut enqueued = 0;
    for _ in 1..10 {
        enqueued += fleet.produce().await?["enqueued"].as_u64().unwrap_or(0);
    }
    // A call that should not come would come now.
    tokio::time::sleep(Duration::from_secs(3)).await;
    let (calls, _) = fleet.calls()?;
    let row = Row::default()
        .figure("enqueued", &first["enqueued"])
        .took("drained in", took)
        .figure("enqueued by nine further runs", enqueued)
        .figure("further calls", calls - before)
        .must("one call each", before == images * ANALYZERS)
        .must("no further call", calls == before && enqueued == 0);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn killed_half_way(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.quick();
    // Below this, what is in hand at the kill would be more than 2 %.
    let images = lab.count(5_000, 3_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    let mut producer = fleet.producer()?;
    fleet.reaches(images / 2, PATIENCE).await?;
    let at = fleet.status().await?.complete;
    producer.kill();
    collector.kill();
    for worker in &mut workers {
        worker.kill();
    }
    let _running = busy(&fleet).await?;
    let again = fleet.produce().await?;
    let took = fleet.finishes(images, PATIENCE).await?;
    let (calls, _) = fleet.calls()?;
    let passes = calls as f64 / (images * ANALYZERS) as f64;
    let row = Row::default()
        .figure("killed at", at)
        .figure("enqueued again", &again["enqueued"])
        .took("rest drained in", took)
        .figure("passes", format!("{passes:.4}"))
        .must("the kill came in time", at < images)
        .must("at most 1.02 passes", passes <= 1.02);
    fleet.verdict(row, images, ANALYZERS).await
}
