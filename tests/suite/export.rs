//! Exports, read back by other programs: Python's own readers always, pyarrow and webdataset where `make test-readers` put them.

use std::collections::BTreeSet;
use std::process::Command;

use ocelli_testkit::bin;
use serde_json::Value;

use crate::world::{CHART, NO_TEXT, NOTE, World};

/// Checks sizes and checksums of a manifest, reads every file with Python's own modules, and prints what it found as JSON.
const READER: &str = r#"
import csv, hashlib, io, json, os, sys, tarfile
folder = sys.argv[1]
manifest = json.load(open(os.path.join(folder, "manifest.json"), encoding="utf-8"))
listed = [f["name"] for f in manifest["files"]]
assert sorted(listed + ["manifest.json"]) == sorted(os.listdir(folder)), os.listdir(folder)
found = []
csv.field_size_limit(10**9)
for f in manifest["files"]:
    data = open(os.path.join(folder, f["name"]), "rb").read()
    assert len(data) == f["bytes"] and hashlib.sha256(data).hexdigest() == f["sha256"], f
    kind = manifest["format"]
    if kind == "jsonl":
        rows = [json.loads(line) for line in data.decode("utf-8").split("\n")[:-1]]
    elif kind == "csv":
        rows = list(csv.DictReader(io.StringIO(data.decode("utf-8"), newline="")))
    elif kind in ("webdataset", "hocr"):
        with tarfile.open(fileobj=io.BytesIO(data)) as tar:
            rows = [[m.name, tar.extractfile(m).read().decode("utf-8")] for m in tar.getmembers()]
    elif kind == "text":
        rows = data.decode("utf-8").split("== ")[1:]
    else:
        assert data[:4] == b"PAR1" and data[-4:] == b"PAR1"
        rows = [None] * f["rows"]
    assert len(rows) == f["rows"], (len(rows), f)
    found += rows
assert len(found) == manifest["rows"]
assert sum(f["records"] for f in manifest["files"]) == manifest["records"]
print(json.dumps({"manifest": manifest, "rows": found}))
"#;

