//! Writers that are killed at any moment, again and again: the archive opens at once, is sound, and has everything that was
//! acknowledged.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use ocelli_core::Digest;
use ocelli_core::wire::Message;

use crate::words::*;
use crate::world::World;

/// The catalog that the child writes to, and the number of its round.
const URL: &str = "OCELLI_KILLED_WRITER_URL";
const ROUND: &str = "OCELLI_KILLED_WRITER_ROUND";

/// Images of one batch.
const AT_ONCE: u64 = 20;
/// Opening takes no longer, whatever was in the middle of being written.
const OPENS_WITHIN: Duration = Duration::from_secs(2);
/// Rounds between two looks at the whole archive.
const WHOLE_EVERY: u64 = 50;

fn image(round: u64, batch: u64, number: u64) -> String {
    format!("image {round} {batch} {number}")
}

/// No test: what the others start, and kill.
#[tokio::test]
#[ignore = "the child of other tests"]
async fn a_writer_until_it_is_killed() {
    let Ok(url) = std::env::var(URL) else { return };
    let round: u64 = std::env::var(ROUND).unwrap().parse().unwrap();
    let catalog = ocelli_catalog::Catalog::open(&url, ocelli_catalog::CatalogOptions::default())
        .await
        .unwrap();
    for batch in 0.. {
        let messages = (0..AT_ONCE).flat_map(|number| {
            let image = image(round, batch, number);
            [
                Message::Intake(intake(&image, &[OCR])),
                partial(&image, OCR, done(&format!("word{round} part{batch} of many")), 5),
            ]
        });
        catalog.apply(&messages.collect::<Vec<_>>()).await.unwrap();
        println!("acknowledged {batch}");
        std::io::stdout().flush().unwrap();
    }
}

/// Numbers that are the same in every run.
struct Draw(u64);

impl Draw {
    fn below(&mut self, most: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (self.0 >> 33) % most
    }
}

/// Starts a writer and kills it at a random moment. Returns how many batches it had acknowledged.
fn killed(url: &str, round: u64, draw: &mut Draw) -> u64 {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "killing::a_writer_until_it_is_killed", "--ignored", "--nocapture"])
        .env(URL, url)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map_while(Result::ok);
    let mut acknowledged = 0;
    let wanted = draw.below(4);
    let mut take = |line: String| {
        if line.contains("acknowledged ") {
            acknowledged += 1;
        }
        acknowledged
    };
    for line in lines.by_ref() {
        if take(line) > wanted {
            break;
        }
    }
    // Not a wait for anything: the moment is what is drawn.
    std::thread::sleep(Duration::from_micros(draw.below(15_000)));
    child.kill().unwrap();
    child.wait().unwrap();
    lines.for_each(|line| {
        take(line);
    });
    assert!(acknowledged > wanted, "the writer ended by itself in round {round}");
    acknowledged
}

async fn survives(world: &World, rounds: u64) {
    let mut draw = Draw(rounds);
    world.open().await.close().await;
    let (mut least, mut slowest) = (0, Duration::ZERO);
    for round in 0..rounds {
        let batches = killed(&world.url, round, &mut draw);
        least += batches * AT_ONCE;
        let started = Instant::now();
        let catalog = world.open().await;
        slowest = slowest.max(started.elapsed());
        let digests: Vec<Digest> = (0..batches)
            .flat_map(|batch| (0..AT_ONCE).map(move |number| (batch, number)))
            .map(|(batch, number)| Digest::of(image(round, batch, number).as_bytes()))
            .collect();
        let known = catalog.lookup(&digests).await.unwrap();
        assert_eq!(known.len(), digests.len(), "round {round}: acknowledged, and not there");
        assert!(known.values().all(|known| known.open.is_empty()), "round {round}");
        if round % WHOLE_EVERY == 0 || round + 1 == rounds {
            assert_eq!(catalog.audit().await.unwrap().problems, Vec::<String>::new());
            let images = catalog.status(at(0)).await.unwrap().images;
            // A batch may be written whose acknowledgement nobody heard.
            assert!((least..=least + (round + 1) * AT_ONCE).contains(&images), "{images} {least}");
        }
        catalog.close().await;
    }
    if let Some(path) = world.url.strip_prefix("sqlite:") {
        let lines = integrity(path).await;
        assert_eq!(lines, ["ok"]);
    }
    println!("{rounds} kills: {least} images acknowledged, opened within {slowest:.0?}");
    assert!(slowest <= OPENS_WITHIN, "{slowest:?}");
}

async fn integrity(path: &str) -> Vec<String> {
    use sqlx::Connection as _;
    let options = sqlx::sqlite::SqliteConnectOptions::new().filename(path);
    let mut connection = sqlx::SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::query_scalar("PRAGMA integrity_check").fetch_all(&mut connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn writers_killed_at_random_lose_nothing_that_was_acknowledged() {
    survives(&World::sqlite(), 25).await;
    survives(&World::postgres().await, 15).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes: a thousand processes are killed"]
async fn a_thousand_writers_killed_at_random_lose_nothing_that_was_acknowledged() {
    survives(&World::sqlite(), 1_000).await;
    survives(&World::postgres().await, 100).await;
}
