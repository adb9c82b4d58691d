//! Which words of the vocabulary are surely stored, so that a batch need not offer them again. Most words of a text were in
//! the texts before it.
//!
//! Words are only ever added to a vocabulary, and noted here after the commit of the transaction that added them: what is
//! noted is there.

use std::collections::HashSet;
use std::hash::{BuildHasher as _, RandomState};
use std::sync::{Arc, Mutex, PoisonError};

/// Words that are noted: beyond so many everything is forgotten and learned again. Less than 5 MB.
const MOST_NOTED: usize = 200_000;

/// Clones share what they note.
///
/// A word is noted by two hashes of it, 128 bits in all, under keys that nobody knows: in an archive with a thousand million
/// different words the chance that any of them is taken for another one is less than one in 10²³.
#[derive(Debug, Clone, Default)]
pub(crate) struct Noted {
    keys: (RandomState, RandomState),
    words: Arc<Mutex<HashSet<(u64, u64)>>>,
}

impl Noted {
    fn hash(&self, word: &str) -> (u64, u64) {
        (self.keys.0.hash_one(word), self.keys.1.hash_one(word))
    }

    /// Those of the words that may be new.
    pub(crate) fn unknown(&self, words: &[Box<str>]) -> Vec<Box<str>> {
        let noted = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        words.iter().filter(|word| !noted.contains(&self.hash(word))).cloned().collect()
    }

    /// Notes words that are stored for good.
    pub(crate) fn add(&self, words: &[Box<str>]) {
        let mut noted = self.words.lock().unwrap_or_else(PoisonError::into_inner);
        if noted.capacity() == 0 {
            // All at once: what a collector holds is then the same after a day as after some minutes.
            noted.reserve(MOST_NOTED);
        }
        if noted.len() + words.len() > MOST_NOTED {
            noted.clear();
        }
        noted.extend(words.iter().take(MOST_NOTED).map(|word| self.hash(word)));
    }
}

/// The words that one transaction adds.
#[derive(Debug, Default)]
pub(crate) struct Adding {
    noted: Noted,
    words: Vec<Box<str>>,
}

impl Adding {
    pub(crate) fn to(noted: &Noted) -> Self {
        Self { noted: noted.clone(), words: Vec::new() }
    }

    /// Those of the words that are to be written.
    pub(crate) fn new_of(&mut self, words: &[Box<str>]) -> &[Box<str>] {
        let from = self.words.len();
        self.words.extend(self.noted.unknown(words));
        &self.words[from..]
    }

    /// To be called after the commit.
    pub(crate) fn committed(self) {
        self.noted.add(&self.words);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_noted_is_known_and_too_much_is_forgotten() {
        let noted = Noted::default();
        let of = |word: &str| Box::<str>::from(word);
        let words = ["cat", "dog"].map(of);
        assert_eq!(noted.unknown(&words), words);
        noted.add(&[of("cat")]);
        assert_eq!(noted.unknown(&words), [of("dog")]);
        let numbers: Vec<_> = (0..MOST_NOTED).map(|number| of(&number.to_string())).collect();
        noted.add(&numbers);
        assert_eq!(noted.unknown(&words), words);
        assert!(noted.unknown(&[of("17")]).is_empty());
    }
}
