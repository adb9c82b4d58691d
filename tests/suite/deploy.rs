//! What is shipped for deployments is what the programs expect.

use std::path::Path;
use std::time::Duration;

use ocelli_broker::topology;
use ocelli_core::routing::queues;
use serde_json::Value;

use crate::services::{Database, Fleet};
use crate::world::{NOTE, until};

/// The definitions of a fleet with the shipped analyzers and delay steps.
fn expected() -> Value {
    let analyzers = ["gemma3-27b-vision", "llama3.2-vision", "tesseract-ocr"];
    let delays = [10, 60, 600, 3600].map(Duration::from_secs);
    topology::definitions("ocelli", &queues(&analyzers.map(|name| name.parse().unwrap()), &delays))
}

fn shipped() -> Value {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/rabbitmq/definitions.json");
    if std::env::var_os("UPDATE_DOCS").is_some() {
        let text = serde_json::to_string_pretty(&expected()).unwrap();
        std::fs::write(&file, format!("{text}\n")).unwrap();
    }
    serde_json::from_str(&std::fs::read_to_string(file).unwrap()).unwrap()
}

#[test]
fn the_shipped_definitions_are_those_of_the_code() {
    assert_eq!(shipped(), expected(), "UPDATE_DOCS=1 writes the file anew");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fleet_starts_and_works_on_imported_definitions() {
    let mut fleet = Fleet::new(Database::Sqlite).await;
    let path = format!("definitions/{}", fleet.rabbitmq.vhost);
    fleet.rabbitmq.api().post(&path, &shipped()).unwrap();
    // The defaults, which the definitions are made for.
    fleet.world.settings("[analyzers.tesseract-ocr]\nchildren = 1");
    let settings = std::fs::read_to_string(fleet.world.path("ocelli.toml")).unwrap();
    let settings = settings.replace("delay_steps = [\"1s\", \"2s\"]", "");
    std::fs::write(fleet.world.path("ocelli.toml"), settings).unwrap();
    fleet.world.samples("in", &[NOTE]);
    let services = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    assert_eq!(fleet.produce("in")["jobs"], 1);
    fleet.finished(1, 1);
    // Somebody else's queue under our name is named, and nothing is started on it.
    let queue = format!("queues/{}/ocelli.results", fleet.rabbitmq.vhost);
    drop(services);
    fleet.rabbitmq.api().delete(&queue).unwrap();
    fleet.rabbitmq.api().put(&queue, &serde_json::json!({ "durable": true })).unwrap();
    until("the stranger is named", || {
        let said = fleet.world.run("ocelli-collector", ["--listen", "off"]);
        said.code == 4
            && said.err.contains("ocelli.results")
            && said.err.contains("other arguments")
    });
}
