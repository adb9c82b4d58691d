//! Measures the catalog behind the collector, on SQLite and on PostgreSQL: `make bench-catalog`, or
//! `bench-catalog [RECORDS [sqlite|postgres]]`. With `--keep FILE` the SQLite archive stays; one that
//! is there already is only asked, or given `--more RECORDS`, and so is that of `--at URL`.
//!
//! Each figure stands beside the one that it is a share of, from the same run: what the collector writes per second beside
//! bare inserts of the same rows, the cost of a record in a large archive beside that in a small one. Texts are made up: 300
//! bytes of words as frequent as in real language, and a few that nobody ever wrote before, as OCR makes them.

mod bare;
mod exported;
mod texts;

use std::path::PathBuf;
use std::time::{Duration, Instant};

use clap::Parser;
use ocelli_broker::{Broker, MemoryOptions, Outgoing};
use ocelli_catalog::query::Query;
use ocelli_catalog::search::{Search, Sort};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_collector::{CollectorMetrics, CollectorOptions, Parts, run};
use ocelli_core::Digest;
use ocelli_core::routing::{Queue, queues};
use ocelli_testkit::servers::OwnPostgres;
use prometheus::Registry;
use texts::{ANALYZERS, Texts};
use tokio_util::sync::CancellationToken;

pub(crate) type Failed = Box<dyn std::error::Error>;

/// Records after which the archive counts as small.
const SMALL: u64 = 10_000;
/// Records that are put into the queue before the collector is let at them.
const AT_ONCE: u64 = 10_000;
/// A large archive's last records are such a part of all of them: enough for all that is done once in a while.
const SPANS: u64 = 10;
/// Queries of each class, and how often each is asked.
const QUERIES: usize = 30;
const ROUNDS: usize = 3;
/// Digests that are looked up.
const LOOKED_UP: u64 = 100_000;

/// So many records are written before it is the other archive's turn: long beside what is left for later when a turn ends …
const TURN: u64 = 25_000;
/// … which is done by then, so that it does not burden the other's turn: the catalog begins with it when nothing has come for 2 s.
const AFTERWARDS: Duration = Duration::from_secs(5);

#[derive(Parser)]
struct Arguments {
    /// Records in the archive.
    #[arg(default_value_t = 30_000)]
    records: u64,
    /// One of the two databases.
    only: Option<Backend>,
    /// Where the SQLite archive stays. One that is there is not written again.
    #[arg(long)]
    keep: Option<PathBuf>,
    /// An archive that is there, or an empty database, which then gets the records.
    #[arg(long, conflicts_with_all = ["keep", "only"])]
    at: Option<String>,
    /// Records that are put into one that is there.
    #[arg(long, default_value_t = 0)]
    more: u64,
    /// SQLite: MiB that its log may grow to.
    #[arg(long)]
    log_size: Option<u64>,
    /// SQLite: MiB of pages in memory.
    #[arg(long)]
    cache: Option<u64>,
}

#[derive(Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum Backend {
    Sqlite,
    Postgres,
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let (records, only) = (arguments.records.max(2 * SMALL), arguments.only);
    let mut options = CatalogOptions::default();
    options.log_size = arguments.log_size.map_or(options.log_size, |size| size << 20);
    options.cache = arguments.cache.map_or(options.cache, |size| size << 20);
    if let Some(url) = arguments.at {
        return again(&url, &options, records, arguments.more).await;
    }
    if only != Some(Backend::Postgres) {
        let folder = tempfile::tempdir()?;
        let url = |name: &str| format!("sqlite:{}", folder.path().join(name).display());
        match arguments.keep {
            Some(kept) if kept.exists() => {
                let kept = format!("sqlite:{}", kept.display());
                again(&kept, &options, records, arguments.more).await?;
            }
            Some(kept) => {
                let kept = format!("sqlite:{}", kept.display());
                measure("SQLite", [&kept, &url("bare.db"), &url("small.db")], &options, records)
                    .await?;
            }
            None => {
                measure(
                    "SQLite",
                    [&url("collected.db"), &url("bare.db"), &url("small.db")],
                    &options,
                    records,
                )
                .await?;
            }
        }
    }
    if only != Some(Backend::Sqlite) {
        let settings = server_settings();
        let server = OwnPostgres::start_with(&settings.each_ref().map(String::as_str)).await?;
        let (first, second) = (server.database().await, server.database().await);
        let third = server.database().await;
        measure("PostgreSQL", [&first.url, &second.url, &third.url], &options, records).await?;
    }
    Ok(())
}

