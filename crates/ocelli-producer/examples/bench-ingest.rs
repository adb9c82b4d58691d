//! Measures the producer: `make bench-ingest`, or `bench-ingest [FILES] [files|small|http|bucket]`.
//!
//! Each figure stands beside the one that it is a share of, from the same run: reading files beside `sha256sum` in as many
//! processes, files that have not changed beside reading them, URLs and objects of a bucket beside a bare loop that fetches them with
//! as many connections, and one that also takes their digests. What the producer sends is taken by a broker in memory and written to a catalog in a file behind the clock.

use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ocelli_broker::{Broker, MemoryOptions};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::Message;
use ocelli_core::{AnalyzerName, Digest, SourceUri, Want};
use ocelli_media::{Fetcher, ObjectOptions};
use ocelli_producer::{
    Parts, ProducerMetrics, ProducerOptions, Progress, Source, Summary, resolve, run,
};
use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

type Failed = Box<dyn std::error::Error + Send + Sync>;

/// Bytes of a file: a small photograph.
const FILE: usize = 200_000;
/// Rounds that count.
const ROUNDS: usize = 5;
/// Messages written in one transaction.
const WRITTEN: usize = 1000;

#[tokio::main]
async fn main() -> Result<(), Failed> {
    let files = std::env::args().nth(1).map_or(Ok(2000), |text| text.parse::<u32>())?.max(10);
    let folder = tempfile::tempdir()?;
    let bench = Bench::new(folder.path()).await?;
    let only = std::env::args().nth(2);
    let is_asked = |part: &str| only.as_deref().is_none_or(|only| only == part);
    put(&bench.folder.join("large"), files, FILE)?;
    if is_asked("files") {
        large(&bench, files).await?;
    }
    if is_asked("small") {
        small(&bench, files.saturating_mul(50)).await?;
    }
    if is_asked("http") {
        urls(&bench, files).await?;
    }
    if is_asked("bucket") {
        bucket(&bench, files).await?;
    }
    Ok(())
}

/// Files of the size of photographs.
async fn large(bench: &Bench<'_>, files: u32) -> Result<(), Failed> {
    let folder = bench.folder.join("large");
    let bytes = f64::from(files) * FILE as f64;
    let rate = |took: Duration| bytes / 1e6 / took.as_secs_f64();
    let readers = bench.options.readers;
    let summed = shell(&folder, &format!("ls -U | xargs -P {readers} -n 100 sha256sum"))?;
    let (read, summary) = bench.produce(Source::Path(folder.clone())).await?;
    assert_eq!(summary.enqueued, u64::from(files), "all of them are images");
    println!("{files} files of {FILE} bytes, {readers} at once");
    println!("  sha256sum, {readers} processes        {:>9.0} MB/s", rate(summed));
    let share = summed.as_secs_f64() / read.as_secs_f64();
    println!("  read, hashed, looked at         {:>9.0} MB/s: {share:.2} of it", rate(read));
    Ok(())
}

/// Small files, again and again, and in a list.
async fn small(bench: &Bench<'_>, files: u32) -> Result<(), Failed> {
    let folder = bench.folder.join("small");
    put(&folder, files, 500)?;
    let rate = |took: Duration| f64::from(files) / took.as_secs_f64();
    println!("{files} files of 500 bytes in one folder");
    let (first, _) = bench.produce(Source::Path(folder.clone())).await?;
    println!("  read for the first time         {:>9.0} files/s", rate(first));
    let (second, summary) = bench.produce(Source::Path(folder.clone())).await?;
    assert_eq!(summary.unread, u64::from(files), "none of them has changed");
    println!("  again: not read, nothing sent   {:>9.0} files/s", rate(second));
    let mut list = String::new();
    for number in 0..files {
        let path = resolve(&folder.join(name(number)))?;
        let digest = Digest::of(&image(number.wrapping_add(500), 500));
        list.push_str(&format!(
            "{{\"path\":{:?},\"digest\":\"{digest}\"}}\n",
            path.display().to_string()
        ));
    }
    let path = bench.folder.join("list.ndjson");
    std::fs::write(&path, list)?;
    let (listed, summary) = bench.produce(Source::Manifest(path)).await?;
    assert_eq!(summary.unread, u64::from(files), "none of them has changed");
    println!("  named in a list with digests    {:>9.0} references/s", rate(listed));
    let mut list = String::new();
    for number in 0..files {
        let digest = Digest::of(&number.to_be_bytes());
        list.push_str(&format!(
            "{{\"uri\":\"https://nowhere.invalid/{number}.png\",\"digest\":\"{digest}\"}}\n"
        ));
    }
    let path = bench.folder.join("urls.ndjson");
    std::fs::write(&path, list)?;
    let (listed, summary) = bench.produce(Source::Manifest(path)).await?;
    assert_eq!(summary.enqueued, u64::from(files), "nobody knows them");
    println!("  URLs in a list with digests     {:>9.0} references/s", rate(listed));
    Ok(())
}

