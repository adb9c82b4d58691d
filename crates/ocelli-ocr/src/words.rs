//! Which words to believe: plausibility, scores, and putting the words of several passes together.

use crate::engine::Found;
use crate::lines::covered;

/// A line of words that one pass read. Boxes lie in the upright picture.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub words: Vec<Found>,
    pub step: String,
    /// An empty line stands before it in the text.
    pub paragraph: bool,
}

impl Line {
    pub(crate) fn bounds(&self) -> [i32; 4] {
        self.words.iter().fold([i32::MAX, i32::MAX, i32::MIN, i32::MIN], |all, word| {
            let [left, top, right, bottom] = word.bounds;
            [all[0].min(left), all[1].min(top), all[2].max(right), all[3].max(bottom)]
        })
    }

    /// Mean confidence, long words weigh more.
    pub(crate) fn confidence(&self) -> f32 {
        mean(self.words.iter())
    }

    /// How much this line is worth: confident, plausible letters.
    pub(crate) fn score(&self) -> f32 {
        self.words.iter().map(score).sum()
    }
}

/// Groups the words of one pass into lines.
pub(crate) fn lines(words: Vec<Found>, step: &str) -> Vec<Line> {
    let mut lines: Vec<Line> = Vec::new();
    for word in words {
        match lines.last_mut() {
            Some(line) if !word.starts_line => line.words.push(word),
            _ => lines.push(Line {
                paragraph: word.starts_paragraph,
                words: vec![word],
                step: step.to_owned(),
            }),
        }
    }
    lines
}

/// Mean confidence by letters.
pub(crate) fn mean<'a>(words: impl Iterator<Item = &'a Found>) -> f32 {
    let (sum, letters) = words.fold((0.0, 0.0), |(sum, letters), word| {
        let count = word.text.chars().count() as f32;
        (sum + word.confidence * count, letters + count)
    });
    if letters == 0.0 { 0.0 } else { sum / letters }
}

/// Confident letters of a plausible word; 0 for what looks like noise.
pub(crate) fn score(word: &Found) -> f32 {
    if !plausible(word) || word.confidence < 30.0 {
        return 0.0;
    }
    let letters = word.text.chars().filter(|c| c.is_alphanumeric()).count().min(12) as f32;
    let confidence = word.confidence / 100.0;
    // Upside-down text gives plausible words, but rarely words of the dictionary.
    letters * confidence * confidence * if word.known { 1.2 } else { 0.7 }
}

/// Share of the letters that stand in words which noise does not produce: of the dictionary, or very sure.
pub(crate) fn convincing<'a>(words: impl Iterator<Item = &'a Found>) -> f32 {
    let (mut good, mut all) = (0, 0);
    for word in words {
        let letters = word.text.chars().count();
        all += letters;
        let enough = if word.known { 65.0 } else { 88.0 };
        if letters > 1 && word.confidence >= enough && plausible(word) && !is_jumble(&word.text) {
            good += letters;
        }
    }
    if all < 4 { 0.0 } else { good as f32 / all as f32 }
}

/// Whether a word mixes what few words mix: Latin letters with strokes, brackets, digits or signs of another script, or a
/// capital behind a small letter. That is what upright readers make of text that stands on its head: `JeAo`, `AZB|`, `SU1`.
fn is_jumble(word: &str) -> bool {
    let is_latin = |c: char| c.is_alphabetic() && c < '\u{250}';
    let is_strange = |c: char| {
        "{}[]|".contains(c)
            || c.is_ascii_digit()
            || (c > '\u{24f}' && !('\u{1e00}'..='\u{20ff}').contains(&c))
    };
    let mixed = word.chars().any(is_latin) && word.chars().any(is_strange);
    let behind = word.chars().zip(word.chars().skip(1));
    mixed || behind.into_iter().any(|(a, b)| a.is_lowercase() && b.is_uppercase())
}

