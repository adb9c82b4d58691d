//! Which analyzers an image gets: rules in the language of searches. Pure: nothing here knows a database or a queue.
//!
//! A rule is a query that must hold for its analyzers to be asked. What an image itself tells is decided by whoever takes it in
//! (the producer), who knows the image and the place where it was seen. What other analyzers have answered is decided by a
//! collector, once they have; until then the job is held, as that of a dependent analyzer is (`leaving`). Where a rule does
//! not hold, the outcome is a skip with the rule's name, under a revision of the rule's own ([`ocelli_core::Revision::of_rule`]).
//!
//! | module | room for |
//! |---|---|
//! | this | rules, and what they say about one image |
//! | `facts` | what can be decided without a catalog |

mod facts;

use std::sync::Arc;

pub use facts::Seeing;
use facts::{Ground, ground, holds};
use ocelli_core::{AnalyzerName, RuleText};
use thiserror::Error;

use crate::query::{Expr, Filter, OPERATORS, Query, QueryError, QueryLimits};

/// A rule as it stands in the settings.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleSource {
    /// Its name and its query.
    pub text: RuleText,
    /// The analyzers it is about; none: all.
    pub analyzers: Vec<AnalyzerName>,
    /// The analyzers whose outcomes it asks about, beside those that its query names.
    pub after: Vec<AnalyzerName>,
}

/// Why a text is no rule.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum RuleError {
    /// It is no query.
    #[error("{0}")]
    Query(#[from] QueryError),
    /// It asks for what nobody knows when an image is taken in.
    #[error(
        "'{filter}' cannot be decided before an analyzer is asked; a rule may ask about the image ({KNOWN}) and, \
         with 'after', about what other analyzers answered"
    )]
    Undecidable {
        /// The filter, as it is typed.
        filter: String,
    },
    /// It asks about answers, and not about whose.
    #[error(
        "'{part}' is about an answer: name the analyzers that must have answered, as in after = [\"tesseract-ocr\"]"
    )]
    NoAfter {
        /// The word or filter, as it is typed.
        part: String,
    },
    /// An operator in small letters where a word follows.
    #[error(
        "'{word}' is a word to look for where it stands; as an operator it is written in capitals: {}",
        word.to_uppercase()
    )]
    Operator {
        /// The word.
        word: String,
    },
    /// It holds for everything.
    #[error("an empty query holds for every image: the rule would do nothing")]
    Empty,
    /// An analyzer would wait for its own answer.
    #[error("it is about '{0}' and asks what '{0}' answered: it would wait for itself")]
    Itself(AnalyzerName),
}

/// Filters about an image itself, for messages.
const KNOWN: &str =
    "bytes, width, height, pixels, format:, source:, batch:, meta:, before:, after:";

/// A rule that can be followed.
#[derive(Debug, Clone, PartialEq)]
pub struct Rule {
    text: RuleText,
    query: Query,
    analyzers: Vec<AnalyzerName>,
    after: Vec<AnalyzerName>,
}

/// All rules, in the order of the settings. Cheap to clone.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Rules(Arc<[Rule]>);

/// What rules say about one image and one analyzer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It is asked.
    Asked,
    /// It is not asked, by the first rule that says so.
    LeftOut(RuleText),
    /// The answers of `after` decide: it is asked when all of `rules` hold.
    Later {
        /// Those that could not be decided, in their order.
        rules: Vec<RuleText>,
        /// Whose outcomes they ask about.
        after: Vec<AnalyzerName>,
    },
}

impl Rule {
    /// Reads a rule.
    ///
    /// # Errors
    /// [`RuleError`].
    pub fn new(source: RuleSource, limits: &QueryLimits) -> Result<Self, RuleError> {
        let RuleSource { text, analyzers, mut after } = source;
        let query = Query::parse_within(&text.when, limits)?;
        if query.expr == Expr::All(Vec::new()) {
            return Err(RuleError::Empty);
        }
        let mut about_answers = None;
        look(&query.expr, &mut |leaf| {
            let named = match leaf {
                Expr::Term(term) if OPERATORS.contains(&term.words.as_str()) => {
                    return Err(RuleError::Operator { word: term.words.clone() });
                }
                Expr::Filter(filter) => match ground(filter) {
                    Ground::Image => return Ok(()),
                    Ground::Nothing => {
                        return Err(RuleError::Undecidable { filter: filter.to_string() });
                    }
                    Ground::Answers => named(filter),
                },
                _ => None,
            };
            match named {
                Some(name) if !after.contains(name) => after.push(name.clone()),
                Some(_) => {}
                None => _ = about_answers.get_or_insert_with(|| shown(leaf)),
            }
            Ok(())
        })?;
        if let Some(part) = about_answers.filter(|_| after.is_empty()) {
            return Err(RuleError::NoAfter { part });
        }
        if let Some(name) = after.iter().find(|name| analyzers.contains(name)) {
            return Err(RuleError::Itself(name.clone()));
        }
        Ok(Self { text, query, analyzers, after })
    }

