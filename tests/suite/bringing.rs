//! The producer over very many references: each ends, and its memory does not grow with them.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::time::Duration;

use base64::Engine as _;
use ocelli_testkit::program::memory;
use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{Service, until};

/// A picture of one pixel.
const PIXEL: &str = "iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==";

/// Pages of the catalog in memory: few, so that a run is soon at this bound and whatever else grows is seen.
const CACHE: &str = "catalog.cache=8MiB";

/// What the memory of two runs may differ by: digests that were published are remembered, up to a bound (200,000), and allocators
/// round up.
const SLACK: u64 = 24 << 20;

/// One line in so many is broken.
const BROKEN: usize = 100;

/// Starts the producer over `source`; its summary, and the most memory it had, in bytes.
fn produced(fleet: &Fleet, source: &Path) -> (Value, u64) {
    let out = fleet.world.path("summary.json");
    let command =
        format!("exec \"$0\" produce {} --json --set {CACHE} >{}", source.display(), out.display());
    let program = fleet.world.command("ocelli").get_program().to_owned();
    let mut shell = std::process::Command::new("sh");
    shell.arg("-c").arg(command).arg(program);
    let log = fleet.world.path("producer.log");
    let mut service = Service::start(&mut fleet.world.here(shell), log);
    let mut most = 0;
    loop {
        let peak = memory(service.id(), "VmHWM:");
        if peak == 0 {
            break;
        }
        most = most.max(peak);
        std::thread::park_timeout(Duration::from_millis(5));
    }
    let code = service.wait();
    // 3: some references failed.
    assert!(code == 0 || code == 3, "{code}: {}", service.log());
    (serde_json::from_slice(&fs::read(out).unwrap()).unwrap(), most)
}

/// So many tiny images, each with bytes of its own, in one folder.
fn tiny(folder: &Path, count: usize) {
    let pixel = base64::engine::general_purpose::STANDARD.decode(PIXEL).unwrap();
    fs::create_dir(folder).unwrap();
    for number in 0..count {
        let bytes = [&pixel[..], &number.to_be_bytes()].concat();
        fs::write(folder.join(format!("{number:07}.png")), bytes).unwrap();
    }
}

fn list(path: &Path, lines: usize) {
    let mut text = String::new();
    for number in 0..lines {
        if number % BROKEN == 0 {
            text.push_str("{\"uri\":\"http://h/");
        } else {
            let digest = ocelli_core::Digest::of(&number.to_be_bytes());
            write!(
                text,
                "{{\"uri\":\"http://nowhere.invalid/{number}.png\",\"digest\":\"{digest}\",\"note\":\"n{number}\"}}"
            )
            .unwrap();
        }
        text.push('\n');
    }
    fs::write(path, text).unwrap();
}

async fn files(few: usize, many: usize) {
    let mut peaks = Vec::new();
    for count in [few, many] {
        let fleet = Fleet::new(Database::Sqlite).await;
        let _collector = fleet.start("ocelli-collector");
        let folder = fleet.world.path(format!("tiny-{count}"));
        tiny(&folder, count);
        let (summary, peak) = produced(&fleet, &folder);
        assert_eq!(summary["accepted"].as_u64(), Some(count as u64), "{summary}");
        peaks.push(peak);
    }
    eprintln!("{few} and {many} files: {peaks:?} bytes");
    assert!(peaks[0] > 0 && peaks[1] < peaks[0] + SLACK, "{peaks:?}");
}

