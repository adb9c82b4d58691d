//! Brokers whose nodes die, that are away, or that take nothing more.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ocelli_broker::{Broker, Outgoing, RabbitOptions};
use ocelli_core::routing::Queue;
use ocelli_testkit::servers::OwnRabbitmq;

use super::Lab;
use super::cluster::Cluster;
use super::fleet::{ANALYZERS, Fleet};
use super::processes::{PATIENCE, busy};
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
    gaps: Vec<Duration>,
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
    let lasts = lab.lasting(Duration::from_secs(60), Duration::from_secs(24));
    let publishing = tokio::spawn(publish(publisher.clone(), queue, lasts, Arc::clone(&seen)));
    let (started, mut kills, mut victim) = (Instant::now(), 0, 0);
    while started.elapsed() + BETWEEN_KILLS < lasts {
        tokio::time::sleep(BETWEEN_KILLS / 2).await;
        victim = (victim + 1) % 3;
        cluster.kill(victim);
        kills += 1;
        cluster.start_again(victim)?;
        // A majority has to be there before the next one goes.
        let (ready, _) = tokio::join!(cluster.ready(victim), tokio::time::sleep(BETWEEN_KILLS / 2));
        ready?;
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
    seen.gaps.sort_unstable();
    let longest = seen.gaps.last().copied().unwrap_or_default();
    Ok(Row::default()
        .took("for", lasts)
        .figure("node kills", kills)
        .figure("confirmed", confirmed)
        .figure("lost", missing)
        .figure("duplicates", duplicates)
        .took("longest gap between confirms", longest)
        .must("nodes were killed", kills > 0)
        .must("no confirmed message is lost", missing == 0)
        .must("duplicates < 1 %", duplicates * 100 < confirmed.max(1))
        .must("longest gap < 10 s", longest < Duration::from_secs(10)))
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
                seen.confirmed.push(id);
            }
        });
        while sending.try_join_next().is_some() {}
    }
    while sending.join_next().await.is_some() {}
}

pub(super) async fn away(lab: &Lab) -> Fallible<Row> {
    let mut broker = OwnRabbitmq::start().await;
    let fleet = Fleet::null(lab, &broker.url()).await?;
    let images = lab.images(10_000, 4_000);
    fleet.images(images)?;
    let (mut collector, mut workers) = busy(&fleet).await?;
    fleet.produce().await?;
    let away = lab.lasting(Duration::from_secs(60), Duration::from_secs(10));
    let mut slowest = Duration::ZERO;
    for (part, absence) in [(1, Duration::from_secs(1)), (3, away)] {
        fleet.reaches(images * part / 8, PATIENCE).await?;
        match part {
            1 => broker.stop().await,
            _ => broker.kill(),
        }
        tokio::time::sleep(absence).await;
        broker.start_again().await;
        let returned = Instant::now();
        let before = fleet.status().await?.complete;
        if before < images {
            fleet.reaches(before + 1, PATIENCE).await?;
        }
        slowest = slowest.max(returned.elapsed());
    }
    let took = fleet.finishes(images, PATIENCE).await?;
    let same = collector.is_running() && workers.iter_mut().all(Program::is_running);
    let (calls, different) = fleet.calls()?;
    let row = Row::default()
        .took("killed and away for", away)
        .took("slowest return", slowest)
        .took("rest drained in", took)
        .figure("duplicate analyses", calls - different)
        .must("works again within 30 s of the broker's return", slowest <= Duration::from_secs(30))
        .must("no process had to be started again", same);
    fleet.verdict(row, images, ANALYZERS).await
}

pub(super) async fn alarms(lab: &Lab) -> Fallible<Row> {
    let cluster = Cluster::start(1).await?;
    let fleet = Fleet::null(lab, &cluster.url()).await?;
    let images = lab.images(20_000, 15_000);
    let _collector = fleet.collector()?;
    let lasts = lab.lasting(Duration::from_secs(20), Duration::from_secs(3));
    let mut row = Row::default().took("each alarm for", lasts);
    let alarms: [(&str, &[&str], &[&str], u64); 2] = [
        (
            "memory",
            &["set_vm_memory_high_watermark", "0"],
            &["set_vm_memory_high_watermark", "0.6"],
            2,
        ),
        ("disk", &["set_disk_free_limit", "1000000GB"], &["set_disk_free_limit", "50MB"], 1),
    ];
    for (name, on, off, part) in alarms {
        let before = fleet.status().await?.images;
        let until = images / part;
        fleet.images(until)?;
        let mut producer = fleet.producer()?;
        let started = Instant::now();
        while fleet.status().await?.images <= before && started.elapsed() < PATIENCE {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        cluster.control(0, on).await?;
        // The collector still writes what was published before: only then does the count stand for the producer.
        let (alarmed, mut held) = (Instant::now(), fleet.status().await?.images);
        loop {
            tokio::time::sleep(Duration::from_secs(2)).await;
            let now = fleet.status().await?.images;
            if now == held || alarmed.elapsed() > Duration::from_secs(30) {
                break;
            }
            held = now;
        }
        tokio::time::sleep(lasts).await;
        let still = fleet.status().await?.images;
        let in_time = producer.is_running() && still < until;
        cluster.control(0, off).await?;
        let off_at = Instant::now();
        while fleet.status().await?.images == still && off_at.elapsed() < PATIENCE && still < until
        {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        row = row
            .figure(&format!("{name}: accepted while it held"), still - held)
            .took("resumed after", off_at.elapsed())
            .must(&format!("{name}: the alarm came in time"), in_time)
            .must(&format!("{name}: the producer publishes nothing while it holds"), still == held)
            .must(
                &format!("{name}: resumes within 5 s"),
                off_at.elapsed() <= Duration::from_secs(5),
            );
        let code = producer.ended(PATIENCE).await;
        row = row.must(&format!("{name}: the producer ends well"), code == Some(0));
    }
    let _workers = (0..4).map(|_| fleet.null_worker()).collect::<Fallible<Vec<_>>>()?;
    let log = std::fs::read_to_string(fleet.path("ocelli.log"))?;
    let took = fleet.finishes(images, PATIENCE).await?;
    let row = row.took("drained in", took).must(
        "the producer says why it waits",
        log.contains("blocked") || log.contains("takes no messages"),
    );
    fleet.verdict(row, images, ANALYZERS).await
}
