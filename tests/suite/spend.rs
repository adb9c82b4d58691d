//! What models cost: no image is paid for twice, what was paid is written down, and budgets stop it.

use std::time::Duration;

use ocelli_failpoint::Failpoint;
use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};
use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, World, until};

const MODEL: &str = "llama3.2-vision";

/// Only this model, one request at a time, which costs money. In hand of one worker are then at most two slots and two more.
fn settings(server: &ModelServer) -> String {
    format!(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n[analyzers.tesseract-ocr]\nenabled = false\n\
         [analyzers.\"{MODEL}\"]\nenabled = true\nin_flight = 1\nendpoints = [\"{}\"]\n\
         prices = [{{ since = \"2020-01-01\", input_per_million = 1, output_per_million = 2 }}]",
        server.url()
    )
}

/// Jobs that one worker of [`settings`] has in hand at most.
const IN_HAND: u64 = 4;

async fn world() -> (World, ModelServer) {
    let server = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    world.settings(&settings(&server));
    (world, server)
}

async fn fleet(database: Database, latency: Duration) -> (Fleet, ModelServer) {
    let options = ModelServerOptions { latency, ..ModelServerOptions::default() };
    let server = ModelServer::start(options).await;
    let mut fleet = Fleet::new(database).await;
    fleet.world.settings(&settings(&server));
    (fleet, server)
}

/// Tokens, money and waste of all months and batches.
fn sums(status: &Value) -> [u64; 6] {
    let rows = status["spend"].as_array().unwrap();
    ["calls", "tokens_in", "tokens_out", "micros", "wasted_tokens", "wasted_micros"]
        .map(|key| rows.iter().map(|row| row[key].as_u64().unwrap()).sum())
}

async fn two_producers_at_once(database: Database) {
    const IMAGES: u64 = 12;
    let (fleet, server) = fleet(database, Duration::from_millis(100)).await;
    fleet.world.many("in", 12);
    // Without a collector no analysis is known: only claims can tell that an image is being paid for.
    let _workers = [fleet.start("ocelli-llm-worker"), fleet.start("ocelli-llm-worker")];
    until("there is a queue", || {
        fleet
            .rabbitmq
            .api()
            .get(&format!("queues/{}", fleet.rabbitmq.vhost))
            .is_ok_and(|queues| queues.to_string().contains(&format!("jobs.{MODEL}")))
    });
    let jobs: u64 = std::thread::scope(|scope| {
        let producers = [(); 2].map(|()| scope.spawn(|| fleet.produce("in")));
        producers.map(|producer| producer.join().unwrap()["jobs"].as_u64().unwrap()).iter().sum()
    });
    assert_eq!(jobs, 2 * IMAGES, "both knew of nothing");
    until("every image was paid for", || server.calls() >= IMAGES);
    let _collector = fleet.start("ocelli-collector");
    fleet.finished(IMAGES, 1);
    until("the copies are settled", || fleet.messages("jobs") + fleet.messages("delay") == 0);
    assert_eq!(server.calls(), IMAGES, "one call for each image");
    let status = fleet.world.json(["status", "--spend", "--json"]);
    assert_eq!(sums(&status)[0], IMAGES, "{status}");
    assert_eq!(sums(&status)[4..], [0, 0], "{status}");
    assert_eq!(fleet.messages("dead"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn two_producers_with_the_same_images_at_once_cost_one_call_per_image() {
    two_producers_at_once(Database::Postgres).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn two_producers_at_once_cost_one_call_per_image_on_sqlite() {
    two_producers_at_once(Database::Sqlite).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_job_of_a_killed_worker_is_done_once_its_claim_has_ended() {
    let (fleet, server) = fleet(Database::Postgres, Duration::ZERO).await;
    let start = || {
        let arguments = ["--listen", "127.0.0.1:0", "--set", "worker.claim_lease=2s"];
        fleet.world.start("ocelli-llm-worker", arguments)
    };
    server.set_behaviour(Behaviour::Hang);
    fleet.world.samples("in", &[NOTE]);
    let _collector = fleet.start("ocelli-collector");
    let worker = start();
    until("the worker is there", || {
        fleet.world.ocelli(["status", "--json"]).out.contains("\"workers\": 1")
    });
    assert_eq!(fleet.produce("in")["jobs"], 1);
    until("the model is asked", || server.calls() == 1);
    worker.kill();
    server.set_behaviour(Behaviour::Answer);
    let _worker = start();
    fleet.finished(1, 1);
    assert_eq!(server.calls(), 2, "the call that was cut, and its repetition");
    let row = fleet.world.row(MODEL);
    assert_eq!(row["done"], 1, "{row}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_that_was_killed_in_the_middle_of_a_call_is_not_waited_for_by_the_next() {
    let (world, server) = world().await;
    world.samples("in", &[NOTE]);
    server.set_behaviour(Behaviour::Hang);
    let run = world.start("ocelli", ["run", "in"]);
    until("the model is asked", || server.calls() == 1);
    run.kill();
    server.set_behaviour(Behaviour::Answer);
    let started = std::time::Instant::now();
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(started.elapsed() < Duration::from_secs(55), "it did not wait for the lease");
    assert_eq!(server.calls(), 2);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_worker_paid_before_it_died_is_waste_and_counted_once() {
    let (fleet, server) = fleet(Database::Postgres, Duration::ZERO).await;
    fleet.world.samples("in", &[NOTE]);
    let _collector = fleet.start("ocelli-collector");
    let arguments = ["--listen", "127.0.0.1:0", "--set", "worker.claim_lease=2s"];
    let point = Failpoint::WorkerPaid.name();
    let dying = fleet.world.start_dying("ocelli-llm-worker", arguments, point);
    until("the worker is there", || {
        fleet.world.ocelli(["status", "--json"]).out.contains("\"workers\": 1")
    });
    assert_eq!(fleet.produce("in")["jobs"], 1);
    dying.dies_at(point);
    let _worker = fleet.world.start("ocelli-llm-worker", arguments);
    fleet.finished(1, 1);
    assert_eq!(server.calls(), 2, "the answer that was lost with its worker, and its repetition");
    // The repetition asked the same: each of the two costs half.
    let status = fleet.world.json(["status", "--spend", "--json"]);
    let [calls, read, written, micros, wasted, wasted_micros] = sums(&status);
    assert_eq!((calls, micros), (2, read + 2 * written), "{status}");
    assert_eq!((wasted * 2, wasted_micros * 2), (read + written, micros), "{status}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_paid_before_it_died_is_waste_of_the_next_run() {
    let (world, server) = world().await;
    world.samples("in", &[NOTE]);
    // The first answer of an attempt is rejected, and the run dies over the second: both were paid.
    server.set_behaviour(Behaviour::RepeatsBelow(0.3));
    let point = Failpoint::WorkerPaid.name();
    world.start_dying("ocelli", ["run", "in"], point).dies_at(point);
    assert_eq!(server.calls(), 2);
    server.set_behaviour(Behaviour::Answer);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    assert_eq!(server.calls(), 3);
    let status = world.json(["status", "--spend", "--json"]);
    let [calls, read, written, micros, wasted, _] = sums(&status);
    assert_eq!((calls, micros), (3, read + 2 * written), "{status}");
    let kept = &world.json(["show", &format!("in/{NOTE}"), "--format", "json"])["analyses"][0];
    let of = |field: &str| kept["provenance"][field].as_u64().unwrap();
    assert_eq!(wasted, read + written - of("tokens_in") - of("tokens_out"), "{status}");
    world.audit();
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    assert_eq!(sums(&world.json(["status", "--spend", "--json"])), sums(&status));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_paid_for_nothing_is_shown_apart() {
    let (world, server) = world().await;
    world.samples("in", &[NOTE, CHART]);
    // The first answer repeats itself; the second try, hotter, is kept.
    server.set_behaviour(Behaviour::RepeatsBelow(0.3));
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let status = world.json(["status", "--spend", "--json"]);
    let [calls, read, written, micros, wasted, wasted_micros] = sums(&status);
    assert_eq!(calls, 4, "{status}");
    assert_eq!(micros, read + 2 * written, "exact: {status}");
    assert!(0 < wasted && wasted < read + written, "{status}");
    assert!(0 < wasted_micros && wasted_micros < micros, "{status}");
    let shown = world.ocelli(["status", "--spend"]);
    assert!(shown.out.contains("wasted money"), "{shown:?}");
    assert!(shown.out.contains("USD"), "{shown:?}");
    // All of an attempt that failed is waste, and nothing is counted again by another run.
    world.samples("more", &["poster.gif"]);
    server.set_behaviour(Behaviour::Repeats);
    assert_eq!(world.ocelli(["run", "more"]).code, 3);
    let failed = world.json(["status", "--spend", "--json"]);
    let [_, read_then, written_then, _, wasted_then, _] = sums(&failed);
    assert_eq!(wasted_then - wasted, read_then + written_then - read - written, "{failed}");
    assert_eq!(world.ocelli(["run", "in", "more"]).code, 0);
    assert_eq!(sums(&world.json(["status", "--spend", "--json"])), sums(&failed));
    world.audit();
}

const RAISED: &str =
    "[[budget]]\nanalyzer = \"llama3.2-vision\"\nper = \"month\"\nmoney = \"99 USD\"\n";

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_when_a_budget_is_used_up_and_goes_on_when_it_is_raised() {
    const IMAGES: u64 = 12;
    let (mut world, server) = world().await;
    world.settings(
        "[[budget]]\nanalyzer = \"llama3.2-vision\"\nper = \"month\"\nmoney = \"0.000001 USD\"",
    );
    std::fs::write(world.path("raised.toml"), RAISED).unwrap();
    world.many("in", 12);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(
        said.err.contains("the budget of 0.000001 USD per month for llama3.2-vision is used up"),
        "{said:?}"
    );
    let paid = server.calls();
    assert!((1..=IN_HAND).contains(&paid), "what was in hand was finished, no more: {paid}");
    assert!(said.err.contains(&format!("{} analyses are held back", IMAGES - paid)), "{said:?}");
    let row = world.row(MODEL);
    assert_eq!((&row["done"], &row["failed"]), (&paid.into(), &0.into()), "{row}");
    assert_eq!(row["paused"], true, "{row}");
    // Nothing is paid while it is used up.
    assert_eq!(world.ocelli(["run", "in"]).code, 5);
    assert_eq!(server.calls(), paid);
    let status = world.json(["status", "--spend", "--json"]);
    let budget = &status["budgets"][0];
    assert_eq!((&budget["reached"], &budget["left"]), (&true.into(), &0.into()), "{status}");
    assert_eq!(budget["spent"], sums(&status)[3], "{status}");

    let said = world.ocelli(["run", "in", "--config", "raised.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(server.calls(), IMAGES, "each image once");
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_run_ends_when_the_budget_of_its_batch_is_used_up() {
    let (mut world, server) = world().await;
    world.settings("[broker]\ndelay_steps = [\"1s\", \"2s\"]");
    world.settings("[[budget]]\nbatch = \"first-*\"\nper = \"total\"\ntokens = 1");
    world.many("in", 10);
    world.samples("other", &[CHART]);
    let said = world.ocelli(["run", "in", "--batch", "first-one"]);
    assert_eq!(said.code, 5, "{said:?}");
    let paid = server.calls();
    assert!((1..=IN_HAND).contains(&paid), "{paid}");
    // Another batch is not meant.
    let said = world.ocelli(["run", "other", "--batch", "second"]);
    assert_eq!(said.code, 5, "the jobs of the first still wait: {said:?}");
    assert_eq!(server.calls(), paid + 1);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_stops_at_its_budget_with_what_was_in_hand_and_goes_on_when_it_is_raised() {
    const IMAGES: u64 = 24;
    let (mut fleet, server) = fleet(Database::Postgres, Duration::from_millis(50)).await;
    fleet.world.settings("[[budget]]\nper = \"month\"\ntokens = 1");
    let raised = fleet.world.path("raised.toml");
    std::fs::write(&raised, RAISED).unwrap();
    fleet.world.many("in", 24);
    let _collector = fleet.start("ocelli-collector");
    let workers = [fleet.start("ocelli-llm-worker"), fleet.start("ocelli-llm-worker")];
    until("the workers are there", || {
        fleet.world.ocelli(["status", "--json"]).out.contains("\"workers\": 2")
    });
    assert_eq!(fleet.produce("in")["jobs"], IMAGES);
    let row = || fleet.world.row(MODEL);
    until("both say that they are paused", || {
        // Both write into one file.
        workers[0].log().matches("analyzer is paused, no job is lost").count() >= 2
            && row()["paused"] == true
    });
    until("what was in hand is written down", || row()["done"] == server.calls());
    let paid = server.calls();
    assert!((1..=2 * IN_HAND).contains(&paid), "{paid}");
    assert!(row()["note"].as_str().unwrap().contains("1 tokens per month for all analyzers"));
    // And one of the sweeper's fences among them, at times.
    until("all other jobs wait", || {
        fleet.messages("jobs") + fleet.messages("delay") >= IMAGES - paid
    });
    let log = workers[0].log();
    assert_eq!(
        log.matches("analyzer is paused").count(),
        2,
        "each says so once, in one file: {log}"
    );
    for worker in workers {
        assert_eq!(worker.stop(), 0);
    }
    assert_eq!(server.calls(), paid, "nothing was paid while it was used up");
    let _worker = fleet.world.start(
        "ocelli-llm-worker",
        ["--listen", "127.0.0.1:0", "--config", raised.to_str().unwrap()],
    );
    fleet.finished(IMAGES, 1);
    assert_eq!(server.calls(), IMAGES, "each image once");
    assert_eq!(row()["failed"], 0);
    assert_eq!(fleet.messages("dead"), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_analyzer_takes_no_job_until_it_is_resumed() {
    let mut world = World::new();
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        world.settings(&format!("[analyzers.\"{name}\"]\nenabled = false"));
    }
    world.samples("in", &[NOTE]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    world.samples("more", &[CHART]);
    let said = world.ocelli(["pause", "tesseract-ocr", "--reason", "the fan is loud"]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = world.ocelli(["run", "more"]);
    assert_eq!(said.code, 5, "{said:?}");
    assert!(said.err.contains("the fan is loud"), "{said:?}");
    let row = world.row("tesseract-ocr");
    assert_eq!((&row["done"], &row["waiting"]), (&1.into(), &1.into()), "{row}");
    assert!(row["note"].as_str().unwrap().contains("ocelli resume tesseract-ocr"), "{row}");
    assert_eq!(world.ocelli(["resume", "tesseract-ocr"]).code, 0);
    assert_eq!(world.ocelli(["run", "more"]).code, 0);
    assert_eq!(world.row("tesseract-ocr")["done"], 2);
    let unknown = world.ocelli(["pause", "tesseract"]);
    assert_eq!(unknown.code, 2, "{unknown:?}");
    world.audit();
}
