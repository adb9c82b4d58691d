//! Analyzers that read what other analyzers have answered, and those that a rule leaves out: what a message says about them.
//!
//! A dependent job is wanted like any other, but whoever asks for it does not enqueue it: the collector does, once
//! everything it needs has an outcome. A message without dependent jobs says nothing here, and is written as if this did
//! not exist.

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{Analysis, AnalyzerName, Outcome, OutcomeKind, Provenance, Revision};

/// What an [`Intake`](crate::wire::Intake) says beside its plain wants: about the dependent ones among them, and about analyzers
/// that are not asked.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Dependence {
    /// One per dependent want.
    pub needs: Vec<Need>,
    /// What the needed analyzers answered; in jobs only.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub texts: Vec<NeededText>,
    /// Analyzers that a rule leaves out: none of them is among the wants.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<LeftOut>,
}

/// An analyzer that is not asked about an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// Which.
    pub analyzer: AnalyzerName,
    /// The rule that says so.
    pub rule: RuleText,
}

/// A rule as it stands in the settings.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct RuleText {
    /// Its name.
    pub name: String,
    /// The query that must hold for an analyzer to be asked.
    pub when: String,
}

impl RuleText {
    /// The answer of a rule that leaves an analyzer out.
    #[must_use]
    pub fn skip(&self, analyzer: &AnalyzerName, at: Timestamp) -> Analysis {
        Analysis {
            analyzer: analyzer.clone(),
            revision: self.revision(),
            outcome: Outcome::Skipped {
                rule: self.name.clone(),
                reason: format!("asked only when {}", self.when),
            },
            attempts: 0,
            finished_at: at,
            provenance: Provenance::default(),
        }
    }

    /// What is wanted where it leaves an analyzer out.
    #[must_use]
    pub fn revision(&self) -> Revision {
        Revision::of_rule(&self.name, &self.when)
    }
}

/// What one dependent analyzer needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Need {
    /// The dependent analyzer.
    pub analyzer: AnalyzerName,
    /// The analyzers whose outcomes it needs, in the order of its settings. None where it only waits for its turn ([`Need::near`]).
    pub of: Vec<AnalyzerName>,
    /// Whether the sender has not enqueued the job and leaves that to the collector.
    #[serde(default)]
    pub held: bool,
    /// Up to which distance of their perceptual hashes images count as near-identical, when the job is to be done for the first
    /// of them only. None: for every image.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub near: Option<u32>,
    /// Rules that only the answers of `after` can decide: all must hold, or the first that does not is the outcome.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub rules: Vec<RuleText>,
    /// The analyzers whose outcomes these rules ask about. They are waited for as those of [`Need::of`], and not told to anybody.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after: Vec<AnalyzerName>,
}

/// What a needed analyzer answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NeededText {
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// What came of it. A failure counts as answered: it has no text.
    pub outcome: OutcomeKind,
    /// What it read; empty where it read nothing. Somebody else's words: never an instruction.
    pub text: String,
    /// Whether the text was longer and its end is missing.
    #[serde(default)]
    pub cut: bool,
}

impl Dependence {
    /// Whether there is nothing to say.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.needs.is_empty() && self.texts.is_empty() && self.left_out.is_empty()
    }

    /// What is said about one analyzer.
    #[must_use]
    pub fn of(&self, analyzer: &AnalyzerName) -> Option<&Need> {
        self.needs.iter().find(|need| need.analyzer == *analyzer)
    }
}

impl NeededText {
    /// The beginning of an answer, at most `most_bytes` of it, cut between two characters.
    #[must_use]
    pub fn new(
        analyzer: AnalyzerName,
        outcome: OutcomeKind,
        mut text: String,
        most_bytes: usize,
    ) -> Self {
        let end = text.floor_char_boundary(most_bytes);
        let cut = end < text.len();
        text.truncate(end);
        Self { analyzer, outcome, text, cut }
    }
}

/// The analyzers in an order in which each stands behind all that it needs; else those that need each other in a circle,
/// from one of them around to itself. Names that are needed and not listed are nobody's business here.
///
/// # Errors
/// The circle.
pub fn in_order<T>(
    all: &[T],
    name: impl Fn(&T) -> &AnalyzerName,
    needs: impl Fn(&T) -> &[AnalyzerName],
) -> Result<Vec<&T>, Vec<AnalyzerName>> {
    let mut ordered: Vec<&T> = Vec::with_capacity(all.len());
    let mut left: Vec<&T> = all.iter().collect();
    while !left.is_empty() {
        let waits_for = |one: &T| {
            needs(one).iter().find(|need| left.iter().any(|other| name(other) == *need)).cloned()
        };
        let (free, waiting): (Vec<&T>, Vec<&T>) =
            left.iter().partition(|one| waits_for(one).is_none());
        if free.is_empty() {
            // Each of them waits for another of them: following the waits comes back to where it was.
            let mut path = vec![name(left[0]).clone()];
            while let Some(next) = left
                .iter()
                .find(|one| Some(name(one)) == path.last())
                .and_then(|one| waits_for(one))
            {
                if let Some(begin) = path.iter().position(|seen| *seen == next) {
                    path.drain(..begin);
                    path.push(next);
                    return Err(path);
                }
                path.push(next);
            }
            return Err(path);
        }
        ordered.extend(free);
        left = waiting;
    }
    Ok(ordered)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(text: &str) -> AnalyzerName {
        text.parse().unwrap()
    }

    fn order(edges: &[(&str, &[&str])]) -> Result<Vec<String>, Vec<String>> {
        let all: Vec<(AnalyzerName, Vec<AnalyzerName>)> = edges
            .iter()
            .map(|(name, needs)| (named(name), needs.iter().map(|need| named(need)).collect()))
            .collect();
        let text = |names: Vec<&AnalyzerName>| names.into_iter().map(ToString::to_string).collect();
        match in_order(&all, |one| &one.0, |one| &one.1) {
            Ok(ordered) => Ok(text(ordered.into_iter().map(|one| &one.0).collect())),
            Err(circle) => Err(text(circle.iter().collect())),
        }
    }

    #[test]
    fn each_stands_behind_what_it_needs_and_a_circle_is_named() {
        let chain: &[(&str, &[&str])] =
            &[("a", &["b"]), ("b", &["c", "elsewhere"]), ("c", &[]), ("d", &["a", "c"])];
        assert_eq!(order(chain).unwrap(), ["c", "b", "a", "d"]);
        assert_eq!(order(&[("a", &["a"])]).unwrap_err(), ["a", "a"]);
        let circle: &[(&str, &[&str])] =
            &[("x", &["a"]), ("a", &["b"]), ("b", &["c"]), ("c", &["a"])];
        assert_eq!(order(circle).unwrap_err(), ["a", "b", "c", "a"]);
    }

    #[test]
    fn a_long_text_is_cut_between_characters_and_says_so() {
        let cut = |text: &str, most| {
            let text = NeededText::new(named("a"), OutcomeKind::Done, text.to_owned(), most);
            (text.text, text.cut)
        };
        assert_eq!(cut("grüße", 3), ("gr".to_owned(), true));
        assert_eq!(cut("grüße", 4), ("grü".to_owned(), true));
        assert_eq!(cut("grüße", 7), ("grüße".to_owned(), false));
        assert_eq!(cut("", 0), (String::new(), false));
    }
}
