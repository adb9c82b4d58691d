//! The merged settings as one tree, with the origin of each leaf.

use std::collections::BTreeMap;

use config::{Config, ConfigError, Value as ConfigValue, ValueKind};
use serde_json::{Map, Value};

use super::layer::{DEFAULT, Layer};

/// Where a value stands: `["broker", "url"]`. Names are never joined, they contain dots.
pub(crate) type Path = Vec<String>;

/// Merged settings.
#[derive(Debug, Default)]
pub(crate) struct Tree {
    root: Map<String, Value>,
    origins: BTreeMap<Path, String>,
}

impl Tree {
    /// Merges `layers`; later ones win, leaf by leaf (lists are replaced whole).
    pub(crate) fn merge(layers: impl IntoIterator<Item = Layer>) -> Result<Self, ConfigError> {
        let mut builder = Config::builder();
        for layer in layers {
            builder = builder.add_source(layer);
        }
        let merged = builder.build()?;
        let mut tree = Self::default();
        if let Value::Object(root) = tree.convert(merged.cache, &mut Vec::new()) {
            tree.root = root;
        }
        Ok(tree)
    }

    fn convert(&mut self, value: ConfigValue, path: &mut Path) -> Value {
        let origin = value.origin().map(str::to_owned);
        match value.kind {
            ValueKind::Table(table) => {
                let mut object = Map::new();
                for (name, value) in table {
                    if value.kind == ValueKind::Nil {
                        continue;
                    }
                    path.push(name.clone());
                    object.insert(name, self.convert(value, path));
                    path.pop();
                }
                return Value::Object(object);
            }
            _ => _ = self.origins.insert(path.clone(), origin.unwrap_or_default()),
        }
        match value.kind {
            ValueKind::Boolean(value) => value.into(),
            ValueKind::I64(number) => number.into(),
            ValueKind::U64(number) => number.into(),
            ValueKind::Float(number) => number.into(),
            ValueKind::String(text) => text.into(),
            ValueKind::Array(items) => items.into_iter().map(leaf).collect(),
            ValueKind::I128(_) | ValueKind::U128(_) | ValueKind::Nil | ValueKind::Table(_) => {
                Value::Null
            }
        }
    }

    pub(crate) fn get(&self, path: &[String]) -> Option<&Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.root.get(first)?, |value, part| match value {
            Value::Array(items) => items.get(part.parse::<usize>().ok()?),
            _ => value.get(part),
        })
    }

    pub(crate) fn get_mut(&mut self, path: &[String]) -> Option<&mut Value> {
        let (first, rest) = path.split_first()?;
        rest.iter().try_fold(self.root.get_mut(first)?, |value, part| match value {
            Value::Array(items) => items.get_mut(part.parse::<usize>().ok()?),
            _ => value.get_mut(part),
        })
    }

    /// Sets a leaf of an existing table.
    pub(crate) fn set(&mut self, path: Path, value: Value, origin: String) {
        let Some((last, parents)) = path.split_last() else { return };
        let root = &mut self.root;
        let table = match parents {
            [section] => match root.entry(section.clone()).or_insert_with(|| Map::new().into()) {
                Value::Object(table) => Some(table),
                _ => None,
            },
            _ => self.get_mut(parents).and_then(Value::as_object_mut),
        };
        if let Some(table) = table {
            table.insert(last.clone(), value);
            self.origins.insert(path, origin);
        }
    }

    /// Takes a leaf away.
    pub(crate) fn remove(&mut self, path: &[String]) -> Option<Value> {
        let (last, parents) = path.split_last()?;
        self.get_mut(parents)?.as_object_mut()?.remove(last)
    }

    /// Where the value at `path`, or the list it belongs to, was set.
    pub(crate) fn origin(&self, path: &[String]) -> &str {
        (0..=path.len())
            .rev()
            .find_map(|length| self.origins.get(&path[..length]))
            .map_or(DEFAULT, String::as_str)
    }
}

/// `broker.url`, `analyzers.llama3.2-vision.endpoints[0].url`.
pub(crate) fn key(path: &[String]) -> String {
    let mut key = String::new();
    for part in path {
        if part.bytes().all(|byte| byte.is_ascii_digit()) && !key.is_empty() {
            key.push_str(&format!("[{part}]"));
        } else {
            if !key.is_empty() {
                key.push('.');
            }
            key.push_str(part);
        }
    }
    key
}

/// Builds a [`Path`].
pub(crate) fn path(parts: &[&str]) -> Path {
    parts.iter().map(|&part| part.to_owned()).collect()
}

fn leaf(value: ConfigValue) -> Value {
    match value.kind {
        ValueKind::Boolean(value) => value.into(),
        ValueKind::I64(number) => number.into(),
        ValueKind::U64(number) => number.into(),
        ValueKind::Float(number) => number.into(),
        ValueKind::String(text) => text.into(),
        ValueKind::Array(items) => items.into_iter().map(leaf).collect(),
        ValueKind::Table(table) => {
            Value::Object(table.into_iter().map(|(name, value)| (name, leaf(value))).collect())
        }
        ValueKind::I128(_) | ValueKind::U128(_) | ValueKind::Nil => Value::Null,
    }
}
