//! What is wrong with a query, and where.

use thiserror::Error;

/// Why a text is no query. The message says it for people, with the place and what to write instead.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{message}")]
pub struct QueryError {
    message: String,
    /// The position in characters, from 1.
    pub character: usize,
}

impl QueryError {
    /// `message` has the place already.
    pub(crate) fn new(character: usize, message: impl Into<String>) -> Self {
        Self { message: message.into(), character }
    }
}

/// What was typed, safe and short enough for a message.
pub(super) fn shown(text: &str) -> String {
    let mut shown: String = text
        .chars()
        .take(40)
        .map(|char| if char.is_control() { '\u{fffd}' } else { char })
        .collect();
    if text.chars().nth(40).is_some() {
        shown.push('…');
    }
    shown
}
