//! Consumers that lose their queue, their exchange or their channel, and what they hold afterwards.

use std::time::{Duration, Instant};

use ocelli_broker::{Broker, Delivery, Outgoing, RabbitOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_testkit::servers::{OwnRabbitmq, Place};
use tokio_util::sync::CancellationToken;

use super::fleet::{ANALYZERS, Fleet};
use super::lab::Lab;
use super::processes::{PATIENCE, WORKERS, busy};
use super::program::Program;
use super::relay::Relay;
use super::row::{Fallible, Row};

/// Within which a consumer has to be back, and work that waits has to move.
const BACK: Duration = Duration::from_secs(10);
/// The broker closes the channel of a consumer that holds a delivery for longer …
const TIMEOUT: &str = "consumer_timeout = 3000\ncollect_statistics_interval = 500";
/// … and looks every second instead of every minute.
const TICK: &str = "application:set_env(rabbit, channel_tick_interval, 1000).";

pub(super) async fn bereft(lab: &Lab) -> Fallible<Row> {
    let node = OwnRabbitmq::start_with(TIMEOUT, &Place::temporary()).await?;
    node.control(&["eval", TICK]).await?;
    let mut fleet = Fleet::null(lab, &node.url()).await?;
    // Jobs that outlast the broker's patience: each costs its worker the channel.
    fleet.mischief = ["--slow", "4", "--slow-ms", "4500"].map(str::to_owned).to_vec();
    for name in ["null-a", "null-b"] {
        fleet.set(&format!("analyzers.{name}.job_deadline"), "8s");
    }
    // A worker that holds jobs and settles none for this long ends itself.
    fleet.set("worker.stall_after", "15s");
    let (mut collector, mut workers) = busy(&fleet).await?;
    let stop = CancellationToken::new();
    let (watched, watching) = tokio::join!(watch(&fleet, &stop), async {
        let done = stop.clone().drop_guard();
        let deletions = deletions(lab, &fleet, &node).await;
        drop(done);
        deletions
    });
    let (still, (images, slowest)) = (watched?, watching?);
    let closed = closed_by_timeout(&fleet)?;
    let same = collector.is_running() && workers.iter_mut().all(Program::is_running);
    let row = Row::default()
        .figure("channels closed by consumer_timeout", closed)
        .within("consumers are back after a deletion", slowest, BACK)
        .within("longest standstill with work waiting", still, BACK)
        .must("consumer_timeout closed channels", closed > 0)
        .must("no process ended, by its watchdog or otherwise", same);
    fleet.verdict(row, images, ANALYZERS).await
}

/// Deletes one thing after the other between rounds of work. How many images there were, and the slowest return.
async fn deletions(lab: &Lab, fleet: &Fleet, node: &OwnRabbitmq) -> Fallible<(u64, Duration)> {
    let round = lab.count(400, 300);
    let (mut images, mut slowest) = (0, Duration::ZERO);
    for what in [
        "",
        "queues/%2F/ocelli.jobs.null-a",
        "queues/%2F/ocelli.results",
        "exchanges/%2F/ocelli",
        "queues/%2F/ocelli.bulk.null-b",
    ] {
        if !what.is_empty() {
            let api = node.api();
            tokio::task::spawn_blocking(move || api.delete(what)).await??;
        }
        slowest = slowest.max(fleet.consumed_by(WORKERS as u64, PATIENCE).await?);
        images += round;
        fleet.images(images)?;
        fleet.produce().await?;
        fleet.finishes(images, PATIENCE).await?;
    }
    Ok((images, slowest))
}

/// The longest time in which jobs waited in a queue and nothing was done.
async fn watch(fleet: &Fleet, stop: &CancellationToken) -> Fallible<Duration> {
    let observer = fleet.observer().await?;
    let (mut longest, mut moved, mut before) = (Duration::ZERO, Instant::now(), 0);
    while !stop.is_cancelled() {
        let done: u64 = fleet.status().await?.analyzers.values().map(|of| of.done).sum();
        let mut waiting = 0;
        for name in ["null-a", "null-b"] {
            let depth = observer.depth(&Queue::Jobs(name.parse()?)).await;
            waiting += depth.map_or(0, |depth| depth.ready);
        }
        if done != before || waiting == 0 {
            (moved, before) = (Instant::now(), done);
        }
        longest = longest.max(moved.elapsed());
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    observer.close().await;
    Ok(longest)
}

/// Channels that the workers lost that way, by their logs.
fn closed_by_timeout(fleet: &Fleet) -> Fallible<usize> {
    let log = std::fs::read_to_string(fleet.path("ocelli-chaos.log"))?;
    let lost = |line: &&str| line.contains("the consumer was lost") && line.contains("timeout");
    Ok(log.lines().filter(lost).count())
}

/// What a consumer may hold in the next test.
const PREFETCH: u16 = 7;

pub(super) async fn prefetch(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let upstream = vhost.url.split('@').nth(1).and_then(|rest| rest.split('/').next());
    let relay = Relay::start(vec![upstream.ok_or("a URL without a host")?.parse()?]).await?;
    let mut options = RabbitOptions::new(format!("{}/{}", relay.url(), vhost.vhost));
    options.reconnect_cap = Duration::from_millis(200);
    let broker = Broker::rabbitmq(options).await?;
    let name = "a".parse()?;
    broker.declare(&queues(std::slice::from_ref(&name), &[])).await?;
    let jobs = Queue::Jobs(name);
    for id in 0..u64::from(PREFETCH) * 4 {
        let id = id.to_string();
        let routes = vec![jobs.clone()];
        let (body, attempts, traceparent) = (id.clone().into(), 0, None);
        broker.publish(Outgoing { id, body, routes, attempts, traceparent }).await?;
    }
    // The scale of the test is its figure: a hundred reconnects.
    let reconnects = 100;
    let mut consumer = broker.consume(&jobs, PREFETCH).await?;
    let (mut most, mut least, mut unacked) = (0, usize::MAX, 0);
    for round in 0..=reconnects {
        let mut held: Vec<Delivery> = Vec::new();
        while held.len() < usize::from(PREFETCH) {
            match tokio::time::timeout(Duration::from_secs(30), consumer.next()).await {
                Ok(Some(delivery)) => held.push(delivery),
                Ok(None) => return Err("the consumer has ended".into()),
                Err(_) => break,
            }
        }
        // One too many would come at once: it is there, and more than enough wait.
        while let Ok(Some(delivery)) =
            tokio::time::timeout(Duration::from_millis(30), consumer.next()).await
        {
            held.push(delivery);
        }
        (most, least) = (most.max(held.len()), least.min(held.len()));
        if round % 25 == 0 {
            unacked = unacked.max(counted(&vhost).await?);
        }
        if round < reconnects {
            let mut state = consumer.state();
            state.mark_unchanged();
            relay.cut();
            // Held until now: stale, the broker delivers them again.
            state.changed().await?;
        }
    }
    broker.close().await;
    Ok(Row::default()
        .figure("reconnects", reconnects)
        .figure("prefetch", PREFETCH)
        .figure("most held", most)
        .figure("fewest", least)
        .figure("most unacked by the broker's count", unacked)
        .must("never more than the prefetch", most <= usize::from(PREFETCH))
        .must("and not fewer: nothing is stuck", least == usize::from(PREFETCH))
        .must("the broker counts no more either", unacked <= u64::from(PREFETCH)))
}

/// What the broker counts as held by consumers, once it has counted anew.
async fn counted(vhost: &ocelli_testkit::servers::RabbitmqServer) -> Fallible<u64> {
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    let (api, path) = (vhost.api(), format!("queues/{}/ocelli.jobs.a", vhost.vhost));
    let queue = tokio::task::spawn_blocking(move || api.get(&path)).await??;
    Ok(queue["messages_unacknowledged"].as_u64().unwrap_or(0))
}
