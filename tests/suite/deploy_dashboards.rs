//! The shipped dashboards: every expression is one, and names nothing that is not there.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::process::Command;

use serde_json::Value;

use crate::deploy_rules::{checked, folder};
use crate::metrics::catalogue;
use crate::promql::{Names, names};

/// What a scrape adds to every series; `program` comes with the shipped targets.
const SCRAPED: &[&str] = &["instance", "job", "program"];

/// All dashboards by the names of their files.
fn dashboards() -> Vec<(String, Value)> {
    let read = |path: &Path| -> (String, Value) {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        (name, serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap())
    };
    let files = std::fs::read_dir(folder().join("../grafana/dashboards")).unwrap();
    files.map(|file| read(&file.unwrap().path())).collect()
}

/// What a dashboard asks, for its annotations and for its panels.
fn targets(dashboard: &Value) -> impl Iterator<Item = &Value> {
    let annotations = dashboard["annotations"]["list"].as_array().unwrap().iter();
    let panels = dashboard["panels"].as_array().unwrap().iter();
    annotations.chain(panels.flat_map(|panel| panel["targets"].as_array().unwrap()))
}

/// The expressions of all dashboards, by where they stand.
pub(crate) fn expressions() -> Vec<(String, String)> {
    let mut found = Vec::new();
    for (name, dashboard) in dashboards() {
        for target in targets(&dashboard) {
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

/// Labels of every series that programs and rules make.
fn known() -> BTreeMap<String, BTreeSet<String>> {
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
    known
}

/// Labels that series of the result may have: those of the first grouping, which is the outermost one here; all of its
/// metrics where nothing is added up; else none.
fn left(expression: &str, known: &BTreeMap<String, BTreeSet<String>>) -> BTreeSet<String> {
    if let Some((_, grouping)) = expression.split_once(" by (") {
        let labels = grouping.split(')').next().unwrap_or_default();
        return labels.split(',').map(|label| label.trim().to_owned()).collect();
    }
    if ["sum(", "min(", "max(", "count("].iter().any(|word| expression.contains(word)) {
        return BTreeSet::new();
    }
    let named = names(expression).metrics;
    let own = named.keys().filter_map(|metric| known.get(metric)).flatten().cloned();
    own.chain(SCRAPED.iter().map(|label| (*label).to_owned())).collect()
}

/// What stands between double braces.
fn places(format: &str) -> impl Iterator<Item = &str> {
    format.split("{{").skip(1).filter_map(|rest| Some(rest.split_once("}}")?.0.trim()))
}

#[test]
fn variables_and_legends_of_dashboards_name_labels_that_exist() {
    let known = known();
    let (mut wrong, mut variables, mut legends) = (Vec::new(), 0, 0);
    for (file, dashboard) in dashboards() {
        let mut declared = BTreeSet::new();
        for variable in dashboard["templating"]["list"].as_array().unwrap() {
            declared.insert(variable["name"].as_str().unwrap());
            if variable["type"] != "query" {
                continue;
            }
            variables += 1;
            let query = variable["query"]["query"].as_str().unwrap();
            assert_eq!(variable["definition"].as_str(), Some(query), "{file}");
            let asked = query.strip_prefix("label_values(").and_then(|rest| rest.strip_suffix(')'));
            let asked = asked.and_then(|asked| asked.rsplit_once(", "));
            let (metric, label) = asked.unwrap_or_else(|| panic!("{file}: {query}"));
            // The values of a label are its groups.
            let found = unknown(&format!("group by ({label}) ({metric})"), &known, |_| true);
            wrong.extend(found.into_iter().map(|problem| format!("{file}: {problem}: {query}")));
        }
        for target in targets(&dashboard) {
            let expression = target["expr"].as_str().unwrap();
            let left = left(&filled(expression), &known);
            let format = target["legendFormat"].as_str().or(target["titleFormat"].as_str());
            for label in places(format.unwrap_or_default()) {
                legends += 1;
                if !left.contains(label) {
                    wrong.push(format!("{file}: nothing has a label {label}: {expression}"));
                }
            }
            for rest in expression.split('$').skip(1) {
                let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_');
                let name = &rest[..end.unwrap_or(rest.len())];
                if !name.starts_with("__") && !declared.contains(name) {
                    wrong.push(format!("{file}: there is no variable {name}: {expression}"));
                }
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
    assert!(variables >= 2 && legends > 50, "{variables} variables, {legends} labels of legends");
}

#[test]
fn every_expression_of_dashboards_and_rules_names_metrics_and_labels_that_exist() {
    let known = known();
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
