//! Images that look alike: found, grouped, and asked of once.

use std::path::Path;

use image::imageops::FilterType;
use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};

use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, World, until};

/// Half as large, and compressed.
fn copy(from: &Path, to: &Path) {
    let image = image::open(from).unwrap();
    let (width, height) = (image.width() / 2, image.height() / 2);
    image.resize(width, height, FilterType::Triangle).to_rgb8().save(to).unwrap();
}

fn digest(world: &World, image: &str) -> String {
    world.json(["show", image, "--format", "json"])["digest"].as_str().unwrap().to_owned()
}

#[test]
fn a_copy_in_another_size_and_format_is_found_by_what_it_looks_like() {
    let world = World::new();
    let folder = world.samples("in", &[CHART, NOTE]);
    copy(&folder.join(CHART), &folder.join("copy.jpg"));
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let chart = digest(&world, &format!("in/{CHART}"));
    let query = format!("like:{}", &chart[..12]);
    let page = world.json(["search", &query, "--json"]);
    assert_eq!(page["total"]["records"], 2, "{page}");
    let other = world.json(["search", &format!("{query} format:jpeg"), "--json"]);
    assert_eq!(other["hits"][0]["digest"], digest(&world, "in/copy.jpg").as_str(), "{other}");
    let without = world.json(["search", "--json", "--", &format!("-{query}")]);
    assert_eq!(without["hits"][0]["digest"], digest(&world, &format!("in/{NOTE}")).as_str());

    let similar = world.ocelli(["similar", &format!("in/{CHART}")]);
    assert_eq!(similar.code, 0, "{similar:?}");
    assert!(similar.out.lines().count() == 1 && similar.out.contains("copy.jpg"), "{similar:?}");
    let group = world.json(["similar", "--json"]);
    assert_eq!(group["others"].as_array().map(Vec::len), Some(1), "{group}");
    assert_eq!(world.ocelli(["similar", &format!("in/{NOTE}")]).code, 1, "it is like no other");

    let wrong = world.ocelli(["search", "cat like:0123456789ab"]);
    assert_eq!(wrong.code, 2, "{wrong:?}");
    assert!(
        wrong.err.contains("no image's digest begins with '0123456789ab' (like: at character 5)")
            && wrong.err.contains("\n      ^"),
        "{wrong:?}"
    );
    world.audit();
}

/// The settings of one model that is asked of the first of near-identical images, and nobody else.
fn only_first(world: &mut World, models: &ModelServer) {
    world.settings(&format!(
        "[analyzers.gemma3-27b-vision]\nenabled = false\n\
         [analyzers.\"llama3.2-vision\"]\nenabled = true\nonly_first = true\nendpoints = [\"{}\"]",
        models.url()
    ));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_costly_model_is_asked_about_the_first_of_near_identical_images_alone() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut world = World::new();
    only_first(&mut world, &models);
    // Other bytes, the same picture.
    let folder = world.many("in", 5);
    world.samples("in", &[CHART]);
    copy(&folder.join(CHART), &folder.join("copy.jpg"));
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 0, "{said:?}");
    assert_eq!(models.calls(), 2, "one note, one chart");
    let row = world.row("llama3.2-vision");
    assert_eq!((&row["done"], &row["skipped"], &row["waiting"]), (&2.into(), &5.into(), &0.into()));
    assert_eq!(world.row("tesseract-ocr")["done"], 7, "the cheap one reads all");
    let same = world.json(["search", "is:same", "--json"]);
    assert_eq!(same["total"]["records"], 5, "{same}");
    let shown = world.ocelli(["show", same["hits"][0]["digest"].as_str().unwrap()]).out;
    assert!(shown.contains("[skipped by rule 'near-duplicate': same as "), "{shown}");
    world.audit();
    // Again, and more of them later: nothing is asked.
    world.many("more", 9);
    assert_eq!(world.ocelli(["run", "in", "more"]).code, 0);
    assert_eq!(models.calls(), 2);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn when_the_first_of_near_identical_images_fails_the_next_is_asked() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    models.script([Behaviour::BadImage]);
    let mut world = World::new();
    only_first(&mut world, &models);
    world.many("in", 5);
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 3, "{said:?}");
    let row = world.row("llama3.2-vision");
    assert_eq!((&row["done"], &row["failed"], &row["skipped"]), (&1.into(), &1.into(), &3.into()));
    assert_eq!(models.calls(), 2);
    world.audit();
}

#[tokio::test(flavor = "multi_thread")]
async fn two_producers_of_near_identical_images_at_once_cost_one_call() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let mut fleet = Fleet::new(Database::Postgres).await;
    only_first(&mut fleet.world, &models);
    fleet.world.many("all", 12);
    for folder in ["one", "other"] {
        std::fs::create_dir(fleet.world.path(folder)).unwrap();
    }
    for (number, file) in std::fs::read_dir(fleet.world.path("all")).unwrap().enumerate() {
        let file = file.unwrap();
        let folder = fleet.world.path(if number % 2 == 0 { "one" } else { "other" });
        std::fs::rename(file.path(), folder.join(file.file_name())).unwrap();
    }
    let services = [
        fleet.start("ocelli-collector"),
        fleet.start("ocelli-collector"),
        fleet.start("ocelli-ocr-worker"),
        fleet.start("ocelli-llm-worker"),
        fleet.start("ocelli-llm-worker"),
    ];
    until("the model has announced itself", || {
        fleet.world.ocelli(["status", "--json"]).out.contains("\"workers\": 2")
    });
    std::thread::scope(|scope| {
        for folder in ["one", "other"] {
            let fleet = &fleet;
            scope.spawn(move || assert_eq!(fleet.produce(folder)["accepted"], 6));
        }
    });
    fleet.finished(12, 2);
    assert_eq!(models.calls(), 1);
    let row = fleet.world.row("llama3.2-vision");
    assert_eq!((&row["done"], &row["skipped"]), (&1.into(), &11.into()), "{row}");
    for service in services {
        assert_eq!(service.stop(), 0);
    }
}