async fn lines(few: usize, many: usize) {
    let mut peaks = Vec::new();
    for count in [few, many] {
        let fleet = Fleet::new(Database::Sqlite).await;
        let _collector = fleet.start("ocelli-collector");
        let path = fleet.world.path(format!("{count}.ndjson"));
        list(&path, count);
        let (summary, peak) = produced(&fleet, &path);
        let bad = (count / BROKEN) as u64;
        assert_eq!(summary["accepted"].as_u64(), Some(count as u64 - bad), "{summary}");
        assert_eq!(summary["unreadable"].as_u64(), Some(bad), "{summary}");
        let first = summary["first_unreadable"][0].as_str().unwrap();
        assert!(first.contains(".ndjson:"), "{first}");
        peaks.push(peak);
    }
    assert!(peaks[0] > 0 && peaks[1] < peaks[0] + SLACK, "{peaks:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_folder_of_twenty_thousand_tiny_files_costs_the_memory_of_a_small_one() {
    files(4_000, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "many minutes, and some gigabytes of a disk"]
async fn a_folder_of_a_million_tiny_files_costs_the_memory_of_a_small_one() {
    files(200_000, 1_000_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_twenty_thousand_lines_costs_the_memory_of_a_short_one_and_broken_lines_only_themselves()
 {
    lines(4_000, 20_000).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "many minutes"]
async fn a_list_of_a_million_lines_costs_the_memory_of_a_short_one_and_broken_lines_only_themselves()
 {
    lines(200_000, 1_000_000).await;
}

/// A thousand files that are known, named again and again.
async fn known(few: u64, many: u64) {
    const FILES: u64 = 1_000;
    let fleet = Fleet::new(Database::Sqlite).await;
    let _collector = fleet.start("ocelli-collector");
    let folder = fleet.world.path("tiny");
    tiny(&folder, usize::try_from(FILES).unwrap());
    assert_eq!(fleet.produce("tiny")["accepted"], FILES);
    // A file that was read in the moment of its last change is read once more.
    until("none is read again", || fleet.produce("tiny")["unread"] == FILES);
    let mut peaks = Vec::new();
    for count in [few, many] {
        let path = fleet.world.path(format!("{count}.ndjson"));
        let mut list = std::io::BufWriter::new(fs::File::create(&path).unwrap());
        for number in 0..count {
            let file = folder.join(format!("{:07}.png", number % FILES));
            writeln!(list, "{{\"path\":\"{}\"}}", file.display()).unwrap();
        }
        list.flush().unwrap();
        let (summary, peak) = produced(&fleet, &path);
        assert_eq!(summary["unread"].as_u64(), Some(count), "{summary}");
        eprintln!("{count} references: {peak} bytes, {summary}");
        peaks.push(peak);
    }
    assert!(peaks[0] > 0 && peaks[1] < peaks[0] + SLACK, "{peaks:?}");
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "many minutes, and a gigabyte of a disk"]
async fn a_list_of_ten_million_known_files_costs_the_memory_of_a_short_one() {
    known(100_000, 10_000_000).await;
}

/// How many jobs of a batch are open; none while it is not listed to its end.
fn open(fleet: &Fleet, batch: &str) -> Option<u64> {
    let said = fleet.world.ocelli(["batch", "show", batch, "--json"]);
    let shown: Value = serde_json::from_str(&said.out).ok()?;
    shown["finished"].as_bool().filter(|listed| *listed)?;
    let analyzers = shown["analyzers"].as_object()?;
    Some(analyzers.values().filter_map(|of| of["open"].as_u64()).sum())
}

/// A batch of a hundred that is brought while one of so many is being brought and read, and collectors are behind: it is done before
/// a twentieth of the huge one is.
async fn beside(huge: usize) {
    let fleet = Fleet::new(Database::Postgres).await;
    let world = &fleet.world;
    tiny(&world.path("huge"), huge);
    let _services = [fleet.start("ocelli-collector"), fleet.null_worker("", &[])];
    let mut bringing = world.start("ocelli", ["produce", "huge"]);
    let status = || world.json(["status", "--json"]);
    until("collectors are behind", || fleet.messages("results") > 4_000);
    let before = status()["complete"].as_u64().unwrap();
    let small = world.many("small", 100);
    let started = std::time::Instant::now();
    assert_eq!(fleet.produce(&small.display().to_string())["accepted"], 100);
    until("the small batch is done", || open(&fleet, "small") == Some(0));
    let took = started.elapsed();
    let done = status()["complete"].as_u64().unwrap() - before;
    eprintln!(
        "a batch of 100 beside one of {huge} took {took:.1?}, {done} others were done meanwhile"
    );
    assert!(done < huge as u64 / 20, "{done} of {huge} were done before it, in {took:?}");
    bringing.signal(rustix::process::Signal::INT);
    assert_eq!(bringing.wait(), 130);
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "minutes, and some gigabytes of a disk"]
async fn a_batch_of_a_hundred_is_done_within_seconds_beside_one_of_a_million() {
    beside(1_000_000).await;
}
