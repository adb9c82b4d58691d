//! Agreement: what model answers quote, looked up in what others read. Pure; `docs/AGREEMENT.md` describes it for people.
//!
//! A model that describes an image quotes the text in it. OCR read that text too, so each quote can be looked up: found, or not.
//! What is found nowhere may be invented by the model, or overlooked by OCR; either way somebody should look. Two transcripts
//! are compared as wholes, two models by what each quotes.
//!
//! Nothing here depends on the order in which answers arrive: texts in, pairs out, in the order of the analyzers' names.
//!
//! | module | room for |
//! |---|---|
//! | this | [`Agreement::of`]: pairs and their scores |
//! | `quotes` | which parts of an answer claim to be text of the image |
//! | `form` | texts without what OCR and models write differently |
//! | `find` | whether a text occurs in another, errors forgiven |

mod find;
mod form;
mod quotes;

use serde::{Deserialize, Serialize};

use crate::{Analysis, AnalyzerName, Outcome, Reading};

use find::Haystack;
pub use quotes::quotes;

/// A quote with at least this part of its characters found is supported.
pub const SUPPORTED: f32 = 0.75;

/// Quotes of one answer that are looked at; a model that loops quotes without end.
pub const MOST_QUOTES: usize = 64;

/// Of longer texts the beginning is looked at.
pub const LONGEST_TEXT: usize = 64 * 1024;

/// Longer quotes are cut for those who read about them.
const LONGEST_SHOWN: usize = 200;

/// How far two analyzers agree about one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pair {
    /// The one whose name comes first.
    pub a: AnalyzerName,
    /// The other.
    pub b: AnalyzerName,
    /// 0 to 1: the part that is supported, by length. Of two transcripts: the part that they share.
    pub score: f32,
    /// Quotes that the other one has too.
    pub supported: Vec<Quote>,
    /// Quotes that it has not.
    pub unsupported: Vec<Quote>,
}

/// A quote that was looked up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Quote {
    /// Who quotes.
    pub by: AnalyzerName,
    /// What, as it is written there.
    pub text: String,
    /// The part of its characters that the other one has in this order, 0 to 1.
    pub found: f32,
}

/// All pairs of one record.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Agreement {
    /// In the order of names. Two models that quote nothing, or an empty transcript, are no pair.
    pub pairs: Vec<Pair>,
}

/// What one analyzer answered, ready to be compared.
struct Voice<'a> {
    name: &'a AnalyzerName,
    /// Whether it is what stands in the image, and nothing else.
    is_transcript: bool,
    hay: Haystack,
    quotes: Vec<String>,
}

impl<'a> Voice<'a> {
    fn of(analysis: &'a Analysis) -> Option<Self> {
        let Outcome::Done(reading) = &analysis.outcome else { return None };
        let end = reading.text.floor_char_boundary(LONGEST_TEXT);
        let text = &reading.text[..end];
        let is_transcript = is_transcript(reading);
        let quotes = if is_transcript { Vec::new() } else { quotes(text) };
        Some(Self { name: &analysis.analyzer, is_transcript, hay: Haystack::new(text), quotes })
    }

    /// Looks this one's quotes up in the other.
    fn look_up(&self, other: &Self) -> Vec<(Quote, usize)> {
        self.quotes
            .iter()
            .filter_map(|quote| {
                let (found, length) = other.hay.find(quote)?;
                let end = quote.floor_char_boundary(LONGEST_SHOWN);
                let text = quote[..end].to_owned();
                Some((Quote { by: self.name.clone(), text, found }, length))
            })
            .collect()
    }
}

/// Whether an answer is a transcript: engines that read text say in which languages they looked.
fn is_transcript(reading: &Reading) -> bool {
    reading.languages.is_some() || !reading.words.is_empty()
}

impl Agreement {
    /// Compares the current answers of a record; what is no text does not count.
    #[must_use]
    pub fn of<'a>(answers: impl IntoIterator<Item = &'a Analysis>) -> Self {
        let mut voices: Vec<Voice<'_>> = answers.into_iter().filter_map(Voice::of).collect();
        voices.sort_by_key(|voice| voice.name);
        voices.dedup_by_key(|voice| voice.name);
        let mut pairs = Vec::new();
        for (place, a) in voices.iter().enumerate() {
            pairs.extend(voices[place + 1..].iter().filter_map(|b| pair(a, b)));
        }
        Self { pairs }
    }
}

fn pair(a: &Voice<'_>, b: &Voice<'_>) -> Option<Pair> {
    let name = |voice: &Voice<'_>| voice.name.clone();
    if a.is_transcript && b.is_transcript {
        let score = a.hay.shared(&b.hay)?;
        return Some(Pair {
            a: name(a),
            b: name(b),
            score,
            supported: vec![],
            unsupported: vec![],
        });
    }
    let mut quotes = a.look_up(b);
    quotes.extend(b.look_up(a));
    let (mut good, mut all) = (0, 0);
    let (mut supported, mut unsupported) = (Vec::new(), Vec::new());
    for (quote, length) in quotes {
        all += length;
        if quote.found >= SUPPORTED {
            good += length;
            supported.push(quote);
        } else {
            unsupported.push(quote);
        }
    }
    let score = (all > 0).then(|| good as f32 / all as f32)?;
    Some(Pair { a: name(a), b: name(b), score, supported, unsupported })
}
