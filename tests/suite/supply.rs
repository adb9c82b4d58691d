//! What comes from others: their licences, where they come from, and the bill of materials that says so.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use toml::Table;

use crate::deploy_files::{checker, deploy};
use crate::deploy_rules::checked;
use crate::world::World;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn metadata() -> Value {
    let mut cargo = Command::new(env!("CARGO"));
    cargo.args(["metadata", "--format-version", "1", "--locked", "--offline"]);
    cargo.args(["--filter-platform", "x86_64-unknown-linux-gnu"]);
    let output = cargo.current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    serde_json::from_slice(&output.stdout).unwrap()
}

fn rules() -> Table {
    std::fs::read_to_string(root().join("deny.toml")).unwrap().parse().unwrap()
}

fn texts(list: &toml::Value) -> BTreeSet<String> {
    list.as_array().unwrap().iter().map(|one| one.as_str().unwrap().to_owned()).collect()
}

/// Whether an SPDX expression (annex D of SPDX 2.3) can be met with these licences alone. `/` is how crates wrote OR before.
fn is_met(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let words: Vec<&str> = spaced.split_whitespace().collect();
    let (met, rest) = any_of(&words, allowed);
    assert!(rest.is_empty(), "'{expression}' is no expression: {rest:?} is left");
    met
}

fn any_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = all_of(words, allowed);
    while let ["OR", after @ ..] = rest {
        let (also, left) = all_of(after, allowed);
        (met, rest) = (met || also, left);
    }
    (met, rest)
}

fn all_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    let (mut met, mut rest) = one_of(words, allowed);
    while let ["AND", after @ ..] = rest {
        let (also, left) = one_of(after, allowed);
        (met, rest) = (met && also, left);
    }
    (met, rest)
}

fn one_of<'a>(words: &'a [&'a str], allowed: &BTreeSet<String>) -> (bool, &'a [&'a str]) {
    match words {
        ["(", inner @ ..] => {
            let (met, rest) = any_of(inner, allowed);
            assert_eq!(rest.first(), Some(&")"), "{words:?}");
            (met, &rest[1..])
        }
        [licence, "WITH", exception, rest @ ..] => {
            (allowed.contains(&format!("{licence} WITH {exception}")), rest)
        }
        [licence, rest @ ..] => (allowed.contains(*licence), rest),
        [] => panic!("a licence is missing"),
    }
}

#[test]
fn expressions_of_licences_are_read_as_their_standard_says() {
    let allowed: BTreeSet<String> =
        ["MIT", "ISC", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned).into();
    for met in [
        "MIT",
        "GPL-3.0 OR MIT",
        "GPL-3.0/MIT",
        "MIT AND ISC",
        "GPL-3.0 AND ISC OR MIT",
        "(GPL-3.0 OR MIT) AND ISC",
        "Apache-2.0 WITH LLVM-exception",
    ] {
        assert!(is_met(met, &allowed), "{met}");
    }
    for refused in ["GPL-3.0", "MIT AND GPL-3.0", "(MIT OR ISC) AND GPL-3.0", "Apache-2.0"] {
        assert!(!is_met(refused, &allowed), "{refused}");
    }
}

/// What `cargo deny check licenses bans sources` says, where that is not installed.
#[test]
fn every_crate_has_a_licence_that_is_allowed_and_comes_from_where_crates_come_from() {
    let rules = rules();
    let licences = rules["licenses"].as_table().unwrap();
    let allowed = texts(&licences["allow"]);
    let exceptions: BTreeMap<&str, BTreeSet<String>> = licences["exceptions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| (one["name"].as_str().unwrap(), texts(&one["allow"])))
        .collect();
    let banned: Vec<&str> = rules["bans"]["deny"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["name"].as_str().unwrap())
        .collect();
    let metadata = metadata();
    let mut offences = Vec::new();
    let mut excepted = BTreeSet::new();
    for package in metadata["packages"].as_array().unwrap() {
        let Some(source) = package["source"].as_str() else { continue };
        let name = package["name"].as_str().unwrap();
        let Some(licence) = package["license"].as_str() else {
            offences.push(format!("{name} names no licence"));
            continue;
        };
        let mut met = is_met(licence, &allowed);
        if !met && let Some(more) = exceptions.get(name) {
            met = is_met(licence, &allowed.union(more).cloned().collect());
            excepted.insert(name);
        }
        if !met {
            offences.push(format!("{name}: '{licence}' is not allowed by deny.toml"));
        }
        if source != "registry+https://github.com/rust-lang/crates.io-index" {
            offences.push(format!("{name} comes from {source}"));
        }
    }
    let used = metadata["resolve"]["nodes"].as_array().unwrap().iter();
    for node in used {
        let id = node["id"].as_str().unwrap();
        for name in &banned {
            if id.contains(&format!("#{name}@")) {
                offences.push(format!("{name} is banned by deny.toml"));
            }
        }
    }
    assert!(offences.is_empty(), "{}", offences.join("\n"));
    let idle: Vec<_> = exceptions.keys().filter(|name| !excepted.contains(*name)).collect();
    assert!(idle.is_empty(), "exceptions that nobody needs any more: {idle:?}");
}

#[test]
fn the_bill_of_materials_fits_its_standard_and_names_every_crate_with_licence_and_checksum() {
    let world = World::new();
    let file = world.path("ocelli.cdx.json");
    let made = Command::new("python3")
        .arg(deploy().join("debian/sbom.py"))
        .arg("1.2.3")
        .env("CARGO", env!("CARGO"))
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    std::fs::write(&file, &made.stdout).unwrap();
    checked(checker("python").arg(deploy().join("checks/bom.py")).arg(&file));
    let bill: Value = serde_json::from_slice(&made.stdout).unwrap();
    assert_eq!(bill["metadata"]["component"]["version"], "1.2.3");
    let components = bill["components"].as_array().unwrap();
    let named: BTreeSet<&str> =
        components.iter().map(|component| component["bom-ref"].as_str().unwrap()).collect();
    for component in components {
        let own = component["name"].as_str().unwrap().starts_with("ocelli");
        assert!(component["licenses"][0].is_object(), "{component}");
        assert_eq!(component["hashes"][0]["content"].is_string(), !own, "{component}");
    }
    // What cargo itself says is compiled into the programs.
    let mut tree = Command::new(env!("CARGO"));
    tree.args(["tree", "--locked", "--offline", "--edges", "normal", "--prefix", "none"]);
    tree.args(["--format", "{p}", "--target", "x86_64-unknown-linux-gnu"]);
    for program in ["ocelli", "ocelli-producer", "ocelli-collector", "ocelli-ocr", "ocelli-llm"] {
        tree.args(["--package", program]);
    }
    let output = tree.args(["--package", "ocelli-web"]).current_dir(root()).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let listed = String::from_utf8(output.stdout).unwrap();
    let mut crates = 0;
    for line in listed.lines().filter(|line| !line.is_empty()) {
        let mut words = line.split(' ');
        let (name, version) = (words.next().unwrap(), words.next().unwrap());
        let reference = format!("pkg:cargo/{name}@{}", version.trim_start_matches('v'));
        assert!(named.contains(reference.as_str()), "{reference} is not in the bill");
        crates += 1;
    }
    assert!(crates > 300, "{crates}");
}
