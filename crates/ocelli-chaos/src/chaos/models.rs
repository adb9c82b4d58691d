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
    // Fewer would be through before the last return.
    let images = lab.count(1_470, 1_470);
    let digests = fleet.images(images)?;
    let _collector = fleet.collector()?;
    let _workers =
        [fleet.start("ocelli-llm-worker", [""; 0])?, fleet.start("ocelli-llm-worker", [""; 0])?];
    fleet.produce().await?;
    fleet.reaches(1, PATIENCE).await?;
    // How fast it goes with nothing in the way.
    let speed = best_speed(&fleet, images / 5).await?;
    let each = lab.lasting(Duration::from_secs(4), Duration::from_secs(4));
    let (mut slowest, mut most, mut spent) = (Duration::ZERO, 0, 0);
    let mut row = Row::default().took("each away for", each);
    for (part, name, trouble) in [
        (5, "away", None),
        (6, "503", Some(Behaviour::Loading)),
        (7, "429", Some(Behaviour::TooMany(vec![("retry-after", "2".to_owned())]))),
        (8, "endless", Some(Behaviour::SlowBytes(Duration::from_millis(1_500)))),
    ] {
        fleet.reaches(images * part / 24, PATIENCE).await?;
        if name == "endless" {
            // An answer that does not end is a failure of its image until there are too many of them.
            spent = fleet.extra_attempts(&digests).await?;
        }
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
        row = row.figure(&format!("requests while {name}"), asked);
    }
    let again = tokio::time::timeout(RECOVERS, best_speed(&fleet, images)).await;
    let ratio = again.unwrap_or(Ok(0.0))? / speed;
    let took = fleet.finishes(images, PATIENCE).await?;
    let endless = fleet.extra_attempts(&digests).await?;
    let row = row
        .figure("images per second", format!("{speed:.0}"))
        .figure("after the last return", format!("{:.0} %", ratio * 100.0))
        .took("rest drained in", took)
        .figure("requests", models.calls())
        .figure("attempts spent while away, 503, 429", spent)
        .figure("with endless answers", endless)
        .must("no outage spent an attempt", spent == 0)
        .must(
            &format!("a failing server gets at most {} requests", FAILURES * WORKERS),
            most <= FAILURES * WORKERS && endless <= FAILURES * WORKERS,
        )
        .must("95 % of the speed within 60 s of the return", ratio >= 0.95)
        .within("works again after", slowest, RECOVERS);
    fleet.verdict(row, images, 1).await
}

/// Images a second in the best two seconds until `until` are complete: the collector commits several at once, which in a
/// single second is some per cent.
async fn best_speed(fleet: &Fleet, until: u64) -> Fallible<f64> {
    let mut best = 0.0_f64;
    loop {
        let (from, begun) = (fleet.status().await?.complete, Instant::now());
        if from >= until {
            return Ok(best);
        }
        tokio::time::sleep(Duration::from_secs(2)).await;
        let now = fleet.status().await?.complete;
        best = best.max((now - from) as f64 / begun.elapsed().as_secs_f64());
    }
}
