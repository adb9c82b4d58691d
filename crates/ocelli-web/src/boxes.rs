//! The words of a reading where they stand in the image, as text of an SVG that lies over it: it can be selected and searched, and
//! words that a query found are lit.

use ocelli_catalog::query::Query;
use ocelli_core::{Reading, Word};

use crate::shown::line;

/// Words that are drawn: a page of a book has 500.
const MOST: usize = 3_000;
/// Sides beyond any image, so that nonsense from a message stays finite.
const FARTHEST: i32 = 100_000;

/// A word with its place, in pixels of the upright image.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spot {
    pub(crate) text: String,
    pub(crate) x: i32,
    pub(crate) y: i32,
    pub(crate) w: i32,
    pub(crate) h: i32,
    /// Where its text is written: near the lower edge, as letters stand.
    pub(crate) base: i32,
    /// Whether a query found it.
    pub(crate) lit: bool,
    /// Whether the reader was unsure of it.
    pub(crate) unsure: bool,
    /// `93 % sure`, for people who point at it.
    pub(crate) title: String,
}

/// The words of a reading.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Boxes {
    pub(crate) words: Vec<Spot>,
    /// How many are not drawn.
    pub(crate) left_out: usize,
    /// Whether the letters stand upright; of others only the place is drawn.
    pub(crate) upright: bool,
    /// How many are lit.
    pub(crate) lit: usize,
}

/// Below this a word is drawn as unsure, in percent.
const UNSURE: f32 = 60.0;

impl Boxes {
    pub(crate) fn of(reading: &Reading, query: Option<&Query>) -> Self {
        let lit = lit(&reading.words, query);
        let drawn = reading.words.iter().zip(&lit).take(MOST);
        let words: Vec<Spot> = drawn.map(|(word, lit)| Spot::of(word, *lit)).collect();
        Self {
            left_out: reading.words.len() - words.len(),
            upright: reading.rotation == 0,
            lit: words.iter().filter(|word| word.lit).count(),
            words,
        }
    }
}

impl Spot {
    fn of(word: &Word, lit: bool) -> Self {
        let bound = |value: i32, least: i32| value.clamp(least, FARTHEST);
        let (x, y) = (bound(word.x, 0), bound(word.y, 0));
        let (w, h) = (bound(word.w, 1), bound(word.h, 1));
        let text = line(&word.text, 100);
        let sure = word.confidence.clamp(0.0, 100.0);
        Self {
            title: format!("{text} – {sure:.0} % sure"),
            base: y + h - h / 5,
            unsure: sure < UNSURE,
            text,
            x,
            y,
            w,
            h,
            lit,
        }
    }
}

/// Which words a query found: a phrase lights all of its words.
fn lit(words: &[Word], query: Option<&Query>) -> Vec<bool> {
    let mut lit = vec![false; words.len()];
    let Some(query) = query else { return lit };
    let mut text = String::new();
    let mut places = Vec::with_capacity(words.len());
    let mut at = 0;
    for word in words {
        let length = word.text.chars().count();
        places.push((at, at + length));
        text.push_str(&word.text);
        text.push(' ');
        at += length + 1;
    }
    for (first, behind) in query.marks(&text) {
        let from = places.partition_point(|(_, end)| *end <= first);
        let found =
            places.iter().zip(&mut lit).skip(from).take_while(|((start, _), _)| *start < behind);
        for (_, one) in found {
            *one = true;
        }
    }
    lit
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reading(texts: &[&str]) -> Reading {
        let word = |(n, text): (usize, &&str)| Word {
            text: (*text).to_owned(),
            x: n as i32 * 10,
            y: -5,
            w: 8,
            h: i32::MAX,
            confidence: if n == 0 { 12.0 } else { 96.4 },
            line: 0,
            step: "page".to_owned(),
        };
        Reading { words: texts.iter().enumerate().map(word).collect(), ..Reading::default() }
    }

    #[test]
    fn a_phrase_lights_its_words_and_nonsense_stays_finite() {
        let query = Query::parse("\"open language\" model*").unwrap();
        let boxes =
            Boxes::of(&reading(&["Open", "source", "open", "Language", "Models,"]), Some(&query));
        let lit: Vec<_> =
            boxes.words.iter().filter(|word| word.lit).map(|word| word.text.as_str()).collect();
        assert_eq!(lit, ["open", "Language", "Models,"]);
        assert_eq!((boxes.words[0].y, boxes.words[0].h, boxes.lit), (0, FARTHEST, 3));
        assert!(boxes.words[0].unsure && !boxes.words[1].unsure);
        assert_eq!(boxes.words[1].title, "source – 96 % sure");
    }

    #[test]
    fn a_book_in_one_image_is_drawn_up_to_a_bound() {
        let many = reading(&vec!["word"; MOST + 7]);
        let boxes = Boxes::of(&many, None);
        assert_eq!((boxes.words.len(), boxes.left_out), (MOST, 7));
    }
}
