//! Exports into a bucket: the bytes of an export into a folder, whole objects only, and nothing left behind.

use std::collections::BTreeMap;
use std::fs;
use std::process::Command;

use ocelli_testkit::buckets::{ACCESS_KEY, Buckets, SECRET_KEY};
use rustix::process::Signal;
use serde_json::Value;

use crate::world::{CHART, NO_TEXT, NOTE, World, until};

const WRONG: &str = "another-secret-of-this-test";

/// A world that reaches a bucket called `exports`.
async fn world() -> (World, Buckets) {
    let buckets = Buckets::start(&["exports"]).await;
    let mut world = World::new();
    fs::write(world.path("secret"), SECRET_KEY).unwrap();
    world.settings(&format!(
        "[objects]\nendpoint = \"{}\"\naccess_key = \"{ACCESS_KEY}\"\nsecret_key_file = \"{}\"",
        buckets.endpoint(),
        world.path("secret").display()
    ));
    (world, buckets)
}

/// The files of a folder.
fn folder(world: &World, name: &str) -> BTreeMap<String, Vec<u8>> {
    let entries = fs::read_dir(world.path(name)).unwrap().map(|entry| entry.unwrap().path());
    let file = |path: std::path::PathBuf| {
        (path.file_name().unwrap().to_str().unwrap().to_owned(), fs::read(path).unwrap())
    };
    entries.map(file).collect()
}

fn manifest(files: &BTreeMap<String, Vec<u8>>) -> Value {
    serde_json::from_slice(&files["manifest.json"]).unwrap()
}

