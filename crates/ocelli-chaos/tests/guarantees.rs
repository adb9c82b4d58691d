//! `docs/GUARANTEES.md` promises nothing that no test shows.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Every Rust file below the folders that hold tests.
fn sources(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).expect("the folder can be listed") {
        let path = entry.expect("the folder can be listed").path();
        if path.is_dir() {
            sources(&path, found);
        } else if path.extension().is_some_and(|end| end == "rs") {
            found.push(path);
        }
    }
}

/// Names of functions, and of the cases that a conformance suite registers one per line.
fn known() -> BTreeSet<String> {
    let mut files = Vec::new();
    for folder in ["crates", "tests"] {
        sources(&root().join(folder), &mut files);
    }
    let mut names = BTreeSet::new();
    for file in files {
        let text = fs::read_to_string(&file).expect("a source file is text");
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for (number, line) in lines.iter().enumerate() {
            let Some((before, rest)) = line.split_once("fn ") else { continue };
            if !matches!(before, "" | "async " | "pub(crate) async " | "pub(super) async ") {
                continue;
            }
            let name: String =
                rest.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            // A case of a conformance suite is a plain function that its macro turns into tests.
            let is_test = lines[number.saturating_sub(4)..number]
                .iter()
                .any(|above| above.starts_with("#[test]") || above.starts_with("#[tokio::test"));
            let is_case = file.components().any(|part| part.as_os_str() == "conformance");
            if is_test || is_case {
                names.insert(name);
            }
        }
    }
    let chaos = fs::read_to_string(root().join("crates/ocelli-chaos/src/chaos/mod.rs"))
        .expect("the list of chaos tests");
    for line in chaos.lines().filter(|line| line.contains("=>")) {
        if let Some(name) = line.trim().strip_prefix('"').and_then(|rest| rest.split('"').next()) {
            names.insert(format!("chaos:{name}"));
        }
    }
    names
}

/// What stands between backticks and looks like a test.
fn named(text: &str) -> Vec<&str> {
    let quoted = text.split('`').skip(1).step_by(2);
    quoted
        .filter(|name| {
            let words = name.matches('_').count() >= 2 && !name.contains([' ', '.', '/']);
            words || name.starts_with("chaos:")
        })
        .collect()
}

#[test]
fn every_test_named_in_the_guarantees_exists() {
    let text = fs::read_to_string(root().join("docs/GUARANTEES.md")).expect("docs/GUARANTEES.md");
    let known = known();
    let all = named(&text);
    assert!(all.len() > 50, "only {} names found: this test looks wrongly", all.len());
    let missing: BTreeSet<_> = all.into_iter().filter(|name| !known.contains(*name)).collect();
    assert!(missing.is_empty(), "no such test: {missing:#?}");
}

#[test]
fn every_promise_names_a_test() {
    let text = fs::read_to_string(root().join("docs/GUARANTEES.md")).expect("docs/GUARANTEES.md");
    let rows: Vec<_> = text
        .lines()
        .filter(|line| line.starts_with("| ") && !line.starts_with("| what fails"))
        .collect();
    assert!(rows.len() > 20, "only {} rows found: this test looks wrongly", rows.len());
    for row in rows {
        let last = row.trim_end_matches([' ', '|']).rsplit(" | ").next().unwrap_or_default();
        assert!(!named(last).is_empty(), "a promise without a test: {row}");
    }
}