/// PostgreSQL as docs/OPERATIONS.md advises for an archive: durable, with a quarter of the machine's memory.
fn server_settings() -> [String; 4] {
    let memory = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let total = memory
        .lines()
        .find_map(|line| line.strip_prefix("MemTotal:")?.split_whitespace().next()?.parse().ok());
    let quarter: u64 = total.map_or(1024, |kilobytes: u64| kilobytes / 1024 / 4);
    let shared = format!("shared_buffers={quarter}MB");
    ["fsync=on".into(), "full_page_writes=on".into(), shared, "max_wal_size=4GB".into()]
}

/// An archive that is there: some more records, and what is asked of it.
async fn again(url: &str, options: &CatalogOptions, records: u64, more: u64) -> Result<(), Failed> {
    let mut fleet = Fleet::new(url, options).await?;
    if fleet.there().await? == 0 {
        add(&mut fleet, records).await?;
    }
    add(&mut fleet, more).await?;
    ask(&mut fleet, records).await
}

async fn measure(
    name: &str,
    [url, bare, small]: [&str; 3],
    options: &CatalogOptions,
    records: u64,
) -> Result<(), Failed> {
    println!("{name}, {records} records, {} analyses each", ANALYZERS.len());
    let mut fleet = Fleet::new(url, options).await?;
    let took = fleet.collect(0..SMALL).await?;
    let analyses = ANALYZERS.len() as f64;
    let rate = |records: u64, took: Duration| analyses * records as f64 / took.as_secs_f64();
    let collected = rate(SMALL, took);
    println!("  queue to committed rows        {collected:>9.0} analyses/s, from an empty archive");
    for (what, with_search) in [("all indexes", true), ("no search index", false)] {
        let took = bare::insert(url, bare, SMALL, fleet.records_per_batch(), with_search).await?;
        let how = if url.starts_with("sqlite:") { "multi-row INSERT" } else { "COPY" };
        let bare = rate(SMALL, took);
        println!(
            "  bare {how:<17} {bare:>15.0} analyses/s, the same rows, {what}: the collector is {:.2} of it",
            collected / bare
        );
    }
    let span = (records / SPANS).max(AT_ONCE).min(records - SMALL);
    let mut at = SMALL;
    while at < records - span {
        let to = (at + AT_ONCE).min(records - span);
        fleet.collect(at..to).await?;
        at = to;
    }
    // The machine may be faster or slower than it was at the beginning, so the last ones are written in turns with as many into
    // another archive, with few records in it.
    let mut beside = Fleet::new(small, options).await?;
    beside.collect(0..SMALL).await?;
    let (mut large, mut few) = (Vec::new(), Vec::new());
    while at < records {
        let to = (at + TURN).min(records);
        let early = SMALL + at - (records - span);
        for (fleet, from, took) in [(&mut beside, early, &mut few), (&mut fleet, at, &mut large)] {
            tokio::time::sleep(AFTERWARDS).await;
            took.push((to - at, fleet.collect(from..from + to - at).await?));
        }
        at = to;
    }
    tokio::time::sleep(AFTERWARDS).await;
    beside.catalog.close().await;
    println!(
        "  the last {span} of {records}: {:>15.0} analyses/s: a record costs {:.2} of one in an archive with {SMALL} \
         ({:.0} analyses/s), written in turns with it",
        analyses / of(&large),
        of(&large) / of(&few),
        analyses / of(&few),
    );
    ask(&mut fleet, records).await
}

/// Some more records, beside those that are there.
async fn add(fleet: &mut Fleet, more: u64) -> Result<(), Failed> {
    let there = fleet.there().await?;
    let mut at = there;
    while at < there + more {
        let to = (at + AT_ONCE).min(there + more);
        let took = fleet.collect(at..to).await?;
        let rate = ANALYZERS.len() as f64 * (to - at) as f64 / took.as_secs_f64();
        println!("  {} more                     {rate:>9.0} analyses/s, {at} were there", to - at);
        at = to;
    }
    Ok(())
}

/// What costs no writing.
async fn ask(fleet: &mut Fleet, records: u64) -> Result<(), Failed> {
    lookup(&fleet.catalog, records).await?;
    searches(fleet, records).await?;
    fleet.catalog.close().await;
    exported::to_parquet(&fleet.url)
}

/// Seconds of a record, from some parts of records and the time they took.
fn of(parts: &[(u64, Duration)]) -> f64 {
    let took: Duration = parts.iter().map(|(_, took)| *took).sum();
    took.as_secs_f64() / parts.iter().map(|(records, _)| *records).sum::<u64>() as f64
}

