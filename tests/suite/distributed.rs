//! Separate programs on a real RabbitMQ.

use std::time::Duration;

use ocelli_testkit::models::{ModelServer, ModelServerOptions};
use rustix::process::Signal;

use crate::services::{Database, Fleet};
use crate::world::{CHART, NO_TEXT, NOTE, until};

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_collectors_before_and_after_the_producer_read_every_image_once() {
    let fleet = Fleet::new(Database::Postgres).await;
    fleet.world.many("in", 40);
    let early = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    let produced = fleet.produce("in");
    assert_eq!((&produced["accepted"], &produced["jobs"]), (&40.into(), &40.into()), "{produced}");
    let late = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    fleet.finished(40, 1);
    let again = fleet.produce("in");
    assert_eq!((&again["enqueued"], &again["known"]), (&0.into(), &40.into()), "{again}");
    for service in early.into_iter().chain(late) {
        assert_eq!(service.stop(), 0);
    }
    // The broker's counts are some seconds old.
    until("no job is left", || fleet.messages("jobs") == 0);
    assert_eq!(fleet.messages("dead"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_works_on_sqlite_when_the_producer_comes_first() {
    let fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.samples("in", &[NOTE, CHART, NO_TEXT]);
    assert_eq!(fleet.produce("in")["jobs"], 3);
    let _services = [fleet.start("ocelli-ocr-worker"), fleet.start("ocelli-collector")];
    fleet.finished(3, 1);
    let shown = fleet.world.ocelli(["show", &format!("in/{CHART}")]);
    assert!(shown.out.contains("Llama 3 is here!"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn all_three_analyzers_answer_and_ten_producers_cost_no_further_call() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        fleet
            .world
            .settings(&format!("[analyzers.\"{name}\"]\nendpoints = [\"{}\"]", models.url()));
    }
    fleet.world.samples("in", &[NOTE, CHART, "poster.gif"]);
    let _services = [
        fleet.start("ocelli-collector"),
        fleet.start("ocelli-ocr-worker"),
        fleet.start("ocelli-llm-worker"),
        fleet.start("ocelli-llm-worker"),
    ];
    until("both models have announced themselves", || {
        let status = fleet.world.ocelli(["status", "--json"]);
        status.out.matches("\"workers\": 2").count() == 2 && !status.out.contains("starting")
    });
    for _ in 0..10 {
        assert_eq!(fleet.produce("in")["accepted"], 3);
    }
    fleet.finished(3, 3);
    assert_eq!(fleet.produce("in")["jobs"], 0);
    assert_eq!(models.calls(), 6, "three images, two models");
    let shown = fleet.world.ocelli(["show", &format!("in/{CHART}")]).out;
    let places = ["First Seen\n", "gemma3-27b-vision\n", "tesseract-ocr\n", "llama3.2-vision\n"]
        .map(|heading| shown.find(heading).unwrap_or_else(|| panic!("no {heading} in {shown}")));
    assert!(places.is_sorted(), "{shown}");
    assert!(shown.contains("## Visual Description"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn workers_and_collectors_killed_in_the_middle_lose_nothing_and_double_nothing() {
    let fleet = Fleet::new(Database::Postgres).await;
    fleet.world.many("in", 120);
    let mut workers = vec![fleet.start("ocelli-ocr-worker"), fleet.start("ocelli-ocr-worker")];
    let mut collectors = vec![fleet.start("ocelli-collector")];
    assert_eq!(fleet.produce("in")["jobs"], 120);
    for goal in [20, 45, 70] {
        until("some more records are complete", || {
            fleet.world.json(["status", "--json"])["complete"].as_u64() >= Some(goal)
        });
        workers.remove(0).kill();
        workers.push(fleet.start("ocelli-ocr-worker"));
        collectors.remove(0).kill();
        collectors.push(fleet.start("ocelli-collector"));
    }
    fleet.finished(120, 1);
    assert_eq!(fleet.messages("dead"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn collectors_killed_between_an_answer_and_what_needs_it_lose_nothing() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    fleet.needs_ocr(&models);
    fleet.world.many("in", 60);
    let _workers = [fleet.start("ocelli-ocr-worker"), fleet.start("ocelli-llm-worker")];
    assert_eq!(fleet.produce("in")["jobs"], 120);
    let mut collector = fleet.start("ocelli-collector");
    for goal in [5, 15, 30] {
        until("some more records are complete", || {
            fleet.world.json(["status", "--json"])["complete"].as_u64() >= Some(goal)
        });
        collector.kill();
        collector = fleet.start("ocelli-collector");
    }
    fleet.finished(60, 2);
    assert_eq!(fleet.messages("dead"), 0);
    let texts = models.received();
    let given = texts.iter().filter(|one| one.body.to_string().contains("What the program read"));
    assert_eq!(given.count(), texts.len(), "each was given what OCR read");
    assert!(
        models.calls() < 90,
        "a job may be enqueued twice by a kill, not all: {}",
        models.calls()
    );
    assert_eq!(collector.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_told_to_stop_finishes_or_returns_its_jobs_within_its_deadline() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.settings("[analyzers.tesseract-ocr]\nchildren = 2");
    fleet.world.many("in", 60);
    let collector = fleet.start("ocelli-collector");
    let mut worker = fleet.start("ocelli-ocr-worker");
    assert_eq!(fleet.produce("in")["jobs"], 60);
    until("some records are complete", || {
        fleet.world.json(["status", "--json"])["complete"].as_u64() >= Some(5)
    });
    let started = std::time::Instant::now();
    worker.signal(Signal::TERM);
    assert_eq!(worker.wait(), 0, "{}", worker.log());
    assert!(started.elapsed() < Duration::from_secs(30), "{}", worker.log());
    let _worker = fleet.start("ocelli-ocr-worker");
    fleet.finished(60, 1);
    assert_eq!(collector.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn jobs_of_a_queue_that_was_wiped_are_enqueued_again_by_the_sweeper() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    // The sweeper trusts its evidence after three times the longest job and the time to drain.
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        fleet.world.settings(&format!("[analyzers.\"{name}\"]\nenabled = false"));
    }
    fleet.world.settings("[analyzers.tesseract-ocr]\nsoft_deadline = \"500ms\"\nhard_deadline = \"1s\"\njob_deadline = \"2s\"");
    fleet.world.many("in", 10);
    let collector = fleet.start("ocelli-collector");
    assert_eq!(fleet.produce("in")["jobs"], 10);
    // One more at times: the sweeper's fences wait in the same queue, and the broker counts them too.
    until("the jobs wait", || fleet.messages("jobs.tesseract-ocr") >= 10);
    let queue = format!("queues/{}/ocelli.jobs.tesseract-ocr/contents", fleet.rabbitmq.vhost);
    // They are gone once it is answered; a later count would be that of the next fence.
    fleet.rabbitmq.api().delete(&queue).unwrap();
    let _worker = fleet.start("ocelli-ocr-worker");
    fleet.finished(10, 1);
    let log = collector.log();
    let warning =
        log.lines().find(|line| line.contains("jobs had got lost and were enqueued again"));
    let warning: serde_json::Value = serde_json::from_str(warning.expect(&log)).unwrap();
    assert!(warning.to_string().contains("\"jobs\":10"), "with their number: {warning}");
}
