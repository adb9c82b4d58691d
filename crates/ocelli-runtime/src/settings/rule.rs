//! `[[rule]]`: which analyzers an image gets. What its query means is read by whoever knows the language of searches.

use ocelli_core::AnalyzerName;
use serde::Deserialize;

/// Names that skips have for other reasons.
const TAKEN: [&str; 4] = ["discarded", "near-duplicate", "robots", "type"];

/// One rule.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RuleSettings {
    /// Its name, unique among them.
    pub name: String,
    /// The query that must hold for an analyzer to be asked.
    pub when: String,
    /// The analyzers it is about; none: all.
    #[serde(default)]
    pub analyzers: Vec<AnalyzerName>,
    /// The analyzers that must have answered before it is decided, beside those that the query names.
    #[serde(default)]
    pub after: Vec<AnalyzerName>,
    /// Where it stands: file and line.
    #[serde(skip)]
    pub origin: String,
}

impl RuleSettings {
    /// What is wrong with it alone, in words.
    pub(crate) fn problem(&self) -> Option<String> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(letters) {
            return Some("name: expected 1 to 64 of a-z, 0-9, '.', '-', '_'".to_owned());
        }
        TAKEN
            .contains(&self.name.as_str())
            .then(|| format!("name: '{}' is what skips say that come of something else", self.name))
    }
}
