//! From the readings of pages to what the child answers.

use ocelli_core::Word;
use ocelli_media::Place;

use super::PictureReading;
use crate::engine::Found;
use crate::protocol::Transcript;

/// Between pages of the text.
const PAGE_BREAK: char = '\u{c}';

/// A transcript that grows page by page.
#[derive(Debug, Default)]
pub(crate) struct Writing {
    transcript: Transcript,
    /// Where the text of the last page begins; `None` before the first.
    last: Option<usize>,
}

impl Writing {
    /// Adds the reading of one page or frame. A frame that says what the one before said adds its steps and no text.
    pub(crate) fn append(&mut self, reading: PictureReading, place: Place) {
        let PictureReading { lines, steps, rotation, partial } = reading;
        let transcript = &mut self.transcript;
        transcript.partial |= partial;
        // The turn of the first page that needed one: pages of one file are turned alike.
        if transcript.rotation == 0 {
            transcript.rotation = rotation;
        }
        transcript.steps.extend(steps.into_iter().map(|mut step| {
            match place {
                Place::Page(0) | Place::Frame(0) => {}
                Place::Page(index) => step.reason = format!("page {}: {}", index + 1, step.reason),
                Place::Frame(index) => {
                    step.reason = format!("frame {}: {}", index + 1, step.reason);
                }
            }
            step
        }));
        let text = lines.iter().enumerate().fold(String::new(), |mut text, (index, line)| {
            if index > 0 {
                text.push_str(if line.paragraph { "\n\n" } else { "\n" });
            }
            push_line(&mut text, &line.words);
            text
        });
        if let Some(last) = self.last {
            if matches!(place, Place::Frame(_)) && transcript.text[last..] == text {
                return;
            }
            transcript.text.push(PAGE_BREAK);
        }
        self.last = Some(transcript.text.len());
        transcript.text.push_str(&text);
        let first_line = transcript.words.last().map_or(0, |word| word.line + 1);
        for (line_number, line) in (first_line..).zip(lines) {
            transcript.words.extend(line.words.into_iter().map(|word| {
                let [left, top, right, bottom] = word.bounds;
                Word {
                    text: word.text,
                    x: left,
                    y: top,
                    w: right - left,
                    h: bottom - top,
                    confidence: word.confidence,
                    line: line_number,
                    step: line.step.clone(),
                }
            }));
        }
    }

    /// Notes that there were more pages than time.
    pub(crate) fn cut_off(&mut self) {
        self.transcript.partial = true;
    }

    /// Works out what concerns all pages together.
    pub(crate) fn finish(self) -> Transcript {
        let mut transcript = self.transcript;
        transcript.text.truncate(transcript.text.trim_end().len());
        let letters: usize = transcript.words.iter().map(|word| word.text.chars().count()).sum();
        let sum: f32 = transcript
            .words
            .iter()
            .map(|word| word.confidence * word.text.chars().count() as f32)
            .sum();
        transcript.confidence = (letters > 0).then(|| sum / letters as f32);
        transcript
    }
}

/// The words of a line with what stands between them.
fn push_line(text: &mut String, words: &[Found]) {
    for (index, word) in words.iter().enumerate() {
        if let Some(before) = index.checked_sub(1).map(|before| &words[before])
            && !joined(before, word)
        {
            text.push(' ');
        }
        text.push_str(&word.text);
    }
}

/// Chinese and Japanese put no spaces between words. The engine reports every few characters as a word of its own, and
/// a space between them would be no part of the text; where one is meant, it is as wide as a character.
fn joined(before: &Found, after: &Found) -> bool {
    let meet = before.text.chars().next_back().zip(after.text.chars().next());
    if !meet.is_some_and(|(left, right)| is_unspaced(left) && is_unspaced(right)) {
        return false;
    }
    // Along the line, whichever way it runs: boxes of one line overlap across it.
    let [a, b] = [before.bounds, after.bounds];
    let apart = |axis: usize| (b[axis] - a[axis + 2]).max(a[axis] - b[axis + 2]).max(0);
    let gap = apart(0).max(apart(1));
    let character = |word: &Found| {
        let [left, top, right, bottom] = word.bounds;
        let longer = (right - left).max(bottom - top);
        longer / i32::try_from(word.text.chars().count()).unwrap_or(i32::MAX).max(1)
    };
    gap * 4 < character(before).max(character(after)) * 3
}

