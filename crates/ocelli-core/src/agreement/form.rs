//! Texts without what OCR and models write differently: case, accents, width, punctuation, and characters that engines take for
//! each other.

use unicode_normalization::UnicodeNormalization as _;
use unicode_normalization::char::is_combining_mark;

/// The words of a text, folded: compatibility forms (NFKD) without marks, in lower case, letters and digits only.
pub(super) fn words(text: &str) -> Vec<Vec<char>> {
    let mut words: Vec<Vec<char>> = vec![Vec::new()];
    for c in text.nfkd().filter(|c| !is_combining_mark(*c)) {
        // An apostrophe stands inside a word, whatever it looks like.
        if matches!(c, '\'' | '\u{2019}' | '\u{2bc}') {
            continue;
        }
        if !c.is_alphanumeric() {
            if words.last().is_some_and(|word| !word.is_empty()) {
                words.push(Vec::new());
            }
            continue;
        }
        let word = words.last_mut().expect("there is always one");
        for lower in c.to_lowercase().filter(|c| c.is_alphanumeric()) {
            push(word, lower);
        }
    }
    words.retain(|word| !word.is_empty());
    words
}

/// What engines take for each other is one character here.
fn push(word: &mut Vec<char>, c: char) {
    match c {
        '0' => word.push('o'),
        '1' | 'i' | 'ı' => word.push('l'),
        '5' => word.push('s'),
        '8' => word.push('b'),
        'ß' => word.extend(['s', 's']),
        'æ' => word.extend(['a', 'e']),
        'œ' => word.extend(['o', 'e']),
        other => word.push(other),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn folded(text: &str) -> String {
        words(text).into_iter().map(String::from_iter).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn what_is_written_differently_is_the_same() {
        for (a, b) in [
            ("Scaling Open-Language", "SCALING open language"),
            ("Café brûle", "CAFE BRULE"),
            ("don\u{2019}t", "don't"),
            ("ﬁne ½", "fine 1/2"),
            ("IBM 5O8", "1BM SOB"),
            ("Straße", "STRASSE"),
            ("  \u{feff}a\u{200b}b ", "a b"),
        ] {
            assert_eq!(folded(a), folded(b), "{a}");
        }
        assert_eq!(folded("東京タワー!"), "東京タワー".nfkd().collect::<String>());
        assert_eq!(folded("— … !?"), "");
    }
}
