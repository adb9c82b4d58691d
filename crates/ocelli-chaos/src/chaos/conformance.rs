//! The conformance suites of broker and catalog, on every backend, again and again: a test that fails once in fifty runs
//! is a fault with a name.

use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::SystemTime;

use super::lab::Lab;
use super::row::{Fallible, Row};

/// A suite, by a module that only it has, and its backends.
const SUITES: [(&str, &str, &str); 2] = [
    ("broker", "rabbitmq_3_10::", "memory, RabbitMQ"),
    ("catalog", "on_postgres::", "SQLite, PostgreSQL"),
];

pub(super) async fn repeated(lab: &Lab) -> Fallible<Row> {
    let repeats = lab.count(2, 1).min(50);
    let environment = lab.environment().await?;
    let mut row = Row::default().figure("repeats", format!("{repeats} of 50"));
    for (suite, module, backends) in SUITES {
        let program = newest(module).await?.ok_or_else(|| {
            format!(
                "the conformance suite of the {suite} is not built beside this program; \
                 hint: cargo test --no-run -p ocelli-{suite} --test conformance"
            )
        })?;
        let (mut cases, mut failed) = (0, Vec::new());
        for _ in 0..repeats {
            let output = tokio::process::Command::new(&program)
                .args(["--test-threads", "4"])
                .envs(environment.clone())
                .stdin(Stdio::null())
                .kill_on_drop(true)
                .output()
                .await?;
            let said = String::from_utf8_lossy(&output.stdout).into_owned();
            for line in said.lines().filter_map(|line| line.strip_prefix("test ")) {
                cases += usize::from(line.ends_with("... ok"));
                if let Some(name) = line.strip_suffix(" ... FAILED") {
                    failed.push(name.to_owned());
                }
            }
            if !output.status.success() {
                let log = std::env::temp_dir().join(format!("ocelli-chaos-{suite}.log"));
                std::fs::write(&log, [output.stdout, output.stderr].concat())?;
                failed.push(format!("see {}", log.display()));
            }
        }
        row = row
            .figure(&format!("{suite} ({backends}): cases run"), cases)
            .must(&format!("{suite}: cases ran"), cases > 0)
            .must(&format!("{suite}: none failed {}", failed.join(", ")), failed.is_empty());
    }
    Ok(row)
}

/// The suite that was built last and has this module.
async fn newest(module: &str) -> Fallible<Option<PathBuf>> {
    let own = std::env::current_exe()?;
    let folder = own.parent().unwrap_or(Path::new(".")).join("deps");
    let mut found: Vec<(SystemTime, PathBuf)> = Vec::new();
    for entry in std::fs::read_dir(&folder)? {
        let entry = entry?;
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.starts_with("conformance-") && !name.contains('.') {
            found.push((entry.metadata()?.modified()?, entry.path()));
        }
    }
    found.sort_by_key(|(at, _)| std::cmp::Reverse(*at));
    for (_, path) in found {
        let listed = tokio::process::Command::new(&path).arg("--list").output().await?;
        if String::from_utf8_lossy(&listed.stdout).contains(module) {
            return Ok(Some(path));
        }
    }
    Ok(None)
}
