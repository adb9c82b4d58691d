//! Brokers whose nodes die, and that are away.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ocelli_broker::{Broker, Outgoing, RabbitOptions};
use ocelli_core::routing::Queue;
use ocelli_testkit::servers::OwnRabbitmq;

use super::cluster::Cluster;
use super::fleet::{ANALYZERS, Fleet};
use super::lab::Lab;
use super::processes::{PATIENCE, WORKERS, busy};
use super::program::Program;
use super::relay::Relay;
use super::row::{Fallible, Row};

/// Messages a second, as the test asks for.
const RATE: u64 = 500;
const BETWEEN_KILLS: Duration = Duration::from_secs(8);

/// What publishers and the consumer saw.
#[derive(Default)]
struct Seen {
    received: BTreeMap<u64, u64>,
    confirmed: Vec<u64>,
    last_confirm: Option<Instant>,
    /// Between one confirm and the next.
    gaps: Vec<Duration>,
    /// From publishing to the confirm.
    waits: Vec<Duration>,
}

pub(super) async fn nodes_killed(lab: &Lab) -> Fallible<Row> {
    let mut cluster = Cluster::start(3).await?;
    let relay = Relay::start(cluster.addresses()).await?;
    let queue = Queue::Jobs("a".parse()?);
    let connect = || async {
        let broker = Broker::rabbitmq(RabbitOptions::new(relay.url())).await?;
        broker.declare(&ocelli_core::routing::queues(&["a".parse()?], &[])).await?;
        Fallible::Ok(broker)
    };
    let (publisher, reader) = (connect().await?, connect().await?);
    let seen = Arc::new(Mutex::new(Seen::default()));
    let mut consumer = reader.consume(&queue, 200).await?;
    let received = Arc::clone(&seen);
    let reading = tokio::spawn(async move {
        while let Some(delivery) = consumer.next().await {
            if let Ok(id) = delivery.id.parse() {
                let mut seen = received.lock().unwrap_or_else(PoisonError::into_inner);
                *seen.received.entry(id).or_default() += 1;
            }
            drop(delivery.ack().await);
        }
    });
    let lasts = lab.lasting(Duration::from_secs(40), Duration::from_secs(32));
    let publishing = tokio::spawn(publish(publisher.clone(), queue, lasts, Arc::clone(&seen)));
    let (started, mut chance, mut victims) = (Instant::now(), lab.chance("R4"), Vec::new());
    tokio::time::sleep(BETWEEN_KILLS / 2).await;
    while started.elapsed() + BETWEEN_KILLS / 2 < lasts {
        let next = tokio::time::Instant::now() + BETWEEN_KILLS;
        let victim = chance.pick(3);
        cluster.kill(victim);
        victims.push(victim.to_string());
        // A majority has to be there before the next one goes.
        cluster.start_again(victim).await?;
        tokio::time::sleep_until(next).await;
    }
    publishing.await?;
    let all = Instant::now();
    let missing = loop {
        let missing = {
            let seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.confirmed.iter().filter(|id| !seen.received.contains_key(id)).count()
        };
        if missing == 0 || all.elapsed() > Duration::from_secs(60) {
            break missing;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    reading.abort();
    publisher.close().await;
    reader.close().await;
    let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
    let confirmed = seen.confirmed.len() as u64;
    let duplicates: u64 = seen.received.values().map(|times| times - 1).sum();
    let (gap, longest) = (percentile(&mut seen.gaps, 99), *seen.gaps.last().unwrap_or(&PATIENCE));
    let wait = percentile(&mut seen.waits, 99);
    let percent = duplicates as f64 * 100.0 / confirmed.max(1) as f64;
    Ok(Row::default()
        .took("for", lasts)
        .figure("killed nodes", victims.join(" "))
        .figure("confirmed", confirmed)
        .figure("lost", missing)
        .figure("duplicates", format!("{duplicates} ({percent:.2} %)"))
        .figure("gap between confirms p99", format!("{} ms", gap.as_millis()))
        .took("longest", longest)
        .figure("publish to confirm p99", format!("{} ms", wait.as_millis()))
        .must("3 or more nodes were killed", victims.len() >= 3)
        .must("no confirmed message is lost", missing == 0)
        .must("duplicates < 1 %", percent < 1.0)
        .must("gap p99 < 2 s", gap < Duration::from_secs(2))
        .must("longest gap < 10 s", longest < Duration::from_secs(10)))
}

/// Sorts, and gives the value that so many of a hundred do not exceed.
fn percentile(values: &mut [Duration], hundredth: usize) -> Duration {
    values.sort_unstable();
    values.get(values.len().saturating_sub(1) * hundredth / 100).copied().unwrap_or_default()
}

/// Publishes at [`RATE`], whatever becomes of earlier messages, and ends when all are confirmed.
async fn publish(broker: Broker, queue: Queue, lasts: Duration, seen: Arc<Mutex<Seen>>) {
    let mut ticks = tokio::time::interval(Duration::from_millis(1000 / RATE));
    let started = Instant::now();
    let mut sending = tokio::task::JoinSet::new();
    let mut id = 0_u64;
    while started.elapsed() < lasts {
        ticks.tick().await;
        id += 1;
        let (broker, queue, seen) = (broker.clone(), queue.clone(), Arc::clone(&seen));
        sending.spawn(async move {
            let begun = Instant::now();
            let message = Outgoing {
                id: id.to_string(),
                body: vec![0; 200].into(),
                routes: vec![queue],
                attempts: 0,
                traceparent: None,
            };
            if broker.publish(message).await.is_ok() {
                let mut seen = seen.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                if let Some(last) = seen.last_confirm.replace(now) {
                    seen.gaps.push(now - last);
                }
                seen.waits.push(now - begun);
                seen.confirmed.push(id);
            }
        });
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

pub(super) async fn away(lab: &Lab) -> Fallible<Row> {
    let mut broker = OwnRabbitmq::try_start().await?;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.count(5_000, 3_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    fleet.produce().await?;
    let away = lab.lasting(Duration::from_secs(15), Duration::from_secs(8));
    let mut slowest = Duration::ZERO;
    for (part, absence) in [(1, Duration::ZERO), (3, away)] {
        fleet.reaches(images * part / 8, PATIENCE).await?;
        match part {
            1 => broker.stop().await,
            _ => broker.kill(),
        }
        tokio::time::sleep(absence).await;
        broker.try_start_again().await?;
        let returned = Instant::now();
        let before = fleet.status().await?.complete;
        if before < images {
            fleet.reaches(before + 1, PATIENCE).await?;
        }
        // The last one to come back counts.
        fleet.consumed_by(WORKERS as u64, PATIENCE).await?;
        slowest = slowest.max(returned.elapsed());
    }
    let took = fleet.finishes(images, PATIENCE).await?;
    let same = collector.is_running() && workers.iter_mut().all(Program::is_running);
    let (calls, different) = fleet.calls()?;
    let row = Row::default()
        .took("killed and away for", away)
        .took("rest drained in", took)
        .figure("duplicate analyses", calls - different)
        .within("all work again after the broker's return", slowest, Duration::from_secs(30))
        .must("no process had to be started again", same);
    fleet.verdict(row, images, ANALYZERS).await
}
