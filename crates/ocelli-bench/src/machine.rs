//! What the figures were measured on.

use std::collections::BTreeMap;
use std::process::Command;

use serde::{Deserialize, Serialize};

use crate::lab::Lab;

/// Debian packages whose versions matter.
const PACKAGES: [&str; 5] =
    ["rabbitmq-server", "erlang-base", "postgresql", "tesseract-ocr", "python3"];
/// Python packages whose versions matter.
const PEERS: [&str; 7] =
    ["celery", "dramatiq", "taskiq", "taskiq-aio-pika", "faststream", "tesserocr", "psycopg"];

/// The machine and the versions.
#[derive(Debug, Default, Clone, Serialize, Deserialize)]
pub(crate) struct Machine {
    pub(crate) cores: usize,
    pub(crate) processor: String,
    pub(crate) memory_gb: u64,
    pub(crate) kernel: String,
    pub(crate) versions: BTreeMap<String, String>,
}

impl Machine {
    pub(crate) fn look(lab: &Lab) -> Self {
        let mut versions = BTreeMap::new();
        versions.insert("ocelli".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
        if let Some(line) = said("rustc", &["--version"]) {
            versions.insert("rustc".to_owned(), line.replacen("rustc ", "", 1));
        }
        for package in PACKAGES {
            if let Some(version) = said("dpkg-query", &["-W", "-f", "${Version}", package]) {
                versions.insert(package.to_owned(), version);
            }
        }
        let python = lab.python().and_then(|python| python.to_str());
        let frozen = python.and_then(|python| said(python, &["-m", "pip", "freeze"]));
        for (name, version) in frozen.iter().flat_map(|text| text.lines()).filter_map(pinned) {
            if PEERS.contains(&name) {
                versions.insert(name.to_owned(), version.to_owned());
            }
        }
        let line = |file: &str, key: &str| {
            let text = std::fs::read_to_string(file).unwrap_or_default();
            let line = text.lines().find_map(|line| line.strip_prefix(key));
            line.map(|value| value.trim_matches([':', '\t', ' ']).to_owned()).unwrap_or_default()
        };
        let kilobytes = line("/proc/meminfo", "MemTotal").replace(" kB", "");
        Self {
            cores: lab.cores,
            processor: line("/proc/cpuinfo", "model name"),
            memory_gb: kilobytes.trim().parse::<u64>().unwrap_or(0) / 1_000_000,
            kernel: said("uname", &["-sr"]).unwrap_or_default(),
            versions,
        }
    }
}

fn pinned(line: &str) -> Option<(&str, &str)> {
    line.split_once("==")
}

/// The first thing that a program says, when it is there.
fn said(program: &str, words: &[&str]) -> Option<String> {
    let output = Command::new(program).args(words).output().ok()?;
    let text = String::from_utf8_lossy(&output.stdout).trim().to_owned();
    (output.status.success() && !text.is_empty()).then_some(text)
}
