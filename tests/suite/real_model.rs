//! The whole pipeline against a real model server with a tiny model of random weights: from files to a record that adds
//! up. What the model writes is noise; how its server ends answers and what it refuses is real. The analyzer alone
//! against the same server is tested in `crates/ocelli-llm/tests/real_server.rs`.

use rustix::process::Signal;
use serde_json::Value;

use crate::world::{CHART, NO_TEXT, NOTE, World, until};

/// Settings of analyzers of the server's model; `more` follows the fields that all share.
fn analyzer(name: &str, model: &str, more: &str) -> String {
    let server = std::env::var("OCELLI_TEST_REAL_LLM")
        .unwrap_or_else(|_| panic!("OCELLI_TEST_REAL_LLM is not set: run `make test-llm-real`"));
    // Warm, since a cold model of random weights walks in circles.
    format!(
        "[analyzers.{name}]\nkind = \"llm\"\nprotocol = \"openai\"\nmodel = \"{model}\"\n\
         endpoints = [\"{server}\"]\ntemperatures = [0.8, 0.9, 1.0]\n{more}\n"
    )
}

fn world() -> World {
    let mut world = World::new();
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        world.settings(&format!("[analyzers.\"{name}\"]\nenabled = false"));
    }
    world
}

fn count(row: &Value, what: &str) -> u64 {
    row[what].as_u64().unwrap()
}

#[test]
#[ignore = "needs a real model server: make test-llm-real"]
fn every_way_in_which_a_real_server_ends_an_answer_has_its_outcome() {
    let mut world = world();
    let plain = "prompt = \"./plain.md\"\nenabled = true";
    std::fs::write(world.path("plain.md"), "Explain.").unwrap();
    std::fs::write(world.path("long.md"), "too long ".repeat(1000)).unwrap();
    world.settings(&analyzer("plain", "tiny-random", &format!("{plain}\nmax_tokens = 600")));
    world.settings(&analyzer("short", "tiny-random", &format!("{plain}\nmax_tokens = 3")));
    let with_text = "prompt = \"explain-with-text\"\nenabled = true\nneeds = [\"tesseract-ocr\"]";
    world.settings(&analyzer(
        "with-text",
        "tiny-random",
        &format!("{with_text}\nmax_tokens = 300"),
    ));
    let long = "prompt = \"./long.md\"\nenabled = true";
    world.settings(&analyzer("too-long", "tiny-random", long));
    world.settings(&analyzer("unknown", "no-such-model", "prompt = \"./plain.md\""));
    let folder = world.samples("in", &[NOTE, CHART, NO_TEXT, "poster.gif"]);
    let whole = std::fs::read(folder.join(CHART)).unwrap();
    std::fs::write(folder.join("cut.png"), &whole[..whole.len() / 2]).unwrap();

    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 3, "the prompt that is too long, and the broken image: {said:?}");
    assert!(said.err.contains("unknown is off: "), "{said:?}");
    assert!(said.err.contains("'no-such-model' is not there; it offers: tiny-random"), "{said:?}");
    let status = world.json(["status", "--json"]);
    assert_eq!((&status["images"], &status["complete"]), (&5.into(), &5.into()), "{status}");
    // A model of random weights may walk in circles three times in a row; seldom.
    assert!(count(&world.row("plain"), "done") >= 3, "{}", world.row("plain"));
    assert!(count(&world.row("with-text"), "done") >= 2, "{}", world.row("with-text"));
    assert_eq!(count(&world.row("too-long"), "failed"), 5);
    let failures = world.ocelli(["failures", "list", "--analyzer", "too-long"]);
    assert!(failures.out.contains("permanent") && failures.out.contains("n_ctx"), "{failures:?}");
    let record = world.json(["show", &format!("in/{NOTE}"), "--format", "json"]);
    let analyses = record["analyses"].as_array().unwrap();
    let of = |name: &str| analyses.iter().find(|one| one["analyzer"] == name).unwrap();
    let cut_short = &of("short")["outcome"]["done"]["flags"];
    assert!(
        cut_short.as_array().is_some_and(|flags| flags.contains(&"truncated".into())),
        "{record}"
    );
    assert!(of("short")["provenance"]["tokens_in"].as_u64() >= Some(16), "{record}");
    world.audit();

    let again = world.json(["run", "in", "--json"]);
    assert_eq!((&again["enqueued"], &again["known"]), (&0.into(), &5.into()), "{again}");
}

#[test]
#[ignore = "needs a real model server: make test-llm-real"]
fn a_run_with_many_requests_at_once_that_is_interrupted_goes_on_and_adds_up() {
    let mut world = world();
    std::fs::write(world.path("plain.md"), "Explain.").unwrap();
    let more = "prompt = \"./plain.md\"\nenabled = true\nmax_tokens = 200\nin_flight = 16\nin_flight_adaptive = false";
    world.settings(&analyzer("plain", "tiny-random", more));
    world.settings("[analyzers.tesseract-ocr]\nenabled = false\n[worker]\ndrain = \"1ms\"");
    world.many("in", 60);
    let mut run = world.start("ocelli", ["run", "in"]);
    until("some answers are there", || {
        let said = world.ocelli(["status", "--json"]);
        let status: Value = serde_json::from_str(&said.out).unwrap_or_default();
        status["complete"].as_u64() >= Some(5)
    });
    run.signal(Signal::INT);
    assert_eq!(run.wait(), 130, "{}", run.log());
    world.audit();
    // Requests were cut off in the middle; the server goes on, and so does the next run.
    let said = world.ocelli(["run", "in"]);
    assert!([0, 3].contains(&said.code), "{said:?}");
    let row = world.row("plain");
    assert_eq!(count(&row, "done") + count(&row, "failed"), 60, "{row}");
    assert!(count(&row, "done") >= 50, "{row}");
    world.audit();
}
