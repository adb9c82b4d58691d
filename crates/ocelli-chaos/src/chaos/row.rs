//! What a test prints: figures, and the conditions it had to meet.

use std::fmt::Display;
use std::time::Duration;

pub(super) type Fallible<T> = Result<T, Box<dyn std::error::Error + Send + Sync>>;

#[derive(Debug, Default)]
pub(crate) struct Row {
    figures: Vec<String>,
    missed: Vec<String>,
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
        if !holds {
            self.missed.push(what.to_owned());
        }
        self
    }

    pub(super) fn passed(&self) -> bool {
        self.missed.is_empty()
    }

    pub(super) fn print(&self, name: &str, what: &str, took: Duration) {
        let verdict = if self.passed() { "pass" } else { "FAIL" };
        println!("{name:<5} {verdict} {:>4.0} s  {what}", took.as_secs_f64());
        println!("                   {}", self.figures.join(", "));
        for missed in &self.missed {
            println!("                   MISSED: {missed}");
        }
    }
}