/// Of a script that is written without spaces between words: Han, Kana, Bopomofo, and their punctuation and wide forms.
/// Korean puts spaces.
const fn is_unspaced(c: char) -> bool {
    matches!(c,
        '\u{2e80}'..='\u{2fdf}' | '\u{3000}'..='\u{312f}' | '\u{31a0}'..='\u{31ff}' | '\u{3400}'..='\u{4dbf}'
        | '\u{4e00}'..='\u{9fff}' | '\u{f900}'..='\u{faff}' | '\u{ff00}'..='\u{ff9f}' | '\u{20000}'..='\u{323af}'
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::words::Line;

    fn words(given: &[(&str, [i32; 4])]) -> Vec<Found> {
        given
            .iter()
            .map(|(text, bounds)| Found {
                text: (*text).to_owned(),
                bounds: *bounds,
                confidence: 90.0,
                known: true,
                starts_line: false,
                starts_paragraph: false,
            })
            .collect()
    }

    fn line(given: &[(&str, [i32; 4])]) -> String {
        let mut text = String::new();
        push_line(&mut text, &words(given));
        text
    }

    fn reading(text: &str) -> PictureReading {
        let words = words(&[(text, [0, 0, 30, 10])]);
        let lines = vec![Line { words, step: "page".to_owned(), paragraph: true }];
        PictureReading { lines, ..PictureReading::default() }
    }

    #[test]
    fn han_and_kana_are_joined_where_no_space_was_left() {
        // As the engine gives them: a thin character has a low box.
        let text = line(&[
            ("我", [0, 0, 20, 20]),
            ("是", [22, 0, 42, 20]),
            ("一", [46, 9, 62, 12]),
            ("中国", [64, 0, 104, 20]),
            ("。", [106, 14, 110, 20]),
        ]);
        assert_eq!(text, "我是一中国。");
        assert_eq!(line(&[("すし", [0, 0, 40, 20]), ("と", [42, 0, 60, 20])]), "すしと");
        // A space as wide as a character is meant.
        assert_eq!(line(&[("東京", [0, 0, 40, 20]), ("大阪", [60, 0, 100, 20])]), "東京 大阪");
    }

    #[test]
    fn a_line_that_runs_downwards_is_joined_too() {
        assert_eq!(line(&[("東", [0, 0, 20, 20]), ("京", [1, 22, 21, 42])]), "東京");
        assert_eq!(line(&[("東", [0, 0, 20, 20]), ("京", [1, 60, 21, 80])]), "東 京");
    }

    #[test]
    fn words_of_spaced_scripts_keep_their_spaces() {
        assert_eq!(line(&[("I", [0, 0, 5, 20]), ("eat", [6, 0, 30, 20])]), "I eat");
        assert_eq!(line(&[("eat", [0, 0, 30, 20]), ("すし", [31, 0, 70, 20])]), "eat すし");
        assert_eq!(line(&[("한국", [0, 0, 40, 20]), ("사람", [42, 0, 80, 20])]), "한국 사람");
    }

    #[test]
    fn frames_that_say_the_same_are_written_once_and_pages_always() {
        let written = |place: fn(u32) -> Place| {
            let mut writing = Writing::default();
            for (index, text) in (0..).zip(["one", "one", "two", "one"]) {
                writing.append(reading(text), place(index));
            }
            writing.finish()
        };
        let frames = written(Place::Frame);
        assert_eq!(frames.text, "one\u{c}two\u{c}one");
        assert_eq!(frames.words.iter().map(|word| word.line).collect::<Vec<_>>(), [0, 1, 2]);
        assert_eq!(written(Place::Page).text, "one\u{c}one\u{c}two\u{c}one");
    }
}
