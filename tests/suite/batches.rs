//! Batches beside each other: shares, orders, and what became of each reference. On RabbitMQ and in one process.

use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{CHART, NO_TEXT, NOTE, World, until};

const OCR: &str = "tesseract-ocr";

/// How far a batch is; null while nobody has heard of it.
fn shown(world: &World, batch: &str) -> Value {
    serde_json::from_str(&world.ocelli(["batch", "show", batch, "--json"]).out).unwrap_or_default()
}

fn open(world: &World, batch: &str) -> Option<u64> {
    let shown = shown(world, batch);
    shown["finished"].as_bool().filter(|listed| *listed)?;
    Some(shown["analyzers"][OCR]["open"].as_u64().unwrap_or(0))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_small_batch_overtakes_a_huge_one_which_is_paused_resumed_and_cancelled() {
    let mut fleet = Fleet::new(Database::Postgres).await;
    fleet.world.settings("[producer]\nfresh_images = 5");
    fleet.world.many("huge", 150);
    fleet.world.samples("small", &[CHART, NO_TEXT]);
    assert_eq!(fleet.produce("huge")["jobs"], 150);
    assert_eq!(fleet.produce("small")["jobs"], 2);
    let services = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    let world = &fleet.world;
    until("the small batch is done", || open(world, "small") == Some(0));
    let left = open(world, "huge").unwrap();
    assert!(left >= 100, "{left} of 150 are open: the small batch did not overtake");
    let told = shown(world, "huge");
    assert!(told["references_per_second"].as_f64().unwrap() > 0.0, "{told}");
    until("how long the rest takes is told", || shown(world, "huge")["eta_seconds"].is_u64());

    let said = world.ocelli(["batch", "pause", "huge"]);
    assert_eq!((said.code, said.out.contains("is paused")), (0, true), "{said:?}");
    // Behind what the worker had in hand comes the third batch, and it stands still from then on.
    world.samples("third", &[NOTE]);
    assert_eq!(fleet.produce("third")["jobs"], 1);
    until("another batch goes on meanwhile", || open(world, "third") == Some(0));
    let paused = open(world, "huge").unwrap();
    assert!(paused > 0);
    world.samples("fourth", &["poster.gif"]);
    assert_eq!(fleet.produce("fourth")["jobs"], 1);
    until("one more batch goes on", || open(world, "fourth") == Some(0));
    assert_eq!(open(world, "huge"), Some(paused), "it waits");
    let told = shown(world, "huge");
    assert!(told["references_per_second"].is_number(), "it was listed all the same: {told}");
    assert!(told["eta_seconds"].is_null(), "who knows for how long: {told}");

    let said = world.ocelli(["batch", "resume", "huge"]);
    assert_eq!((said.code, said.out.contains("goes on")), (0, true), "{said:?}");
    until("the batch goes on at once", || open(world, "huge") < Some(paused));
    let told = shown(world, "huge");
    assert!(told["eta_seconds"].is_u64(), "it is told again: {told}");
    let said = world.ocelli(["batch", "cancel", "huge"]);
    assert_eq!((said.code, said.out.contains("is cancelled")), (0, true), "{said:?}");
    until("what waited is taken back", || open(world, "huge") == Some(0));
    let taken = shown(world, "huge")["order"]["withdrawn"].as_u64().unwrap();
    assert!(taken > 0);
    until("no job is left", || fleet.messages("jobs") + fleet.messages("bulk") == 0);
    world.audit();
    let said = world.ocelli(["batch", "resume", "huge"]);
    assert_eq!((said.code, said.err.contains("produce its sources again")), (2, true), "{said:?}");
    // Produced again, what was taken back is enqueued, and no more.
    let again = fleet.produce("huge");
    let enqueued = again["enqueued"].as_u64().unwrap();
    // What was in hand when it was taken back has been answered all the same.
    assert!((taken.saturating_sub(4)..=taken).contains(&enqueued), "{taken}: {again}");
    for service in services {
        assert_eq!(service.stop(), 0);
    }
}

#[test]
fn references_are_told_as_ndjson_and_what_failed_is_tried_again() {
    let world = World::new();
    world.samples("in", &[NOTE]);
    std::fs::write(world.path("in/notes.txt"), "no image").unwrap();
    std::fs::write(world.path("list.txt"), "in/later.png\n").unwrap();
    let said = world.ocelli(["run", "in", "list.txt", "--batch", "first"]);
    assert_eq!(said.code, 3, "{said:?}");
    let said = world.ocelli(["batch", "show", "first", "--references"]);
    let mut outcomes: Vec<String> = said
        .out
        .lines()
        .map(|line| serde_json::from_str::<Value>(line).unwrap())
        .map(|one| one["outcome"].as_str().unwrap().to_owned())
        .collect();
    outcomes.sort();
    assert_eq!(outcomes, ["accepted", "failed", "skipped"], "{said:?}");
    let said = world.ocelli(["batch", "show", "first"]);
    assert!(said.out.contains("--retry failed --of"), "{said:?}");
    world.samples("in", &[CHART]);
    std::fs::rename(world.path("in").join(CHART), world.path("in/later.png")).unwrap();
    let said = world.ocelli(["run", "--retry", "failed", "--of", "first"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("1 images: 1 new"), "{said:?}");
    let said = world.ocelli(["batch", "list"]);
    assert!(said.out.contains("what failed of first"), "{said:?}");
    let said = world.ocelli(["run", "--retry", "failed", "--of", "no such batch"]);
    assert_eq!((said.code, said.err.contains("there is no batch")), (2, true), "{said:?}");
    world.audit();
}

#[test]
fn archives_are_read_whole_or_by_member_and_shown_by_their_names() {
    let world = World::new();
    world.samples("in", &[NOTE, CHART]);
    let packed = std::process::Command::new("tar")
        .args(["-C", "in", "-cf", "shard.tar", NOTE, CHART])
        .current_dir(world.path(""))
        .status()
        .unwrap();
    assert!(packed.success());
    let member = format!("tar:shard.tar!{NOTE}");
    let said = world.ocelli(["run", &member]);
    assert_eq!(said.code, 0, "{said:?}");
    let said = world.ocelli(["run", "shard.tar"]);
    assert!(said.err.contains("2 images: 1 new, 1 known"), "{said:?}");
    let said = world.ocelli(["batch", "show", "shard.tar", "--references"]);
    assert!(said.out.contains(&format!("shard.tar!{CHART}")), "{said:?}");
    world.audit();
}

#[test]
fn verify_names_what_is_missing_or_has_changed_and_ends_with_1() {
    let world = World::new();
    world.samples("in", &[NOTE, CHART, NO_TEXT]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let said = world.ocelli(["verify"]);
    assert_eq!(
        (said.code, said.out.contains("3 sources are as they were, 0 changed")),
        (0, true),
        "{said:?}"
    );
    std::fs::remove_file(world.path("in").join(NOTE)).unwrap();
    std::fs::copy(world.path("in").join(CHART), world.path("in").join(NO_TEXT)).unwrap();
    let said = world.ocelli(["verify", "--json"]);
    assert_eq!(said.code, 1, "{said:?}");
    let lines: Vec<Value> =
        said.out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let found = |what: &str, name: &str| {
        lines.iter().any(|line| {
            line["found"] == what && line["source"].as_str().is_some_and(|at| at.ends_with(name))
        })
    };
    assert!(found("missing", NOTE) && found("changed", NO_TEXT), "{said:?}");
    assert_eq!((&lines[2]["same"], &lines[2]["missing"]), (&1.into(), &1.into()), "{said:?}");
}
