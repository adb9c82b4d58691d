//! The command line, as built.

use crate::world::{CHART, NOTE, World};

#[test]
fn a_fleet_is_planned_from_what_was_measured_or_from_given_figures() {
    let mut world = World::new();
    let plan = |world: &World, more: &[&str]| {
        let plan = ["plan", "--fleet", "--images", "1e6", "--days", "1", "--json"];
        world.ocelli([&plan[..], more].concat())
    };
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        world.settings(&format!("[analyzers.\"{name}\"]\nenabled = false"));
    }
    // Nothing was read yet, and there is no archive: 864 jobs at once do a million of 59.72 s in a day, at 80 %.
    let said = plan(&world, &["--takes", "tesseract-ocr=59.7196"]);
    let given: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(
        (&given["analyzers"][0]["slots"], &given["analyzers"][0]["samples"]),
        (&864.into(), &0.into())
    );
    // One message for the image, one for its job, one for the answer.
    let rate = given["messages_per_second"].as_f64().unwrap();
    assert!((rate - 3e6 / 86_400.0).abs() < 0.01, "{rate}");
    let broker = &given["broker"];
    assert_eq!((&broker["nodes"], &broker["queues"]), (&1.into(), &3.into()), "{broker}");
    assert_eq!(broker["queue_capacity"], 1_000_000, "{broker}");
    let bytes = broker["message_bytes"].as_u64().unwrap();
    assert_eq!(broker["full_queues_bytes"], 3 * 1_000_000 * bytes, "{broker}");
    assert!(given["catalog_bytes"].is_null() && given["analyzers"][0]["cost_micros"].is_null());
    let plain =
        ["plan", "--fleet", "--images", "1e10", "--days", "1", "--takes", "tesseract-ocr=1"];
    let text = world.ocelli(plain).out;
    assert!(text.contains("17 nodes of RabbitMQ for 347222 messages a second"), "{text}");
    assert_ne!(plan(&world, &[]).code, 0, "there is no archive");
    assert_eq!(plan(&world, &["--takes", "nobody=1"]).code, 2);
    assert_eq!(plan(&world, &["--takes", "tesseract-ocr=never"]).code, 2);
    world.samples("in", &[NOTE]);
    world.ocelli(["run", "in"]);
    let measured: serde_json::Value = serde_json::from_str(&plan(&world, &[]).out).unwrap();
    assert_eq!(measured["analyzers"][0]["samples"], 1, "{measured}");
    assert!(measured["analyzers"][0]["seconds_per_image"].as_f64() > Some(0.0), "{measured}");
    assert_ne!(measured["broker"]["message_bytes"], bytes, "answers count too: {measured}");
}

