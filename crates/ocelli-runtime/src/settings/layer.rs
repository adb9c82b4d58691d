//! One layer of settings: a file, the environment, the flags. Each leaf remembers where it stands.
//!
//! The `config` crate merges layers. Its own readers are not used: they know no line numbers, split environment
//! variables without knowing the names of analyzers, and drop what they do not know.

use std::collections::BTreeMap;
use std::path::Path;

use config::{ConfigError, Map, Source, Value, ValueKind};
use toml::de::{DeTable, DeValue};

use super::known::Known;
use super::problem::Problem;

/// Where a built-in value comes from, as shown to people.
pub(crate) const DEFAULT: &str = "default";
/// Where a flag's value comes from.
pub(crate) const FLAGS: &str = "command line";

/// A tree of settings whose leaves carry their origin.
#[derive(Debug, Clone, Default)]
pub(crate) struct Layer(pub(crate) Map<String, Value>);

impl Source for Layer {
    fn clone_into_box(&self) -> Box<dyn Source + Send + Sync> {
        Box::new(self.clone())
    }

    /// Top-level names are known sections here (others were refused before), so the path syntax of `config`, which
    /// would split a dotted name, has nothing to split; deeper names are never parsed.
    fn collect(&self) -> Result<Map<String, Value>, ConfigError> {
        Ok(self.0.clone())
    }
}

impl Layer {
    /// The built-in settings.
    pub(crate) fn defaults(text: &str) -> Self {
        let table = DeTable::parse(text).expect("built-in settings are valid TOML");
        let tree = convert_table(table.into_inner(), &|_| DEFAULT.to_owned());
        Self(tree.expect("built-in numbers fit"))
    }

    /// The settings of a file.
    pub(crate) fn file(path: &Path, text: &str) -> Result<Self, Problem> {
        let at = |offset: usize| {
            let line =
                text.as_bytes().iter().take(offset).filter(|byte| **byte == b'\n').count() + 1;
            format!("{} line {line}", path.display())
        };
        // Only the parser's message: its picture of the line could show a secret.
        let table = DeTable::parse(text).map_err(|error| Problem::Syntax {
            origin: error.span().map_or_else(|| path.display().to_string(), |span| at(span.start)),
            reason: error.message().to_owned(),
        })?;
        convert_table(table.into_inner(), &at).map(Self).map_err(|NumberTooLarge(origin)| {
            Problem::Syntax { origin, reason: "a number is too large".to_owned() }
        })
    }

    /// `OCELLI_SECTION__KEY=value`. An empty value counts as not set.
    pub(crate) fn environment(
        variables: &BTreeMap<String, String>,
        known: &Known,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut layer = Self::default();
        for (name, text) in variables {
            if !name.starts_with("OCELLI_") || is_foreign(name) || text.is_empty() {
                continue;
            }
            match known.variable(name) {
                Some(setting) => layer.set(&setting.path, setting.value(text, name)),
                None => problems.push(Problem::UnknownVariable {
                    name: name.clone(),
                    nearest: known.nearest_variable(name),
                }),
            }
        }
        layer
    }

    /// Flags as `(key, value)`; later ones win.
    pub(crate) fn flags(
        flags: &[(String, String)],
        known: &Known,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let mut layer = Self::default();
        for (key, text) in flags {
            match known.key(key) {
                Some(setting) => layer.set(&setting.path, setting.value(text, FLAGS)),
                None => problems.push(Problem::UnknownKey {
                    origin: FLAGS.to_owned(),
                    key: key.clone(),
                    nearest: known.nearest_key(key),
                }),
            }
        }
        layer
    }

    /// Sets the leaf at `path`, making the tables on the way.
    pub(crate) fn set(&mut self, path: &[String], value: Value) {
        let Some((last, tables)) = path.split_last() else { return };
        let mut table = &mut self.0;
        for name in tables {
            let entry = table
                .entry(name.clone())
                .or_insert_with(|| Value::new(None, ValueKind::Table(Map::new())));
            if !matches!(entry.kind, ValueKind::Table(_)) {
                entry.kind = ValueKind::Table(Map::new());
            }
            let ValueKind::Table(inner) = &mut entry.kind else { return };
            table = inner;
        }
        table.insert(last.clone(), value);
    }

    /// The table at `name`, if there is one.
    pub(crate) fn table(&self, name: &str) -> Option<&Map<String, Value>> {
        match &self.0.get(name)?.kind {
            ValueKind::Table(table) => Some(table),
            _ => None,
        }
    }

    /// Within one layer a secret and its `_file` exclude each other; across layers the later one wins, whichever of the
    /// two it is. So each unsets the other.
    pub(crate) fn settle_files(&mut self, origin: &str, problems: &mut Vec<Problem>) {
        for (section, field) in SECRETS {
            let file = format!("{field}_file");
            let Some(Value { kind: ValueKind::Table(table), .. }) = self.0.get_mut(section) else {
                continue;
            };
            let unset = Value::new(None, ValueKind::Nil);
            match (table.contains_key(field), table.contains_key(&file)) {
                (true, true) => {
                    let (origin, key) = (origin.to_owned(), format!("{section}.{field}"));
                    problems.push(Problem::Both { origin, key });
                }
                (true, false) => _ = table.insert(file, unset),
                (false, true) => _ = table.insert(field.to_owned(), unset),
                (false, false) => {}
            }
        }
    }
}

/// Settings that can stand in a file of their own, `FIELD_file`.
const SECRETS: [(&str, &str); 7] = [
    ("broker", "url"),
    ("catalog", "url"),
    ("objects", "access_key"),
    ("objects", "secret_key"),
    ("objects", "gs_key"),
    ("objects", "az_key"),
    ("web", "token"),
];

/// Variables that begin with `OCELLI_` and are not settings: the settings file, and what tests and scripts use.
fn is_foreign(name: &str) -> bool {
    name == "OCELLI_CONFIG"
        || name == "OCELLI_SHARED_DATA"
        || name == "OCELLI_SKIP_SETUP"
        || (cfg!(debug_assertions) && name == "OCELLI_FAILPOINT")
        || name.starts_with("OCELLI_TEST_")
        || name.starts_with("OCELLI_UP_")
}

#[derive(Debug)]
struct NumberTooLarge(String);

fn convert_table(
    table: DeTable<'_>,
    at: &dyn Fn(usize) -> String,
) -> Result<Map<String, Value>, NumberTooLarge> {
    table
        .into_iter()
        .map(|(key, value)| {
            let origin = at(key.span().start);
            Ok((key.into_inner().into_owned(), convert(value.into_inner(), &origin, at)?))
        })
        .collect()
}

fn convert(
    value: DeValue<'_>,
    origin: &String,
    at: &dyn Fn(usize) -> String,
) -> Result<Value, NumberTooLarge> {
    let too_large = || NumberTooLarge(origin.clone());
    let kind = match value {
        DeValue::String(text) => ValueKind::String(text.into_owned()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map(ValueKind::I64)
            .map_err(|_| too_large())?,
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .filter(|number: &f64| number.is_finite())
            .map(ValueKind::Float)
            .ok_or_else(too_large)?,
        DeValue::Boolean(value) => ValueKind::Boolean(value),
        DeValue::Datetime(time) => ValueKind::String(time.to_string()),
        DeValue::Table(table) => ValueKind::Table(convert_table(table, at)?),
        DeValue::Array(array) => ValueKind::Array(
            array
                .into_iter()
                .map(|value| convert(value.into_inner(), origin, at))
                .collect::<Result<_, _>>()?,
        ),
    };
    Ok(Value::new(Some(origin), kind))
}