/// Reads an export with Python.
fn read_back(world: &World, folder: &str) -> Value {
    let mut python = world.here(Command::new("python3"));
    let output = python.args(["-c", READER, folder]).output().unwrap();
    assert!(output.status.success(), "{folder}: {}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn digests(rows: &Value) -> Vec<String> {
    let rows = rows["rows"].as_array().unwrap();
    rows.iter().map(|row| row["digest"].as_str().unwrap().to_owned()).collect()
}

#[test]
fn every_layout_is_read_back_by_other_programs() {
    let world = World::new();
    world.samples("in", &[CHART, NOTE, NO_TEXT]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    for format in ["jsonl", "csv", "parquet", "webdataset", "text", "hocr"] {
        let said = world.ocelli(["export", "--format", format, "--out", format]);
        assert_eq!(said.code, 0, "{format}: {said:?}");
    }
    let lines = read_back(&world, "jsonl");
    assert_eq!(lines["manifest"]["complete"], true);
    let shown = world.json(["show", &format!("in/{CHART}"), "--format", "json"]);
    let line = lines["rows"].as_array().unwrap().iter();
    let line = line.filter(|line| line["digest"] == shown["digest"]).collect::<Vec<_>>();
    assert_eq!(line.len(), 1);
    assert_eq!(line[0]["schema"], "ocelli.export/1");
    assert_eq!(line[0]["analyses"], shown["analyses"], "everything there is");
    let text = shown["analyses"][0]["outcome"]["done"]["text"].as_str().unwrap();

    let table = read_back(&world, "csv");
    let row = |digest: &Value| {
        let rows = table["rows"].as_array().unwrap();
        rows.iter().find(|row| row["digest"] == *digest).unwrap().clone()
    };
    let chart = row(&shown["digest"]);
    assert_eq!((&chart["text"], &chart["outcome"]), (&text.into(), &"done".into()));
    assert_eq!((&chart["analyzer"], &chart["current"]), (&"tesseract-ocr".into(), &"true".into()));
    assert_eq!(chart["first_seen"], shown["first_seen"], "{chart}");
    assert_eq!(read_back(&world, "parquet")["manifest"]["rows"], 3);

    let members = read_back(&world, "webdataset");
    let members = members["rows"].as_array().unwrap();
    let names: Vec<&str> = members.iter().map(|member| member[0].as_str().unwrap()).collect();
    assert_eq!(names.len(), 6);
    let pair = |pair: &[&str]| pair[0].replace(".json", "") == pair[1].replace(".txt", "");
    assert!(names.chunks(2).all(pair), "members of a record stand together: {names:?}");
    let page = world.ocelli(["show", &format!("in/{CHART}")]).out;
    assert!(members.iter().any(|member| member[1].as_str().unwrap().trim() == page.trim()));
    let texts = read_back(&world, "text");
    assert!(
        texts["rows"].as_array().unwrap().iter().any(|row| row.as_str().unwrap().contains(text))
    );
    let pages = read_back(&world, "hocr");
    let pages = pages["rows"].as_array().unwrap();
    assert_eq!(pages.len(), 2, "the photograph has no words");
    assert!(pages.iter().all(|page| page[1].as_str().unwrap().contains("ocr_page")));

    // The same on standard output, narrowed by a query.
    let said = world.ocelli(["export", "--format", "csv", "--where", "is:empty"]);
    assert_eq!((said.code, said.out.lines().count()), (0, 2), "{said:?}");
    assert!(said.err.contains("--since p1."), "{said:?}");
    let since = said.err.split("--since ").nth(1).unwrap().trim();
    let rest = world.ocelli(["export", "--format", "csv", "--where", "is:empty", "--since", since]);
    assert_eq!(rest.out.lines().count(), 1, "{rest:?}");
    // What cannot be is told.
    for (arguments, said) in [
        (&["--format", "parquet"][..], "name a folder or a bucket with --out"),
        (&["--format", "csv", "--out", "jsonl"], "holds an export of '' as jsonl"),
        (&["--format", "csv", "--out", "in"], "which is of no export"),
        (&["--format", "csv", "--since", "x"], "this is no cursor"),
        (&["--format", "csv", "--file-size", "big"], "is no size"),
        (&["--format", "csv", "--where", "a ("], "there is no ')'"),
    ] {
        let wrong = world.ocelli([&["export"][..], arguments].concat());
        assert!(wrong.code == 2 && wrong.err.contains(said), "{wrong:?}");
    }
}

#[test]
fn an_export_that_is_killed_goes_on_behind_its_last_whole_file() {
    let world = World::new();
    world.many("in", 12);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let export = ["export", "--format", "jsonl", "--out", "out", "--file-size", "1"];
    // A file has its name and no manifest lists it; another is in the making.
    world.start_dying("ocelli", export, "export-renamed:5").dies_at("export-renamed");
    std::fs::write(world.path("out/records-00007.jsonl.partial"), "half").unwrap();
    let manifest: Value =
        serde_json::from_slice(&std::fs::read(world.path("out/manifest.json")).unwrap()).unwrap();
    assert_eq!((&manifest["records"], &manifest["complete"]), (&4.into(), &false.into()));
    let said = world.ocelli(export);
    assert!(said.code == 0 && said.err.contains("8 records to 4 that were there"), "{said:?}");
    let all = read_back(&world, "out");
    let unique: BTreeSet<String> = digests(&all).into_iter().collect();
    assert_eq!((digests(&all).len(), unique.len()), (12, 12), "each record once");
    assert_eq!(all["manifest"]["files"].as_array().unwrap().len(), 12, "rolled by size");
    // What comes later comes with the same command.
    world.samples("more", &[NOTE]);
    assert_eq!(world.ocelli(["run", "more"]).code, 0);
    let said = world.ocelli([&export[..], &["--json"]].concat());
    assert!(said.out.contains("\"records\": 1,"), "{said:?}");
    assert_eq!(digests(&read_back(&world, "out")).len(), 13);
}

#[test]
fn a_full_disk_ends_an_export_with_whole_files_only() {
    let world = World::new();
    world.many("in", 30);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    let small = world.path("small");
    std::fs::create_dir(&small).unwrap();
    std::fs::write(world.path("reader.py"), READER).unwrap();
    // A file system of its own, seen by these programs alone.
    let script = format!(
        "mount -t tmpfs -o size=48k tmpfs '{0}' && {1} export --format jsonl --out '{0}/out' --file-size 8KB; \
         echo \"code $?\"; python3 reader.py '{0}/out'",
        small.display(),
        bin("ocelli").display()
    );
    let output =
        world.here(Command::new("unshare")).args(["-rm", "sh", "-c", &script]).output().unwrap();
    let (out, err) =
        (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "whole files only: {out} {err}");
    assert!(out.starts_with("code 4\n"), "{out} {err}");
    assert!(
        err.contains("No space left on device") && err.contains("there is no room left"),
        "{err}"
    );
    let found: Value = serde_json::from_str(out.split_once('\n').unwrap().1).unwrap();
    assert!(found["manifest"]["records"].as_u64() > Some(0), "{found}");
    assert_eq!(found["manifest"]["complete"], false);
}

#[test]
#[ignore = "needs pyarrow and webdataset: `make test-readers` installs them and runs it"]
fn tables_and_shards_are_read_by_pyarrow_and_webdataset() {
    const PYTHON: &str = r#"
import glob, json
import pyarrow as pa, pyarrow.parquet as pq, webdataset as wds
table = pq.read_table("parquet/records-00000.parquet")
assert pq.read_metadata("parquet/records-00000.parquet").metadata[b"schema"] == b"ocelli.export/1"
assert table.schema.field("first_seen").type == pa.timestamp("us", tz="UTC"), table.schema
assert table.schema.field("digest").type == pa.string() and not table.schema.field("digest").nullable
lines = {line["digest"]: line for line in map(json.loads, open("jsonl/records-00000.jsonl", encoding="utf-8"))}
rows = table.to_pylist()
assert len(rows) == 3
for row in rows:
    answer = lines[row["digest"]]["analyses"][0]
    done = answer["outcome"].get("done") if isinstance(answer["outcome"], dict) else None
    assert row["text"] == (done["text"] if done else None), row
    assert row["width"] == lines[row["digest"]]["image"]["width"] and row["complete"] is True
samples = list(wds.WebDataset(sorted(glob.glob("webdataset/*.tar")), shardshuffle=False).decode())
assert {sample["__key__"] for sample in samples} == set(lines)
assert all(sample["json"]["schema"] == "ocelli.export/1" and "First Seen" in sample["txt"] for sample in samples)
"#;
    let world = World::new();
    world.samples("in", &[CHART, NOTE, NO_TEXT]);
    assert_eq!(world.ocelli(["run", "in"]).code, 0);
    for format in ["jsonl", "parquet", "webdataset"] {
        assert_eq!(world.ocelli(["export", "--format", format, "--out", format]).code, 0);
    }
    let python = std::env::var_os("OCELLI_READERS").expect("set by `make test-readers`");
    let output = world.here(Command::new(python)).args(["-c", PYTHON]).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}
