//! The form in which texts are searched: one for both databases, and the same for texts and for queries.
//!
//! A text becomes its words in order, each between two spaces: ` cafe in tokyo 日 本 `. Letters are lower case, accents are
//! gone, everything that is neither letter nor digit separates words. Scripts without spaces (Han, kana, Thai, Lao, Khmer,
//! Burmese) become one word per character, so that any part of them is found as a phrase. What a query asks is then a plain
//! question about this text: `cafe` is ` cafe `, `caf*` is ` caf`, `*afe*` is `afe`, `"cafe in"` is ` cafe in `.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// Longer words are cut into pieces of this many characters: an index entry of a database is bounded, and no word that a
/// person looks for is that long.
pub(crate) const LONGEST_WORD: usize = 64;

/// Of longer forms the beginning is searched: a PostgreSQL `tsvector` holds one megabyte of different words.
pub(crate) const LONGEST_FORM: usize = 512 * 1024;

/// A text in its form.
#[derive(Debug)]
pub(crate) struct Form {
    /// The words, each between two spaces.
    pub(crate) text: String,
    places: Vec<Place>,
}

/// Where a word stands: bytes of the form, and characters of the original.
#[derive(Debug)]
struct Place {
    from: usize,
    to: usize,
    start: usize,
    end: usize,
}

/// A word of the form, and which characters of the original it was made of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FormWord<'a> {
    pub(crate) text: &'a str,
    /// Positions in characters of the original: the first, and the one behind the last.
    pub(crate) start: usize,
    pub(crate) end: usize,
}

impl Form {
    /// The form of `text`, bounded to [`LONGEST_FORM`] bytes.
    pub(crate) fn of(text: &str) -> Self {
        let mut form = Self { text: " ".to_owned(), places: Vec::new() };
        let mut open = None;
        let mut chars = text.chars().enumerate().peekable();
        let mut unit = String::new();
        while let Some((start, first)) = chars.next() {
            if first.is_ascii() {
                form.add(&mut open, first.to_ascii_lowercase(), start, start + 1);
            } else if !is_ignored(first) {
                unit.clear();
                unit.push(first);
                let mut end = start + 1;
                while let Some((at, next)) = chars.next_if(|(_, next)| continues(*next)) {
                    if !is_ignored(next) {
                        unit.push(next);
                    }
                    end = at + 1;
                }
                fold(&unit, |folded| form.add(&mut open, folded, start, end));
            }
            let done = form.places.last().map_or(0, |last| last.to);
            if done > LONGEST_FORM {
                let last = form.places.pop().map_or(1, |last| last.from);
                form.text.truncate(last);
                return form;
            }
        }
        form.end(&mut open);
        form
    }

    /// The words in order.
    pub(crate) fn words(&self) -> impl Iterator<Item = FormWord<'_>> {
        self.places.iter().map(|place| FormWord {
            text: &self.text[place.from..place.to],
            start: place.start,
            end: place.end,
        })
    }

    /// How many there are.
    pub(crate) const fn count(&self) -> usize {
        self.places.len()
    }

    fn add(&mut self, open: &mut Option<(Place, usize)>, folded: char, start: usize, end: usize) {
        if !is_part(folded) {
            return self.end(open);
        }
        let alone = !folded.is_ascii() && stands_alone(folded);
        if alone {
            self.end(open);
        }
        let from = self.text.len();
        let (place, length) = open.get_or_insert((Place { from, to: from, start, end }, 0));
        self.text.push(folded);
        (place.to, place.end) = (self.text.len(), end);
        *length += 1;
        if alone || *length == LONGEST_WORD {
            self.end(open);
        }
    }

    fn end(&mut self, open: &mut Option<(Place, usize)>) {
        if let Some((place, _)) = open.take() {
            self.places.push(place);
            self.text.push(' ');
        }
    }
}

/// Decomposed (NFKD), without accents, in lower case, composed again.
fn fold(unit: &str, each: impl FnMut(char)) {
    unit.nfkd()
        .filter(|char| !is_accent(*char))
        .flat_map(char::to_lowercase)
        .flat_map(|char| spelled(char).into_iter().flatten())
        .nfc()
        .for_each(each);
}

/// Letters that Unicode does not take apart, but people do.
fn spelled(char: char) -> [Option<char>; 2] {
    let (first, second) = match char {
        'ß' => ('s', Some('s')),
        'æ' => ('a', Some('e')),
        'œ' => ('o', Some('e')),
        'ø' => ('o', None),
        'đ' | 'ð' => ('d', None),
        'ħ' => ('h', None),
        'ı' => ('i', None),
        'ł' => ('l', None),
        'ŧ' => ('t', None),
        'þ' => ('t', Some('h')),
        'ς' => ('σ', None),
        other => (other, None),
    };
    [Some(first), second]
}

