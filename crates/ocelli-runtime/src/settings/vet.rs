//! Refuses what nobody knows, layer by layer, so that each refusal names the file and line. Afterwards the merged tree
//! holds known keys only.

use config::{Map, Value, ValueKind};
use ocelli_core::AnalyzerName;

use super::analyzer::{ENDPOINT_FIELDS, Kind};
use super::known::{Kinds, Known};
use super::layer::Layer;
use super::problem::{Problem, nearest};
use super::schema::{Field, Schema};

const ANALYZERS: &str = "analyzers";
/// A list of tables, which [`super::read`] looks into.
pub(crate) const BUDGETS: &str = "budget";
/// Another one.
pub(crate) const WEBHOOKS: &str = "webhook";
/// And another one.
pub(crate) const RULES: &str = "rule";

/// Names and kinds of the analyzers of all layers; a later layer's kind wins. Tables that cannot become an analyzer are
/// reported and removed.
pub(crate) fn kinds(layers: &mut [Layer], problems: &mut Vec<Problem>) -> Kinds {
    let mut kinds = Kinds::new();
    for layer in layers.iter() {
        for (name, value) in layer.table(ANALYZERS).into_iter().flatten() {
            let ValueKind::Table(table) = &value.kind else { continue };
            let Some(kind) = table.get("kind") else { continue };
            let text = kind.kind.to_string();
            match Kind::ALL.into_iter().find(|known| known.name() == text) {
                Some(known) => _ = kinds.insert(name.clone(), known),
                None => problems.push(Problem::Value {
                    origin: origin(kind),
                    key: format!("{ANALYZERS}.{name}.kind"),
                    value: format!("{text:?}"),
                    reason: "expected \"ocr\" or \"llm\"".to_owned(),
                }),
            }
        }
    }
    for layer in layers {
        let Some(Value { kind: ValueKind::Table(table), .. }) = layer.0.get_mut(ANALYZERS) else {
            continue;
        };
        for (name, value) in take(table, |name| !kinds.contains_key(name)) {
            let ValueKind::Table(inner) = &value.kind else {
                problems.push(not_a_table(&value, &format!("{ANALYZERS}.{name}")));
                continue;
            };
            if !inner.contains_key("kind") {
                problems.push(Problem::NoKind {
                    origin: origin(&value),
                    nearest: nearest(&name, kinds.keys().map(String::as_str))
                        .map(|near| format!("{ANALYZERS}.{near}")),
                    key: format!("{ANALYZERS}.{name}"),
                });
            }
        }
        for (name, value) in table.iter() {
            if let Err(error) = name.parse::<AnalyzerName>() {
                problems.push(Problem::Value {
                    origin: origin(value),
                    key: ANALYZERS.to_owned(),
                    value: format!("{name:?}"),
                    reason: error.to_string(),
                });
            }
        }
    }
    kinds.retain(|name, _| name.parse::<AnalyzerName>().is_ok());
    kinds
}

/// Reports and removes what is unknown in one layer.
pub(crate) fn vet(layer: &mut Layer, kinds: &Kinds, known: &Known, problems: &mut Vec<Problem>) {
    let schema = Schema::get();
    let is_section = |name: &str| {
        [ANALYZERS, BUDGETS, WEBHOOKS, RULES].contains(&name) || schema.section(name).is_some()
    };
    for (name, value) in take(&mut layer.0, |name| !is_section(name)) {
        let sections = schema.sections.iter().map(|section| section.name.as_str());
        let section = nearest(&name, sections.chain([ANALYZERS, BUDGETS, WEBHOOKS, RULES]));
        // A setting outside its section is as common as a misspelt section.
        let nearest = section.or_else(|| known.nearest_key(&name));
        problems.push(Problem::UnknownKey { origin: origin(&value), key: name, nearest });
    }
    for section in &schema.sections {
        let fields = &section.fields;
        vet_table(&mut layer.0, &section.name, &section.name, fields, &[], known, problems);
    }
    if let Some(value) = layer.0.get_mut(ANALYZERS) {
        if let ValueKind::Table(analyzers) = &mut value.kind {
            analyzers.retain(|name, _| kinds.contains_key(name));
            for (name, kind) in kinds {
                let prefix = format!("{ANALYZERS}.{name}");
                let fields = schema.kind(*kind);
                vet_table(analyzers, name, &prefix, fields, &["kind"], known, problems);
                vet_endpoints(analyzers, name, &prefix, problems);
            }
        } else {
            problems.push(not_a_table(value, ANALYZERS));
            layer.0.remove(ANALYZERS);
        }
    }
}

fn vet_table(
    parent: &mut Map<String, Value>,
    name: &str,
    prefix: &str,
    fields: &[Field],
    further: &[&str],
    known: &Known,
    problems: &mut Vec<Problem>,
) {
    let Some(value) = parent.get_mut(name) else { return };
    let ValueKind::Table(table) = &mut value.kind else {
        problems.push(not_a_table(value, prefix));
        parent.remove(name);
        return;
    };
    let names = || fields.iter().map(|field| field.name.as_str()).chain(further.iter().copied());
    for (wrong, value) in take(table, |key| !names().any(|name| name == key)) {
        let key = format!("{prefix}.{wrong}");
        let here = nearest(&wrong, names()).map(|near| format!("{prefix}.{near}"));
        let nearest = here.or_else(|| known.nearest_key(&key));
        problems.push(Problem::UnknownKey { origin: origin(&value), key, nearest });
    }
}

fn vet_endpoints(
    analyzers: &mut Map<String, Value>,
    name: &str,
    prefix: &str,
    problems: &mut Vec<Problem>,
) {
    let Some(Value { kind: ValueKind::Table(table), .. }) = analyzers.get_mut(name) else { return };
    let Some(Value { kind: ValueKind::Array(items), .. }) = table.get_mut("endpoints") else {
        return;
    };
    for (index, item) in items.iter_mut().enumerate() {
        let ValueKind::Table(endpoint) = &mut item.kind else { continue };
        let key = format!("{prefix}.endpoints[{index}]");
        for (wrong, value) in take(endpoint, |key| !ENDPOINT_FIELDS.contains(&key)) {
            problems.push(Problem::UnknownKey {
                origin: origin(&value),
                nearest: nearest(&wrong, ENDPOINT_FIELDS).map(|near| format!("{key}.{near}")),
                key: format!("{key}.{wrong}"),
            });
        }
        let (api_key, file) =
            (endpoint.contains_key("api_key"), endpoint.contains_key("api_key_file"));
        if api_key && file {
            let (origin, key) = (
                endpoint.values().next().map_or_else(String::new, origin),
                format!("{key}.api_key"),
            );
            problems.push(Problem::Both { origin, key });
        }
    }
}

/// Takes the entries whose name is `wrong` out of `table`.
fn take(table: &mut Map<String, Value>, wrong: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
    let mut names: Vec<String> = table.keys().filter(|name| wrong(name)).cloned().collect();
    names.sort();
    names.into_iter().filter_map(|name| table.remove_entry(&name)).collect()
}

fn not_a_table(value: &Value, key: &str) -> Problem {
    Problem::Value {
        origin: origin(value),
        key: key.to_owned(),
        value: "…".to_owned(),
        reason: format!("expected a table: [{key}]"),
    }
}

fn origin(value: &Value) -> String {
    value.origin().unwrap_or_default().to_owned()
}
