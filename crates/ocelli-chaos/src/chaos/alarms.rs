//! A broker that takes nothing more for a while: memory alarm, disk alarm, a full queue.

use std::path::Path;
use std::time::{Duration, Instant};

use ocelli_broker::{Broker, RabbitOptions};
use ocelli_core::routing::Queue;
use ocelli_testkit::ports;
use ocelli_testkit::servers::OwnRabbitmq;

use super::fleet::{ANALYZERS, Fleet};
use super::lab::Lab;
use super::processes::PATIENCE;
use super::program::Program;
use super::row::{Fallible, Row};

const PAUSES: Duration = Duration::from_secs(2);
const RESUMES: Duration = Duration::from_secs(5);
/// What a waiting process may grow by: buffers that were not full yet.
const FLAT: u64 = 8 * 1024 * 1024;
/// Room in each queue, for the test with full queues.
const CAPACITY: u64 = 1_000;
/// What the producer counts: publishes that the broker has confirmed, and references that have an end.
pub(super) const CONFIRMED: &str = "ocelli_broker_publishes_confirmed_total";
const ACCEPTED: &str = "ocelli_producer_references_total";
/// How often the producer is looked at.
const LOOK: Duration = Duration::from_millis(50);

pub(super) async fn raised(lab: &Lab) -> Fallible<Row> {
    let node = OwnRabbitmq::try_start().await?;
    let mut fleet = Fleet::null(lab, &node.url()).await?;
    fleet.quick();
    let each = lab.count(4_000, 3_000);
    let lasts = lab.lasting(Duration::from_secs(5), Duration::from_secs(3));
    let _collector = fleet.collector()?;
    let mut row = Row::default().took("each alarm for", lasts);
    let alarms = [
        (
            "memory",
            "vm_memory_monitor:set_vm_memory_high_watermark(0.0)",
            "vm_memory_monitor:set_vm_memory_high_watermark(0.6)",
        ),
        (
            "disk",
            "rabbit_disk_monitor:set_disk_free_limit(\"1000000GB\")",
            "rabbit_disk_monitor:set_disk_free_limit(\"50MB\")",
        ),
    ];
    for (part, (name, on, off)) in (1..).zip(alarms) {
        fleet.images(each * part)?;
        let switch = fleet.path(name);
        follow(&node, &switch, on, off).await?;
        let mut producer = Watched::start(&fleet, CONFIRMED).await?;
        producer.more_than(0, PATIENCE).await?;
        std::fs::write(&switch, "on")?;
        let alarm = Instant::now();
        let paused = producer.pauses(alarm, lasts).await?;
        // What was published before is read and acked while the alarm holds.
        let observer = fleet.observer().await?;
        let drained = drains(&observer).await?;
        observer.close().await;
        let still = producer.count().await?;
        let in_time = producer.program.is_running();
        std::fs::remove_file(&switch)?;
        let end = Instant::now();
        producer.more_than(still, PATIENCE).await?;
        let resumed = end.elapsed();
        row = paused
            .row(row, name, "the broker takes no messages")
            .must(&format!("{name}: the alarm came in time"), in_time)
            .must(&format!("{name}: consumers go on acking"), drained)
            .within(&format!("{name}: resumes after"), resumed, RESUMES);
        let code = producer.program.ended(PATIENCE).await;
        row = row.must(&format!("{name}: the producer ends well"), code == Some(0));
    }
    let took = {
        let _workers = fleet.workers(4)?;
        fleet.finishes(each * 2, PATIENCE).await?
    };
    let row = row.took("drained in", took);
    let row = fleet.verdict(row, each * 2, ANALYZERS).await?;
    full(lab, row).await
}

async fn full(lab: &Lab, row: Row) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::null(lab, &vhost.url).await?;
    fleet.set("broker.queue_capacity", CAPACITY);
    let images = CAPACITY * 4;
    fleet.images(images)?;
    let _collector = fleet.collector()?;
    // Reports of the batch are still published: what counts is what is accepted.
    let mut producer = Watched::start(&fleet, ACCEPTED).await?;
    let observer = fleet.observer().await?;
    let jobs = Queue::Jobs("null-b".parse()?);
    let started = Instant::now();
    while observer.depth(&jobs).await.map_or(0, |depth| depth.ready) < CAPACITY {
        if started.elapsed() > PATIENCE {
            return Err("the queue does not fill".into());
        }
        tokio::time::sleep(LOOK).await;
    }
    let lasts = lab.lasting(Duration::from_secs(4), Duration::from_secs(3));
    let paused = producer.pauses(Instant::now(), lasts).await?;
    let still = producer.count().await?;
    let in_time = producer.program.is_running();
    let _workers = fleet.workers(4)?;
    while observer.depth(&jobs).await?.ready >= CAPACITY && started.elapsed() < PATIENCE {
        tokio::time::sleep(LOOK).await;
    }
    let room = Instant::now();
    producer.more_than(still, PATIENCE).await?;
    let resumed = room.elapsed();
    let code = producer.program.ended(PATIENCE).await;
    fleet.finishes(images, PATIENCE).await?;
    observer.close().await;
    let row = paused
        .row(row, "full queue", "the queue takes no more messages")
        .must("full queue: it was full in time", in_time)
        .within("full queue: resumes after there is room", resumed, RESUMES)
        .must("full queue: the producer ends well", code == Some(0));
    fleet.verdict(row, images, ANALYZERS).await
}