/// Marks that are accents: of Latin, Greek and Cyrillic, Hebrew points, Arabic vowels. In other scripts marks are letters.
const fn is_accent(char: char) -> bool {
    matches!(char,
        '\u{300}'..='\u{36f}' | '\u{1ab0}'..='\u{1aff}' | '\u{1dc0}'..='\u{1dff}' | '\u{20d0}'..='\u{20ff}'
        | '\u{fe20}'..='\u{fe2f}' | '\u{591}'..='\u{5bd}' | '\u{5bf}' | '\u{5c1}'..='\u{5c2}'
        | '\u{5c4}'..='\u{5c5}' | '\u{5c7}' | '\u{64b}'..='\u{65f}' | '\u{670}')
}

/// Characters that no reader sees: a word goes on across them.
const fn is_ignored(char: char) -> bool {
    matches!(char, '\u{ad}' | '\u{200b}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}'
        | '\u{fe00}'..='\u{fe0f}')
}

/// Whether this character belongs to the one before it.
fn continues(char: char) -> bool {
    is_combining_mark(char) || matches!(char, '\u{1160}'..='\u{11ff}')
}

fn is_part(char: char) -> bool {
    char.is_alphanumeric() || (!char.is_ascii() && is_combining_mark(char))
}

const fn stands_alone(char: char) -> bool {
    matches!(char,
        '\u{e00}'..='\u{eff}' | '\u{1000}'..='\u{109f}' | '\u{1780}'..='\u{17ff}' | '\u{2e80}'..='\u{2fdf}'
        | '\u{3005}'..='\u{3007}' | '\u{3040}'..='\u{30ff}' | '\u{31f0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{20000}'..='\u{323af}')
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn of(text: &str) -> String {
        Form::of(text).text
    }

    #[test]
    fn accents_case_and_punctuation_make_no_difference() {
        assert_eq!(of("Café, CRÈME brûlée!"), " cafe creme brulee ");
        assert_eq!(of("cafe\u{301}"), " cafe ");
        assert_eq!(of("Straße ŁÓDŹ Ærø İstanbul ﬁn ΟΔΟΣ"), " strasse lodz aero istanbul fin οδοσ ");
        assert_eq!(of("e-mail\0x\u{ad}y"), " e mail xy ");
        assert_eq!(of(" \n\t…!"), " ");
        assert_eq!(of("❤\u{fe0f} cat \u{1eef0}\u{fe00}"), " cat ");
        assert_eq!(of("Ёлка й"), " елка и ");
    }

    #[test]
    fn scripts_without_spaces_are_one_word_per_character_and_hangul_stays_whole() {
        assert_eq!(of("東京タワー2024"), " 東 京 タ ワ ー 2024 ");
        assert_eq!(of("한국어 가\u{1161}"), " 한국어 가\u{1161} ");
        assert_eq!(of("ガ"), of("カ\u{3099}"));
        assert_eq!(of("हिन्दी भाषा"), " हिन्दी भाषा ");
    }

    #[test]
    fn long_words_and_long_texts_are_bounded() {
        assert_eq!(
            Form::of(&"x".repeat(150)).words().map(|word| word.text.len()).collect::<Vec<_>>(),
            [64, 64, 22]
        );
        let form = Form::of(&"lorem ".repeat(1_000_000));
        assert!(form.text.len() <= LONGEST_FORM + 1 && form.count() > 80_000);
        assert!(form.text.ends_with(" lorem "));
    }

    #[test]
    fn words_know_where_they_stood() {
        let form = Form::of("Ça, e\u{301}té!");
        let found: Vec<_> = form.words().map(|word| (word.text, word.start, word.end)).collect();
        assert_eq!(found, [("ca", 0, 2), ("ete", 4, 8)]);
    }

    proptest! {
        #[test]
        fn the_form_of_a_form_is_itself(text in any::<String>()) {
            let once = Form::of(&text);
            let twice = Form::of(&once.text);
            prop_assert_eq!((&twice.text, twice.count()), (&once.text, once.count()));
            let words: String = once.words().map(|word| format!("{} ", word.text)).collect();
            prop_assert_eq!(&once.text, &format!(" {words}"));
            prop_assert!(once.text.chars().all(|char| char == ' ' || is_part(char)));
        }
    }
}
