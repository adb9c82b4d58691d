//! Bad input gets a clear error, and costs nothing else.

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;
use std::time::Instant;

use ocelli_testkit::{bin, ports};

use crate::services::{Database, Fleet};
use crate::world::{CHART, NOTE, PATIENCE, Service, World, until};

#[test]
fn a_folder_of_broken_things_costs_none_of_the_good_images() {
    let world = World::new();
    let folder = world.samples("in", &[NOTE, CHART]);
    let png = fs::read(folder.join(NOTE)).unwrap();
    fs::write(folder.join("empty.png"), b"").unwrap();
    fs::write(folder.join("cut.png"), &png[..png.len() / 2]).unwrap();
    fs::write(folder.join("page.png"), "<!DOCTYPE html><html><body>404</body></html>").unwrap();
    fs::write(folder.join("README.md"), "no image, and not called one").unwrap();
    fs::rename(folder.join(CHART), folder.join("chart-by-another-name.jpg")).unwrap();
    fs::write(folder.join(OsStr::from_bytes(b"caf\xe9 \n.png")), [&png[..], b"1"].concat())
        .unwrap();
    fs::write(folder.join("big.png"), [&png[..], &vec![0; 3_000_000]].concat()).unwrap();
    symlink("nowhere", folder.join("broken.png")).unwrap();
    fs::create_dir(folder.join("deep")).unwrap();
    symlink("..", folder.join("deep/loop")).unwrap();
    fs::write(folder.join("not-a-folder"), "x").unwrap();

    let arguments = ["run", "in", "--json", "--set", "limits.image_bytes=2MB"];
    let said = world.ocelli(arguments.iter().chain(&["--set", "producer.follow_links=true"]));
    assert_eq!(said.code, 3, "{said:?}");
    let report: serde_json::Value = serde_json::from_str(&said.out).unwrap();
    let row = world.row("tesseract-ocr");
    // The note, the chart under a wrong extension, and the note under a name that is no UTF-8.
    assert_eq!(row["done"], 3, "{row} {report}");
    assert_eq!(row["waiting"], 0, "{row}");
    assert_eq!(report["not_images"], 2, "README.md and not-a-folder: {report}");
    let unreadable = report["first_unreadable"].to_string();
    assert!(unreadable.contains("broken.png") && unreadable.contains("loop"), "{report}");

    for (name, reason) in
        [("empty.png", "empty"), ("page.png", "HTML"), ("big.png", "limits.image_bytes")]
    {
        let shown = world.ocelli(["show", &format!("in/{name}")]);
        assert!(
            shown.out.contains("[not analyzed: ") && shown.out.contains(reason),
            "{name}: {shown:?}"
        );
    }
    let cut = world.ocelli(["show", "in/cut.png"]).out;
    assert!(
        cut.contains("[failed after 1 attempt, permanent: ") || cut.contains("[not analyzed: "),
        "{cut}"
    );
    let again = world.ocelli(["run", "in", "--json", "--set", "limits.image_bytes=2MB"]);
    assert!(again.out.contains("\"enqueued\": 0"), "{again:?}");
    world.audit();
}

#[test]
fn broken_manifest_lines_are_named_by_number_and_the_rest_goes_on() {
    let world = World::new();
    world.samples("in", &[NOTE, CHART]);
    let lines = [
        &format!("{{\"uri\": \"in/{NOTE}\", \"first_seen\": \"2024-05-04T09:00:51+02:00\"}}"),
        "{\"uri\": \"in/missing.png\"}",
        "not json",
        "{\"uri\": \"in/x.png\", \"first_seen\": \"yesterday\"}",
        "{\"uri\": \"ftp://example.org/x.png\"}",
        "{\"first_seen\": \"2024-05-04T09:00:51Z\"}",
        &format!("{{\"uri\": \"in/{CHART}\", \"first_seen\": \"9999-01-01T00:00:00Z\"}}"),
        &format!("{{\"uri\": \"in/{CHART}\"}}"),
    ];
    fs::write(world.path("list.ndjson"), lines.join("\n")).unwrap();
    let said = world.ocelli(["run", "list.ndjson"]);
    assert_eq!(said.code, 3, "{said:?}");
    for number in 2..=7 {
        assert!(said.err.contains(&format!("list.ndjson:{number}")), "line {number}: {said:?}");
    }
    assert_eq!(world.row("tesseract-ocr")["done"], 2);
    let shown = world.json(["show", &format!("in/{NOTE}"), "--format", "json"]);
    assert_eq!(shown["first_seen"], "2024-05-04T07:00:51Z");
    let listed = world.ocelli(["failures", "list"]);
    assert!(listed.out.contains("list.ndjson:3"), "{listed:?}");
}

