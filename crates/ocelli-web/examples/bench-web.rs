//! How fast pages of a large archive come: record and search pages with many readers at once, alone and while a collector
//! writes beside them; the bytes of a first view, and the memory before and after.
//!
//! `bench-web [--records 100000] [--readers 50] [--seconds 15] [--pause 1000] [--url CATALOG]
//! [--connections 4] [--cache 128]`. Without a URL the archive is a
//! SQLite file in a folder of its own, which is filled first and removed afterwards. One that holds as many records already is
//! taken as it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use futures_util::future::BoxFuture;
use jiff::Timestamp;
use ocelli_catalog::query::QueryLimits;
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Digest, ImageFacts, ImageFormat, Outcome, Provenance, Reading,
    RevisionBuilder, Sighting, Want, Word,
};
use ocelli_media::{Converter, DecodeLimits, FetchLimits, Fetcher};
use ocelli_web::{
    AnalyzerLine, Delivery, Hand, Hands, Listener, Parts, QueueDepth, Requeued, WebOptions, serve,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_util::sync::CancellationToken;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Records of one transaction.
const AT_ONCE: u64 = 250;
/// Words of a model's answer, with a heading now and then.
const PROSE: usize = 250;
/// Words that OCR read.
const LETTERS: usize = 40;

#[derive(Debug, Clone, Parser)]
struct Arguments {
    /// Records in the archive.
    #[arg(long, default_value_t = 100_000)]
    records: u64,
    /// Readers at once.
    #[arg(long, default_value_t = 50)]
    readers: usize,
    /// Seconds of each measurement.
    #[arg(long, default_value_t = 15)]
    seconds: u64,
    /// Milliseconds that a reader looks at a page, on average, before it asks for the next; 0: the readers together ask for as much as comes,
    /// and how long each page takes then says how many the machine makes, not how long a page takes.
    #[arg(long, default_value_t = 1_000)]
    pause: u64,
    /// The catalog.
    #[arg(long)]
    url: Option<String>,
    /// Connections that read, as many as by default.
    #[arg(long, default_value_t = 4)]
    connections: u32,
    /// SQLite: megabytes of the file that are kept in memory, half of them for all readers.
    #[arg(long, default_value_t = 128)]
    cache: u64,
}

/// Nobody is given anything here.
struct Nobody;

impl Hand for Nobody {
    fn requeue(
        &self,
        _: Vec<(Digest, AnalyzerName)>,
    ) -> BoxFuture<'static, Result<Requeued, String>> {
        Box::pin(async { Ok(Requeued::NextRun) })
    }

    fn bring(&self, _: Delivery) -> BoxFuture<'static, Result<BatchId, String>> {
        Box::pin(async { Err("nobody reads images here".to_owned()) })
    }

    fn queues(
        &self,
        _: Vec<AnalyzerName>,
    ) -> BoxFuture<'static, Result<Option<Vec<QueueDepth>>, String>> {
        Box::pin(async { Ok(None) })
    }

    fn cannot_bring(&self) -> Option<&'static str> {
        Some("nobody reads images here")
    }
}

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let arguments = Arguments::parse();
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite:{}", folder.path().join("catalog.db").display());
    let url = arguments.url.clone().unwrap_or(file);
    let catalog = CatalogOptions {
        connections: arguments.connections,
        cache: arguments.cache << 20,
        ..CatalogOptions::default()
    };
    let catalog = Catalog::open(&url, catalog).await?;
    fill(&catalog, arguments.records).await?;

    let stop = CancellationToken::new();
    let listener = Listener::bind("127.0.0.1:0").await?;
    let address = listener.address().to_string();
    let parts = Parts {
        catalog: catalog.clone(),
        fetcher: Fetcher::new(FetchLimits::default())?,
        hands: Hands::of(Nobody),
        options: options(folder.path()),
    };
    let site = tokio::spawn(serve(listener, parts, stop.clone()));
    first_view(&address).await?;
    println!("resident before anybody reads: {:.0} MB", memory());

    println!(
        "\n{} records in {}, {} readers that look at a page for {} ms, {} s each, {} cores",
        arguments.records,
        kind(&url),
        arguments.readers,
        arguments.pause,
        arguments.seconds,
        std::thread::available_parallelism()?
    );
    println!(
        "{:34} {:>9} {:>9} {:>9} {:>9}  {:>8}",
        "", "pages/s", "p50 ms", "p95 ms", "p99 ms", "RSS MB"
    );
    for writing in [false, true] {
        for what in [Page::Record, Page::Search, Page::Gallery] {
            let writer = Arc::new(AtomicBool::new(writing));
            let written = Arc::new(AtomicU64::new(0));
            let beside = tokio::spawn(write(
                catalog.clone(),
                arguments.records,
                Arc::clone(&writer),
                Arc::clone(&written),
            ));
            let times = read(&address, what, &arguments).await?;
            writer.store(false, Ordering::Relaxed);
            beside.await??;
            let name = if writing {
                let rate = written.load(Ordering::Relaxed) / arguments.seconds.max(1);
                format!("{} while {rate} records/s are written", what.name())
            } else {
                what.name().to_owned()
            };
            let at = |share: usize| times[times.len() * share / 100].as_secs_f64() * 1e3;
            let rate = times.len() as u64 / arguments.seconds.max(1);
            println!(
                "{name:34} {rate:>9} {:>9.1} {:>9.1} {:>9.1}  {:>8.0}",
                at(50),
                at(95),
                at(99),
                memory()
            );
        }
    }
    stop.cancel();
    site.await?;
    catalog.close().await;
    Ok(())
}

