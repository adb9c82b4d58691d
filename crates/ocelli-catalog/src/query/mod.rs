//! What people type into a search, as a tree. Pure: nothing here knows a database. `docs/SEARCH.md` describes the language.
//!
//! | module | room for |
//! |---|---|
//! | this | the tree, and its text: printing a tree and parsing it gives the same tree |
//! | `parse` | text → tree, or what is wrong and where |
//! | `filters` | `name:value` |
//! | `measures` | `bytes < 20MB` |
//! | `chips` | its parts, for whoever wants to take one away |
//! | `error` | [`QueryError`] |

mod chips;
mod error;
mod filters;
mod measures;
mod parse;

use std::fmt;

pub use chips::Chip;
pub use error::QueryError;
pub use filters::{Confidence, Filter, Is, Like};
pub use measures::{Bounds, Measure};
pub use parse::QueryLimits;

/// A parsed query.
#[derive(Debug, Clone, PartialEq)]
pub struct Query {
    pub(crate) expr: Expr,
}

/// Words that may also be operators, and are printed in quotes.
pub(crate) const OPERATORS: [&str; 3] = ["and", "or", "not"];

/// What must hold for one answer of a record.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Expr {
    /// All of them; of none everything.
    All(Vec<Self>),
    /// At least one of them.
    Any(Vec<Self>),
    /// Of a filter: its opposite. Of anything else: no answer of the record is like that.
    Not(Box<Self>),
    Term(Term),
    Filter(Filter),
}

/// A run of words in the form of [`crate::search`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Term {
    /// Folded words with one space between them.
    pub(crate) words: String,
    /// `*words`: the first word may begin earlier.
    pub(crate) open_start: bool,
    /// `words*`: the last word may go on.
    pub(crate) open_end: bool,
}

impl Expr {
    /// Joins without needless nesting.
    pub(crate) fn all(parts: Vec<Self>) -> Self {
        Self::join(parts, Self::All, |part| match part {
            Self::All(inner) => Ok(inner),
            other => Err(other),
        })
    }

    pub(crate) fn any(parts: Vec<Self>) -> Self {
        Self::join(parts, Self::Any, |part| match part {
            Self::Any(inner) => Ok(inner),
            other => Err(other),
        })
    }

    fn join(
        parts: Vec<Self>,
        make: fn(Vec<Self>) -> Self,
        open: fn(Self) -> Result<Vec<Self>, Self>,
    ) -> Self {
        let mut flat = Vec::new();
        for part in parts {
            match open(part) {
                Ok(inner) => flat.extend(inner),
                Err(other) => flat.push(other),
            }
        }
        if flat.len() == 1 { flat.remove(0) } else { make(flat) }
    }

    /// Calls `each` for every leaf that is not below a [`Expr::Not`].
    pub(crate) fn asked<'a>(&'a self, each: &mut impl FnMut(&'a Self)) {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().for_each(|part| part.asked(each)),
            Self::Not(_) => {}
            Self::Term(_) | Self::Filter(_) => each(self),
        }
    }

    /// Calls `each` for every filter, excluded or not.
    pub(crate) fn filters(&mut self, each: &mut impl FnMut(&mut Filter)) {
        match self {
            Self::All(parts) | Self::Any(parts) => {
                parts.iter_mut().for_each(|part| part.filters(each));
            }
            Self::Not(part) => part.filters(each),
            Self::Term(_) => {}
            Self::Filter(filter) => each(filter),
        }
    }

    /// Whether some leaf, excluded or not, is like that.
    pub(crate) fn has(&self, like: &impl Fn(&Filter) -> bool) -> bool {
        match self {
            Self::All(parts) | Self::Any(parts) => parts.iter().any(|part| part.has(like)),
            Self::Not(part) => part.has(like),
            Self::Term(_) => false,
            Self::Filter(filter) => like(filter),
        }
    }
}

impl Term {
    /// What the form of a text contains when the term stands in it.
    pub(crate) fn needle(&self) -> String {
        let start = if self.open_start { "" } else { " " };
        let end = if self.open_end { "" } else { " " };
        format!("{start}{}{end}", self.words)
    }
}

impl fmt::Display for Query {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.expr.fmt(f)
    }
}

impl fmt::Display for Expr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = |f: &mut fmt::Formatter<'_>, part: &Self| match part {
            Self::All(_) | Self::Any(_) => write!(f, "({part})"),
            leaf => leaf.fmt(f),
        };
        let joined = |f: &mut fmt::Formatter<'_>, parts: &[Self], between: &str| {
            parts.iter().enumerate().try_for_each(|(place, part)| {
                if place > 0 {
                    f.write_str(between)?;
                }
                inner(f, part)
            })
        };
        match self {
            Self::All(parts) => joined(f, parts, " "),
            Self::Any(parts) => joined(f, parts, " OR "),
            Self::Not(part) => {
                f.write_str("-")?;
                inner(f, part)
            }
            Self::Term(term) => term.fmt(f),
            Self::Filter(filter) => filter.fmt(f),
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let star = |open| if open { "*" } else { "" };
        let plain = self.words.bytes().all(|byte| byte.is_ascii_alphanumeric())
            && (self.open_start || self.open_end || !OPERATORS.contains(&self.words.as_str()));
        let quote = if plain { "" } else { "\"" };
        write!(f, "{}{quote}{}{quote}{}", star(self.open_start), self.words, star(self.open_end))
    }
}

/// A value as it must be written: in quotes where it has characters that end a bare value.
fn quoted(value: &str) -> String {
    if !value.is_empty() && !value.contains(|c: char| c.is_whitespace() || "()\"|\\".contains(c)) {
        return value.to_owned();
    }
    format!("\"{}\"", value.replace('\\', "\\\\").replace('"', "\\\""))
}

#[cfg(test)]
mod tests;
