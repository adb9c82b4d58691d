//! Prometheus's rules: made from the table of objectives, tested by promtool, and each with a section of the runbook.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::objectives::{ALERTS, BURNS, Burn, Objective, WINDOWS, objectives};

pub(crate) fn folder() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/prometheus")
}

const HEAD: &str = "# Made from tests/suite/objectives.rs; a test compares (UPDATE_DOCS=1 writes it anew). Do not edit.\n";

/// Text as a YAML scalar.
fn quoted(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// `https` is nowhere promised: the section of the document that comes with the rules.
fn runbook(alert: &str) -> String {
    format!("docs/OPERATIONS.md#{}", alert.to_lowercase())
}

fn rules() -> String {
    let mut text = HEAD.to_owned();
    text.push_str("groups:\n");
    for objective in objectives() {
        let Objective { name, series, promise, by, .. } = &objective;
        let _ = write!(text, "  # {promise}\n  - name: {name}\n    rules:\n");
        for window in WINDOWS {
            let (bad, all) =
                (objective.over(objective.bad, window), objective.over(objective.all, window));
            let ratio = quoted(&format!("({bad}) / ({all})"));
            let _ = write!(
                text,
                "      - record: {series}:ratio_rate{window}\n        expr: {ratio}\n"
            );
        }
        for burn in &BURNS {
            let expression = objective.burns(burn);
            let summary = format!(
                "{}: what may go wrong is used up {} times as fast as allowed",
                objective.matter, burn.times
            );
            alert(
                &mut text,
                &format!("{name}{}", burn.name),
                &expression,
                "0m",
                burn.severity,
                &summary,
            );
        }
        debug_assert!(by.is_none_or(|by| objective.bad.contains(by)));
    }
    text.push_str("  - name: Ocelli\n    rules:\n");
    for one in ALERTS {
        alert(&mut text, one.name, one.expression, one.pending, one.severity, one.summary);
    }
    text
}

fn alert(
    text: &mut String,
    name: &str,
    expression: &str,
    pending: &str,
    severity: &str,
    summary: &str,
) {
    let (expression, summary, runbook) = (quoted(expression), quoted(summary), runbook(name));
    let _ = write!(
        text,
        "      - alert: {name}\n        expr: {expression}\n        for: {pending}\n        labels:\n          \
         severity: {severity}\n        annotations:\n          summary: {summary}\n          runbook_url: {runbook}\n"
    );
}

impl Objective {
    fn over(&self, expression: &str, window: &str) -> String {
        expression.replace("WINDOW", window)
    }

    /// Both windows burn, and there were enough events to say so.
    fn burns(&self, burn: &Burn) -> String {
        let Self { series, allowed, .. } = self;
        let by = self.by.map(|by| format!(" on ({by})")).unwrap_or_default();
        let Burn { times, long, short, .. } = burn;
        let enough = self.over(self.all, long).replace("rate(", "increase(");
        format!(
            "{series}:ratio_rate{long} > {times} * {allowed} and{by} {series}:ratio_rate{short} > {times} * {allowed} \
             and{by} {enough} > {}",
            self.least
        )
    }
}

/// One case of `promtool test rules`.
struct Case {
    /// Whether it is about windows of days: then the rules are looked at once an hour, or it would take minutes.
    long: bool,
    title: String,
    series: Vec<(String, String)>,
    at: String,
    alert: String,
    /// Labels with the severity, and the annotations; none when it must not fire.
    fires: Option<(Vec<(String, String)>, String)>,
}

fn cases() -> Vec<Case> {
    let mut cases = Vec::new();
    let owned = |pairs: &[(&str, &str)]| -> Vec<(String, String)> {
        pairs.iter().map(|(a, b)| ((*a).to_owned(), (*b).to_owned())).collect()
    };
    for objective in objectives() {
        let allowed: f64 = objective.allowed.parse().unwrap();
        for burn in &BURNS {
            let alert = format!("{}{}", objective.name, burn.name);
            // Twice as bad as the alert asks for, as far as there is room; and a little less bad than it.
            let percent = allowed * burn.times * 100.0;
            let worse = (percent * 2.0).min(99.0).ceil() as u32;
            let better = (percent * 0.9).floor() as u32;
            let mut labels = owned(objective.labels);
            labels.push(("severity".to_owned(), burn.severity.to_owned()));
            let summary = format!(
                "{}: what may go wrong is used up {} times as fast as allowed",
                filled(objective.matter, &labels),
                burn.times
            );
            let mut case = |title: &str, bad: u32, fires| {
                cases.push(Case {
                    long: true,
                    title: format!("{alert} {title}"),
                    series: (objective.sample)(bad),
                    at: "80h".to_owned(),
                    alert: alert.clone(),
                    fires,
                });
            };
            case("fires", worse, Some((labels, summary)));
            case("does not fire", better, None);
        }
    }
    for one in ALERTS {
        let mut labels = owned(one.fires.1);
        labels.push(("severity".to_owned(), one.severity.to_owned()));
        let summary = filled(one.summary, &labels);
        for (title, series, fires) in
            [("fires", one.fires.0, Some((labels, summary))), ("does not fire", one.quiet, None)]
        {
            cases.push(Case {
                long: false,
                title: format!("{} {title}", one.name),
                series: owned(series),
                at: one.at.to_owned(),
                alert: one.name.to_owned(),
                fires,
            });
        }
    }
    cases
}

/// A summary with the labels of a case in place of their names.
fn filled(summary: &str, labels: &[(String, String)]) -> String {
    labels.iter().fold(summary.to_owned(), |text, (name, value)| {
        text.replace(&format!("{{{{ $labels.{name} }}}}"), value)
    })
}

fn tests(long: bool) -> String {
    let every = if long { "1h" } else { "1m" };
    let mut text = format!(
        "{HEAD}# promtool test rules deploy/prometheus/tests/*.yml\n\
         rule_files: [../rules/ocelli.yml]\nevaluation_interval: {every}\ntests:\n"
    );
    for case in cases().into_iter().filter(|case| case.long == long) {
        let _ = write!(
            text,
            "  - name: {}\n    interval: 1m\n    input_series:\n",
            quoted(&case.title)
        );
        for (series, values) in &case.series {
            let _ = write!(text, "      - series: {}\n        values: {values}\n", quoted(series));
        }
        let _ = write!(
            text,
            "    alert_rule_test:\n      - eval_time: {}\n        alertname: {}\n        exp_alerts:",
            case.at, case.alert
        );
        match &case.fires {
            None => text.push_str(" []\n"),
            Some((labels, summary)) => {
                text.push_str("\n          - exp_labels:\n");
                for (name, value) in labels {
                    let _ = writeln!(text, "              {name}: {}", quoted(value));
                }
                let (summary, runbook) = (quoted(summary), runbook(&case.alert));
                let _ = write!(
                    text,
                    "            exp_annotations:\n              summary: {summary}\n              runbook_url: {runbook}\n"
                );
            }
        }
    }
    text
}

/// Compares a shipped file with what it should be.
pub(crate) fn same(file: &Path, expected: &str) {
    if std::env::var_os("UPDATE_DOCS").is_some() {
        std::fs::write(file, expected).unwrap();
    }
    let shipped = std::fs::read_to_string(file).unwrap_or_default();
    assert!(shipped == expected, "{}: UPDATE_DOCS=1 writes it anew", file.display());
}

/// Runs a program on files of the project; what it said, when it found something wrong.
pub(crate) fn checked(command: &mut Command) {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    let said = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
    assert!(output.status.success(), "{command:?}\n{}", said.concat());
}

#[test]
fn rules_come_from_the_table_of_objectives_and_each_fires_when_it_should_and_only_then() {
    same(&folder().join("rules/ocelli.yml"), &rules());
    same(&folder().join("tests/alerts.test.yml"), &tests(false));
    same(&folder().join("tests/objectives.test.yml"), &tests(true));
    let promtool =
        |words: &[&str]| checked(Command::new("promtool").args(words).current_dir(folder()));
    promtool(&["check", "rules", "rules/ocelli.yml"]);
    promtool(&["test", "rules", "tests/alerts.test.yml", "tests/objectives.test.yml"]);
}

#[test]
fn every_alert_has_a_section_of_the_runbook_and_every_section_an_alert() {
    let text = std::fs::read_to_string(folder().join("../../docs/OPERATIONS.md")).unwrap();
    let mut sections: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("### Ocelli").map(|_| &line[4..]))
        .collect();
    let burning = objectives();
    let burning = burning
        .iter()
        .flat_map(|one| BURNS.iter().map(|burn| format!("{}{}", one.name, burn.name)));
    let mut alerts: Vec<String> =
        burning.chain(ALERTS.iter().map(|alert| alert.name.to_owned())).collect();
    alerts.sort();
    sections.sort_unstable();
    assert_eq!(sections, alerts);
}