fn kind(url: &str) -> &'static str {
    if url.starts_with("sqlite") { "SQLite" } else { "PostgreSQL" }
}

fn options(folder: &std::path::Path) -> WebOptions {
    let line = |name: &str, kind| name.parse().map(|name| AnalyzerLine { name, kind, off: false });
    WebOptions {
        token: None,
        hosts: Vec::new(),
        analyzers: [line("gemma3-27b-vision", "llm"), line("tesseract-ocr", "ocr")]
            .into_iter()
            .flatten()
            .collect(),
        budgets: Vec::new(),
        decode: DecodeLimits::default(),
        converter: Converter::default(),
        decode_deadline: Duration::from_secs(60),
        decoders: 2,
        pictures: folder.join("pictures"),
        picture_bytes: 1 << 30,
        uploads: folder.join("uploads"),
        upload_bytes: 1 << 20,
        upload_files: 1,
        upload_timeout: Duration::from_secs(10),
        request_timeout: Duration::from_secs(30),
        query: QueryLimits::default(),
        exports: 4,
        export_stall: Duration::from_secs(60),
        batch_queries: 1_000,
        batch_bytes: 1 << 20,
        batch_hits: 1_000,
        saved_searches: 500,
        // All readers have one address here.
        rate: 1_000_000,
        connections: 512,
        silence: jiff::SignedDuration::from_secs(20),
        clock_skew: Duration::from_secs(5),
    }
}

/// Which page is asked for.
#[derive(Debug, Clone, Copy)]
enum Page {
    Record,
    Search,
    Gallery,
}

impl Page {
    const fn name(self) -> &'static str {
        match self {
            Self::Record => "record page",
            Self::Search => "search page",
            Self::Gallery => "gallery",
        }
    }

    fn path(self, records: u64, random: &mut u64) -> String {
        match self {
            Self::Record => format!("/record/{}?q=w500", digest(next(random) % records)),
            // Words as people look for them: some common, most rare.
            Self::Search => format!("/search?q=w{}", 200 + next(random) % 20_000),
            Self::Gallery => "/".to_owned(),
        }
    }
}