/// The large files over HTTP.
async fn urls(bench: &Bench<'_>, files: u32) -> Result<(), Failed> {
    let folder = bench.folder.join("large");
    let address = serve(folder.clone()).await?;
    let uris = (0..files).map(|number| format!("http://{address}/{}", name(number)).parse());
    let urls: Vec<SourceUri> = uris.collect::<Result<_, _>>()?;
    let list = bench.folder.join("urls.txt");
    std::fs::write(&list, urls.iter().map(|url| format!("{url}\n")).collect::<String>())?;
    let wrk = Wrk::new(bench.folder, address, files)?;
    compare(bench, "URLs of one host", urls, Source::Manifest(list), Some(wrk)).await
}

/// The large files from a bucket.
async fn bucket(bench: &Bench<'_>, files: u32) -> Result<(), Failed> {
    let folder = bench.folder.join("large");
    let buckets = Buckets::start(&["pictures"]).await;
    for number in 0..files {
        let path = folder.join(name(number));
        std::fs::hard_link(&path, buckets.file("pictures", &name(number)))
            .or_else(|_| std::fs::copy(&path, buckets.file("pictures", &name(number))).map(drop))?;
    }
    let mut options = bench.options.clone();
    options.fetch.objects = ObjectOptions {
        endpoint: Some(buckets.endpoint()),
        region: Some("us-east-1".to_owned()),
        credentials: Some((ACCESS_KEY.to_owned(), SECRET_KEY.to_owned())),
        ..ObjectOptions::default()
    };
    let bench = Bench { options, ..bench.clone() };
    let prefix: SourceUri = "s3://pictures/".parse()?;
    let uris = (0..files).map(|number| format!("s3://pictures/{}", name(number)).parse());
    let objects: Vec<SourceUri> = uris.collect::<Result<_, _>>()?;
    compare(&bench, "objects of a bucket", objects, Source::Bucket(prefix), None).await
}

/// A producer, a bare loop of the same client, one that also takes digests and perhaps wrk take turns; the first round warms up, and
/// ratios are the median of the others'.
async fn compare(
    bench: &Bench<'_>,
    what: &str,
    sources: Vec<SourceUri>,
    named: Source,
    wrk: Option<Wrk>,
) -> Result<(), Failed> {
    let width = bench.options.fetchers;
    let count = sources.len() as f64;
    let sources = Arc::new(sources);
    let mut rounds = Vec::new();
    for round in 0..=ROUNDS {
        let bare = fetch_all(bench, &sources, false).await?.as_secs_f64();
        let hashed = fetch_all(bench, &sources, true).await?.as_secs_f64();
        // Nothing is known at the beginning of each.
        let folder = tempfile::tempdir_in(bench.folder)?;
        let fresh = Bench { catalog: catalog_in(folder.path()).await?, ..bench.clone() };
        let (took, summary) = fresh.produce(named.clone()).await?;
        fresh.catalog.close().await;
        assert_eq!(summary.accepted as f64, count, "all of them are images");
        let mut times = vec![bare, hashed, took.as_secs_f64()];
        if let Some(wrk) = &wrk
            && let Some(rate) = wrk.clone().rate(width).await?
        {
            times.push(count / rate);
        }
        if round > 0 {
            rounds.push(times);
        }
    }
    println!("{count} {what} of {FILE} bytes, {width} at once, {ROUNDS} rounds");
    let names = ["a bare loop of the same client", "that also takes digests", "ocelli", "wrk"];
    for (place, name) in names.iter().enumerate().take(rounds[0].len()) {
        let mut shares: Vec<f64> = rounds.iter().map(|round| round[0] / round[place]).collect();
        shares.sort_by(f64::total_cmp);
        let mut times: Vec<f64> = rounds.iter().map(|round| round[place]).collect();
        times.sort_by(f64::total_cmp);
        let (least, share, most) = (shares[0], shares[ROUNDS / 2], shares[ROUNDS - 1]);
        let rate = count / times[ROUNDS / 2];
        println!("  {name:31} {rate:>9.0} /s: {share:.2} ({least:.2} to {most:.2})");
    }
    Ok(())
}

