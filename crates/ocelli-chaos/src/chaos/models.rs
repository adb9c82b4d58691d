//! Model servers that are away, broken, busy or endlessly slow, and a real worker in front of them.

use std::time::{Duration, Instant};

use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};

use super::fleet::{Fleet, Store};
use super::lab::Lab;
use super::processes::PATIENCE;
use super::row::{Fallible, Row};

/// Requests that a server which only fails may get, for each worker, until nothing but probes comes.
const FAILURES: u64 = 10;
const WORKERS: u64 = 2;
/// Full speed again within this after the server's return.
const RECOVERS: Duration = Duration::from_secs(60);

pub(super) async fn away(lab: &Lab) -> Fallible<Row> {
    let vhost = lab.vhost().await?;
    let mut fleet = Fleet::new(lab, &vhost.url, Store::Shared).await?;
    let options =
        ModelServerOptions { latency: Duration::from_millis(40), slots: 4, ..Default::default() };
    let mut models = ModelServer::start(options).await;
    fleet.settings(&format!(
        "[analyzers.tesseract-ocr]\nenabled = false\n[analyzers.gemma3-27b-vision]\nenabled = false\n\
         [analyzers.\"llama3.2-vision\"]\nenabled = true\nendpoints = [\"{}\"]\njob_deadline = \"8s\"\n\
         read_timeout = \"2s\"\ntotal_timeout = \"4s\"\n",
        models.url()
    ))?;
    let images = lab.count(1_470, 600);
    let digests = fleet.images(images)?;
    let _collector = fleet.collector()?;
    let _workers =
        [fleet.start("ocelli-llm-worker", [""; 0])?, fleet.start("ocelli-llm-worker", [""; 0])?];
    fleet.produce().await?;
    fleet.reaches(1, PATIENCE).await?;
    // How fast it goes with nothing in the way.
    let (from, begun) = (fleet.status().await?.complete, Instant::now());
    fleet.reaches(images / 8, PATIENCE).await?;
    let speed = (fleet.status().await?.complete - from) as f64 / begun.elapsed().as_secs_f64();
    let each = lab.lasting(Duration::from_secs(5), Duration::from_secs(4));
    let (mut slowest, mut most, mut lowest) = (Duration::ZERO, 0, f64::INFINITY);
    let mut row = Row::default().took("each away for", each);
    for (part, name, trouble) in [
        (1, "away", None),
        (2, "503", Some(Behaviour::Loading)),
        (3, "429", Some(Behaviour::TooMany(vec![("retry-after", "2".to_owned())]))),
        (4, "endless", Some(Behaviour::SlowBytes(Duration::from_millis(1_500)))),
    ] {
        fleet.reaches(images * part / 6, PATIENCE).await?;
        let before = models.calls();
        match trouble.clone() {
            None => models.go_down(),
            Some(behaviour) => models.set_behaviour(behaviour),
        }
        tokio::time::sleep(each).await;
        let asked = models.calls() - before;
        most = most.max(asked);
        match trouble {
            None => models.come_back().await,
            Some(_) => models.set_behaviour(Behaviour::Answer),
        }
        let returned = Instant::now();
        let before = fleet.status().await?.complete;
        fleet.reaches((before + 1).min(images), PATIENCE).await?;
        slowest = slowest.max(returned.elapsed());
        let again = recovers(&fleet, images * (part + 1) / 6, speed, returned).await?;
        lowest = lowest.min(again / speed);
        row = row.figure(&format!("requests while {name}"), asked);
    }
    let took = fleet.finishes(images, PATIENCE).await?;
    let spent = fleet.most_attempts(&digests).await?;
    let row = row
        .figure("images per second", format!("{speed:.0}"))
        .figure("after a return, at least", format!("{:.0} %", lowest * 100.0))
        .took("rest drained in", took)
        .figure("requests", models.calls())
        .figure("most attempts of a job", spent)
        .must("no outage spent an attempt", spent == 1)
        .must(
            &format!("a failing server gets at most {} requests", FAILURES * WORKERS),
            most <= FAILURES * WORKERS,
        )
        .must("95 % of the speed within 60 s of the return", lowest >= 0.95)
        .within("works again after", slowest, RECOVERS);
    fleet.verdict(row, images, 1).await
}

/// The best speed over two seconds until `until` images are complete, or 95 % of `speed` is reached.
async fn recovers(fleet: &Fleet, until: u64, speed: f64, returned: Instant) -> Fallible<f64> {
    let mut best = 0.0_f64;
    loop {
        let (from, begun) = (fleet.status().await?.complete, Instant::now());
        tokio::time::sleep(Duration::from_secs(1)).await;
        let now = fleet.status().await?.complete;
        best = best.max((now - from) as f64 / begun.elapsed().as_secs_f64());
        if best >= speed * 0.95 || now >= until || returned.elapsed() > RECOVERS {
            return Ok(best);
        }
    }
}
