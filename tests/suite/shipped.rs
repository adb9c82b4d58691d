//! What is only for tests is not in what is shipped: an optimised program has no failpoints.

use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use ocelli_failpoint::{Failpoint, VARIABLE};

/// Programs that people are given.
const SHIPPED: [&str; 6] = [
    "ocelli",
    "ocelli-producer",
    "ocelli-ocr-worker",
    "ocelli-llm-worker",
    "ocelli-collector",
    "ocelli-web",
];

fn names(program: &Path, text: &str) -> bool {
    // Hundreds of megabytes: a test that is not optimised itself would look at them for a minute.
    let status = Command::new("grep").args(["-aqF", "--", text]).arg(program).status().unwrap();
    assert!(matches!(status.code(), Some(0 | 1)), "grep {}: {status}", program.display());
    status.success()
}

/// Builds the probe, which comes to a failpoint, and gives its path.
fn probe(target: &Path, profile: &str) -> PathBuf {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let built = Command::new(env!("CARGO"))
        .args(["build", "--package", "ocelli-failpoint", "--example", "probe", "--offline"])
        .args(["--locked", "--profile", profile, "--target-dir"])
        .arg(target)
        .current_dir(root)
        .output()
        .unwrap();
    assert!(built.status.success(), "{}", String::from_utf8_lossy(&built.stderr));
    let folder = if profile == "dev" { "debug" } else { profile };
    target.join(folder).join("examples/probe")
}

fn run(program: &Path, failpoint: &str) -> Output {
    Command::new(program).env(VARIABLE, failpoint).output().unwrap()
}

#[test]
fn an_optimised_program_has_no_failpoint_and_does_not_even_know_the_variable() {
    let target = tempfile::tempdir().unwrap();
    let (mortal, shipped) = (probe(target.path(), "dev"), probe(target.path(), "release"));
    let point = Failpoint::WorkerPublished.name();

    let died = run(&mortal, point);
    let said = String::from_utf8_lossy(&died.stderr).into_owned();
    assert!(died.status.code().is_none() && said.contains(point), "{died:?}");
    assert_eq!(run(&mortal, "no-such-point").status.code(), Some(2));
    assert!(run(&mortal, Failpoint::WorkerSettled.name()).status.success(), "another point");
    for failpoint in [point, "no-such-point"] {
        let lived = run(&shipped, failpoint);
        assert!(lived.status.success() && lived.stdout == b"it goes on\n", "{lived:?}");
    }

    assert!(names(&mortal, VARIABLE) && names(&mortal, point));
    assert!(!names(&shipped, VARIABLE) && !names(&shipped, point));
}

#[test]
fn optimised_programs_that_were_built_have_no_failpoint() {
    // Beside the folder of the development build, where there is one: building them takes minutes.
    let built = Path::new(env!("CARGO_TARGET_TMPDIR")).join("../release");
    let here = |name: &&str| built.join(name).is_file();
    let found: Vec<_> = SHIPPED.iter().copied().filter(here).collect();
    let mortal: Vec<_> = found
        .iter()
        .filter(|name| {
            let program = built.join(name);
            names(&program, VARIABLE) || names(&program, Failpoint::CollectorCommitted.name())
        })
        .collect();
    assert!(mortal.is_empty(), "{mortal:?} of {found:?}");
    // And that this looks for the right thing.
    assert!(names(&ocelli_testkit::bin("ocelli-collector"), VARIABLE));
}