/// `wrk` over the same files and connections, where it is installed: it counts bytes and looks at none.
#[derive(Clone)]
struct Wrk {
    address: std::net::SocketAddr,
    script: std::path::PathBuf,
}

impl Wrk {
    fn new(folder: &Path, address: std::net::SocketAddr, files: u32) -> Result<Self, Failed> {
        let script = folder.join("wrk.lua");
        let paths = (0..files).map(|number| format!("\"/{}\",", name(number)));
        let paths: String = paths.collect();
        let text = format!(
            "local paths = {{{paths}}}\nlocal at = 0\nfunction request()\n  at = at % #paths + 1\n  \
             return wrk.format(\"GET\", paths[at])\nend\n"
        );
        std::fs::write(&script, text)?;
        Ok(Self { address, script })
    }

    /// Requests per second over some seconds.
    async fn rate(self, width: usize) -> Result<Option<f64>, Failed> {
        let mut command = tokio::process::Command::new("wrk");
        command.args(["-t", "2", "-d", "3s", "-c"]).arg(width.to_string()).arg("-s");
        command.arg(&self.script).arg(format!("http://{}/", self.address));
        let output = match command.output().await {
            Ok(output) => output,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let said = String::from_utf8_lossy(&output.stdout);
        let rate = said.lines().find_map(|line| line.strip_prefix("Requests/sec:"));
        let rate = rate.ok_or_else(|| format!("wrk: {said}"))?.trim().parse()?;
        match said.contains("Non-2xx") || said.contains("Socket errors") {
            true => Err(format!("wrk: {said}").into()),
            false => Ok(Some(rate)),
        }
    }
}

/// Fetches all of them and looks at none; with `hash` it takes their digests, which nobody who keeps images apart by their bytes is
/// spared.
async fn fetch_all(
    bench: &Bench<'_>,
    sources: &Arc<Vec<SourceUri>>,
    hash: bool,
) -> Result<Duration, Failed> {
    let width = bench.options.fetchers;
    let fetcher = Fetcher::new(bench.options.fetch.clone())?;
    let begun = Instant::now();
    let mut loops = JoinSet::new();
    for first in 0..width {
        let (fetcher, sources) = (fetcher.clone(), Arc::clone(sources));
        loops.spawn(async move {
            for source in sources.iter().skip(first).step_by(width) {
                let bytes = fetcher.fetch(source).await?;
                if hash {
                    std::hint::black_box(Digest::of(&bytes));
                }
            }
            Ok::<_, ocelli_media::FetchError>(())
        });
    }
    while let Some(ended) = loops.join_next().await {
        ended??;
    }
    Ok(begun.elapsed())
}

async fn catalog_in(folder: &Path) -> Result<Catalog, Failed> {
    let url = format!("sqlite:{}", folder.join("catalog.db").display());
    Ok(Catalog::open(&url, CatalogOptions::default()).await?)
}

/// A producer with what it needs.
#[derive(Clone)]
struct Bench<'a> {
    folder: &'a Path,
    catalog: Catalog,
    options: ProducerOptions,
    wanted: Vec<Want>,
}