#[test]
fn help_tells_a_newcomer_where_to_start_and_lists_the_exit_codes() {
    let world = World::new();
    let said = world.ocelli(["--help"]);
    assert_eq!(said.code, 0);
    for words in ["Start with: ocelli run FOLDER", "Exit codes:", "doctor", "130"] {
        assert!(said.out.contains(words), "'{words}' is not in:\n{}", said.out);
    }
    for program in [
        "ocelli-producer",
        "ocelli-ocr-worker",
        "ocelli-llm-worker",
        "ocelli-collector",
        "ocelli-web",
    ] {
        let said = world.run(program, ["--help"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("--config <FILE>"), "{said:?}");
        assert!(world.run(program, ["--version"]).out.starts_with(program));
    }
}

#[test]
fn a_record_is_found_by_path_digest_and_prefix_in_every_format() {
    let world = World::new();
    let folder = world.samples("in", &[NOTE]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let by_path = world.json(["show", &format!("in/{NOTE}"), "--format", "json"]);
    let digest = by_path["digest"].as_str().unwrap();
    assert_eq!(by_path["complete"], true);
    for name in [digest, &digest[..8], &digest[..12].to_uppercase()] {
        assert_eq!(world.json(["show", name, "--format", "json"]), by_path, "{name}");
    }
    let markdown = world.ocelli(["show", digest, "--format", "markdown"]).out;
    assert!(markdown.starts_with(&format!("# {digest}\n")), "{markdown}");
    assert!(markdown.contains("## tesseract-ocr") && markdown.contains("confidence"), "{markdown}");
    // Found by its content under another name, and by its old path when the file is gone.
    std::fs::rename(folder.join(NOTE), world.path("moved.png")).unwrap();
    assert_eq!(world.json(["show", "moved.png", "--format", "json"]), by_path);
    assert_eq!(world.json(["show", &format!("in/{NOTE}"), "--format", "json"]), by_path);
    for unknown in ["0000", "nowhere.png", "https://example.org/x.png"] {
        let said = world.ocelli(["show", unknown]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("is not in this archive"), "{said:?}");
    }
}

#[test]
fn an_archive_that_does_not_exist_is_not_made_by_looking_at_it() {
    let world = World::new();
    for command in
        [&["status"][..], &["show", "abcd"], &["audit"], &["failures", "list"], &["search", "cat"]]
    {
        let said = world.ocelli(command.iter().chain(&["--data", "typo"]));
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains("there is no archive at 'typo/catalog.db' yet"), "{said:?}");
    }
    assert!(!world.path("typo").exists());
}

#[test]
fn wrong_settings_are_refused_with_the_nearest_name_and_their_place() {
    let mut world = World::new();
    world.settings("[brokr]\nurl = \"memory:\"");
    let said = world.ocelli(["config", "check"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("brokr") && said.err.contains("broker"), "{said:?}");
    assert!(said.err.contains("ocelli.toml"), "{said:?}");

    let world = World::new();
    assert_eq!(world.ocelli(["config", "check"]).out.trim(), "the settings are right");
    for (key, nearest) in [("worker.drian=1s", "drain"), ("limits.image_byte=1MB", "image_bytes")] {
        let said = world.ocelli(["config", "check", "--set", key]);
        assert_eq!(said.code, 2, "{said:?}");
        assert!(said.err.contains(nearest), "{said:?}");
    }
    let wrong = world.ocelli(["config", "check", "--set", "worker.drain=soon"]);
    assert!(wrong.code == 2 && wrong.err.contains("worker.drain"), "{wrong:?}");
    let from_env = world
        .command("ocelli")
        .env("OCELLI_WORKER__DRIAN", "1s")
        .args(["config", "check"])
        .output();
    let from_env = String::from_utf8(from_env.unwrap().stderr).unwrap();
    assert!(
        from_env.contains("OCELLI_WORKER__DRIAN") && from_env.contains("OCELLI_WORKER__DRAIN"),
        "{from_env}"
    );
}

#[test]
fn config_show_names_the_origin_of_each_value_and_hides_secrets() {
    let mut world = World::new();
    world.settings("[broker]\nurl = \"amqp://me:hunter2@localhost:5672/%2f\"");
    let said = world.ocelli(["config", "show", "--set", "worker.drain=7s"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(!said.out.contains("hunter2"), "{said:?}");
    let line = |key: &str| {
        said.out
            .lines()
            .find(|line| line.starts_with(&format!("{key} ")))
            .unwrap_or_default()
            .to_owned()
    };
    assert!(line("broker.url").contains("ocelli.toml"), "{said:?}");
    assert!(line("worker.drain").contains("7s"), "{said:?}");
    assert!(line("limits.image_side").ends_with("default"), "{said:?}");
    // The printed defaults are a valid settings file.
    let defaults = world.ocelli(["config", "default"]).out;
    std::fs::write(world.path("default.toml"), defaults).unwrap();
    assert_eq!(world.ocelli(["config", "check", "--config", "default.toml"]).code, 0);
}

#[test]
fn doctor_says_what_is_there_what_is_missing_and_what_to_do() {
    let mut world = World::new();
    let said = world.ocelli(["doctor"]);
    assert_eq!(said.code, 0, "{said:?}");
    for words in
        ["data folder", "GB free", "Tesseract", "eng", "seccomp", "libheif", "ollama serve"]
    {
        assert!(said.out.contains(words), "'{words}' is not in:\n{}", said.out);
    }
    world.settings("[analyzers.tesseract-ocr]\nlanguages = \"eng+tlh\"");
    let said = world.ocelli(["doctor"]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.out.contains("FAIL") && said.out.contains("tesseract-ocr-tlh"), "{said:?}");
    let run = world.ocelli(["run", "."]);
    assert_eq!(run.code, 4, "{run:?}");
    assert!(run.err.contains("tesseract-ocr-tlh"), "{run:?}");
}

#[test]
fn status_counts_for_people_and_scripts() {
    let world = World::new();
    world.samples("in", &[NOTE, CHART]);
    assert_eq!(world.ocelli(["run", "in", "--batch", "my batch"]).code, 0);
    let text = world.ocelli(["status"]).out;
    assert!(text.starts_with("2 images, 2 complete"), "{text}");
    assert!(text.contains("my batch"), "{text}");
    let row = world.row("tesseract-ocr");
    for (key, value) in [("done", 2), ("empty", 0), ("failed", 0), ("waiting", 0), ("running", 0)] {
        assert_eq!(row[key], value, "{row}");
    }
}

#[test]
fn completions_and_manual_are_printed() {
    let world = World::new();
    for shell in ["bash", "zsh", "fish"] {
        assert!(world.ocelli(["completions", shell]).out.contains("ocelli"), "{shell}");
    }
    assert!(world.ocelli(["man"]).out.contains(".TH ocelli 1"));
}

#[test]
fn a_reader_that_goes_away_is_no_error() {
    let world = World::new();
    let mut child = world
        .command("ocelli")
        .args(["config", "default"])
        .stdout(std::process::Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    assert_eq!(child.wait().unwrap().code(), Some(0));
}
