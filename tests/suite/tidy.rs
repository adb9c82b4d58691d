//! The house rules that no compiler checks: who may use whom, what stays in which room, how long a file may grow.
//! `docs/ARCHITECTURE.md` draws the same arrows for people.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// What each crate may use of the others in its library. Development dependencies may add the two crates for tests.
const ARROWS: &[(&str, &[&str])] = &[
    ("ocelli-core", &[]),
    ("ocelli-failpoint", &[]),
    ("ocelli-broker", &["core", "failpoint"]),
    ("ocelli-catalog", &["core", "failpoint"]),
    ("ocelli-media", &["core"]),
    ("ocelli-runtime", &["core"]),
    ("ocelli-worker", &["core", "failpoint", "broker", "media"]),
    ("ocelli-ocr", &["core", "broker", "media", "worker"]),
    ("ocelli-llm", &["core", "broker", "media", "worker"]),
    ("ocelli-collector", &["core", "failpoint", "broker", "catalog"]),
    ("ocelli-export", &["core", "failpoint", "catalog"]),
    ("ocelli-events", &["core", "failpoint", "broker", "catalog", "media", "export"]),
    ("ocelli-producer", &["core", "failpoint", "broker", "catalog", "media"]),
    ("ocelli-web", &["core", "catalog", "media", "export"]),
    (
        "ocelli-wiring",
        &["core", "failpoint", "broker", "catalog", "media", "runtime", "worker", "events"],
    ),
    (
        "ocelli",
        &[
            "core",
            "failpoint",
            "broker",
            "catalog",
            "media",
            "runtime",
            "worker",
            "ocr",
            "llm",
            "collector",
            "producer",
            "web",
            "export",
            "wiring",
        ],
    ),
    (
        "ocelli-chaos",
        &[
            "core",
            "broker",
            "catalog",
            "runtime",
            "worker",
            "collector",
            "producer",
            "wiring",
            "testkit",
        ],
    ),
    ("ocelli-bench", &["core", "broker", "catalog", "testkit"]),
    ("ocelli-testkit", &["core"]),
    ("ocelli-samples", &[]),
    ("ocelli-tests", &[]),
];

/// Crates whose `main.rs` may use more than their library: it puts the parts together.
const ROLES: &[&str] =
    &["ocelli-ocr", "ocelli-llm", "ocelli-collector", "ocelli-producer", "ocelli-web"];
const FOR_MAINS: &[&str] = &["runtime", "catalog", "wiring"];

/// What the program of a role lends its library from other roles: the web site enqueues through the collector's and the
/// producer's libraries, and itself knows neither.
const LENT: &[(&str, &[&str])] = &[("ocelli-web", &["broker", "collector", "producer"])];

/// The files of such a crate where settings become options and the process begins; all else in it knows neither.
const BORDERS: &[&str] = &["main.rs", "role.rs", "settings.rs"];

/// Crates that only tests use.
const FOR_TESTS: &[&str] = &["testkit", "samples"];

/// Outside crates that stay in one room, and the crates that are that room.
const ROOMS: &[(&str, &[&str])] = &[
    // The bench measures against the bare client.
    ("lapin", &["ocelli-broker", "ocelli-bench"]),
    ("sqlx", &["ocelli-catalog", "ocelli-testkit"]),
    ("leptess", &["ocelli-ocr"]),
    ("reqwest", &["ocelli-media", "ocelli-llm"]),
    ("config", &["ocelli-runtime"]),
    ("axum", &["ocelli-runtime", "ocelli-testkit", "ocelli-web"]),
    ("indicatif", &["ocelli"]),
    ("resvg", &["ocelli-samples"]),
    ("object_store", &["ocelli-media"]),
    ("landlock", &["ocelli-media"]),
    ("seccompiler", &["ocelli-media"]),
    ("parquet", &["ocelli-export", "ocelli-producer"]),
    ("tar", &["ocelli-producer"]),
];

/// Past this a file has two subjects. Lists of test cases may be longer: they are read one case at a time.
const LONGEST_FILE: usize = 500;
const LONGEST_TEST_FILE: usize = 800;

/// Names that say nothing about what is inside.
const EMPTY_NAMES: &[&str] = &["utils", "util", "common", "helpers", "helper", "manager", "misc"];

