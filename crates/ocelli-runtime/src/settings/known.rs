//! Every setting that exists in one process: those of the sections, and the fields of each analyzer by name.
//!
//! Analyzer names contain dots and dashes. So keys and environment variables are looked up whole in this list and never
//! taken apart.

use std::collections::BTreeMap;

use config::{Value, ValueKind};

use super::analyzer::Kind;
use super::problem::nearest;
use super::schema::{Field, Schema};

/// Names and kinds of the analyzers.
pub(crate) type Kinds = BTreeMap<String, Kind>;

/// All settings, by key.
#[derive(Debug)]
pub(crate) struct Known(Vec<Setting>);

/// One setting.
#[derive(Debug)]
pub(crate) struct Setting {
    pub(crate) path: Vec<String>,
    sample: serde_json::Value,
}

impl Known {
    pub(crate) fn new(kinds: &Kinds) -> Self {
        let schema = Schema::get();
        let setting = |path: &[&str], field: &Field| Setting {
            path: path.iter().map(|&part| part.to_owned()).chain([field.name.clone()]).collect(),
            sample: field.sample.clone(),
        };
        let sections = schema.sections.iter().flat_map(|section| {
            section.fields.iter().map(move |field| setting(&[&section.name], field))
        });
        let analyzers = kinds.iter().flat_map(|(name, kind)| {
            schema.kind(*kind).iter().map(move |field| setting(&["analyzers", name], field))
        });
        Self(sections.chain(analyzers).collect())
    }

    pub(crate) fn key(&self, key: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.key() == key)
    }

    pub(crate) fn variable(&self, name: &str) -> Option<&Setting> {
        self.0.iter().find(|setting| setting.variable() == name)
    }

    /// The key that `wrong` most likely meant: the right name in another section counts most.
    pub(crate) fn nearest_key(&self, wrong: &str) -> Option<String> {
        let keys: Vec<String> = self.0.iter().map(Setting::key).collect();
        nearest(wrong, keys.iter().map(String::as_str))
    }

    pub(crate) fn nearest_variable(&self, wrong: &str) -> Option<String> {
        let names: Vec<String> = self.0.iter().map(Setting::variable).collect();
        nearest(wrong, names.iter().map(String::as_str))
    }
}

impl Setting {
    pub(crate) fn key(&self) -> String {
        self.path.join(".")
    }

    /// `OCELLI_SECTION__KEY`; whatever a shell does not allow in a name is `_`.
    pub(crate) fn variable(&self) -> String {
        let parts: Vec<String> = self.path.iter().map(|part| shell_name(part)).collect();
        format!("OCELLI_{}", parts.join("__"))
    }

    /// Text of a variable or flag as a value of this setting's type. A text that does not fit stays text, so that
    /// reading it later says what was expected.
    pub(crate) fn value(&self, text: &str, origin: &str) -> Value {
        let (origin, text) = (Some(origin.to_owned()), text.trim());
        let leaf = |kind: ValueKind| Value::new(origin.as_ref(), kind);
        let string = || ValueKind::String(text.to_owned());
        match &self.sample {
            serde_json::Value::Bool(_) => {
                leaf(text.parse().map_or_else(|_| string(), ValueKind::Boolean))
            }
            serde_json::Value::Number(_) => {
                let number = text.parse().map(ValueKind::I64);
                leaf(
                    number
                        .or_else(|_| text.parse().map(ValueKind::Float))
                        .unwrap_or_else(|_| string()),
                )
            }
            serde_json::Value::Array(_) if text.starts_with('[') => {
                let parsed = format!("value = {text}").parse::<toml::Table>();
                let value = parsed.ok().and_then(|mut table| table.remove("value"));
                value.map_or_else(|| leaf(string()), |value| from_toml(value, origin.as_ref()))
            }
            serde_json::Value::Array(samples) => {
                let numbers = samples.iter().any(serde_json::Value::is_number);
                let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
                let part = |part: &str| match part.parse() {
                    Ok(number) if numbers => leaf(ValueKind::Float(number)),
                    _ => leaf(ValueKind::String(part.to_owned())),
                };
                leaf(ValueKind::Array(parts.map(part).collect()))
            }
            _ => leaf(string()),
        }
    }
}

/// `llama3.2-vision` is `LLAMA3_2_VISION`.
pub(crate) fn shell_name(name: &str) -> String {
    name.chars()
        .map(|c| if c.is_ascii_alphanumeric() { c.to_ascii_uppercase() } else { '_' })
        .collect()
}

fn from_toml(value: toml::Value, origin: Option<&String>) -> Value {
    let kind = match value {
        toml::Value::String(text) => ValueKind::String(text),
        toml::Value::Integer(number) => ValueKind::I64(number),
        toml::Value::Float(number) => ValueKind::Float(number),
        toml::Value::Boolean(value) => ValueKind::Boolean(value),
        toml::Value::Datetime(time) => ValueKind::String(time.to_string()),
        toml::Value::Array(array) => {
            ValueKind::Array(array.into_iter().map(|value| from_toml(value, origin)).collect())
        }
        toml::Value::Table(table) => ValueKind::Table(
            table.into_iter().map(|(key, value)| (key, from_toml(value, origin))).collect(),
        ),
    };
    Value::new(origin, kind)
}
