//! Model servers that are away, broken or busy, and a real worker in front of them.

use std::time::{Duration, Instant};

use ocelli_core::Digest;
use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};
use ocelli_testkit::servers::OwnRabbitmq;

use super::Lab;
use super::fleet::Fleet;
use super::processes::PATIENCE;
use super::row::{Fallible, Row};

pub(super) async fn away(lab: &Lab) -> Fallible<Row> {
    let broker = OwnRabbitmq::start().await;
    let mut fleet = Fleet::new(lab, &broker.url()).await?;
    let options =
        ModelServerOptions { latency: Duration::from_millis(40), slots: 4, ..Default::default() };
    let mut models = ModelServer::start(options).await;
    fleet.settings(&format!(
        "[analyzers.tesseract-ocr]\nenabled = false\n[analyzers.gemma3-27b-vision]\nenabled = false\n\
         [analyzers.\"llama3.2-vision\"]\nenabled = true\nendpoints = [\"{}\"]\njob_deadline = \"20s\"\n\
         read_timeout = \"5s\"\ntotal_timeout = \"10s\"\n",
        models.url()
    ))?;
    let images = lab.images(1_470, 300);
    let digests = fleet.images(images)?;
    let _collector = fleet.collector()?;
    let _workers =
        [fleet.start("ocelli-llm-worker", [""; 0])?, fleet.start("ocelli-llm-worker", [""; 0])?];
    fleet.produce().await?;
    let each = lab.lasting(Duration::from_secs(20), Duration::from_secs(6));
    let mut slowest = Duration::ZERO;
    for (part, trouble) in [
        (1, None),
        (3, Some(Behaviour::Loading)),
        (5, Some(Behaviour::TooMany(vec![("retry-after", "2".to_owned())]))),
    ] {
        fleet.reaches(images * part / 8, PATIENCE).await?;
        match trouble.clone() {
            None => models.go_down(),
            Some(behaviour) => models.set_behaviour(behaviour),
        }
        tokio::time::sleep(each).await;
        let before = fleet.status().await?.complete;
        match trouble {
            None => models.come_back().await,
            Some(_) => models.set_behaviour(Behaviour::Answer),
        }
        let returned = Instant::now();
        fleet.reaches((before + 1).min(images), PATIENCE).await?;
        slowest = slowest.max(returned.elapsed());
    }
    let took = fleet.finishes(images, PATIENCE).await?;
    let spent = most_attempts(&fleet, &digests).await?;
    let row = Row::default()
        .took("each away for", each)
        .took("slowest return", slowest)
        .took("rest drained in", took)
        .figure("requests", models.calls())
        .figure("most attempts of a job", spent)
        .must("no outage spent an attempt", spent == 1)
        .must("works again within 60 s", slowest <= Duration::from_secs(60));
    fleet.verdict(row, images, 1).await
}

async fn most_attempts(fleet: &Fleet, digests: &[Digest]) -> Fallible<u32> {
    let mut most = 0;
    for digest in digests {
        if let Some(record) = fleet.catalog.record(digest).await? {
            most = record.analyses.values().map(|of| of.attempts).fold(most, u32::max);
        }
    }
    Ok(most)
}
