//! Vision models, answered by doubles that speak the real servers' wire formats.

use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions, Protocol};

use crate::world::{CHART, NOTE, World};

async fn world(options: ModelServerOptions) -> (World, ModelServer) {
    let server = ModelServer::start(options).await;
    let mut world = World::new();
    for name in ["gemma3-27b-vision", "llama3.2-vision"] {
        world.settings(&format!("[analyzers.\"{name}\"]\nendpoints = [\"{}\"]", server.url()));
    }
    (world, server)
}

#[tokio::test(flavor = "multi_thread")]
async fn models_that_are_away_are_left_out_and_asked_once_they_are_back() {
    let (world, mut server) = world(ModelServerOptions::default()).await;
    world.samples("in", &[NOTE, CHART]);
    server.go_down();
    let without = world.ocelli(["run", "in"]);
    assert_eq!(without.code, 0, "{without:?}");
    let line = without
        .err
        .lines()
        .find(|line| line.starts_with("gemma3-27b-vision and llama3.2-vision are off: "));
    assert!(line.is_some_and(|line| line.contains("ollama serve")), "{without:?}");
    let status = world.json(["status", "--json"]);
    assert_eq!(status["complete"], 2, "records are complete without them: {status}");

    server.come_back().await;
    let with = world.ocelli(["run", "in"]);
    assert_eq!(with.code, 0, "{with:?}");
    assert_eq!(server.calls(), 4);
    assert_eq!(world.row("gemma3-27b-vision")["done"], 2);
    assert_eq!(world.row("tesseract-ocr")["done"], 2);
    for _ in 0..3 {
        assert_eq!(world.ocelli(["run", "in"]).code, 0);
    }
    assert_eq!(server.calls(), 4, "never paid twice");

    let record = world.json(["show", &format!("in/{CHART}"), "--format", "json"]);
    let names: Vec<_> = record["analyses"]
        .as_array()
        .unwrap()
        .iter()
        .map(|analysis| analysis["analyzer"].as_str().unwrap())
        .collect();
    assert_eq!(names, ["gemma3-27b-vision", "tesseract-ocr", "llama3.2-vision"]);
    let sections = record["analyses"][0]["outcome"]["done"]["sections"].as_array().unwrap();
    let headings: Vec<_> = sections
        .iter()
        .filter_map(|section| section["heading"].as_str())
        .filter(|heading| !heading.is_empty())
        .collect();
    assert_eq!(
        headings[..6],
        [
            "Visual Description",
            "Foucauldian Genealogical Discourse Analysis",
            "Critical Theory",
            "Marxist Conflict Theory",
            "Postmodernism",
            "Queer Feminist Intersectional Analysis"
        ]
    );
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn the_openai_protocol_works_from_settings_alone() {
    let server = ModelServer::start(ModelServerOptions {
        protocol: Protocol::OpenAi,
        models: vec!["tiny-vision".into()],
        api_key: Some("s3cret-key".into()),
        ..ModelServerOptions::default()
    })
    .await;
    let mut world = World::new();
    std::fs::write(world.path("key"), "s3cret-key\n").unwrap();
    world.settings(&format!(
        "[analyzers.my-reader]\nkind = \"llm\"\nenabled = true\nprotocol = \"openai\"\nmodel = \"tiny-vision\"\n\
         prompt = \"explain-meme\"\nendpoints = [{{ url = \"{}\", api_key_file = \"{}\" }}]",
        server.url(),
        world.path("key").display()
    ));
    world.samples("in", &[NOTE]);
    let said = world.ocelli(["run", "in", "--show", &format!("in/{NOTE}")]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.out.contains("my-reader\n"), "{said:?}");
    assert_eq!(server.calls(), 1);
    let shown = world.ocelli(["config", "show"]);
    assert!(!shown.out.contains("s3cret-key"), "{shown:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_model_server_is_reached_through_the_proxy_of_the_environment_with_its_own_headers() {
    // A plain proxy is asked for whole addresses; this double answers whatever host is named.
    let proxy = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    world.settings(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n[analyzers.\"llama3.2-vision\"]\n\
         endpoints = [{ url = \"http://gpu.invalid:11434\", headers = { \"x-team\" = \"archive\" } }]",
    );
    world.samples("in", &[NOTE]);
    let run = |variables: &[(&str, &str)]| {
        let mut command = world.command("ocelli");
        command.args(["run", "in"]).envs(variables.iter().copied());
        crate::world::Said::from(command.output().unwrap())
    };
    let url = proxy.url().to_string();
    let refused = run(&[("HTTP_PROXY", url.as_str()), ("NO_PROXY", "gpu.invalid")]);
    assert!(refused.err.contains("llama3.2-vision is off: "), "there is no such host: {refused:?}");
    assert_eq!(proxy.calls(), 0);
    let said = run(&[("HTTP_PROXY", url.as_str())]);
    assert_eq!(said.code, 0, "{said:?}");
    let received = &proxy.received()[0];
    assert_eq!((received.headers["x-team"].as_str(), proxy.calls()), ("archive", 1));
    assert_eq!(received.headers["host"], "gpu.invalid:11434");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_key_that_is_refused_stops_the_analyzer_spends_no_attempt_and_is_said() {
    let server = ModelServer::start(ModelServerOptions {
        api_key: Some("right".into()),
        ..ModelServerOptions::default()
    })
    .await;
    let mut world = World::new();
    world.settings(&format!(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n[analyzers.\"llama3.2-vision\"]\n\
         endpoints = [{{ url = \"{}\", api_key = \"wrong\" }}]",
        server.url()
    ));
    world.samples("in", &[NOTE]);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert!(said.err.contains("llama3.2-vision is off: "), "{said:?}");
    assert!(said.err.contains("HTTP 401") && said.err.contains("check the API key"), "{said:?}");
    assert!(!said.err.contains("wrong"), "{said:?}");
    assert_eq!(server.calls(), 0);
    server.set_api_key(Some("wrong"));
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    assert_eq!((server.calls(), &world.row("llama3.2-vision")["failed"]), (1, &0.into()));
}

#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_a_model_refuses_fails_alone_and_can_be_tried_again() {
    let (world, server) = world(ModelServerOptions::default()).await;
    world.samples("in", &[NOTE, CHART]);
    server.set_behaviour(Behaviour::BadImage);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 3, "{said:?}");
    let row = world.row("llama3.2-vision");
    assert_eq!((&row["failed"], &row["done"]), (&2.into(), &0.into()), "{row}");
    assert_eq!(world.row("tesseract-ocr")["done"], 2);
    let listed = world.ocelli(["failures", "list", "--analyzer", "llama3.2-vision"]);
    assert_eq!(listed.out.matches("permanent").count(), 2, "{listed:?}");

    server.set_behaviour(Behaviour::Answer);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    assert_eq!(world.row("llama3.2-vision")["failed"], 2, "a failure is not retried by itself");
    let retried = world.ocelli(["failures", "retry", "--analyzer", "llama3.2-vision"]);
    assert!(retried.out.starts_with("2 failed analyses are open again"), "{retried:?}");
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let row = world.row("llama3.2-vision");
    assert_eq!((&row["failed"], &row["done"]), (&0.into(), &2.into()), "{row}");
    assert_eq!(world.row("gemma3-27b-vision")["failed"], 2, "only what was asked for is retried");
    world.audit();
}

/// A reader that needs what OCR has read, and one that needs that reader, with the prompt `prompt` in a file.
fn chain(url: &impl std::fmt::Display, prompt: &str) -> String {
    let off = ["gemma3-27b-vision", "llama3.2-vision"]
        .map(|name| format!("[analyzers.\"{name}\"]\nenabled = false\n"));
    let reader = |name: &str, prompt: &str, needs: &str| {
        format!(
            "[analyzers.{name}]\nkind = \"llm\"\nenabled = true\nmodel = \"llama3.2-vision\"\n\
             prompt = \"{prompt}\"\nneeds = [\"{needs}\"]\nendpoints = [\"{url}\"]\n"
        )
    };
    off.concat()
        + &reader("with-text", "explain-with-text", "tesseract-ocr")
        + &reader("about-that", prompt, "with-text")
}

/// What the model was told about an image, below the constant part.
fn told(request: &ocelli_testkit::models::Received) -> &str {
    let messages = request.body["messages"].as_array().unwrap();
    messages.last().unwrap()["content"].as_str().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_prompt_is_given_what_others_have_read_and_its_jobs_wait_for_it() {
    let server = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    std::fs::write(
        world.path("second.md"),
        "Compare.\n---\n{{ needed[\"with-text\"].outcome }}:\n{{ needed[\"with-text\"].text | quoted }}",
    )
    .unwrap();
    world.settings(&chain(&server.url(), "./second.md"));
    world.samples("in", &[NOTE, CHART, crate::world::NO_TEXT]);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 0, "{said:?}");
    for name in ["tesseract-ocr", "with-text", "about-that"] {
        let row = world.row(name);
        let ended = row["done"].as_u64().unwrap() + row["empty"].as_u64().unwrap();
        assert_eq!((ended, &row["waiting"]), (3, &0.into()), "{row}");
    }
    assert_eq!(server.calls(), 6, "each image once for each of the two");
    let received = server.received();
    let texts: Vec<&str> = received.iter().map(told).collect();
    let chart = texts.iter().filter(|text| text.contains("Llama 3 is here!"));
    assert_eq!(chart.count(), 1, "{texts:?}");
    let none = texts.iter().filter(|text| text.contains("found no text in this image"));
    assert_eq!(none.count(), 1, "{texts:?}");
    assert_eq!(texts.iter().filter(|text| text.starts_with("done:\n> ")).count(), 3, "{texts:?}");
    // The order: nothing is asked about an image before what it needs is known.
    for (image, second) in received.iter().map(|one| (&one.digest, told(one).starts_with("done:")))
    {
        let first = received.iter().position(|one| one.digest == *image).unwrap();
        assert!(!told(&received[first]).starts_with("done:") || !second);
    }
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    assert_eq!(server.calls(), 6, "never paid twice");
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn an_analyzer_that_is_added_later_is_given_what_is_known_and_a_failed_need_is_told() {
    let server = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    world.samples("in", &[NOTE, CHART]);
    // A picture that OCR cannot read in time.
    world.settings("[analyzers.tesseract-ocr]\nsoft_deadline = \"1ms\"\nhard_deadline = \"2ms\"");
    world.settings("[retry]\ntransient_attempts = 1\ncrash_attempts = 1");
    let before = world.ocelli([
        "run",
        "in",
        "--set",
        "analyzers.tesseract-ocr.hard_deadline=30s",
        "--set",
        "analyzers.tesseract-ocr.soft_deadline=20s",
    ]);
    assert_eq!(before.code, 0, "{before:?}");
    world.settings(&chain(&server.url(), "explain-meme"));
    let after = world.ocelli([
        "run",
        "in",
        "--set",
        "analyzers.tesseract-ocr.hard_deadline=30s",
        "--set",
        "analyzers.tesseract-ocr.soft_deadline=20s",
    ]);
    assert_eq!(after.code, 0, "{after:?}");
    assert_eq!(world.row("tesseract-ocr")["done"], 2, "not read again");
    let received = server.received();
    let chart = received.iter().filter(|one| told(one).contains("Llama 3 is here!"));
    assert_eq!(chart.count(), 1);
    world.audit();

    world.samples("more", &[crate::world::NO_TEXT]);
    let failed = world.ocelli(["run", "more"]);
    assert_eq!(failed.code, 3, "{failed:?}");
    assert_eq!(world.row("tesseract-ocr")["failed"], 1);
    let last = server.received();
    assert!(last.iter().any(|one| told(one).contains("could not read this image")), "{failed:?}");
    assert_eq!(world.row("with-text")["done"], 3);
    world.audit();
}

#[test]
fn analyzers_that_wait_for_each_other_are_refused_at_the_start() {
    let mut world = World::new();
    let reader = |name: &str, need: &str| {
        format!(
            "[analyzers.{name}]\nkind = \"llm\"\nmodel = \"m\"\nprompt = \"explain-meme\"\nneeds = [\"{need}\"]\n"
        )
    };
    world.settings(&(reader("one", "two") + &reader("two", "one")));
    let said = world.ocelli(["status"]);
    assert_eq!(said.code, 2, "{said:?}");
    assert!(said.err.contains("one needs two needs one"), "{said:?}");
}
