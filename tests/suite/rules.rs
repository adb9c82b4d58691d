//! Rules: what they leave out costs nothing, says so, adds up, and is asked once the rule is another one.

use ocelli_testkit::models::{ModelServer, ModelServerOptions};
use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{CHART, NO_TEXT, NOTE, World, until};

const MODEL: &str = "llama3.2-vision";

/// OCR and one model.
fn model(world: &mut World, models: &ModelServer) {
    world.settings(&format!(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n\
         [analyzers.\"{MODEL}\"]\nenabled = true\nendpoints = [\"{}\"]",
        models.url()
    ));
}

/// Further settings in a file of their own, so that rules can change.
fn rule(world: &World, file: &str, when: &str, more: &str) {
    let text = format!(
        "[[rule]]\nname = \"worth-it\"\nanalyzers = [\"{MODEL}\"]\nwhen = '{when}'\n{more}\n"
    );
    std::fs::write(world.path(file), text).unwrap();
}

fn row(world: &World) -> [u64; 4] {
    let row = world.row(MODEL);
    ["done", "skipped", "failed", "waiting"].map(|key| row[key].as_u64().unwrap())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_a_rule_leaves_out_costs_nothing_until_the_rule_is_another_one() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    model(&mut world, &models);
    world.many("in/thumbs", 3);
    world.samples("in", &[CHART]);
    rule(&world, "first.toml", "bytes < 20MB and not source:thumbs/", "");
    rule(&world, "same.toml", "bytes < 20MB and not source:thumbs/", "");
    rule(&world, "other.toml", "bytes < 20MB", "");
    let run = |config: &str| {
        let said = world.ocelli(["run", "in", "--config", config]);
        assert_eq!(said.code, 0, "{said:?}");
        world.audit();
        said
    };
    let said = run("first.toml");
    assert!(said.err.contains("3 answers not asked for: rules leave them out"), "{said:?}");
    assert_eq!((models.calls(), row(&world)), (1, [1, 3, 0, 0]));
    assert_eq!(world.row("tesseract-ocr")["done"], 4, "it is about the model alone");
    let shown = world.ocelli(["show", "in/thumbs/note-00000.png"]).out;
    let words = "[skipped by rule 'worth-it': asked only when bytes < 20MB and not source:thumbs/]";
    assert!(shown.contains(words), "{shown}");
    let found = world.json(["search", "is:skipped source:thumbs/", "--json"]);
    assert_eq!(found["total"]["records"], 3, "{found}");
    // The rule can be tried as a search.
    let tried = world.json(["search", "bytes < 20MB and not source:thumbs/", "--json"]);
    assert_eq!(tried["total"]["records"], 1, "{tried}");

    // Again: nothing is told twice. A plan and a backfill ask nothing either.
    run("same.toml");
    assert_eq!((models.calls(), row(&world)), (1, [1, 3, 0, 0]));
    let plan = |config: &str| -> Value {
        world.json(["plan", "--analyzer", MODEL, "--json", "--config", config])
    };
    let before = plan("first.toml");
    let counts = |plan: &Value| {
        (plan["images"]["missing"].as_u64().unwrap(), plan["left_out"].as_u64().unwrap())
    };
    assert_eq!(counts(&before), (0, 3), "{before}");
    let text = world.ocelli(["plan", "--analyzer", MODEL, "--config", "first.toml"]).out;
    assert!(text.contains("rules     leave out 3 of those that match"), "{text}");
    let backfill = |config: &str| {
        let said = world.ocelli(["backfill", "--analyzer", MODEL, "--config", config]);
        assert_eq!(said.code, 0, "{said:?}");
        world.audit();
    };
    backfill("first.toml");
    assert_eq!(models.calls(), 1);
    // A narrower rule takes nothing back, and says the skips in its own words.
    rule(&world, "narrow.toml", "bytes < 1B", "");
    run("narrow.toml");
    assert_eq!((models.calls(), row(&world)), (1, [1, 3, 0, 0]));
    // Another rule: a backfill asks, and a run the rest.
    rule(&world, "some.toml", "not source:note-00000 and not source:note-00001", "");
    assert_eq!(counts(&plan("some.toml")), (1, 2));
    backfill("some.toml");
    assert_eq!((models.calls(), row(&world)), (2, [2, 2, 0, 0]));
    run("other.toml");
    assert_eq!((models.calls(), row(&world)), (4, [4, 0, 0, 0]));
    assert_eq!(counts(&plan("other.toml")), (0, 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_what_another_analyzer_read_is_decided_when_it_has() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    model(&mut world, &models);
    world.samples("in", &[CHART, NOTE, NO_TEXT]);
    rule(&world, "read.toml", "scaling or is:done", "after = [\"tesseract-ocr\"]");
    let wrong = world.ocelli(["run", "in", "--config", "read.toml"]);
    assert_eq!(wrong.code, 0, "a filter behind it makes 'or' an operator: {wrong:?}");
    assert_eq!((models.calls(), row(&world)), (2, [2, 1, 0, 0]));
    world.audit();
    let shown = world.ocelli(["show", &format!("in/{NO_TEXT}")]).out;
    assert!(shown.contains("[skipped by rule 'worth-it': asked only when scaling"), "{shown}");
    // Once more, and a wider rule.
    assert_eq!(world.ocelli(["run", "in", "--config", "read.toml"]).code, 0);
    assert_eq!((models.calls(), row(&world)), (2, [2, 1, 0, 0]));
    rule(&world, "all.toml", "-missing:tesseract-ocr", "");
    assert_eq!(world.ocelli(["run", "in", "--config", "all.toml"]).code, 0);
    assert_eq!((models.calls(), row(&world)), (3, [3, 0, 0, 0]));
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_the_language_is_decided_when_it_is_known() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    model(&mut world, &models);
    world.samples("in", &[CHART, NOTE, NO_TEXT]);
    for (config, lang, expected) in [
        // Tesseract reads English here.
        ("deu.toml", "lang:deu", (0, [0, 3, 0, 0])),
        ("eng.toml", "lang:eng", (2, [2, 1, 0, 0])),
    ] {
        rule(&world, config, lang, "after = [\"tesseract-ocr\"]");
        let said = world.ocelli(["run", "in", "--config", config]);
        assert_eq!(said.code, 0, "{said:?}");
        assert_eq!((models.calls(), row(&world)), expected, "{lang}");
        world.audit();
    }
    let shown = world.ocelli(["show", &format!("in/{NO_TEXT}")]).out;
    assert!(shown.contains("[skipped by rule 'worth-it': asked only when lang:eng]"), "{shown}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rule_about_what_a_list_says_holds_for_what_the_next_list_says() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    model(&mut world, &models);
    world.samples("in", &[CHART, NOTE]);
    rule(&world, "said.toml", "meta:use=text", "");
    let run = |of_note: &str| {
        let lines = [(CHART, "text"), (NOTE, of_note)]
            .map(|(image, of_it)| format!("{{\"uri\": \"in/{image}\", \"use\": \"{of_it}\"}}\n"));
        std::fs::write(world.path("list.ndjson"), lines.concat()).unwrap();
        let said = world.ocelli(["run", "list.ndjson", "--config", "said.toml"]);
        assert_eq!(said.code, 0, "{said:?}");
        world.audit();
    };
    run("decoration");
    assert_eq!((models.calls(), row(&world)), (1, [1, 1, 0, 0]));
    let shown = world.ocelli(["show", &format!("in/{NOTE}")]).out;
    let words = "[skipped by rule 'worth-it': asked only when meta:use=text]";
    assert!(shown.contains(words), "{shown}");
    let tried = world.json(["search", "meta:use=text", "--json"]);
    assert_eq!(tried["total"]["records"], 1, "{tried}");
    // Nothing has changed but what is said of it.
    run("text");
    assert_eq!((models.calls(), row(&world)), (2, [2, 0, 0, 0]));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_leaves_out_what_rules_say_by_image_and_by_answer() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    model(&mut fleet.world, &models);
    fleet.world.settings(&format!(
        "[[rule]]\nname = \"no-thumbs\"\nwhen = \"not source:thumbs/\"\nanalyzers = [\"{MODEL}\"]\n\
         [[rule]]\nname = \"has-text\"\nwhen = \"has:tesseract-ocr\""
    ));
    fleet.world.many("in/thumbs", 4);
    fleet.world.many("in/notes", 2);
    fleet.world.samples("in", &[CHART, NO_TEXT]);
    // Other bytes: else one image would lie in two places, and be asked for one of them.
    for file in std::fs::read_dir(fleet.world.path("in/thumbs")).unwrap() {
        let path = file.unwrap().path();
        let mut bytes = std::fs::read(&path).unwrap();
        bytes.push(b't');
        std::fs::write(path, bytes).unwrap();
    }
    let services = [
        fleet.start("ocelli-collector"),
        fleet.start("ocelli-collector"),
        fleet.start("ocelli-ocr-worker"),
        fleet.start("ocelli-llm-worker"),
    ];
    until("both have announced themselves", || {
        let status = fleet.world.json(["status", "--json"]);
        status["analyzers"]
            .as_array()
            .is_some_and(|rows| rows.iter().filter(|row| row["workers"] == 1).count() == 2)
    });
    let produced = fleet.produce("in");
    assert_eq!((&produced["accepted"], &produced["left_out"]), (&8.into(), &4.into()));
    fleet.finished(8, 2);
    assert_eq!((models.calls(), row(&fleet.world)), (3, [3, 5, 0, 0]));
    let of = |image: &str| fleet.world.ocelli(["show", image]).out;
    assert!(of("in/thumbs/note-00000.png").contains("skipped by rule 'no-thumbs'"));
    assert!(of(&format!("in/{NO_TEXT}")).contains("skipped by rule 'has-text'"));
    assert_eq!(fleet.produce("in")["jobs"], 0);
    assert_eq!(models.calls(), 3);
    fleet.world.audit();
    for service in services {
        assert_eq!(service.stop(), 0);
    }
}

#[test]
fn a_rule_that_cannot_be_followed_ends_every_program_with_its_place_and_the_reason() {
    let said = |toml: &str| {
        let mut world = World::new();
        world.settings(toml);
        let said = world.ocelli(["config", "check"]);
        assert_eq!(said.code, 2, "{said:?}");
        assert_eq!(world.run("ocelli-collector", ["--listen", "off"]).err, said.err);
        said.err
    };
    let rule = |when: &str, more: &str| {
        format!("[[rule]]\nname = \"r\"\nwhen = '{when}'\nanalyzers = [\"{MODEL}\"]\n{more}\n")
    };
    for (toml, words) in [
        (
            rule("bytes < 20MB and (format:png", ""),
            &["ocelli.toml line", "the rule 'r'", "no ')' for the '(' at character 18"][..],
        ),
        (rule("bites:<5", ""), &["unknown filter 'bites:' at character 1; did you mean 'bytes:'?"]),
        (rule("bytes < 5kg", ""), &["at character 1: bytes: takes <20MB"]),
        (rule("is:complete", ""), &["the rule 'r'", "'is:complete' cannot be decided"]),
        (rule("lang:eng", ""), &["'lang:eng' is about an answer: name the analyzers", "after = "]),
        (rule("has:nobody", ""), &["there is no analyzer 'nobody'"]),
        (
            rule("has:tesseract-ocr", "[analyzers.tesseract-ocr]\nenabled = false"),
            &["switched off"],
        ),
        (rule("bytes < 5", "") + &rule("bytes < 6", ""), &["another rule of this name", "rule[1]"]),
        (rule("bytes < 5", "sometimes = true"), &["unknown field `sometimes`", "rule[0]"]),
        (
            rule("bytes < 5", "").replace(MODEL, "llama"),
            &["the rule 'r' names 'llama'", "there are: gemma3-27b-vision"],
        ),
        (
            rule("bytes < 5", "") + "[limits]\nrules = 0",
            &["expected at most 0 rules (limits.rules)"],
        ),
        ("[rule]\nname = \"r\"\n".to_owned(), &["expected tables: [[rule]]"]),
        (
            rule("has:gemma3-27b-vision", "")
                + &rule(&format!("has:{MODEL}"), "")
                    .replace("\"r\"", "\"s\"")
                    .replace(&format!("[\"{MODEL}\"]"), "[\"gemma3-27b-vision\"]"),
            &["wait for each other", "gemma3-27b-vision waits for"],
        ),
    ] {
        let said = said(&toml);
        for word in words {
            assert!(said.contains(word), "{toml}\n'{word}': {said}");
        }
    }
}

#[test]
fn rules_are_shown_with_the_settings_and_by_the_doctor() {
    let mut world = World::new();
    world.settings(
        "[[rule]]\nname = \"not-huge\"\nwhen = \"bytes < 20MB\"\n\
         [[rule]]\nname = \"has-text\"\nwhen = \"has:tesseract-ocr\"",
    );
    let shown = world.ocelli(["config", "show"]);
    assert!(shown.out.contains("not-huge") && shown.out.contains("bytes < 20MB"), "{shown:?}");
    let doctor = world.ocelli(["doctor"]).out;
    assert!(doctor.contains("rule not-huge"), "{doctor}");
    assert!(doctor.contains("every analyzer is asked when bytes:<20MB"), "{doctor}");
    assert!(doctor.contains("has:tesseract-ocr, once tesseract-ocr has answered"), "{doctor}");
}
