//! Latency: one image alone, from the moment in which it is enqueued to its complete record.

use std::path::Path;
use std::time::{Duration, Instant};

use ocelli_broker::{Broker, Outgoing, RabbitOptions};
use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;
use ocelli_core::{AnalyzerName, BatchId, Digest, SourceUri};
use ocelli_testkit::program::Program;

use crate::fleet::{Fleet, NULLS, PATIENCE, images, nulls};
use crate::lab::{Fallible, Lab};
use crate::report::{Goal, Row};
use crate::rows::pictures::{self, Pictures};
use crate::series::{Series, alternate, median, percentile};
use crate::texts;

/// Images of a round, one after the other.
const NULL: u64 = 100;
const READ: u64 = 12;
/// Images before the clock counts.
const WARM: u64 = 10;
/// Between two of them: the fleet is idle again.
const PAUSE: Duration = Duration::from_millis(30);
/// How often the record is looked at: what a figure may be off.
const GLANCE: Duration = Duration::from_millis(1);
const OCR: &str = "tesseract-ocr";
/// What a collector waits for more messages, longer than by default.
const LONG: &str = "[collector]\nlinger = \"5ms\"";

pub(crate) async fn measure(lab: &Lab) -> Fallible<Row> {
    let plain =
        "medians of rounds; one null worker with three analyzers, one collector, default settings";
    let (nulls, middle, late) = null_fleet(lab, "null analyzers", plain, "").await?;
    let (long, ..) =
        null_fleet(lab, "null analyzers, longer linger", "collector.linger of 5 ms", LONG).await?;
    let (ocr, loops, over) = reading_fleet(lab).await?;
    let goals = vec![
        Goal::at_most("latency, null analyzers, p50", 15.0, "ms", middle),
        Goal::at_most("latency, null analyzers, p99", 50.0, "ms", late),
        Goal::at_most("latency, OCR, beyond 1.1 × the bare call", 15.0, "ms", over),
    ];
    let how = vec![
        "from the publish of an image's jobs and sighting to the moment in which its record is read back complete from \
         PostgreSQL, looked at every millisecond; one image after the other, the fleet idle between them"
            .to_owned(),
        format!(
            "a round: {} images with three null analyzers, {} with Tesseract",
            lab.count(NULL),
            lab.count(READ)
        ),
    ];
    Ok(Row { series: vec![nulls, long, ocr, loops], goals, how, ..Row::default() })
}

/// Enqueues images one at a time.
struct Enqueuer<'a> {
    fleet: &'a Fleet<'a>,
    broker: Broker,
    analyzers: Vec<AnalyzerName>,
    batch: BatchId,
}

impl<'a> Enqueuer<'a> {
    async fn new(fleet: &'a Fleet<'a>, analyzers: &[&str]) -> Fallible<Self> {
        let broker = Broker::rabbitmq(RabbitOptions::new(&fleet.vhost.url)).await?;
        let analyzers = analyzers.iter().map(|name| name.parse()).collect::<Result<_, _>>()?;
        Ok(Self { fleet, broker, analyzers, batch: BatchId::new(uuid::Uuid::now_v7()) })
    }

    /// As a producer does it: the jobs first, then the sighting. Milliseconds to the complete record.
    async fn one(&self, file: &Path) -> Fallible<f64> {
        let digest = Digest::of(&std::fs::read(file)?);
        let source = SourceUri::from_path(file)?;
        let message = texts::intake(digest, source, &self.analyzers, self.batch);
        let jobs = self.analyzers.iter().map(|name| Queue::Jobs(name.clone())).collect();
        let started = Instant::now();
        self.publish(&message, jobs).await?;
        self.publish(&message, vec![Queue::Results]).await?;
        loop {
            if let Some(record) = self.fleet.catalog.record(&digest).await?
                && record.is_complete()
                && !record.analyses.is_empty()
            {
                let took = started.elapsed();
                tokio::time::sleep(PAUSE).await;
                return Ok(took.as_secs_f64() * 1_000.0);
            }
            if started.elapsed() > PATIENCE {
                return Err(format!("{} has no complete record", file.display()).into());
            }
            tokio::time::sleep(GLANCE).await;
        }
    }