impl<'a> Bench<'a> {
    async fn new(folder: &'a Path) -> Result<Self, Failed> {
        let catalog = catalog_in(folder).await?;
        let mut options = ProducerOptions {
            clock_grain: Duration::ZERO,
            keep_urls: false,
            ..ProducerOptions::default()
        };
        options.fetch.allow_private_hosts = true;
        options.manners.connections = options.fetchers;
        options.manners.robots = false;
        let analyzer: AnalyzerName = "tesseract-ocr".parse()?;
        Ok(Self { folder, catalog, options, wanted: vec![Want { analyzer, revision: None }] })
    }

    /// Runs a producer, and writes behind the clock what it has sent.
    async fn produce(&self, source: Source) -> Result<(Duration, Summary), Failed> {
        let broker = Broker::memory(MemoryOptions { capacity_per_queue: 10_000_000 });
        let names: Vec<AnalyzerName> =
            self.wanted.iter().map(|want| want.analyzer.clone()).collect();
        broker.declare(&queues(&names, &[])).await?;
        let parts = Parts {
            broker: broker.clone(),
            catalog: self.catalog.clone(),
            options: self.options.clone(),
            wanted: self.wanted.clone(),
            sources: vec![source],
            progress: watch::Sender::new(Progress::default()),
            metrics: ProducerMetrics::register(&prometheus::Registry::new())?,
        };
        let begun = Instant::now();
        let summary = run(parts, CancellationToken::new()).await?;
        let took = begun.elapsed();
        assert_eq!(summary.problems, 0, "{:?}", summary.first_problems.first());
        let waiting = broker.depth(&Queue::Results).await?.ready;
        let mut consumer = broker.consume(&Queue::Results, 1000).await?;
        let mut messages = Vec::new();
        for at in 1..=waiting {
            let delivery = consumer.next().await.ok_or("the queue was closed")?;
            messages.push(Message::decode(&delivery.body)?);
            delivery.ack().await?;
            if messages.len() == WRITTEN || at == waiting {
                self.catalog.apply(&messages).await?;
                messages.clear();
            }
        }
        Ok((took, summary))
    }
}

fn name(number: u32) -> String {
    format!("{number:07}.png")
}

/// A PNG of 8 × 8 pixels with so much behind it that it has so many bytes; others for every number.
fn image(number: u32, size: usize) -> Vec<u8> {
    let mut bytes = std::io::Cursor::new(Vec::new());
    let picture = image::RgbImage::new(8, 8);
    picture.write_to(&mut bytes, image::ImageFormat::Png).expect("memory takes it");
    let mut bytes = bytes.into_inner();
    let mut state = u64::from(number) + 1;
    while bytes.len() < size {
        state =
            state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        bytes.extend(state.to_le_bytes());
    }
    bytes.truncate(size);
    bytes
}

fn put(folder: &Path, files: u32, size: usize) -> Result<(), Failed> {
    std::fs::create_dir(folder)?;
    for number in 0..files {
        std::fs::write(folder.join(name(number)), image(number.wrapping_add(size as u32), size))?;
    }
    Ok(())
}

fn shell(folder: &Path, command: &str) -> Result<Duration, Failed> {
    let begun = Instant::now();
    let status = Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .stdout(Stdio::null())
        .status()?;
    if !status.success() {
        return Err(format!("'{command}' failed").into());
    }
    Ok(begun.elapsed())
}

/// Serves the files of a folder over HTTP/1.1, one request after the other on each connection.
async fn serve(folder: std::path::PathBuf) -> Result<std::net::SocketAddr, Failed> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = listener.local_addr()?;
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(talk(stream, folder.clone()));
        }
    });
    Ok(address)
}

async fn talk(mut stream: TcpStream, folder: std::path::PathBuf) -> std::io::Result<()> {
    let mut asked = Vec::new();
    loop {
        while !asked.ends_with(b"\r\n\r\n") {
            if stream.read_buf(&mut asked).await? == 0 {
                return Ok(());
            }
        }
        let line = String::from_utf8_lossy(&asked).into_owned();
        let path = line.split(' ').nth(1).unwrap_or_default().trim_start_matches('/');
        let body = tokio::fs::read(folder.join(path)).await?;
        let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).await?;
        stream.write_all(&body).await?;
        asked.clear();
    }
}
