//! The report: rows with their series and goals, on the terminal and as JSON.

use std::collections::BTreeMap;
use std::path::Path;

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::lab::{Fallible, Lab};
use crate::machine::Machine;
use crate::series::Series;

/// What is asked of a row.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) struct Goal {
    pub(crate) what: String,
    pub(crate) bound: Bound,
    pub(crate) target: f64,
    /// None when one of the two could not be measured.
    pub(crate) reached: Option<f64>,
    /// `×` for a ratio, otherwise as of a series.
    pub(crate) unit: String,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Bound {
    AtLeast,
    AtMost,
}

impl Goal {
    pub(crate) fn at_least(what: &str, target: f64, unit: &str, reached: Option<f64>) -> Self {
        let (what, unit) = (what.to_owned(), unit.to_owned());
        Self { what, bound: Bound::AtLeast, target, reached, unit }
    }

    pub(crate) fn at_most(what: &str, target: f64, unit: &str, reached: Option<f64>) -> Self {
        Self { bound: Bound::AtMost, ..Self::at_least(what, target, unit, reached) }
    }

    /// How much of the goal is reached: 1 is all of it, more is better.
    pub(crate) fn share(&self) -> Option<f64> {
        let reached = self.reached?;
        Some(match self.bound {
            Bound::AtLeast => reached / self.target,
            // What costs nothing, or less than nothing, is as good as it gets.
            Bound::AtMost if reached <= 0.0 => f64::INFINITY,
            Bound::AtMost => self.target / reached,
        })
    }

    pub(crate) fn met(&self) -> Option<bool> {
        self.share().map(|share| share >= 1.0)
    }

    /// `met`, `missed` or `not measured`.
    pub(crate) fn verdict(&self) -> &'static str {
        match self.met() {
            Some(true) => "met",
            Some(false) => "missed",
            None => "not measured",
        }
    }

    /// `≥ 0.5 ×`.
    pub(crate) fn asked(&self) -> String {
        let sign = if self.bound == Bound::AtLeast { "≥" } else { "≤" };
        format!("{sign} {} {}", figure(self.target), self.unit)
    }
}

/// What a row measured.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Row {
    pub(crate) what: String,
    pub(crate) series: Vec<Series>,
    pub(crate) goals: Vec<Goal>,
    /// How it was done: amounts, settings, what was checked.
    pub(crate) how: Vec<String>,
    /// When, with which programs, and by which command.
    pub(crate) at: String,
    pub(crate) profile: String,
    pub(crate) command: String,
}

impl Row {
    pub(crate) fn print(&self) {
        println!("{:<44} {:>12} {:>25}  unit", "", "median", "from .. to");
        for series in &self.series {
            let middle = series.median().map_or("-".to_owned(), figure);
            let spread = series.spread().map_or(String::new(), |(least, most)| {
                format!("{} .. {}", figure(least), figure(most))
            });
            println!("{:<44} {middle:>12} {spread:>25}  {}", series.name, series.unit);
            if let Some(failed) = &series.failed {
                println!("    could not be measured: {failed}");
            }
        }
        for goal in &self.goals {
            let reached = goal.reached.map_or("-".to_owned(), figure);
            let (asked, verdict) = (goal.asked(), goal.verdict());
            println!("  {:<42} {reached:>12}   asked {asked}: {verdict}", goal.what);
        }
        println!();
    }
}

/// All rows that were measured on this machine.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Report {
    pub(crate) machine: Machine,
    pub(crate) rows: BTreeMap<String, Row>,
}

impl Report {
    /// The report of earlier runs in `folder`, or an empty one.
    pub(crate) fn load(folder: &Path, lab: &Lab) -> Fallible<Self> {
        let path = folder.join("report.json");
        let earlier: Self = match path.is_file() {
            true => serde_json::from_slice(&std::fs::read(&path)?)
                .map_err(|error| format!("{} cannot be read: {error}", path.display()))?,
            false => Self::default(),
        };
        Ok(Self { machine: Machine::look(lab), ..earlier })
    }

    pub(crate) fn put(&mut self, name: &str, what: &str, mut row: Row, lab: &Lab) {
        row.what = what.to_owned();
        row.at = Timestamp::now().strftime("%Y-%m-%d").to_string();
        row.profile = lab.profile();
        row.command = format!("make bench BENCH={name}{}", if lab.whole { " WHOLE=1" } else { "" });
        self.rows.insert(name.to_owned(), row);
    }

    pub(crate) fn save(&self, folder: &Path) -> Fallible<()> {
        std::fs::write(folder.join("report.json"), serde_json::to_vec_pretty(self)?)?;
        crate::markdown::write(self, folder)
    }
}

/// A figure with as many digits as it deserves.
pub(crate) fn figure(value: f64) -> String {
    match value.abs() {
        100.0.. => format!("{value:.0}"),
        10.0.. => format!("{value:.1}"),
        0.1.. => format!("{value:.2}"),
        _ => format!("{value:.3}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_goal_knows_how_much_of_it_is_reached() {
        let goal = Goal::at_least("speed", 20.0, "×", Some(10.0));
        assert_eq!((goal.share(), goal.verdict()), (Some(0.5), "missed"));
        let goal = Goal::at_most("latency", 15.0, "ms", Some(7.5));
        assert_eq!((goal.share(), goal.verdict()), (Some(2.0), "met"));
        assert_eq!(goal.asked(), "≤ 15.0 ms");
        assert_eq!(Goal::at_most("latency", 15.0, "ms", Some(-1.0)).verdict(), "met");
        assert_eq!(Goal::at_most("latency", 15.0, "ms", None).verdict(), "not measured");
    }
}
