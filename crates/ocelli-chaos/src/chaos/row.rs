//! What a test prints: figures, and the conditions it had to meet.

use std::fmt::Display;
use std::path::PathBuf;
use std::time::Duration;

use serde_json::{Value, json};

pub(super) type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

/// Where the lines below a test's first one begin.
const INDENT: &str = "                 ";

#[derive(Debug, Default)]
pub(crate) struct Row {
    figures: Vec<String>,
    /// What had to be, and whether it was.
    criteria: Vec<(String, bool)>,
}

impl Row {
    /// Something that was counted or measured.
    pub(super) fn figure(mut self, name: &str, value: impl Display) -> Self {
        self.figures.push(format!("{name} {value}"));
        self
    }

    /// A duration, as a figure.
    pub(super) fn took(self, name: &str, value: Duration) -> Self {
        self.figure(name, format!("{:.1} s", value.as_secs_f64()))
    }

    /// A condition of passing.
    pub(super) fn must(mut self, what: &str, holds: bool) -> Self {
        self.criteria.push((what.to_owned(), holds));
        self
    }

    /// A condition of passing, with the figure it is about.
    pub(super) fn within(self, name: &str, value: Duration, limit: Duration) -> Self {
        let what = format!("{name} ≤ {:.0} s", limit.as_secs_f64());
        self.took(name, value).must(&what, value <= limit)
    }

    pub(super) fn passed(&self) -> bool {
        self.criteria.iter().all(|(_, holds)| *holds)
    }

    pub(super) fn print(&self, name: &str, what: &str, took: Duration, kept: &[PathBuf]) {
        let verdict = if self.passed() { "pass" } else { "FAIL" };
        println!("{name:<5} {verdict} {:>4.0} s  {what}", took.as_secs_f64());
        println!("{INDENT}{}", self.figures.join(", "));
        let met: Vec<&str> = self
            .criteria
            .iter()
            .filter(|(_, holds)| *holds)
            .map(|(what, _)| what.as_str())
            .collect();
        if !met.is_empty() {
            println!("{INDENT}met: {}", met.join("; "));
        }
        for (what, _) in self.criteria.iter().filter(|(_, holds)| !holds) {
            println!("{INDENT}MISSED: {what}");
        }
        for folder in kept {
            println!("{INDENT}logs: {}", folder.display());
        }
    }

    /// For a test that runs in a process of its own.
    pub(super) fn to_json(&self) -> Value {
        json!({"figures": self.figures, "criteria": self.criteria})
    }

    pub(super) fn from_json(value: &Value) -> Fallible<Self> {
        let figures = serde_json::from_value(value["figures"].clone())?;
        let criteria = serde_json::from_value(value["criteria"].clone())?;
        Ok(Self { figures, criteria })
    }
}
