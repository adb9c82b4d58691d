//! Another revision over the archive: planned, sampled, enqueued once whatever is killed, paused, cancelled, bounded.

use std::time::Duration;

use ocelli_testkit::models::{ModelServer, ModelServerOptions};

use crate::services::{Database, Fleet};
use crate::world::{World, until};

const MODEL: &str = "llama3.2-vision";

/// Only this model, which costs money; `hot` makes it another revision.
fn settings(server: &ModelServer, hot: bool) -> String {
    format!(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n[analyzers.tesseract-ocr]\nenabled = false\n\
         [analyzers.\"{MODEL}\"]\nenabled = true\nin_flight = 1\nendpoints = [\"{}\"]\ntemperatures = [{}]\n\
         prices = [{{ since = \"2020-01-01\", input_per_million = 1, output_per_million = 2 }}]",
        server.url(),
        if hot { "0.9" } else { "0.1, 0.3" }
    )
}

/// Jobs that one worker has in hand at most: two slots and two more.
const IN_HAND: u64 = 4;

async fn world(images: usize) -> (World, ModelServer) {
    let server = ModelServer::start(ModelServerOptions::default()).await;
    let world = World::new();
    std::fs::write(world.path("old.toml"), settings(&server, false)).unwrap();
    std::fs::write(world.path("new.toml"), settings(&server, true)).unwrap();
    world.many("in", images);
    let said = world.ocelli(["run", "in", "--config", "old.toml"]);
    assert_eq!(said.code, 0, "{said:?}");
    (world, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_revision_is_planned_sampled_and_asked_once_and_older_answers_stay() {
    const IMAGES: u64 = 8;
    let (world, server) = world(8).await;
    assert_eq!(server.calls(), IMAGES);
    let plan =
        |config: &str| world.json(["plan", "--analyzer", MODEL, "--json", "--config", config]);
    let old = plan("old.toml");
    assert_eq!(
        (&old["images"]["missing"], &old["images"]["answered"]),
        (&0.into(), &IMAGES.into())
    );
    let new = plan("new.toml");
    assert_eq!(
        (&new["images"]["missing"], &new["images"]["answered"]),
        (&IMAGES.into(), &0.into())
    );
    assert_eq!(new["measured_revision"], false, "{new}");
    let spent = world.json(["status", "--spend", "--json"])["spend"][0]["micros"].as_f64().unwrap();
    let likely = new["money"]["likely"].as_f64().unwrap() * 1e6;
    assert!((likely - spent).abs() < 1.0, "as many images cost as much: {new} {spent}");
    assert!(new["money"]["low"].as_f64() <= new["money"]["likely"].as_f64(), "{new}");
    let text = world.ocelli(["plan", "--analyzer", MODEL, "--config", "new.toml"]);
    assert!(text.out.contains("8 to ask: 8 match") && text.out.contains(" USD"), "{text:?}");

    let backfill = |more: &[&str]| {
        let all = [&["backfill", "--analyzer", MODEL, "--config", "new.toml"][..], more].concat();
        world.ocelli(all)
    };
    let sample = backfill(&["--sample", "3"]);
    assert_eq!(sample.code, 0, "{sample:?}");
    assert_eq!(server.calls(), IMAGES + 3);
    assert!(sample.out.contains("== 3/3") && sample.out.contains("older revision"), "{sample:?}");
    // The same three again: they are answered.
    let again = backfill(&["--sample", "3"]);
    assert_eq!((server.calls(), again.out == sample.out), (IMAGES + 3, true), "{again:?}");
    let all = backfill(&["--max-cost", "200"]);
    assert_eq!(all.code, 0, "{all:?}");
    assert_eq!(server.calls(), 2 * IMAGES, "each image once more");
    let nothing = backfill(&["--json"]);
    assert!(nothing.out.contains("\"enqueued\": 0"), "{nothing:?}");
    assert_eq!(server.calls(), 2 * IMAGES);
    world.audit();
    let list = world.json(["backfill", "list", "--json"]);
    assert_eq!((&list["images"], &list["open"]), (&IMAGES.into(), &0.into()), "{list}");
    assert!(list["spent"].as_u64() > Some(0), "{list}");

    let shown = world.ocelli(["show", "in/note-00000.png", "--all-revisions"]);
    assert_eq!(shown.out.matches(&format!("{MODEL} (older revision ")).count(), 1, "{shown:?}");
    assert_eq!(shown.out.matches(&format!("{MODEL} (revision ")).count(), 1, "{shown:?}");
    let older = shown.out.split("(older revision ").nth(1).unwrap().get(..6).unwrap();
    let one = world.ocelli(["show", "in/note-00000.png", "--revision", older]);
    assert!(one.out.contains("(older revision ") && !one.out.contains("(revision "), "{one:?}");
    let none = world.ocelli(["show", "in/note-00000.png", "--revision", "zz"]);
    assert!(none.code == 2 && none.err.contains("there are: "), "{none:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_stops_at_its_cap_and_what_waits_can_be_taken_back() {
    const IMAGES: u64 = 12;
    let (world, server) = world(12).await;
    let backfill = |more: &[&str]| {
        let all = [&["backfill", "--analyzer", MODEL, "--config", "new.toml", "--name", "b"], more];
        world.ocelli(all.concat())
    };
    let said = backfill(&["--max-cost", "0.000001 USD"]);
    assert_eq!(said.code, 5, "{said:?}");
    let paid = server.calls() - IMAGES;
    assert!((1..=IN_HAND).contains(&paid), "what was in hand was finished: {paid}");
    let list = world.ocelli(["backfill", "list"]);
    assert!(list.out.contains("at its cap"), "{list:?}");
    world.audit();
    // Nothing more is paid, by any command.
    assert_eq!(backfill(&[]).code, 5);
    assert_eq!(world.ocelli(["run", "in", "--config", "new.toml"]).code, 5);
    assert_eq!(server.calls() - IMAGES, paid);
    let cancelled = world.ocelli(["backfill", "cancel", "b"]);
    assert!(cancelled.out.contains(&format!("{} jobs", IMAGES - paid)), "{cancelled:?}");
    world.audit();
    let row = world.row(MODEL);
    assert_eq!((&row["done"], &row["waiting"]), (&IMAGES.into(), &0.into()), "as before: {row}");
    // Wrong wishes are told.
    for (more, said) in [
        (&["--max-cost", "5 EUR"][..], "are in USD"),
        (&["--max-cost", "much"], "takes an amount"),
        (&["--where", "(cat"], "there is no ')'"),
        (&["--name", "a*"], "letters, digits"),
    ] {
        let all = [&["backfill", "--analyzer", MODEL, "--config", "new.toml"][..], more].concat();
        let wrong = world.ocelli(all);
        assert!(wrong.code == 2 && wrong.err.contains(said), "{wrong:?}");
    }
    assert_eq!(world.ocelli(["backfill", "pause", "none"]).code, 2);
    assert_eq!(world.ocelli(["plan", "--analyzer", "none"]).code, 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_backfill_of_a_fleet_that_is_killed_anywhere_asks_each_image_once() {
    const IMAGES: u64 = 10;
    let latency = Duration::from_millis(20);
    let server = ModelServer::start(ModelServerOptions { latency, ..Default::default() }).await;
    let fleet = Fleet::new(Database::Postgres).await;
    for (name, hot) in [("old.toml", false), ("new.toml", true)] {
        std::fs::write(fleet.world.path(name), settings(&server, hot)).unwrap();
    }
    let with = |config: &'static str| ["--listen", "127.0.0.1:0", "--config", config];
    fleet.world.many("in", 10);
    let _collector = fleet.world.start("ocelli-collector", with("old.toml"));
    let worker = fleet.world.start("ocelli-llm-worker", with("old.toml"));
    let is_here = || fleet.world.ocelli(["status", "--json"]).out.contains("\"workers\": 1");
    until("the worker is there", is_here);
    fleet.world.json(["produce", "in", "--json", "--config", "old.toml"]);
    fleet.finished(IMAGES, 1);
    assert_eq!(worker.stop(), 0);
    let _worker = fleet.world.start("ocelli-llm-worker", with("new.toml"));
    let plan = || {
        let all = ["plan", "--analyzer", MODEL, "--json", "--config", "new.toml"];
        fleet.world.json(all)
    };
    until("the new revision is known", || plan()["images"]["missing"] == IMAGES);
    let plan = plan();
    assert!(plan["hours"]["likely"].as_f64() > Some(0.0), "slots are announced: {plan}");

    let backfill = ["backfill", "--analyzer", MODEL, "--config", "new.toml", "--name", "b"];
    for failpoint in ["backfill-added", "backfill-published"] {
        fleet.world.start_dying("ocelli", backfill, failpoint).dies_at(failpoint);
    }
    let said = fleet.world.ocelli(backfill);
    assert_eq!(said.code, 0, "{said:?}");
    fleet.finished(IMAGES, 1);
    assert_eq!(server.calls(), 2 * IMAGES, "each image once");
    let again = fleet.world.ocelli([&backfill[..], &["--json"]].concat());
    assert!(again.out.contains("\"enqueued\": 0"), "{again:?}");
    let list = fleet.world.json(["backfill", "list", "--json"]);
    assert_eq!((&list["images"], &list["state"]), (&IMAGES.into(), &"running".into()), "{list}");
    // A pause reaches the fleet, and so does the end.
    let pause = ["b", "none"].map(|name| fleet.world.ocelli(["backfill", "pause", name]).code);
    assert_eq!(pause, [0, 2]);
    let paused = fleet.world.ocelli(backfill);
    assert!(paused.code == 2 && paused.err.contains("is paused"), "{paused:?}");
    assert_eq!(fleet.world.ocelli(["backfill", "resume", "b", "--config", "new.toml"]).code, 0);
    assert_eq!(fleet.messages("dead"), 0);
}