#[test]
fn a_source_that_cannot_be_opened_ends_the_command_before_anything_is_enqueued() {
    let world = World::new();
    world.samples("in", &[NOTE]);
    // The site is there by then, and ends as well.
    let up = ["up", "--listen", "off", "--set", "web.listen=127.0.0.1:0"];
    for command in [&["run"][..], &up] {
        let refused = |source: &str| {
            let said = world.ocelli(command.iter().copied().chain(["in", source]));
            assert_eq!(said.code, 2, "{said:?}");
            assert!(said.err.contains(source) && said.err.contains("hint: "), "{said:?}");
        };
        refused("nowhere");
        assert_eq!(world.ocelli(["status", "--json"]).out.matches("\"images\": 1").count(), 0);
        // A name that is also a way of addressing must not be taken for a file.
        refused("ftp://example.org/");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_source_that_cannot_be_opened_ends_the_producers_of_a_fleet_before_anything_is_told() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let world = &fleet.world;
    world.samples("in", &[NOTE]);
    fs::write(world.path("notes.tar"), "no archive at all").unwrap();
    for (program, arguments) in
        [("ocelli", &["produce"][..]), ("ocelli-producer", &["--listen", "off"])]
    {
        for (source, hint) in [
            ("nowhere", "hint: check the spelling"),
            ("notes.tar", "hint: tar, tar.gz and zip are read"),
            ("ftp://example.org/", "hint: use a path, or a URI"),
        ] {
            let said = world.run(program, arguments.iter().copied().chain(["in", source]));
            assert_eq!(said.code, 2, "{said:?}");
            assert!(said.err.contains(source) && said.err.contains(hint), "{said:?}");
        }
    }
    // What the others had told stands before it in the queue.
    assert_eq!(fleet.produce("in")["accepted"], 1);
    let collector = fleet.start("ocelli-collector");
    let listed = || -> serde_json::Value {
        let said = world.ocelli(["batch", "list", "--json"]);
        serde_json::from_str(&said.out).unwrap_or_default()
    };
    until("the batch is known", || listed()[0]["accepted"] == 1);
    assert_eq!(listed().as_array().unwrap().len(), 1);
    assert_eq!(collector.stop(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_file_that_changes_or_vanishes_before_its_turn_fails_alone() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let folder = fleet.world.many("in", 4);
    assert_eq!(fleet.produce("in")["jobs"], 4);
    fs::write(folder.join("note-00000.png"), "changed").unwrap();
    fs::remove_file(folder.join("note-00001.png")).unwrap();
    let _services = [fleet.start("ocelli-collector"), fleet.start("ocelli-ocr-worker")];
    fleet.finished(4, 1);
    let row = fleet.world.row("tesseract-ocr");
    assert_eq!((&row["done"], &row["failed"]), (&2.into(), &2.into()), "{row}");
    let listed = fleet.world.ocelli(["failures", "list"]).out;
    assert!(listed.contains("has changed since it was enqueued"), "{listed}");
    assert!(listed.contains("note-00001.png"), "{listed}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_or_refuses_is_named_without_its_password() {
    let fleet = Fleet::new(Database::Sqlite).await;
    let url = fleet.rabbitmq.url.clone();
    let (start, host) = url.split_once('@').unwrap();
    let user = start.rsplit_once(':').unwrap().0;
    let (address, _) = host.split_once('/').unwrap();
    let cases = [
        (format!("amqp://me:hunter2@127.0.0.1:{}/%2f", ports::free()), "nothing listens"),
        (format!("{user}:hunter2@{host}"), "refused the user"),
        (format!("{start}@{address}/no-such-vhost"), "virtual host"),
        ("amqp://me:hunter2@no-such-host.invalid/%2f".to_owned(), "no-such-host.invalid"),
    ];
    for (url, words) in cases {
        for program in ["ocelli-collector", "ocelli-ocr-worker"] {
            let started = Instant::now();
            let set = format!("broker.url={url}");
            let said = fleet.world.run(program, ["--set", &set, "--listen", "off"]);
            assert_eq!(said.code, 4, "{said:?}");
            assert!(said.err.contains(words), "'{words}': {said:?}");
            assert!(!said.err.contains("hunter2"), "{said:?}");
            assert!(started.elapsed() < PATIENCE / 10, "{:?}", started.elapsed());
        }
    }
    let memory = fleet.world.run("ocelli-collector", ["--set", "broker.url=memory:"]);
    assert!(memory.code == 2 && memory.err.contains("ocelli run"), "{memory:?}");
}

#[test]
fn a_catalog_that_is_away_or_is_none_is_named_with_the_way_out() {
    let world = World::new();
    world.samples("in", &[NOTE]);
    let away = format!("catalog.url=postgres://me:hunter2@127.0.0.1:{}/x", ports::free());
    let said = world.ocelli(["run", "in", "--set", &away]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("127.0.0.1") && !said.err.contains("hunter2"), "{said:?}");
    fs::write(world.path("photo.db"), vec![7; 10_000]).unwrap();
    let set = format!("catalog.url=sqlite:{}", world.path("photo.db").display());
    let said = world.ocelli(["run", "in", "--set", &set]);
    assert_eq!(said.code, 4, "{said:?}");
    assert!(said.err.contains("photo.db"), "{said:?}");
}

#[test]
fn a_full_disk_is_reported_and_the_run_goes_on_once_there_is_room() {
    let world = World::new();
    world.many("in", 60);
    let data = world.path("small");
    fs::create_dir(&data).unwrap();
    // A file system of its own, seen by the program alone: room for a part of the archive.
    let script = format!(
        "mount -t tmpfs -o size=700k tmpfs '{0}' && exec {1} run in --data '{0}' --set worker.drain=1s",
        data.display(),
        bin("ocelli").display()
    );
    let mut full = world.here(Command::new("unshare"));
    full.args(["-rm", "setpriv", "--pdeathsig", "KILL", "sh", "-c", &script]);
    let mut service = Service::start(&mut full, world.path("full.log"));
    until("the full disk is reported", || {
        service.log().contains("nothing is acked and nothing lost")
    });
    assert!(service.log().contains("full"), "{}", service.log());
    let room = Command::new("nsenter")
        .args(["--preserve-credentials", "-U", "-m", "-t", &service.id().to_string()])
        .args(["mount", "-o", "remount,size=64m"])
        .arg(&data)
        .output()
        .unwrap();
    assert!(room.status.success(), "{room:?}");
    assert_eq!(service.wait(), 0, "{}", service.log());
    assert!(service.log().contains("60 done, 0 empty, 0 skipped, 0 failed"), "{}", service.log());
}

#[test]
#[ignore = "reads the images at OCELLI_SHARED_DATA: `make test` runs it where that is set"]
fn hostile_images_of_the_shared_data_end_in_outcomes() {
    let shared = std::env::var_os("OCELLI_SHARED_DATA").expect("OCELLI_SHARED_DATA is a folder");
    let world = World::new();
    let folder = world.samples("in", &[NOTE]);
    let mut files = 1;
    for entry in fs::read_dir(std::path::Path::new(&shared).join("hostile")).unwrap() {
        let entry = entry.unwrap();
        fs::copy(entry.path(), folder.join(entry.file_name())).unwrap();
        files += 1;
    }
    let said = world.ocelli(["run", "in"]);
    assert_eq!(said.code, 3, "{said:?}");
    let status = world.json(["status", "--json"]);
    assert_eq!(
        (&status["images"], &status["complete"]),
        (&files.into(), &files.into()),
        "{status}"
    );
    world.audit();
}