/// Whether a word looks like one that a person wrote.
pub(crate) fn plausible(word: &Found) -> bool {
    let text = word.text.as_str();
    let all = text.chars().count();
    let alphanumeric = text.chars().filter(|c| c.is_alphanumeric()).count();
    if alphanumeric == 0 || alphanumeric * 2 < all {
        return false;
    }
    if word.known {
        return true;
    }
    if all == 1 {
        // Alone, only these Latin letters are words; other scripts have words of one character.
        return text
            .chars()
            .all(|c| c.is_ascii_digit() || "aAiIoOyYuU".contains(c) || !c.is_ascii());
    }
    let characters: Vec<char> = text.chars().collect();
    let repeated =
        characters.windows(4).any(|w| w.iter().all(|c| *c == w[0] && !c.is_ascii_digit()));
    // "eRFv": small and capital letters change places more often than in names such as "McDonald" or "iPhone".
    let jumps =
        characters.windows(2).filter(|w| w[0].is_lowercase() && w[1].is_uppercase()).count();
    !repeated && jumps <= 1
}

/// From so many words on, a picture whose letters are mostly convincing is a page of text.
const PAGE_WORDS: usize = 20;
/// Share of convincing letters of a page of text.
const PAGE_CONVINCING: f32 = 0.6;
/// Confidence from which on a word of a page of text is believed wherever it stands: numbers, names, labels.
const BELIEVED: f32 = 30.0;

/// Removes noise: weak words, and lines of nothing but weak words. On lines that read well every word stays, also
/// punctuation and odd names. On a page of text, what looks odd is odd text and no texture: there, little is removed.
pub(crate) fn without_noise(lines: Vec<Line>) -> Vec<Line> {
    let all = || lines.iter().flat_map(|line| &line.words);
    let is_page = all().count() >= PAGE_WORDS && convincing(all()) >= PAGE_CONVINCING;
    lines
        .into_iter()
        .filter_map(|mut line| {
            let confidence = line.confidence();
            let good = line.words.iter().filter(|w| w.confidence >= 60.0 && plausible(w));
            let good_letters: usize = good.map(|w| w.text.chars().count()).sum();
            let letters: usize = line.words.iter().map(|w| w.text.chars().count()).sum();
            let reads_well = confidence >= 65.0 && good_letters * 2 >= letters;
            line.words.retain(|word| {
                if reads_well {
                    word.confidence >= 15.0
                } else if is_page {
                    word.confidence >= BELIEVED && word.text.chars().any(char::is_alphanumeric)
                } else {
                    plausible(word) && word.confidence >= if word.known { 45.0 } else { 60.0 }
                }
            });
            // A line of one or two characters beside nothing else is a speck of the picture.
            let left: usize = line
                .words
                .iter()
                .map(|word| word.text.chars().filter(|c| c.is_alphanumeric()).count())
                .sum();
            let sure = line.words.iter().all(|word| word.confidence >= 85.0);
            (left >= 3 || (left >= 1 && (sure || is_page))).then_some(line)
        })
        .collect()
}

/// Adds what another pass read. Where both read the same place the better reading stays: a new line replaces all it
/// covers when it is worth more, else it is dropped. Returns whether anything was added.
pub(crate) fn merge(lines: &mut Vec<Line>, added: Line) -> bool {
    let bounds = added.bounds();
    let same =
        |word: &Found| covered(word.bounds, bounds) > 0.5 || covered(bounds, word.bounds) > 0.5;
    let old: f32 =
        lines.iter().flat_map(|line| &line.words).filter(|word| same(word)).map(score).sum();
    if added.score() <= old * 1.05 || added.score() == 0.0 {
        return false;
    }
    let mut home = None;
    for (index, line) in lines.iter_mut().enumerate() {
        let before = line.words.len();
        line.words.retain(|word| !same(word));
        // A better reading of a part of a line stays a part of that line.
        if line.words.len() < before && !line.words.is_empty() {
            home.get_or_insert(index);
        }
    }
    match home {
        Some(index) => insert_into(&mut lines[index], added),
        None => {
            lines.retain(|line| !line.words.is_empty());
            insert(lines, added);
        }
    }
    lines.retain(|line| !line.words.is_empty());
    true
}