async fn read(address: &str, what: Page, arguments: &Arguments) -> Result<Vec<Duration>, Failed> {
    let until = Instant::now() + Duration::from_secs(arguments.seconds);
    let mut readers = tokio::task::JoinSet::new();
    let count = u32::try_from(arguments.readers)?.max(1);
    for number in 0..count {
        let (address, records) = (address.to_owned(), arguments.records);
        let pause = Duration::from_millis(arguments.pause);
        readers.spawn(async move {
            let mut random = u64::from(number) * 7_919 + 1;
            let mut client = Client::connect(&address).await?;
            let mut times = Vec::new();
            // Not all at once.
            tokio::time::sleep(pause * number / count).await;
            while Instant::now() < until {
                let path = what.path(records, &mut random);
                let started = Instant::now();
                let (status, _) = client.get(&path, "").await?;
                if status != 200 {
                    return Err(Failed::from(format!("{path}: {status}")));
                }
                times.push(started.elapsed());
                // Half to one and a half of it: readers who all pause for the same time end up asking all at once.
                let share = u32::try_from(next(&mut random) % 1_001)? + 500;
                tokio::time::sleep(pause * share / 1_000).await;
            }
            Ok(times)
        });
    }
    let mut all = Vec::new();
    while let Some(times) = readers.join_next().await {
        all.extend(times??);
    }
    all.sort_unstable();
    if all.is_empty() { Err("no page came".into()) } else { Ok(all) }
}

/// A connection that is kept.
struct Client {
    stream: TcpStream,
    host: String,
    buffer: Vec<u8>,
}

impl Client {
    async fn connect(address: &str) -> Result<Self, Failed> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        Ok(Self { stream, host: address.to_owned(), buffer: Vec::new() })
    }

    /// Status and length of a page.
    async fn get(&mut self, path: &str, more: &str) -> Result<(u16, usize), Failed> {
        let request = format!("GET {path} HTTP/1.1\r\nHost: {}\r\n{more}\r\n", self.host);
        self.stream.write_all(request.as_bytes()).await?;
        self.buffer.clear();
        let end = loop {
            if let Some(end) = self.buffer.windows(4).position(|four| four == b"\r\n\r\n") {
                break end + 4;
            }
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection ended".into());
            }
        };
        let head = String::from_utf8_lossy(&self.buffer[..end]).to_lowercase();
        let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).unwrap_or(0);
        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: ")?.trim().parse::<usize>().ok())
            .unwrap_or(0);
        while self.buffer.len() < end + length {
            if self.stream.read_buf(&mut self.buffer).await? == 0 {
                return Err("the connection ended".into());
            }
        }
        Ok((status, end + length))
    }
}

/// What a browser loads before it shows the gallery, without thumbnails.
async fn first_view(address: &str) -> Result<(), Failed> {
    let mut client = Client::connect(address).await?;
    // As browsers do.
    let packed = "Accept-Encoding: gzip, deflate, br, zstd\r\n";
    let (_, page) = client.get("/", packed).await?;
    let text = String::from_utf8_lossy(&client.buffer).into_owned();
    let mut sum = page;
    for part in text.split("\"/assets/").skip(1).filter_map(|rest| rest.split('"').next()) {
        sum += client.get(&format!("/assets/{part}"), packed).await?.1;
    }
    println!(
        "first view of the gallery: {:.1} KB, of these the page {:.1} KB",
        sum as f64 / 1e3,
        page as f64 / 1e3
    );
    Ok(())
}

/// Resident memory of this process, in MB: field 2 of `/proc/self/statm`, proc(5), in pages of 4 KiB.
fn memory() -> f64 {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap_or_default();
    let pages: f64 = statm.split(' ').nth(1).and_then(|pages| pages.parse().ok()).unwrap_or(0.0);
    pages * 4096.0 / 1e6
}

async fn fill(catalog: &Catalog, records: u64) -> Result<(), Failed> {
    let there = catalog.status(Timestamp::now()).await?.images;
    let started = Instant::now();
    let mut random = 1;
    let mut number = there;
    while number < records {
        let end = (number + AT_ONCE).min(records);
        catalog.apply(&messages(number..end, &mut random)?).await?;
        number = end;
    }
    if there < records {
        let rate = (records - there) as f64 / started.elapsed().as_secs_f64();
        println!("{} records were written, {rate:.0}/s", records - there);
    }
    Ok(())
}