/// Has the node raise and end its alarm within a moment after a file appears and goes: `rabbitmqctl` itself takes a
/// second or more, in which a producer comes to its end.
async fn follow(node: &OwnRabbitmq, switch: &Path, on: &str, off: &str) -> Fallible<()> {
    let file = switch.display();
    let wait = |wanted| {
        format!(
            "(fun W() -> case filelib:is_file(\"{file}\") of {wanted} -> ok; _ -> timer:sleep(20), W() end end)()"
        )
    };
    let task = format!("spawn(fun() -> {}, {on}, {}, {off} end).", wait(true), wait(false));
    node.control(&["eval", &task]).await?;
    Ok(())
}

async fn drains(observer: &Broker) -> Fallible<bool> {
    let started = Instant::now();
    while observer.depth(&Queue::Results).await?.ready > 0 {
        if started.elapsed() > PATIENCE {
            return Ok(false);
        }
        tokio::time::sleep(LOOK).await;
    }
    Ok(true)
}

/// A producer that is watched from outside.
pub(super) struct Watched<'a> {
    fleet: &'a Fleet,
    pub(super) program: Program,
    port: u16,
    /// The metric that is looked at.
    metric: &'static str,
    /// Bytes of its log that were there before.
    log_from: usize,
}

/// How it paused.
struct Paused {
    after: Duration,
    said_after: Option<String>,
    said_in: Duration,
    ready: String,
    grew: u64,
}

impl<'a> Watched<'a> {
    pub(super) async fn start(fleet: &'a Fleet, metric: &'static str) -> Fallible<Self> {
        let port = ports::free();
        let log_from = std::fs::read_to_string(Self::log(fleet)).map_or(0, |text| text.len());
        let listen = format!("127.0.0.1:{port}");
        let program = fleet.start("ocelli-producer", ["in", "--listen", &listen])?;
        let this = Self { fleet, program, port, metric, log_from };
        let started = Instant::now();
        while this.page("healthz").await.is_err() && started.elapsed() < PATIENCE {
            tokio::time::sleep(LOOK).await;
        }
        Ok(this)
    }

    fn log(fleet: &Fleet) -> std::path::PathBuf {
        fleet.path("ocelli-producer.log")
    }

    async fn page(&self, path: &str) -> Fallible<String> {
        Ok(super::program::page(self.port, path).await?)
    }

    /// The sum of its metric.
    async fn count(&self) -> Fallible<u64> {
        let page = self.page("metrics").await?;
        let lines = page.lines().filter(|line| line.starts_with(self.metric));
        let values = lines.filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok());
        Ok(values.sum::<f64>() as u64)
    }

    /// Waits until it has counted more.
    pub(super) async fn more_than(&self, count: u64, limit: Duration) -> Fallible<()> {
        let started = Instant::now();
        // One that has ended has confirmed all it had.
        while self.count().await.is_ok_and(|now| now <= count) {
            if started.elapsed() > limit {
                return Err("the producer does not go on".into());
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Ok(())
    }

    /// Watches it from now on for `lasts`; `alarm` is when it had to pause.
    async fn pauses(&self, alarm: Instant, lasts: Duration) -> Fallible<Paused> {
        let mut last = (self.count().await?, alarm);
        let (mut said, mut settled) = (None, None);
        let watching = Instant::now();
        while watching.elapsed() < lasts + PAUSES {
            let now = Instant::now();
            let count = self.count().await?;
            if count > last.0 {
                last = (count, now);
            }
            if said.is_none() {
                let log = std::fs::read_to_string(Self::log(self.fleet))?;
                let new = log.get(self.log_from..).unwrap_or_default();
                let line = new.lines().find(|line| {
                    line.contains("takes no messages") || line.contains("takes no more messages")
                });
                let after = now.duration_since(alarm);
                said = line.map(|line| (after, line.to_owned()));
            }
            if watching.elapsed() > PAUSES && settled.is_none() {
                settled = Some(self.program.resident());
            }
            tokio::time::sleep(LOOK).await;
        }
        let (said_in, said_after) =
            said.map_or((Duration::MAX, None), |(after, line)| (after, Some(line)));
        Ok(Paused {
            after: last.1.duration_since(alarm),
            said_after,
            said_in,
            ready: self.page("readyz").await.unwrap_or_else(|error| error.to_string()),
            grew: self.program.resident().saturating_sub(settled.unwrap_or_default()),
        })
    }
}

impl Paused {
    fn row(&self, row: Row, name: &str, words: &str) -> Row {
        let said = self.said_after.as_ref().is_some_and(|line| line.contains(words));
        // A full queue is one queue: the broker as a whole is ready.
        let ready = name == "full queue" || self.ready.contains("takes no messages");
        row.within(&format!("{name}: the producer pauses after"), self.after, PAUSES)
            .must(&format!("{name}: says so within 2 s"), said && self.said_in <= PAUSES)
            .must(&format!("{name}: /readyz says so"), ready)
            .figure("grew by", format!("{} kB", self.grew / 1024))
            .must(&format!("{name}: memory stays flat (8 MB)"), self.grew <= FLAT)
    }
}

impl Fleet {
    /// A connection that looks at queues.
    pub(super) async fn observer(&self) -> Fallible<Broker> {
        Ok(Broker::rabbitmq(RabbitOptions::new(&self.broker_url)).await?)
    }
}
