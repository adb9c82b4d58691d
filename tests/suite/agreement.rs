//! What a model quotes is looked up in what OCR has read, and shown.

use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};

use crate::world::{CHART, World};

#[tokio::test(flavor = "multi_thread")]
async fn quotes_that_nobody_else_has_read_are_found_and_shown() {
    let server = ModelServer::start(ModelServerOptions::default()).await;
    let answer = "The chart is titled \"Scaling Open Language Models\". A sign in the corner reads \"Free beer for everybody\".";
    server.set_behaviour(Behaviour::Text(answer.to_owned()));
    let mut world = World::new();
    world.settings(&format!(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n\
         [analyzers.\"llama3.2-vision\"]\nenabled = true\nendpoints = [\"{}\"]",
        server.url()
    ));
    world.samples("in", &[CHART]);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 0, "{said:?}");
    let image = format!("in/{CHART}");
    let plain = world.ocelli(["show", &image]).out;
    let shown = world.ocelli(["show", &image, "--agreement"]).out;
    assert!(shown.starts_with(&plain), "the layout stays: {shown}");
    assert!(shown.contains("both have: Scaling Open Language Models"), "{shown}");
    assert!(shown.contains("alone in llama3.2-vision: Free beer for everybody"), "{shown}");
    let json = world.json(["show", &image, "--format", "json"]);
    let pair = &json["agreement"][0];
    assert_eq!((&pair["a"], &pair["b"]), (&"llama3.2-vision".into(), &"tesseract-ocr".into()));
    assert_eq!(pair["unsupported"][0]["text"], "Free beer for everybody", "{json}");
    assert!(world.ocelli(["show", &image, "--format", "markdown"]).out.contains("## Agreement"));
    assert_eq!(world.ocelli(["search", "agreement:<0.9"]).code, 0);
    assert_eq!(world.ocelli(["search", "agreement:<0.1"]).code, 1);
    world.audit();
}
