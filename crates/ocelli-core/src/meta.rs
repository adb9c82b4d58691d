//! What a list says about a reference beside where it is: names and texts, as whoever wrote the list wished.
//!
//! Hostile text that nobody has checked, kept with the place where the image was seen, and no fact about the image. Bounds are the
//! business of whoever reads the list.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::BatchId;

/// Longest name: it stands in the index of databases.
pub const MAX_NAME_BYTES: usize = 200;

/// Names and texts.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Meta(BTreeMap<String, String>);

impl Meta {
    /// Whether nothing was said.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// How many names there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Bytes of all names and texts.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.0.iter().map(|(name, text)| name.len() + text.len()).sum()
    }

    /// In the order of the names.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, text)| (name.as_str(), text.as_str()))
    }

    /// Of two with one name the latter stays.
    pub fn insert(&mut self, name: String, text: String) {
        self.0.insert(name, text);
    }
}

impl FromIterator<(String, String)> for Meta {
    fn from_iter<I: IntoIterator<Item = (String, String)>>(all: I) -> Self {
        Self(all.into_iter().collect())
    }
}

/// A text and which run said it. Of two under one name the larger stays: that of the later run (ids of batches grow with time).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Said {
    /// Which run.
    pub batch: BatchId,
    /// The text.
    pub text: String,
}
