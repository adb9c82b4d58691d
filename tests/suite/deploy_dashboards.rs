//! The shipped dashboards: every expression is one, and names nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::process::Command;

use serde_json::Value;

use crate::deploy_rules::{checked, folder};
use crate::metrics::catalogue;
use crate::promql::{Names, names};

/// What a scrape adds to every series; `program` comes with the shipped targets.
const SCRAPED: &[&str] = &["instance", "job", "program"];

/// The expressions of all dashboards, and of all rules, by where they stand.
pub(crate) fn expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    let folder = folder().join("../grafana/dashboards");
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
        let panels = dashboard["panels"].as_array().unwrap().iter();
        let targets = panels.flat_map(|panel| panel["targets"].as_array().unwrap());
        for target in annotations.chain(targets) {
            found.push((name.clone(), filled(target["expr"].as_str().unwrap())));
        }
    }
    assert!(found.len() > 80, "only {} expressions", found.len());
    found
}

/// Expressions of the shipped rules.
pub(crate) fn rules() -> Vec<(String, String)> {
    let rules = std::fs::read_to_string(folder().join("rules/ocelli.yml")).unwrap();
    rules
        .lines()
        .filter_map(|line| line.trim().strip_prefix("expr: '")?.strip_suffix('\''))
        .map(|expression| ("rules/ocelli.yml".to_owned(), expression.replace("''", "'")))
        .collect()
}

/// As Grafana fills its variables in.
fn filled(expression: &str) -> String {
    expression
        .replace("$__rate_interval", "5m")
        .replace("$__range", "6h")
        .replace("$analyzer", ".+")
}

/// Labels of each series of ours that is not a metric of a program: recorded ones, and Prometheus's own.
fn others() -> BTreeMap<String, BTreeSet<String>> {
    let mut others = BTreeMap::new();
    let set = |labels: &[&str]| labels.iter().map(|label| (*label).to_owned()).collect();
    others.insert("up".to_owned(), set(&[]));
    others.insert("ALERTS".to_owned(), set(&["alertname", "alertstate", "severity"]));
    let text = std::fs::read_to_string(folder().join("rules/ocelli.yml")).unwrap();
    for name in text.lines().filter_map(|line| line.trim().strip_prefix("- record: ")) {
        let labels: &[&str] = if name.starts_with("analyzer:") { &["analyzer"] } else { &[] };
        others.insert(name.to_owned(), set(labels));
    }
    others
}

/// What `expression` names of the metrics that begin with `prefix` and is not among `known`.
pub(crate) fn unknown(
    expression: &str,
    known: &BTreeMap<String, BTreeSet<String>>,
    is_ours: impl Fn(&str) -> bool,
) -> Vec<String> {
    let Names { metrics, grouped } = names(expression);
    let mut wrong = Vec::new();
    let mut seen: BTreeSet<&str> = SCRAPED.iter().copied().collect();
    let mut all_ours = true;
    for (metric, labels) in &metrics {
        if !is_ours(metric) {
            all_ours = false;
            continue;
        }
        let Some(has) = known.get(metric) else {
            wrong.push(format!("there is no metric {metric}"));
            continue;
        };
        seen.extend(has.iter().map(String::as_str));
        let missing = labels
            .iter()
            .filter(|label| !has.contains(*label) && !SCRAPED.contains(&label.as_str()));
        wrong.extend(missing.map(|label| format!("{metric} has no label {label}")));
    }
    // A label that is made by label_replace stands in the expression as a string.
    let made = |label: &str| expression.contains(&format!("\"{label}\""));
    if all_ours {
        let missing = grouped.iter().filter(|label| !seen.contains(label.as_str()) && !made(label));
        wrong.extend(missing.map(|label| format!("nothing in it has a label {label}")));
    }
    wrong
}

#[test]
fn every_expression_of_dashboards_and_rules_names_metrics_and_labels_that_exist() {
    let mut known = others();
    for (name, metric) in catalogue() {
        let labels: BTreeSet<String> = metric.labels.keys().cloned().collect();
        if metric.kind == "histogram" {
            let bucket = labels.iter().cloned().chain(["le".to_owned()]).collect();
            known.insert(format!("{name}_bucket"), bucket);
            known.insert(format!("{name}_sum"), labels.clone());
            known.insert(format!("{name}_count"), labels);
        } else {
            known.insert(name, labels);
        }
    }
    let mut wrong = Vec::new();
    for (file, expression) in expressions().into_iter().chain(rules()) {
        let found = unknown(&expression, &known, |metric| !metric.starts_with("rabbitmq_"));
        wrong.extend(found.into_iter().map(|problem| format!("{file}: {problem}: {expression}")));
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn promtool_parses_every_expression_of_the_dashboards() {
    let mut rules = "groups:\n  - name: dashboards\n    rules:\n".to_owned();
    for (number, (_, expression)) in expressions().iter().enumerate() {
        let quoted = expression.replace('\'', "''");
        let _ = write!(rules, "      - record: n{number}\n        expr: '{quoted}'\n");
    }
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.yml");
    std::fs::write(&file, rules).unwrap();
    checked(Command::new("promtool").args(["check", "rules", "--lint=none"]).arg(file));
}

#[test]
fn dashboards_can_be_provisioned_as_they_are() {
    let folder = folder().join("../grafana/dashboards");
    let mut names = BTreeSet::new();
    for file in std::fs::read_dir(folder).unwrap() {
        let path = file.unwrap().path();
        let dashboard: Value = serde_json::from_slice(&std::fs::read(&path).unwrap()).unwrap();
        let name = path.file_stem().unwrap().to_string_lossy().into_owned();
        assert_eq!(dashboard["uid"], format!("ocelli-{name}"));
        let mut places = BTreeSet::new();
        let mut ids = BTreeSet::new();
        for panel in dashboard["panels"].as_array().unwrap() {
            let title = panel["title"].as_str().unwrap();
            assert!(ids.insert(panel["id"].as_u64().unwrap()), "{name}: {title}");
            assert_eq!(panel["datasource"]["uid"], "${datasource}", "{name}: {title}");
            let side = |key: &str| panel["gridPos"][key].as_u64().unwrap();
            assert!(side("x") + side("w") <= 24, "{name}: {title}");
            for x in side("x")..side("x") + side("w") {
                for y in side("y")..side("y") + side("h") {
                    assert!(places.insert((x, y)), "{name}: {title} lies on another panel");
                }
            }
        }
        names.insert(name);
    }
    assert!(names.iter().eq(["analyzers", "broker", "catalog", "fleet", "spend"]), "{names:?}");
}