    /// Its name and its query as they were written.
    #[must_use]
    pub const fn text(&self) -> &RuleText {
        &self.text
    }

    /// What it asks, as a search.
    #[must_use]
    pub const fn query(&self) -> &Query {
        &self.query
    }

    /// The analyzers it is about; none: all, but for those that it asks about.
    #[must_use]
    pub fn analyzers(&self) -> &[AnalyzerName] {
        &self.analyzers
    }

    /// The analyzers whose outcomes it waits for.
    #[must_use]
    pub fn after(&self) -> &[AnalyzerName] {
        &self.after
    }

    /// Whether it is about this analyzer. One about all leaves those alone that it asks about.
    #[must_use]
    pub fn covers(&self, analyzer: &AnalyzerName) -> bool {
        if self.analyzers.is_empty() {
            !self.after.contains(analyzer)
        } else {
            self.analyzers.contains(analyzer)
        }
    }
}

impl Rules {
    /// These, in this order.
    #[must_use]
    pub fn new(rules: Vec<Rule>) -> Self {
        Self(rules.into())
    }

    /// All of them.
    pub fn iter(&self) -> impl Iterator<Item = &Rule> {
        self.0.iter()
    }

    /// Those about one analyzer, in their order.
    pub fn of<'a>(&'a self, analyzer: &'a AnalyzerName) -> impl Iterator<Item = &'a Rule> {
        self.0.iter().filter(|rule| rule.covers(analyzer))
    }

    /// The analyzers for whose outcomes this one waits, each once.
    #[must_use]
    pub fn after(&self, analyzer: &AnalyzerName) -> Vec<AnalyzerName> {
        let mut after = Vec::new();
        for name in self.of(analyzer).flat_map(Rule::after) {
            if !after.contains(name) {
                after.push(name.clone());
            }
        }
        after
    }

    /// Whether one asks about the image itself, so that somebody must have looked at it.
    #[must_use]
    pub fn ask_about_pixels(&self) -> bool {
        let measures = |filter: &Filter| matches!(filter, Filter::Measured(..) | Filter::Format(_));
        self.0.iter().any(|rule| rule.query.expr.has(&measures))
    }

    /// What they say about an image that was seen, as far as it can be said. Every rule of an analyzer must hold.
    #[must_use]
    pub fn decide(&self, analyzer: &AnalyzerName, seeing: &Seeing<'_>) -> Verdict {
        let (mut rules, mut after) = (Vec::new(), Vec::new());
        for rule in self.of(analyzer) {
            match holds(&rule.query.expr, seeing) {
                Some(true) => {}
                Some(false) => return Verdict::LeftOut(rule.text.clone()),
                None => {
                    rules.push(rule.text.clone());
                    let new: Vec<_> =
                        rule.after.iter().filter(|name| !after.contains(*name)).cloned().collect();
                    after.extend(new);
                }
            }
        }
        if rules.is_empty() { Verdict::Asked } else { Verdict::Later { rules, after } }
    }

    /// `query`, narrowed to the images that an analyzer may be asked about. Each rule is asked of the record on its own, as it is
    /// everywhere else, and not of the answer that `query` finds. Where an answer that a rule asks about is still to come, it does not
    /// hold yet.
    #[must_use]
    pub fn narrow(&self, query: &Query, analyzer: &AnalyzerName) -> Query {
        let rules = self.of(analyzer).flat_map(|rule| {
            let answered = |name: &AnalyzerName| {
                Expr::Not(Box::new(Expr::Filter(Filter::Missing(name.clone()))))
            };
            std::iter::once(rule.query.expr.clone().apart()).chain(rule.after.iter().map(answered))
        });
        let parts = std::iter::once(query.expr.clone()).chain(rules).collect();
        Query { expr: Expr::all(parts) }
    }
}

impl Expr {
    /// The same, about another answer of the record perhaps than what stands beside it.
    fn apart(self) -> Self {
        Self::Not(Box::new(Self::Not(Box::new(self))))
    }
}

/// Calls `each` for every leaf, excluded or not, until one is wrong.
fn look(
    expr: &Expr,
    each: &mut impl FnMut(&Expr) -> Result<(), RuleError>,
) -> Result<(), RuleError> {
    match expr {
        Expr::All(parts) | Expr::Any(parts) => parts.iter().try_for_each(|part| look(part, each)),
        Expr::Not(part) => look(part, each),
        Expr::Term(_) | Expr::Filter(_) => each(expr),
    }
}

/// The analyzer that a filter names.
const fn named(filter: &Filter) -> Option<&AnalyzerName> {
    match filter {
        Filter::Analyzer(name) | Filter::Has(Some(name)) | Filter::Missing(name) => Some(name),
        _ => None,
    }
}

fn shown(leaf: &Expr) -> String {
    Query { expr: leaf.clone() }.to_string()
}

#[cfg(test)]
mod tests;