/// Lets every answer have a text of this many bytes, which no analyzer would give.
fn lengthen(world: &World, bytes: usize) {
    const PYTHON: &str = "import sqlite3, sys\n\
        base, bytes = sqlite3.connect(sys.argv[1]), int(sys.argv[2])\n\
        base.create_function('long', 1, lambda digest: (digest.hex() * (bytes // 64 + 1))[:bytes])\n\
        base.execute('UPDATE analyses SET text = long((SELECT digest FROM images WHERE id = image))')\n\
        base.commit()";
    let catalog = world.path("home/.local/share/ocelli/catalog.db");
    let mut python = world.here(Command::new("python3"));
    let output = python.args(["-c", PYTHON]).arg(catalog).arg(bytes.to_string()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_to_a_bucket_is_byte_for_byte_the_one_to_a_folder() {
    let (world, buckets) = world().await;
    world.samples("in", &[CHART, NOTE, NO_TEXT]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    for format in ["jsonl", "csv", "parquet", "webdataset", "text", "hocr"] {
        let there = format!("s3://exports/{format}/");
        for out in [format, &there] {
            let said =
                world.ocelli(["export", "--format", format, "--file-size", "2KB", "--out", out]);
            assert_eq!(said.code, 0, "{said:?}");
            assert!(said.err.contains("manifest.json"), "{said:?}");
        }
        let (here, there) = (folder(&world, format), buckets.objects("exports", format));
        assert!(here.len() > 1 && here == there, "{format}: {:?} {:?}", here.keys(), there.keys());
        assert_eq!(manifest(&there)["complete"], true);
    }
    // The same command again has nothing to do; what comes later comes with it.
    let export = [
        "export",
        "--format",
        "jsonl",
        "--file-size",
        "2KB",
        "--out",
        "s3://exports/jsonl",
        "--json",
    ];
    let again = world.ocelli(export);
    assert!(again.code == 0 && again.out.contains("\"records\": 0,"), "{again:?}");
    world.many("more", 1);
    assert_eq!(world.ocelli(["run", "more"]).code, 0);
    let later = world.ocelli(export);
    assert!(later.out.contains("\"records\": 1,"), "{later:?}");
    assert_eq!(manifest(&buckets.objects("exports", "jsonl"))["records"], 4);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_export_to_a_bucket_that_is_killed_or_stopped_goes_on_and_leaves_no_parts() {
    let (world, buckets) = world().await;
    world.many("in", 4);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    lengthen(&world, 9_000_000);
    let export =
        ["export", "--format", "jsonl", "--file-size", "15MB", "--out", "s3://exports/a/b/"];
    // In the middle of a file, of which the bucket has parts.
    world.start_dying("ocelli", export, "export-part").dies_at("export-part");
    let there = buckets.objects("exports", "a/b");
    assert_eq!(
        there.keys().collect::<Vec<_>>(),
        ["manifest.json"],
        "no half of a file is to be seen"
    );
    assert_eq!(manifest(&there)["unfinished"]["name"], "records-00000.jsonl");
    // Then with a whole file that no manifest lists.
    world.start_dying("ocelli", export, "export-renamed").dies_at("export-renamed");
    let there = buckets.objects("exports", "a/b");
    assert_eq!(manifest(&there)["records"], 0);
    assert!(there.contains_key("records-00000.jsonl"));
    assert_eq!(buckets.parts(), 0, "those of the first one were taken back");
    // Then stopped by people, while the bucket takes its time.
    buckets.stall_parts(true);
    let mut stopped = world.start("ocelli", export);
    until("parts are on their way", || buckets.waiting() > 0);
    stopped.signal(Signal::INT);
    assert_eq!(stopped.wait(), 130, "{}", stopped.log());
    buckets.stall_parts(false);
    let there = buckets.objects("exports", "a/b");
    assert_eq!(manifest(&there)["unfinished"], Value::Null);
    assert_eq!((there.len(), buckets.parts()), (1, 0), "{:?}", there.keys());

    assert_eq!(world.ocelli(export).code, 0);
    let said =
        world.ocelli(["export", "--format", "jsonl", "--file-size", "15MB", "--out", "here"]);
    assert_eq!(said.code, 0, "{said:?}");
    let (here, there) = (folder(&world, "here"), buckets.objects("exports", "a/b"));
    assert_eq!(here.keys().collect::<Vec<_>>(), there.keys().collect::<Vec<_>>());
    assert!(here == there && here.len() == 3, "two files and their manifest, byte for byte");
    assert_eq!(buckets.parts(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bucket_that_cannot_be_exported_to_says_why_and_keeps_what_is_whole() {
    let (world, buckets) = world().await;
    world.samples("in", &[NOTE]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let to = |out: &str| world.ocelli(["export", "--format", "jsonl", "--out", out]);
    fs::write(buckets.file("exports", "foreign/cat.png"), "not ours").unwrap();
    let mut said = Vec::new();
    for (out, code, reason) in [
        ("s3://nowhere/a/", 2, "there is no such bucket"),
        ("s3://exports/foreign/", 2, "holds 'cat.png', which is of no export"),
        ("s3://exports", 2, "holds 'foreign/cat.png', which is of no export"),
        ("ftp://exports/a/", 2, "'ftp:' sources are not supported"),
        ("https://exports.org/a/", 2, "name a folder, or s3://bucket/prefix/"),
    ] {
        let one = to(out);
        assert!(one.code == code && one.err.contains(reason), "{out}: {one:?}");
        said.push(one);
    }
    assert_eq!(to("s3://exports/a/").code, 0);
    let before = buckets.objects("exports", "a");
    world.many("more", 1);
    assert_eq!(world.ocelli(["run", "more"]).code, 0);
    buckets.fill(true);
    let full = to("s3://exports/a/");
    assert!(full.code == 4 && full.err.contains("there is no room left"), "{full:?}");
    assert_eq!(buckets.objects("exports", "a"), before, "what the manifest lists is whole");
    buckets.fill(false);
    let closed = world.ocelli([
        "export",
        "--format",
        "jsonl",
        "--out",
        "s3://exports/a/",
        "--set",
        "objects.buckets=[\"pictures\"]",
    ]);
    assert!(closed.code == 2 && closed.err.contains("objects.buckets"), "{closed:?}");
    fs::write(world.path("secret"), WRONG).unwrap();
    let refused = to("s3://exports/a/");
    assert!(refused.code == 2 && refused.err.contains("objects.secret_key"), "{refused:?}");
    assert_eq!(buckets.objects("exports", "a"), before);
    for one in said.iter().chain([&full, &closed, &refused]) {
        for secret in [SECRET_KEY, WRONG] {
            assert!(!one.out.contains(secret) && !one.err.contains(secret), "{one:?}");
        }
    }
}
