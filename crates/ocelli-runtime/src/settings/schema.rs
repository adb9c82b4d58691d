//! Which settings exist: read from the commented `defaults/*.toml`, so that names, defaults and their explanation stand
//! in one place only.
//!
//! In those files `# text` explains the next setting, and `#name = value` (no space) is a setting without a default,
//! with an example of its type.

use std::sync::LazyLock;

use serde_json::Value;

use super::analyzer::Kind;

/// The built-in settings file.
pub(crate) const SETTINGS: &str = include_str!("defaults/settings.toml");
/// Fields of an analyzer, by kind.
const OCR: &str = include_str!("defaults/ocr.toml");
const LLM: &str = include_str!("defaults/llm.toml");
/// Fields of a budget.
pub(crate) const BUDGET: &str = include_str!("defaults/budget.toml");

/// Fields of a webhook.
pub(crate) const WEBHOOK: &str = include_str!("defaults/webhook.toml");

/// Fields of a rule.
pub(crate) const RULE: &str = include_str!("defaults/rule.toml");

static SCHEMA: LazyLock<Schema> = LazyLock::new(|| Schema {
    sections: sections(SETTINGS)
        .into_iter()
        .filter(|s| !s.name.starts_with("analyzers."))
        .collect(),
    ocr: sections(OCR).remove(0).fields,
    llm: sections(LLM).remove(0).fields,
    budget: sections(BUDGET).remove(0).fields,
    webhook: sections(WEBHOOK).remove(0).fields,
    rule: sections(RULE).remove(0).fields,
});

/// All settings.
#[derive(Debug)]
pub(crate) struct Schema {
    pub(crate) sections: Vec<Section>,
    ocr: Vec<Field>,
    llm: Vec<Field>,
    /// `[[budget]]`, which has no defaults.
    pub(crate) budget: Vec<Field>,
    /// `[[webhook]]`, which has none either.
    pub(crate) webhook: Vec<Field>,
    /// `[[rule]]`, which has none either.
    pub(crate) rule: Vec<Field>,
}

/// One `[section]`.
#[derive(Debug)]
pub(crate) struct Section {
    pub(crate) name: String,
    pub(crate) fields: Vec<Field>,
}

/// One setting.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: String,
    /// The default, or an example of the same type.
    pub(crate) sample: Value,
    /// Whether `sample` is the default.
    pub(crate) is_default: bool,
    pub(crate) explanation: String,
}

impl Schema {
    pub(crate) fn get() -> &'static Self {
        &SCHEMA
    }

    pub(crate) fn section(&self, name: &str) -> Option<&Section> {
        self.sections.iter().find(|section| section.name == name)
    }

    /// The fields of an analyzer of `kind`, without `kind` itself.
    pub(crate) fn kind(&self, kind: Kind) -> &[Field] {
        match kind {
            Kind::Ocr => &self.ocr,
            Kind::Llm => &self.llm,
        }
    }
}

/// The text of the fields of `kind`, for the commented default file.
pub(crate) const fn kind_text(kind: Kind) -> &'static str {
    match kind {
        Kind::Ocr => OCR,
        Kind::Llm => LLM,
    }
}

/// Reads the format described above. Only ever given the built-in files, which a test reads too.
fn sections(text: &str) -> Vec<Section> {
    let mut sections = vec![Section { name: String::new(), fields: Vec::new() }];
    let mut explanation: Vec<&str> = Vec::new();
    for line in text.lines().map(str::trim_end) {
        if let Some(name) = line.strip_prefix('[') {
            let name = name.trim_end_matches(']').replace('"', "");
            sections.push(Section { name, fields: Vec::new() });
        } else if let Some(words) = line.strip_prefix("# ") {
            explanation.push(words);
            continue;
        } else if !line.is_empty() {
            let setting = line.strip_prefix('#').unwrap_or(line);
            let table: toml::Table = setting.parse().expect("built-in settings are valid TOML");
            let (name, value) = table.into_iter().next().expect("one setting per line");
            let sample = serde_json::to_value(value).expect("no date and no NaN in the defaults");
            let is_default = !line.starts_with('#');
            let explanation = explanation.join(" ");
            if let Some(section) = sections.last_mut() {
                section.fields.push(Field { name, sample, is_default, explanation });
            }
        }
        explanation.clear();
    }
    sections.retain(|section| !section.fields.is_empty());
    sections
}
