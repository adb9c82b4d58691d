//! What failed is shown, tried again, or settled; what adds up is shown too.

use std::fs;

use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, World, until};

/// One line of JSON per failure.
fn lines(world: &World, arguments: &[&str]) -> Vec<Value> {
    let said = world.ocelli([&["failures", "list", "--json"][..], arguments].concat());
    assert_eq!(said.code, 0, "{said:?}");
    said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

#[test]
fn failures_are_found_shown_discarded_and_tried_again_by_the_next_run() {
    let world = World::new();
    let folder = world.samples("in", &[NOTE, CHART]);
    let png = fs::read(folder.join(NOTE)).unwrap();
    for (name, length) in [("cut.png", png.len() / 2), ("short.png", png.len() / 3)] {
        fs::write(folder.join(name), &png[..length]).unwrap();
    }
    assert_eq!(world.ocelli(["run", "in"]).code, 3);
    let failed = lines(&world, &["--class", "permanent"]);
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(failed.iter().all(|line| line["what"] == "analysis"), "{failed:?}");
    assert!(lines(&world, &["--older-than", "1h"]).is_empty());
    assert!(lines(&world, &["--class", "crash"]).is_empty());
    assert_eq!(lines(&world, &["--newer-than", "1h", "--analyzer", "tesseract-ocr"]).len(), 2);

    let shown = world.json(["failures", "show", "in/cut.png", "--json"]);
    assert_eq!(shown["failures"][0]["attempts"], 1, "{shown}");
    assert!(shown["sources"][0]["source"].as_str().unwrap().ends_with("cut.png"), "{shown}");
    let text = world.ocelli(["failures", "show", "in/cut.png"]);
    assert!(text.out.contains("failed after 1 attempts, permanent"), "{text:?}");

    let audit = world.json(["audit", "--json"]);
    let batch = &audit["batches"][0];
    let ocr = &batch["analyzers"]["tesseract-ocr"];
    assert_eq!((&ocr["accepted"], &ocr["failed"], &ocr["open"]), (&4.into(), &2.into(), &0.into()));
    assert_eq!((&batch["reported"], &batch["references"]), (&4.into(), &4.into()), "{batch}");
    let id = batch["batch"].as_str().unwrap();
    assert_eq!(lines(&world, &["--batch", id, "--class", "permanent"]).len(), 2);

    // One is put right and tried again, the other is settled.
    let again = world.json(["failures", "retry", "--json", "--limit", "1"]);
    assert_eq!(again["reopened"], 1, "{again}");
    let settled = world.json(["failures", "discard", "--json"]);
    assert_eq!(settled["discarded"], 1, "{settled}");
    assert!(lines(&world, &["--class", "permanent"]).is_empty());
    let row = world.row("tesseract-ocr");
    assert_eq!((&row["skipped"], &row["waiting"]), (&1.into(), &1.into()), "{row}");
    world.audit();
    assert_eq!(world.ocelli(["run", "in"]).code, 3);
    let row = world.row("tesseract-ocr");
    assert_eq!((&row["skipped"], &row["failed"]), (&1.into(), &1.into()), "{row}");
    let said = world.ocelli(["failures", "list", "--older-than", "1.5h"]);
    assert!(said.code == 2 && said.err.contains("12h"), "{said:?}");
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_gets_reopened_jobs_at_once_and_shows_messages_that_died() {
    let fleet = Fleet::new(Database::Postgres).await;
    let folder = fleet.world.many("in", 3);
    assert_eq!(fleet.produce("in")["jobs"], 3);
    let broken = folder.join("note-00001.png");
    let good = fs::read(&broken).unwrap();
    fs::write(&broken, "changed").unwrap();
    let api = fleet.rabbitmq.api();
    let exchange = format!("exchanges/{}/ocelli/publish", fleet.rabbitmq.vhost);
    for key in ["ocelli.results", "ocelli.jobs.tesseract-ocr"] {
        let garbage = serde_json::json!({
            "properties": {}, "routing_key": key, "payload": "no envelope", "payload_encoding": "string",
        });
        api.post(&exchange, &garbage).unwrap();
    }
    let _services = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    fleet.finished(3, 1);
    until("both dead messages are rows", || {
        lines(&fleet.world, &[]).iter().filter(|line| line["what"] == "message").count() == 2
    });
    assert_eq!(fleet.messages("dead"), 0);
    assert_eq!(lines(&fleet.world, &["--analyzer", "tesseract-ocr"]).len(), 1);

    fs::write(&broken, good).unwrap();
    let again = fleet.world.json(["failures", "retry", "--json"]);
    assert_eq!((&again["reopened"], &again["enqueued"]), (&1.into(), &1.into()), "{again}");
    until("it is read after all", || fleet.world.row("tesseract-ocr")["done"] == 3);
    let settled = fleet.world.json(["failures", "discard", "--json"]);
    assert_eq!((&settled["discarded"], &settled["messages"]), (&0.into(), &2.into()), "{settled}");
    assert!(lines(&fleet.world, &[]).is_empty());
    fleet.world.audit();
}