fn insert_into(line: &mut Line, added: Line) {
    let left = added.bounds()[0];
    let at = line.words.iter().position(|word| word.bounds[0] > left);
    let at = at.unwrap_or(line.words.len());
    line.words.splice(at..at, added.words);
}

/// Inserts a line at its place in reading order: on the level of another line of its step beside that one, else
/// before the first line that lies wholly below.
fn insert(lines: &mut Vec<Line>, added: Line) {
    let [_, top, _, bottom] = added.bounds();
    let middle = i32::midpoint(top, bottom);
    let beside = lines.iter().position(|line| {
        let other = line.bounds();
        line.step == added.step && other[1] <= middle && middle <= other[3]
    });
    if let Some(at) = beside {
        insert_into(&mut lines[at], added);
        return;
    }
    let at = lines.iter().position(|line| line.bounds()[1] >= middle).unwrap_or(lines.len());
    lines.insert(at, added);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_upside_down_text_reads_as_is_a_jumble_and_words_are_none() {
        for word in ["JeAo", "AZB|", "SU1", "xo}", "Deduun\u{300c}", "Jo\u{4e00}"] {
            assert!(is_jumble(word), "{word}");
        }
        for word in [
            "Over",
            "LAZY",
            "it\u{2019}s",
            "na\u{ef}ve,",
            "(fox)",
            "2026",
            "\u{7a0b}\u{5e8f}",
            "Ngu\u{1ec5}n",
        ] {
            assert!(!is_jumble(word), "{word}");
        }
    }

    fn word(text: &str, confidence: f32, bounds: [i32; 4]) -> Found {
        Found {
            text: text.to_owned(),
            bounds,
            confidence,
            known: false,
            starts_line: false,
            starts_paragraph: false,
        }
    }

    fn line(step: &str, words: Vec<Found>) -> Line {
        Line { words, step: step.to_owned(), paragraph: false }
    }

    #[test]
    fn noise_is_not_plausible_and_names_are() {
        for good in ["hello", "WORLD", "iPhone", "McDonald", "don't", "3.50", "A", "日", "Größe"]
        {
            assert!(plausible(&word(good, 90.0, [0; 4])), "{good}");
        }
        for bad in ["~", "|", "—_", "eRfVgT", "llll", "x", "=:-a"] {
            assert!(!plausible(&word(bad, 90.0, [0; 4])), "{bad}");
        }
    }

    #[test]
    fn the_better_reading_of_one_place_stays() {
        let mut lines = vec![line("page", vec![word("WHFN", 40.0, [0, 0, 50, 20])])];
        assert!(merge(&mut lines, line("caption", vec![word("WHEN", 95.0, [0, 0, 52, 20])])));
        assert!(!merge(&mut lines, line("sparse", vec![word("WIEN", 60.0, [1, 0, 52, 20])])));
        assert_eq!(lines.len(), 1);
        assert_eq!(lines[0].words[0].text, "WHEN");
    }

    #[test]
    fn lines_are_put_where_they_stand() {
        let mut lines = vec![
            line("page", vec![word("top", 90.0, [0, 0, 50, 20])]),
            line("page", vec![word("bottom", 90.0, [0, 100, 50, 120])]),
        ];
        assert!(merge(&mut lines, line("caption", vec![word("right", 90.0, [60, 50, 99, 70])])));
        assert!(merge(&mut lines, line("caption", vec![word("left", 90.0, [0, 50, 50, 70])])));
        let text: Vec<Vec<&str>> = lines
            .iter()
            .map(|line| line.words.iter().map(|word| word.text.as_str()).collect())
            .collect();
        assert_eq!(text, [vec!["top"], vec!["left", "right"], vec!["bottom"]]);
    }
}
