//! `ocelli run` and `ocelli up`: one process, no server.

use std::fs;

use rustix::process::Signal;

use crate::world::{CHART, NO_TEXT, NOTE, World, until};

#[test]
fn a_folder_becomes_records_and_a_second_run_does_nothing() {
    let world = World::new();
    world.samples("in", &[NOTE, CHART, NO_TEXT, "receipt.jpg", "poster.gif", "scanned-page.tiff"]);
    let report = world.json(["run", "in", "--json"]);
    assert_eq!((&report["images"], &report["enqueued"]), (&6.into(), &6.into()), "{report}");
    let row = world.row("tesseract-ocr");
    assert_eq!((row["done"].clone(), row["empty"].clone()), (5.into(), 1.into()), "{row}");

    let again = world.json(["run", "in", "--json"]);
    assert_eq!((&again["enqueued"], &again["known"]), (&0.into(), &6.into()), "{again}");
    assert_eq!(world.row("tesseract-ocr")["done"], 5);

    world.samples("in", &["meme-ocean.jpg"]);
    let more = world.json(["run", "in", "--json"]);
    assert_eq!((&more["enqueued"], &more["known"]), (&1.into(), &6.into()), "{more}");
    assert_eq!(world.row("tesseract-ocr")["done"], 6);
    world.audit();
}

#[test]
fn avif_and_heic_are_read_and_stay_what_they_are() {
    let world = World::new();
    world.samples("in", &[CHART]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let chart = format!("in/{CHART}");
    let original = world.json(["show", &chart, "--format", "json"]);
    for format in ["avif", "heic"] {
        world.heif(&chart, &format!("in/chart.{format}"));
    }
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    for format in ["avif", "heic"] {
        let image = format!("in/chart.{format}");
        let record = world.json(["show", &image, "--format", "json"]);
        assert_eq!(record["image"]["format"], format, "{record}");
        for side in ["width", "height"] {
            assert_eq!(record["image"][side], original["image"][side], "{format}: {side}");
        }
        let said = world.ocelli(["show", &image]).out;
        assert!(said.contains("Scaling Open Language Models"), "{format}: {said}");
    }
    assert_eq!(world.row("tesseract-ocr")["done"], 3);
    world.audit();
}

#[test]
fn the_text_of_the_chart_is_read_and_shown_in_the_layout_of_the_archive() {
    let world = World::new();
    world.samples("in", &[CHART]);
    let chart = format!("in/{CHART}");
    let said = world.ocelli(["run", "in", "--show", &chart]);
    assert_eq!(said.code, 0, "{said:?}");
    let mut lines = said.out.lines();
    assert_eq!(lines.next(), Some("First Seen"));
    let seen = lines.next().unwrap();
    assert!(seen.len() == 25 && seen.ends_with("+00:00"), "{seen}");
    assert_eq!(lines.next(), Some("tesseract-ocr"));
    for words in ["Scaling Open Language Models", "Llama 3 is here!", "Llama 3 70B", "less compute"]
    {
        assert!(said.out.contains(words), "'{words}' is not in:\n{}", said.out);
    }
    assert_eq!(world.ocelli(["show", &chart]).out.trim_end(), said.out.trim_end());
}

#[test]
fn the_same_bytes_under_two_names_are_one_record_with_two_sightings_and_the_earliest_time() {
    let world = World::new();
    let folder = world.samples("in", &[NOTE]);
    fs::copy(folder.join(NOTE), folder.join("copy.png")).unwrap();
    fs::write(
        world.path("list.ndjson"),
        concat!(
            "{\"uri\": \"in/copy.png\", \"first_seen\": \"2024-05-04T09:00:51Z\"}\n",
            "{\"uri\": \"in/note-transparent.png\", \"first_seen\": \"2025-01-01T00:00:00+01:00\"}\n",
        ),
    )
    .unwrap();
    fs::write(world.path("list.csv"), "uri,first_seen\nin/copy.png,2023-01-02T03:04:05Z\n")
        .unwrap();
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let first = world.json(["show", "in/copy.png", "--format", "json"]);
    assert_eq!(first["sightings"].as_array().unwrap().len(), 2, "{first}");

    assert_eq!(world.ocelli(["run", "list.ndjson"]).code, 0);
    let earlier = world.json(["show", "in/copy.png", "--format", "json"]);
    assert_eq!(earlier["first_seen"], "2024-05-04T09:00:51Z", "{earlier}");
    assert_eq!(world.ocelli(["run", "list.csv", "in"]).code, 0);
    let earliest = world.json(["show", "in/copy.png", "--format", "json"]);
    assert_eq!(earliest["first_seen"], "2023-01-02T03:04:05Z", "{earliest}");
    assert_eq!(earliest["sightings"].as_array().unwrap().len(), 2);
    let status = world.json(["status", "--json"]);
    assert_eq!((&status["images"], &status["sightings"]), (&1.into(), &2.into()));
}

#[test]
fn up_reads_what_is_there_and_what_appears_and_stops_when_told() {
    let world = World::new();
    let folder = world.samples("in", &[NOTE]);
    let up = world.start("ocelli", ["up", "in", "--listen", "off"]);
    until("the first image is read", || done(&world) == 1);
    world.samples("elsewhere", &[CHART, "poster.gif"]);
    fs::copy(world.path("elsewhere/poster.gif"), folder.join("poster.gif")).unwrap();
    fs::rename(world.path("elsewhere").join(CHART), folder.join(CHART)).unwrap();
    until("the copied and the moved image are read", || done(&world) == 3);
    let busy = world.ocelli(["run", "in"]);
    assert_eq!(busy.code, 2, "{busy:?}");
    assert!(busy.err.contains("another ocelli (process"), "{busy:?}");
    assert_eq!(up.stop(), 0);
    world.audit();
}

fn done(world: &World) -> u64 {
    let status = world.ocelli(["status", "--json"]);
    serde_json::from_str::<serde_json::Value>(&status.out)
        .ok()
        .and_then(|status| status["analyzers"][0]["done"].as_u64())
        .unwrap_or(0)
}

#[test]
fn ctrl_c_keeps_what_was_accepted_and_the_next_run_finishes_it() {
    let world = World::new();
    world.many("in", 60);
    let mut run = world.start("ocelli", ["run", "in"]);
    until("some images are read", || done(&world) >= 3);
    // As a terminal does it: everyone in the group in front gets the signal.
    run.signal_group(Signal::INT);
    assert_eq!(run.wait(), 130, "{}", run.log());
    let failed = world.json(["status", "--json"])["analyzers"][0]["deferred"].clone();
    assert_eq!(failed, 0, "an interrupted reading is no failed attempt: {}", run.log());
    assert!(run.log().contains("run the same command again"), "{}", run.log());
    let row = world.row("tesseract-ocr");
    assert!(row["done"].as_u64() < Some(60), "it was interrupted too late to show anything: {row}");
    let rest = world.ocelli(["run", "in"]);
    assert_eq!(rest.code, 0, "{rest:?}");
    assert_eq!(world.row("tesseract-ocr")["done"], 60);
    world.audit();
}
