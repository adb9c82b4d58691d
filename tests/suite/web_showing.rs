//! What pages of the archive's site show: images, and why one cannot be shown; where words stand in them; what looks alike; where
//! models disagree; and the fleet at work.

use std::collections::BTreeMap;

use ocelli_testkit::models::{Behaviour, ModelServer, ModelServerOptions};

use crate::services::{Database, Fleet};
use crate::site::{Site, world};
use crate::world::{CHART, NOTE, until};

#[test]
fn an_avif_is_shown_as_any_other_image_is() {
    let world = world();
    let folder = world.samples("in", &[CHART]);
    world.heif(&format!("in/{CHART}"), "in/chart.avif");
    std::fs::remove_file(folder.join(CHART)).unwrap();
    let site = Site::up(&world, "in");
    site.complete(1);
    let digest = site.digest("chart.avif");
    for size in ["thumb", "view"] {
        let shown = site.get(&format!("/image/{digest}/{size}"));
        assert_eq!((shown.status, shown.header("content-type")), (200, "image/jpeg"), "{size}");
    }
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn an_image_that_cannot_be_shown_is_drawn_as_one_and_its_page_says_why() {
    let world = world();
    let folder = world.samples("in", &[NOTE]);
    let whole = std::fs::read(crate::world::sample_folder().join(CHART)).unwrap();
    std::fs::write(folder.join("cut-off.png"), &whole[..whole.len() / 3]).unwrap();
    std::fs::write(folder.join("page.png"), "<!doctype html>").unwrap();
    let site = Site::up(&world, "in");
    site.complete(3);
    let cut = site.digest("cut-off.png");
    let asked =
        site.get_with(&format!("/image/{cut}/thumb"), "Accept: image/avif,image/*,*/*;q=0.8\r\n");
    assert_eq!((asked.status, asked.header("content-type")), (404, "image/svg+xml"));
    assert!(asked.body.starts_with("<svg") && !asked.body.contains("style"), "{asked:?}");
    assert!(asked.header("content-security-policy").contains("sandbox"));
    // Whoever opens the address reads the reason.
    let opened = site.get_with(&format!("/image/{cut}/thumb"), "Accept: text/html,image/avif\r\n");
    assert!(
        opened.status == 404 && opened.body.contains("the image cannot be shown"),
        "{opened:?}"
    );
    let gallery = site.get("/").body;
    assert!(gallery.contains("alt=\"cut-off.png: the image cannot be shown"), "{gallery}");
    assert!(gallery.contains("alt=\"page.png: refused: "), "{gallery}");
    let record = site.get(&format!("/record/{cut}")).body;
    assert!(
        record.contains("The image cannot be shown") && record.contains("/gone.svg"),
        "{record}"
    );
    let refused = site.get(&format!("/record/{}", site.digest("page.png"))).body;
    assert!(refused.contains("Not analyzed: ") && refused.contains("/gone.svg"), "{refused}");
    assert_eq!(site.service.stop(), 0);
}

/// The words of a record page by their text, each with the middle of its box in parts of the picture; and how wide that is for
/// its height.
fn drawn(page: &str) -> (f64, BTreeMap<String, (f64, f64)>) {
    let value = |text: &str, name: &str| {
        let found = text.split(&format!("{name}=\"")).nth(1);
        found.and_then(|rest| rest.split('"').next()).unwrap().to_owned()
    };
    let svg = page.split("<svg class=\"boxes").nth(1).unwrap().split("</svg>").next().unwrap();
    let sides = value(svg, "viewBox");
    let sides: Vec<f64> = sides.split(' ').map(|side| side.parse().unwrap()).collect();
    let words = svg.split("<title>").skip(1).map(|word| {
        let text = word.split(" – ").next().unwrap().to_owned();
        let of = |name: &str| value(word, name).parse::<f64>().unwrap();
        let middle = |from: &str, length: &str| of(from) + of(length) / 2.0;
        (text, (middle("x", " width") / sides[2], middle("y", " height") / sides[3]))
    });
    (sides[2] / sides[3], words.collect())
}

#[test]
fn boxes_of_a_photograph_that_lies_on_its_side_stand_where_its_words_are_shown() {
    let world = world();
    let folder = world.samples("in", &["photo-shop-sign-turned.jpg"]);
    let site = Site::up(&world, "in");
    site.complete(1);
    let turned = site.digest("photo-shop-sign-turned.jpg");
    // What a browser shows, once more as an image of its own: upright in its pixels, without a word about turning it.
    assert_eq!(site.get(&format!("/image/{turned}/view")).status, 200);
    let pictures = world.path("home/.local/share/ocelli/pictures/view");
    let view = pictures.join(&turned[..2]).join(format!("{turned}.jpg"));
    let shown = image::open(&view).unwrap();
    std::fs::copy(view, folder.join("upright.jpg")).unwrap();
    site.complete(2);
    let page = |digest: &str| site.get(&format!("/record/{digest}")).body;
    let (ratio, words) = drawn(&page(&turned));
    let (_, upright) = drawn(&page(&site.digest("upright.jpg")));
    let of_view = f64::from(shown.width()) / f64::from(shown.height());
    assert!((ratio / of_view - 1.0).abs() < 0.01, "{ratio} {of_view}");
    // What is shorter may stand there twice.
    let long = words.iter().filter(|(text, _)| text.chars().count() > 3);
    let same: Vec<_> = long.filter_map(|(text, at)| Some((at, upright.get(text)?))).collect();
    assert!(same.len() >= 3, "{words:?} {upright:?}");
    for (this, other) in same {
        let apart = (this.0 - other.0).abs().max((this.1 - other.1).abs());
        assert!(apart < 0.03, "{words:?} {upright:?}");
    }
    assert_eq!(site.service.stop(), 0);
}

#[test]
fn images_that_look_alike_are_shown_beside_each_other_with_their_distance() {
    let world = world();
    let folder = world.samples("in", &[CHART, NOTE]);
    let image = image::open(folder.join(CHART)).unwrap().to_rgb8();
    let half = image::imageops::thumbnail(&image, image.width() / 2, image.height() / 2);
    half.save(folder.join("copy.jpg")).unwrap();
    let site = Site::up(&world, "in");
    site.complete(3);
    let (chart, copy, note) = (site.digest(CHART), site.digest("copy.jpg"), site.digest(NOTE));
    let near = site.get(&format!("/api/v1/records/{chart}/similar")).json();
    assert_eq!(
        (near[0]["digest"].as_str(), near.as_array().map(Vec::len)),
        (Some(&*copy), Some(1))
    );
    let page = site.get(&format!("/record/{chart}")).body;
    let block = page.split("id=\"near\"").nth(1).unwrap().split("</section>").next().unwrap();
    assert!(block.contains(&format!("/record/{copy}")) && block.contains(" apart"), "{block}");
    assert!(block.contains(&format!("/search?q=like%3A{}", &chart[..12])), "{block}");
    assert!(site.get(&format!("/record/{note}")).body.contains("No other image here does"));
    assert_eq!(site.get(&format!("/api/v1/records/{}/similar", "0".repeat(64))).status, 404);
    assert_eq!(site.service.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_models_disagree_is_a_list_and_a_comparison_shows_its_quotes() {
    let models = ModelServer::start(ModelServerOptions::default()).await;
    let said = "The title of the chart reads \"Scaling Open Language Models\". A sign in the corner says \"Free beer for \
                everybody on the beach\". Nothing else is written there that anybody could read.";
    models.set_behaviour(Behaviour::Text(said.to_owned()));
    let mut world = world();
    world.settings(&format!(
        "[analyzers.\"llama3.2-vision\"]\nenabled = true\nendpoints = [\"{}\"]\nrequired_sections = []\n\
         [analyzers.gemma3-27b-vision]\nenabled = false",
        models.url()
    ));
    world.samples("in", &[CHART, NOTE]);
    let site = Site::up(&world, "in");
    site.complete(2);
    let chart = site.digest(CHART);
    let listed = site.get("/disagreements.json?limit=1").json();
    let first = &listed["pairs"][0];
    assert_ne!(
        first["digest"],
        chart.as_str(),
        "what is supported in part comes behind what is not: {listed}"
    );
    let next = listed["next"].as_str().unwrap();
    let second = site.get(&format!("/disagreements.json?limit=1&cursor={next}")).json();
    assert_eq!(
        (&second["pairs"][0]["digest"], &second["next"]),
        (&chart.as_str().into(), &serde_json::Value::Null)
    );
    assert!(first["score"].as_f64() < second["pairs"][0]["score"].as_f64(), "{first} {second}");
    let of_pair = |pair: &str| site.get(&format!("/api/v1/disagreements?pair={pair}")).json();
    assert_eq!(of_pair("tesseract-ocr@llama3.2-vision")["pairs"].as_array().unwrap().len(), 2);
    assert_eq!(of_pair("a@b")["pairs"].as_array().unwrap().len(), 0);
    for (query, words) in
        [("pair=a", "two analyzers"), ("cursor=x", "no cursor"), ("limit=0", "limit is")]
    {
        let answer = site.get(&format!("/disagreements.json?{query}"));
        assert!(answer.status == 400 && answer.body.contains(words), "{answer:?}");
    }
    let page = site.get("/disagreements").body;
    assert!(
        page.contains(&format!("/compare/{chart}?with=llama3.2-vision&amp;with=tesseract-ocr"))
            || page
                .contains(&format!("/compare/{chart}?with=llama3.2-vision&#38;with=tesseract-ocr")),
        "{page}"
    );
    assert!(page.contains("Free beer for everybody"), "{page}");
    let compare = site.get(&format!("/compare/{chart}")).body;
    assert!(
        compare.contains("<h2>Agreement 0.") && compare.contains("Free beer for everybody"),
        "{compare}"
    );
    let twin = site.get(&format!("/compare/{chart}.json")).json();
    assert_eq!(twin["agreement"][0]["unsupported"].as_array().unwrap().len(), 1, "{twin}");
    assert_eq!(site.service.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_fleet_page_counts_queues_and_a_failed_job_is_told_with_its_trace() {
    let fleet = Fleet::new(Database::Sqlite).await;
    fleet.world.samples("in", &[NOTE]);
    let collector = fleet.start("ocelli-collector");
    assert_eq!(fleet.produce("in")["jobs"], 1);
    let site = Site::program(&fleet.world, "ocelli-web", &["--listen", "off"]);
    let queue = |name: &str| {
        let fleet = site.get("/fleet.json").json();
        let queues = fleet["queues"].as_array().unwrap_or_else(|| panic!("{fleet}")).clone();
        queues.into_iter().find(|one| one["queue"] == name).unwrap_or_default()
    };
    until("the job is seen in its queue", || queue("jobs.tesseract-ocr")["ready"] == 1);
    assert_eq!(queue("jobs.tesseract-ocr")["consumers"], 0);
    let ocr = || {
        let fleet = site.get("/fleet.json").json();
        let rows = fleet["analyzers"].as_array().unwrap().clone();
        rows.into_iter().find(|row| row["analyzer"] == "tesseract-ocr").unwrap()
    };
    assert_eq!((&ocr()["deserted"], &ocr()["heard_seconds"]), (&true.into(), &().into()));
    assert!(site.get("/fleet").body.contains("<code>jobs.tesseract-ocr</code>"));
    std::fs::remove_file(fleet.world.path("in").join(NOTE)).unwrap();
    let worker = fleet.start("ocelli-ocr-worker");
    until("it failed", || fleet.world.row("tesseract-ocr")["failed"] == 1);
    // How old it is what is said of workers is said, too.
    until("its worker is heard", || ocr()["heard_seconds"].as_u64().is_some_and(|age| age < 30));
    assert!(site.get("/fleet").body.contains("data-text=\"heard tesseract-ocr\""));
    let digest = site.digest(NOTE);
    let page = site.get("/failures").body;
    assert!(page.contains(&format!("/attempts/{digest}?analyzer=tesseract-ocr")), "{page}");
    let told = site.get(&format!("/attempts/{digest}.json?analyzer=tesseract-ocr")).json();
    let moments = told["moments"].as_array().unwrap();
    let last = moments.last().unwrap();
    assert_eq!(
        (&last["what"], last["trace"].as_str().map(str::len)),
        (&"failed".into(), Some(32)),
        "{told}"
    );
    assert_eq!(moments[0]["what"], "first seen", "{told}");
    let trace = last["trace"].as_str().unwrap();
    let shown = site.get(&format!("/attempts/{digest}?analyzer=tesseract-ocr")).body;
    assert!(shown.contains(trace) && worker.log().contains(trace), "{shown}");
    assert_eq!((site.service.stop(), worker.stop(), collector.stop()), (0, 0, 0));
}