#[test]
fn crates_use_each_other_along_the_drawn_arrows_only() {
    let mut offences = Vec::new();
    for package in packages() {
        let Some((_, allowed)) = ARROWS.iter().find(|(name, _)| *name == package.name) else {
            offences.push(format!(
                "{} has no arrows: add it to ARROWS and to the picture",
                package.name
            ));
            continue;
        };
        for (dependency, development) in &package.dependencies {
            let Some(short) = dependency.strip_prefix("ocelli-") else { continue };
            let drawn = allowed.contains(&short)
                || (ROLES.contains(&package.name.as_str()) && FOR_MAINS.contains(&short))
                || lent(&package.name).contains(&short)
                || (*development && FOR_TESTS.contains(&short))
                || (*development && package.name == "ocelli-tests");
            if !drawn {
                offences.push(format!("{} must not use {dependency}", package.name));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn libraries_of_roles_know_no_process_and_leave_the_command_line_to_mains() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let Some(package) = package_of(&path) else { continue };
        let file = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        if BORDERS.contains(&file) || !is_library(&path) {
            continue;
        }
        let allowed =
            ARROWS.iter().find(|(name, _)| *name == package).map_or(&[][..], |(_, to)| to);
        let beyond =
            FOR_MAINS.iter().chain(lent(&package)).filter(|short| !allowed.contains(*short));
        for short in beyond {
            if code(&text).contains(&format!("ocelli_{short}::")) {
                offences.push(format!(
                    "{}: ocelli_{short} belongs into {}",
                    path.display(),
                    BORDERS.join(", ")
                ));
            }
        }
        let composes = matches!(package.as_str(), "ocelli" | "ocelli-wiring");
        for outside in ["anyhow::", "clap::"] {
            if !composes && code(&text).contains(&format!("use {outside}")) {
                offences.push(format!("{}: {outside} belongs into main.rs", path.display()));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn outside_crates_stay_in_their_rooms() {
    let mut offences = Vec::new();
    for package in packages() {
        for (dependency, development) in &package.dependencies {
            let room = ROOMS.iter().find(|(name, _)| name == dependency);
            if let Some((name, crates)) = room
                && !development
                && !crates.contains(&package.name.as_str())
            {
                offences.push(format!(
                    "{} uses {name}, which stays in {}",
                    package.name,
                    crates.join(", ")
                ));
            }
        }
    }
    assert_none(&offences);
}

#[test]
fn files_have_one_subject_a_telling_name_and_say_what_they_are_for() {
    let mut offences = Vec::new();
    for (path, text) in sources() {
        let lines = text.lines().count();
        let longest = if is_library(&path) { LONGEST_FILE } else { LONGEST_TEST_FILE };
        if lines > longest {
            offences.push(format!("{} has {lines} lines, more than {longest}", path.display()));
        }
        let name = path.file_stem().and_then(|name| name.to_str()).unwrap_or_default();
        if EMPTY_NAMES.contains(&name) {
            offences.push(format!("{}: a name that says nothing", path.display()));
        }
        if is_library(&path) && name != "tests" && !text.starts_with("//! ") {
            offences.push(format!("{} does not begin with what it is for (//! …)", path.display()));
        }
    }
    assert_none(&offences);
}

#[test]
fn no_file_names_a_place_of_one_machine() {
    // In pieces, so that this file does not offend itself.
    let places = [concat!("/ro", "ot/"), concat!("/wo", "rk/")];
    let mut offences = Vec::new();
    for path in tracked() {
        let Ok(text) = std::fs::read_to_string(root().join(&path)) else { continue };
        for (number, line) in (1..).zip(text.lines()) {
            for place in places {
                let absolute = line.match_indices(place).any(|(at, _)| {
                    let before = line[..at].chars().next_back();
                    before.is_none_or(|before| before.is_whitespace() || "\"'`(=:".contains(before))
                });
                if absolute {
                    offences.push(format!("{}:{number} names {place}", path.display()));
                }
            }
        }
    }
    assert_none(&offences);
}

/// What this package may use in its borders besides.
fn lent(package: &str) -> &'static [&'static str] {
    LENT.iter().find(|(name, _)| *name == package).map_or(&[], |(_, shorts)| *shorts)
}

struct Package {
    name: String,
    /// Name, and whether only tests use it.
    dependencies: BTreeMap<String, bool>,
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_owned()
}

/// The workspace's packages with their direct dependencies, as cargo understands them.
fn packages() -> Vec<Package> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--no-deps", "--format-version", "1", "--offline"])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo metadata is JSON");
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let list = |value: &Value| value.as_array().cloned().unwrap_or_default();
    list(&metadata["packages"])
        .iter()
        .map(|package| {
            let mut dependencies = BTreeMap::new();
            for dependency in list(&package["dependencies"]) {
                let development = dependency["kind"] == "dev";
                let only_tests =
                    dependencies.entry(text(&dependency["name"])).or_insert(development);
                *only_tests &= development;
            }
            Package { name: text(&package["name"]), dependencies }
        })
        .collect()
}

/// Files that git has or would take, relative to the root.
fn tracked() -> Vec<PathBuf> {
    let output = Command::new("git")
        .args(["ls-files", "--cached", "--others", "--exclude-standard", "-z"])
        .current_dir(root())
        .output()
        .expect("git runs");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let names = String::from_utf8_lossy(&output.stdout).into_owned();
    names.split('\0').filter(|name| !name.is_empty()).map(PathBuf::from).collect()
}

/// Rust sources, relative to the root, with their text.
fn sources() -> Vec<(PathBuf, String)> {
    let rust = tracked().into_iter().filter(|path| path.extension().is_some_and(|end| end == "rs"));
    let read = rust.filter_map(|path| {
        let text = std::fs::read_to_string(root().join(&path)).ok()?;
        Some((path, text))
    });
    let found: Vec<_> = read.collect();
    assert!(
        found.len() > 50,
        "only {} Rust files found: this test looks in the wrong place",
        found.len()
    );
    found
}

/// `crates/NAME/…` is of the package NAME.
fn package_of(path: &Path) -> Option<String> {
    let mut parts = path.iter();
    (parts.next()? == "crates")
        .then(|| parts.next())?
        .map(|name| name.to_string_lossy().into_owned())
}

/// Whether a file is compiled into what is shipped, as opposed to tests, examples and benches beside it.
fn is_library(path: &Path) -> bool {
    path.iter().nth(2).is_some_and(|folder| folder == "src")
        && path.iter().next().is_some_and(|folder| folder == "crates")
        && !path.iter().any(|part| part == "tests" || part == "tests.rs")
}

/// The text before the tests of the same file.
fn code(text: &str) -> &str {
    text.split("#[cfg(test)]").next().unwrap_or(text)
}

fn assert_none(offences: &[String]) {
    assert!(offences.is_empty(), "\n  {}\n", offences.join("\n  "));
}
