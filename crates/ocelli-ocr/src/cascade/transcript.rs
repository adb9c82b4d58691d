//! From the readings of pages to what the child answers.

use ocelli_core::Word;

use super::PictureReading;
use crate::protocol::Transcript;

/// Adds the reading of one page to the transcript of the image.
pub(crate) fn append(transcript: &mut Transcript, reading: PictureReading, page: usize) {
    let first_line = transcript.words.last().map_or(0, |word| word.line + 1);
    if page > 0 {
        transcript.text.push('\u{c}');
    }
    for (line_number, (index, line)) in (first_line..).zip(reading.lines.iter().enumerate()) {
        if index > 0 {
            transcript.text.push_str(if line.paragraph { "\n\n" } else { "\n" });
        }
        for (index, word) in line.words.iter().enumerate() {
            if index > 0 {
                transcript.text.push(' ');
            }
            transcript.text.push_str(&word.text);
            let [left, top, right, bottom] = word.bounds;
            transcript.words.push(Word {
                text: word.text.clone(),
                x: left,
                y: top,
                w: right - left,
                h: bottom - top,
                confidence: word.confidence,
                line: line_number,
                step: line.step.clone(),
            });
        }
    }
    transcript.partial |= reading.partial;
    // The turn of the first page that needed one: pages of one file are turned alike.
    if transcript.rotation == 0 {
        transcript.rotation = reading.rotation;
    }
    transcript.steps.extend(reading.steps.into_iter().map(|mut step| {
        if page > 0 {
            step.reason = format!("page {}: {}", page + 1, step.reason);
        }
        step
    }));
}

/// Works out what concerns all pages together.
pub(crate) fn finish(transcript: &mut Transcript) {
    transcript.text.truncate(transcript.text.trim_end().len());
    let letters: usize = transcript.words.iter().map(|word| word.text.chars().count()).sum();
    let sum: f32 = transcript
        .words
        .iter()
        .map(|word| word.confidence * word.text.chars().count() as f32)
        .sum();
    transcript.confidence = (letters > 0).then(|| sum / letters as f32);
}
