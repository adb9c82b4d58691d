//! Death without warning: nothing is lost, nothing is there twice.

use crate::world::{World, until};

fn done(world: &World) -> u64 {
    let said = world.ocelli(["status", "--json"]);
    serde_json::from_str::<serde_json::Value>(&said.out)
        .ok()
        .and_then(|status| status["analyzers"][0]["done"].as_u64())
        .unwrap_or(0)
}

#[test]
fn a_run_killed_again_and_again_ends_with_each_image_read_exactly_once() {
    let world = World::new();
    world.many("in", 80);
    for goal in [5, 20, 40, 60] {
        let run = world.start("ocelli", ["run", "in"]);
        until("some more images are read", || done(&world) >= goal);
        run.kill();
        // What is acknowledged is on disk: the archive opens and adds up after every kill.
        world.audit();
    }
    let last = world.ocelli(["run", "in"]);
    assert_eq!(last.code, 0, "{last:?}");
    let row = world.row("tesseract-ocr");
    assert_eq!((row["done"].clone(), row["waiting"].clone()), (80.into(), 0.into()), "{row}");
    let status = world.json(["status", "--json"]);
    assert_eq!((&status["images"], &status["complete"]), (&80.into(), &80.into()), "{status}");
    world.audit();
}

#[test]
fn readers_die_with_the_program_that_started_them() {
    let world = World::new();
    world.many("in", 40);
    let run = world.start("ocelli", ["run", "in"]);
    until("some images are read", || done(&world) >= 2);
    let family = run.family();
    assert!(family.living() >= 2, "the program and at least one reader");
    run.kill();
    until("no reader is left", || family.living() == 0);
}