    async fn publish(&self, message: &Message, routes: Vec<Queue>) -> Fallible<()> {
        let body = message.encode()?.into();
        let id = message.id();
        Ok(self
            .broker
            .publish(Outgoing { id, body, routes, attempts: 0, traceparent: None })
            .await?)
    }
}

/// The medians of rounds, and p50 and p99 of everything.
async fn null_fleet(
    lab: &Lab,
    name: &str,
    note: &str,
    settings: &str,
) -> Fallible<(Series, Option<f64>, Option<f64>)> {
    let fleet = Fleet::new(lab, &format!("{settings}\n{}", nulls(&NULLS, 4))).await?;
    let rounds = u64::from(lab.rounds) + 1;
    let count = lab.count(NULL);
    let all = WARM + rounds * count;
    images(&fleet.path("in"), 0..all, 100)?;
    let _programs: (Program, Vec<Program>) = (fleet.collector()?, fleet.null_workers(1)?);
    fleet.consumed_by(&NULLS, 1).await?;
    let enqueuer = Enqueuer::new(&fleet, &NULLS).await?;
    let mut files = (0..all).map(|number| {
        fleet.path("in").join((number / 1000).to_string()).join(format!("{number}.png"))
    });
    for file in files.by_ref().take(usize::try_from(WARM)?) {
        enqueuer.one(&file).await?;
    }
    let mut every = Vec::new();
    let contenders = vec![Series::new(name, "ms", note)];
    let mut round = 0_u32;
    let series = alternate(lab, contenders, async |_| {
        let mut times = Vec::new();
        for file in files.by_ref().take(usize::try_from(count)?) {
            times.push(enqueuer.one(&file).await?);
        }
        if round > 0 {
            every.extend_from_slice(&times);
        }
        round += 1;
        median(&times).ok_or_else(|| "no images".into())
    })
    .await;
    enqueuer.broker.close().await;
    fleet.check(all, NULLS.len() as u64).await?;
    let series = series.into_iter().next().ok_or("no series")?;
    Ok((series, percentile(&every, 50), percentile(&every, 99)))
}

/// The fleet with Tesseract beside a thread that reads the same images, and what it takes beyond 1.1 times of that.
async fn reading_fleet(lab: &Lab) -> Fallible<(Series, Series, Option<f64>)> {
    let fleet = Fleet::new(lab, &format!("[analyzers.\"{OCR}\"]\nchildren = 1\n")).await?;
    let pictures = Pictures::draw(lab, lab.count(READ)).await?;
    let _programs = (fleet.collector()?, fleet.start("ocelli-ocr-worker", &[])?);
    fleet.consumed_by(&[OCR], 1).await?;
    let enqueuer = Enqueuer::new(&fleet, &[OCR]).await?;
    let contenders = vec![
        Series::new("OCR, through the fleet", "ms", "mean of a round; one child, one collector"),
        Series::new(
            "OCR, bare call",
            "ms",
            "the same reading by one thread in a loop, the file read and decoded",
        ),
    ];
    let mut round = 0;
    let series = alternate(lab, contenders, async |index| {
        if index == 1 {
            let took = pictures::one_loop(lab, "reading", &pictures.files).await?;
            return Ok(took / pictures.files.len() as f64 * 1_000.0);
        }
        round += 1;
        // The same pictures as other images: a picture is read once.
        let mut sum = 0.0;
        for file in pictures.again(round)? {
            sum += enqueuer.one(&file).await?;
        }
        Ok(sum / pictures.files.len() as f64)
    })
    .await;
    enqueuer.broker.close().await;
    let pairs = series[0].values.iter().zip(&series[1].values);
    let over: Vec<f64> = pairs.map(|(fleet, bare)| fleet - 1.1 * bare).collect();
    let mut series = series.into_iter();
    let (Some(first), Some(second)) = (series.next(), series.next()) else {
        return Err("no series".into());
    };
    Ok((first, second, median(&over)))
}
