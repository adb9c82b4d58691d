//! Which metrics and labels an expression in Prometheus's language names. Not a parser: promtool is that.

use std::collections::{BTreeMap, BTreeSet};

/// Metrics with the labels that their selectors name, and labels that are grouped or matched by.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Names {
    pub(crate) metrics: BTreeMap<String, BTreeSet<String>>,
    pub(crate) grouped: BTreeSet<String>,
}

const GROUPINGS: &[&str] = &["by", "without", "on", "ignoring", "group_left", "group_right"];
const WORDS: &[&str] = &["and", "or", "unless", "bool", "offset", "inf", "nan"];
/// These may stand before `by`, and so without a bracket right behind them.
const AGGREGATIONS: &[&str] = &["sum", "min", "max", "avg", "count", "group", "topk"];

/// Reads an expression from which variables of dashboards were taken out.
pub(crate) fn names(expression: &str) -> Names {
    let mut names = Names::default();
    let mut rest = expression;
    while let Some(first) = rest.chars().next() {
        if first == '"' {
            rest = behind(&rest[1..], '"');
        } else if first == '[' {
            rest = behind(rest, ']');
        } else if first.is_ascii_digit() {
            rest = rest.trim_start_matches(|c: char| c.is_ascii_alphanumeric() || c == '.');
        } else if is_word(first) {
            let end = rest.find(|c| !is_word(c)).unwrap_or(rest.len());
            let word = &rest[..end];
            rest = rest[end..].trim_start();
            if GROUPINGS.contains(&word) && rest.starts_with('(') {
                let end = rest.find(')').unwrap_or(rest.len());
                names.grouped.extend(words(&rest[..end]));
                rest = &rest[end..];
            } else if rest.starts_with('{') {
                let end = closing(rest);
                let labels = matched(&rest[1..end]);
                names.metrics.entry(word.to_owned()).or_default().extend(labels);
                rest = &rest[end..];
            } else if !rest.starts_with('(')
                && !WORDS.contains(&word)
                && !AGGREGATIONS.contains(&word)
            {
                names.metrics.entry(word.to_owned()).or_default();
            }
        } else {
            rest = &rest[first.len_utf8()..];
        }
    }
    names
}

const fn is_word(c: char) -> bool {
    c.is_ascii_alphanumeric() || matches!(c, '_' | ':')
}

fn words(text: &str) -> impl Iterator<Item = String> {
    text.split(|c| !is_word(c)).filter(|word| !word.is_empty()).map(str::to_owned)
}

/// The labels of a selector: what stands outside of its strings.
fn matched(selector: &str) -> Vec<String> {
    selector.split('"').step_by(2).flat_map(words).collect()
}

/// What follows the next `end`.
fn behind(text: &str, end: char) -> &str {
    text.find(end).map_or("", |at| &text[at + end.len_utf8()..])
}

/// Where the bracket at the start is closed; those in strings do not count.
fn closing(text: &str) -> usize {
    let mut quoted = false;
    for (at, c) in text.char_indices() {
        quoted ^= c == '"';
        if c == '}' && !quoted {
            return at;
        }
    }
    text.len()
}

#[test]
fn names_of_metrics_and_labels_are_found_in_expressions() {
    let found = names(
        "label_replace(sum by (queue, le) (rate(a_total{queue=~\"x}[.](y|z)\",b!=\"c, d=\"}[5m])) > 2e9, \"e\", \"$1\", \
         \"queue\", \"f\") unless on (g) h:i:j1h offset 6h == 0 or time() - max(k) > 1.5 * 0.05",
    );
    let metrics: Vec<&str> = found.metrics.keys().map(String::as_str).collect();
    assert_eq!(metrics, ["a_total", "h:i:j1h", "k"]);
    assert!(found.metrics["a_total"].iter().eq(["b", "queue"]));
    assert!(found.grouped.iter().eq(["g", "le", "queue"]));
}
