//! Whether a text occurs in another, errors forgiven: the smallest number of characters that must be changed, added or left out, so
//! that the one stands somewhere in the other.
//!
//! That is approximate string matching by Gene Myers' bit vectors (Journal of the ACM 46(3), 1999): one step for each
//! character of the longer text, whatever the errors, so that hostile texts cost no more than others. Blanks do not count: OCR joins words
//! and splits them.

use std::collections::HashMap;

use super::form::words;

/// Characters that one bit vector holds. Longer quotes are looked up in pieces.
const PIECE: usize = 64;

/// Shorter quotes must stand there as whole words, without an error: by chance they would be found in any long text.
const SHORT: usize = 8;

/// Characters of a shingle, by which two transcripts are compared.
const SHINGLE: usize = 4;

/// A text in which others are looked up.
pub(super) struct Haystack {
    words: Vec<Vec<char>>,
    /// All words without blanks between them.
    joined: Vec<char>,
}

impl Haystack {
    pub(super) fn new(text: &str) -> Self {
        let words = words(text);
        let joined = words.concat();
        Self { words, joined }
    }

    /// The part of the quote's characters that stand here in this order, and how many it has. None when nothing of it can be
    /// looked up. What a quote leaves out with an ellipsis may be missing.
    pub(super) fn find(&self, quote: &str) -> Option<(f32, usize)> {
        let (mut good, mut all) = (0.0, 0);
        for part in quote.replace("...", "…").split('…') {
            let words = words(part);
            let length: usize = words.iter().map(Vec::len).sum();
            if length == 0 {
                continue;
            }
            all += length;
            if length < SHORT {
                good += if self.has(&words) { length as f32 } else { 0.0 };
                continue;
            }
            for piece in pieces(&words) {
                let errors = errors(&piece, &self.joined);
                good += piece.len().saturating_sub(errors) as f32;
            }
        }
        (all >= 2).then(|| ((good / all as f32).clamp(0.0, 1.0), all))
    }

    /// Whether these words stand here one after the other, however they are joined.
    fn has(&self, wanted: &[Vec<char>]) -> bool {
        let wanted = wanted.concat();
        (0..self.words.len()).any(|from| {
            let mut rest = wanted.as_slice();
            for word in &self.words[from..] {
                match rest.strip_prefix(word.as_slice()) {
                    Some([]) => return true,
                    Some(left) => rest = left,
                    None => return false,
                }
            }
            false
        })
    }

    /// The part of their shingles that two transcripts share (Dice's coefficient); none when one has too few.
    pub(super) fn shared(&self, other: &Self) -> Option<f32> {
        let (mine, theirs) = (self.shingles(), other.shingles());
        if mine.is_empty() || theirs.is_empty() {
            return None;
        }
        // Both are in order: a walk along the two finds each that they share, as often as both have it.
        let (mut at, mut both) = (0, 0_usize);
        for shingle in &theirs {
            while mine.get(at).is_some_and(|one| one < shingle) {
                at += 1;
            }
            if mine.get(at) == Some(shingle) {
                at += 1;
                both += 1;
            }
        }
        Some(2.0 * both as f32 / (mine.len() + theirs.len()) as f32)
    }

    /// In order, each as a number: a character has 21 bits.
    fn shingles(&self) -> Vec<u128> {
        let number = |shingle: &[char]| {
            shingle.iter().fold(0_u128, |number, c| number << 21 | u128::from(u32::from(*c)))
        };
        let mut all: Vec<u128> = self.joined.windows(SHINGLE).map(number).collect();
        all.sort_unstable();
        all
    }
}

/// Whole words as long as they fit; a longer word is cut.
fn pieces(words: &[Vec<char>]) -> Vec<Vec<char>> {
    let mut pieces: Vec<Vec<char>> = Vec::new();
    for word in words {
        for part in word.chunks(PIECE) {
            match pieces.last_mut() {
                Some(piece) if piece.len() + part.len() <= PIECE => piece.extend(part),
                _ => pieces.push(part.to_vec()),
            }
        }
    }
    pieces
}