/// A collector with its queue in memory.
struct Fleet {
    url: String,
    catalog: Catalog,
    texts: Texts,
    options: CollectorOptions,
}

impl Fleet {
    async fn new(url: &str, options: &CatalogOptions) -> Result<Self, Failed> {
        let catalog = Catalog::open(url, options.clone()).await?;
        let url = url.to_owned();
        // A collector counts the archive once a minute. The ones here are started every few seconds, and each would.
        let options = CollectorOptions { count_every: Duration::ZERO, ..Default::default() };
        Ok(Self { url, catalog, texts: Texts::new(), options })
    }

    /// Images in the archive.
    async fn there(&self) -> Result<u64, Failed> {
        Ok(self.catalog.status(jiff::Timestamp::now()).await?.images)
    }

    /// An intake and its answers are one message each.
    fn records_per_batch(&self) -> u64 {
        (self.options.batch / (1 + ANALYZERS.len())) as u64
    }

    /// Writes records from a full queue. Returns how long that took.
    async fn collect(&mut self, numbers: std::ops::Range<u64>) -> Result<Duration, Failed> {
        let messages = (numbers.end - numbers.start) * (1 + ANALYZERS.len() as u64);
        let options = MemoryOptions { capacity_per_queue: usize::try_from(messages)? + 1 };
        let broker = Broker::memory(options);
        broker.declare(&queues(&[], &[])).await?;
        for number in numbers {
            for message in self.texts.record(number)? {
                let outgoing = Outgoing {
                    id: message.id(),
                    body: message.encode()?.into(),
                    routes: vec![Queue::Results],
                    attempts: 0,
                    traceparent: None,
                };
                broker.publish(outgoing).await?;
            }
        }
        let registry = Registry::new();
        let metrics = CollectorMetrics::register(&registry)?;
        let (catalog, options) = (self.catalog.clone(), self.options.clone());
        let stop = CancellationToken::new();
        let started = Instant::now();
        let parts = Parts { broker: broker.clone(), catalog, options, metrics };
        let collector = tokio::spawn(run(parts, stop.clone()));
        let written = || {
            let families = registry.gather();
            let family =
                families.iter().find(|family| family.name() == "ocelli_collected_messages_total");
            family.map_or(0.0, |family| {
                family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
            })
        };
        while written() < messages as f64 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        let took = started.elapsed();
        stop.cancel();
        collector.await??;
        broker.close().await;
        Ok(took)
    }
}

/// The producer's question, half of it about images that are there.
async fn lookup(catalog: &Catalog, records: u64) -> Result<(), Failed> {
    let digests: Vec<Digest> = (0..LOOKED_UP)
        .map(|number| {
            let known = number % 2 == 0;
            texts::digest(if known { number * 7_919 % records } else { records + number })
        })
        .collect();
    let started = Instant::now();
    let known = catalog.lookup(&digests).await?.len();
    let rate = LOOKED_UP as f64 / started.elapsed().as_secs_f64();
    println!(
        "  \"is it there?\"                 {rate:>9.0} digests/s, {known} of {LOOKED_UP} known"
    );
    Ok(())
}

async fn searches(fleet: &Fleet, records: u64) -> Result<(), Failed> {
    let mut everything = Vec::new();
    for (class, queries) in fleet.texts.queries(records, QUERIES) {
        let mut times = Vec::new();
        let mut found = 0;
        for round in 0..=ROUNDS {
            for query in &queries {
                let search = Search {
                    query: Query::parse(query)?,
                    sort: Sort::Relevance,
                    limit: 20,
                    cursor: None,
                    facets: false,
                };
                let started = Instant::now();
                let page = fleet.catalog.search(&search).await?;
                // The first round fills the caches.
                if round > 0 {
                    times.push(started.elapsed());
                    found += page.total.records;
                }
            }
        }
        let records = found as f64 / times.len() as f64;
        let (middle, most) = percentiles(&mut times);
        println!(
            "  search, {class:<22} {middle:>9.1} ms p50 {most:>9.1} ms p95  ({records:.0} records, as in '{}')",
            queries[0]
        );
        everything.append(&mut times);
    }
    let (middle, most) = percentiles(&mut everything);
    println!("  search, all                    {middle:>9.1} ms p50 {most:>9.1} ms p95");
    Ok(())
}

fn percentiles(times: &mut [Duration]) -> (f64, f64) {
    times.sort_unstable();
    let at = |percent: usize| times[(times.len() - 1) * percent / 100].as_secs_f64() * 1_000.0;
    (at(50), at(95))
}