/// Writes further records as fast as it can, as long as it is told to.
async fn write(
    catalog: Catalog,
    from: u64,
    go: Arc<AtomicBool>,
    written: Arc<AtomicU64>,
) -> Result<(), Failed> {
    let mut random = 77;
    // Every measurement writes the same ones anew under other numbers.
    let mut number = from + Timestamp::now().as_second().unsigned_abs() * 100_000;
    while go.load(Ordering::Relaxed) {
        catalog.apply(&messages(number..number + AT_ONCE, &mut random)?).await?;
        number += AT_ONCE;
        written.fetch_add(AT_ONCE, Ordering::Relaxed);
    }
    Ok(())
}

fn digest(number: u64) -> Digest {
    Digest::of(&number.to_le_bytes())
}

fn messages(numbers: std::ops::Range<u64>, random: &mut u64) -> Result<Vec<Message>, Failed> {
    let mut all = Vec::new();
    for number in numbers {
        all.extend(record(number, random)?);
    }
    Ok(all)
}

/// An image with words and boxes by Tesseract, and an answer in sections by a model.
fn record(number: u64, random: &mut u64) -> Result<[Message; 3], Failed> {
    let digest = digest(number);
    let seen_at = Timestamp::from_second(1_704_067_200 + i64::try_from(number % 40_000_000)? * 31)?;
    let source: ocelli_core::SourceUri =
        format!("https://example.org/pictures/{number}.png").parse()?;
    let revision = RevisionBuilder::new("bench").build();
    let mut wants = Vec::new();
    let mut answer = |analyzer: &str, reading: Reading| -> Result<Message, Failed> {
        let analyzer: AnalyzerName = analyzer.parse()?;
        wants.push(Want { analyzer: analyzer.clone(), revision: Some(revision.clone()) });
        let analysis = Analysis {
            analyzer,
            revision: revision.clone(),
            outcome: Outcome::Done(reading),
            attempts: 1,
            finished_at: seen_at,
            provenance: Provenance::default(),
        };
        Ok(Message::Partial(Box::new(Partial { digest, analysis, hash: None, image: None })))
    };
    let letters: Vec<String> = (0..LETTERS).map(|_| word(random)).collect();
    let boxes = letters.iter().enumerate().map(|(place, text)| Word {
        text: text.clone(),
        x: (place as i32 % 8) * 140 + 10,
        y: (place as i32 / 8) * 60 + 10,
        w: 120,
        h: 40,
        confidence: 93.0,
        line: place as u32 / 8,
        step: "page".to_owned(),
    });
    let ocr = Reading { words: boxes.collect(), text: letters.join(" "), ..Reading::default() };
    let mut prose = String::new();
    for place in 0..PROSE {
        if place % 50 == 0 {
            prose.push_str(&format!("\n\n## Section {}\n\n", place / 50 + 1));
        }
        prose.push_str(&word(random));
        prose.push(' ');
    }
    let llm = Reading { text: prose, ..Reading::default() };
    let answers = [answer("tesseract-ocr", ocr)?, answer("gemma3-27b-vision", llm)?];
    let intake = Intake {
        image: ImageFacts {
            digest,
            bytes: 93_000,
            format: Some(ImageFormat::Png),
            width: Some(1200),
            height: Some(628),
        },
        sources: vec![],
        sighting: Some(Sighting { source, seen_at, batch: BatchId::new(uuid::Uuid::nil()) }),
        wants,
        refusal: None,
        enqueued_at: seen_at,
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    };
    let [ocr, llm] = answers;
    Ok([Message::Intake(intake), ocr, llm])
}

fn next(random: &mut u64) -> u64 {
    *random =
        random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
    *random >> 11
}

/// `w1` is common, `w50000` rare: about as in real language (the rank is spread over powers of ten).
fn word(random: &mut u64) -> String {
    let share = next(random) as f64 / (1_u64 << 53) as f64;
    format!("w{}", 50_000_f64.powf(share) as u64)
}