/// The fewest errors with which `pattern`, of at most 64 characters, stands somewhere in `text`.
fn errors(pattern: &[char], text: &[char]) -> usize {
    let (mut ascii, mut places) = ([0_u64; 128], HashMap::<char, u64>::new());
    for (place, c) in pattern.iter().enumerate() {
        *match ascii.get_mut(*c as usize) {
            Some(places) => places,
            None => places.entry(*c).or_default(),
        } |= 1 << place;
    }
    let last = 1_u64 << (pattern.len() - 1);
    // Vertical differences of the column: where it grows, where it falls.
    let (mut up, mut down) = (u64::MAX, 0_u64);
    let (mut now, mut best) = (pattern.len(), pattern.len());
    for c in text {
        let equal = match ascii.get(*c as usize) {
            Some(places) => *places,
            None => places.get(c).copied().unwrap_or(0),
        };
        let x = equal | down;
        let diagonal = ((x & up).wrapping_add(up) ^ up) | x;
        let (grows, falls) = (down | !(diagonal | up), up & diagonal);
        if grows & last != 0 {
            now += 1;
        }
        if falls & last != 0 {
            now -= 1;
        }
        // The first row stays 0: a match may begin anywhere.
        let (grows, falls) = (grows << 1, falls << 1);
        up = falls | !(diagonal | grows);
        down = grows & diagonal;
        best = best.min(now);
    }
    best
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// Sellers' algorithm: the same with a whole table.
    fn slow(pattern: &[char], text: &[char]) -> usize {
        let mut column: Vec<usize> = (0..=pattern.len()).collect();
        let mut best = pattern.len();
        for c in text {
            let mut before = 0;
            for row in 1..column.len() {
                let diagonal = before + usize::from(pattern[row - 1] != *c);
                before = column[row];
                column[row] = diagonal.min(before + 1).min(column[row - 1] + 1);
            }
            best = best.min(column[pattern.len()]);
        }
        best
    }

    proptest! {
        #[test]
        fn bit_vectors_count_the_same_errors_as_a_table(
            pattern in prop::collection::vec(prop::sample::select(vec!['a', 'b', 'c']), 1..=64),
            text in prop::collection::vec(prop::sample::select(vec!['a', 'b', 'c', 'd']), 0..200),
        ) {
            prop_assert_eq!(errors(&pattern, &text), slow(&pattern, &text));
        }
    }

    fn found(quote: &str, text: &str) -> f32 {
        Haystack::new(text).find(quote).unwrap().0
    }

    #[test]
    fn errors_of_ocr_are_forgiven_and_other_words_are_not() {
        let text = "conor Llama 3 70B - 80\nScallng 0pen Language Mode1s\nless compute <";
        assert!(found("Scaling Open Language Models", text) > 0.9);
        assert!(found("ScalingOpen LanguageModels", text) > 0.9, "joined words");
        assert!(found("Scaling Open ... less compute", text) > 0.9, "with something left out");
        assert!(found("Active Parameters and Tokens", text) < 0.6);
        assert!(found("A completely different sentence about a cat", text) < 0.6);
    }

    #[test]
    fn short_quotes_must_stand_there_as_they_are() {
        assert_eq!(found("80", "70B - 80"), 1.0);
        assert_eq!(found("art", "a party"), 0.0);
        assert_eq!(found("no art", "there is no art here"), 1.0);
        assert_eq!(found("noart", "there is no art here"), 1.0);
        assert_eq!(Haystack::new("x").find("!"), None);
    }

    #[test]
    fn transcripts_are_compared_by_their_shingles() {
        let of = |a: &str, b: &str| Haystack::new(a).shared(&Haystack::new(b));
        assert_eq!(of("Scaling Open Language", "scaling open-language"), Some(1.0));
        assert!(of("Scaling Open Language", "Sca1ing 0pen Langvage") > Some(0.6));
        assert_eq!(of("Scaling Open Language", "entirely other things"), Some(0.0));
        assert_eq!(of("", "abc"), None);
    }
}
