//! The caption pass: rows of letters that the page pass did not read well, each drawn again, black on white.

use std::time::Instant;

use super::{Passes, RESOLUTION, recognize};
use crate::engine::{EngineError, Found, Layout, Until};
use crate::lines::{self, Row, Survey, covered};
use crate::raster::Raster;
use crate::words::{self, Line, mean};

/// Rows drawn again per picture: a screen full of captions has fewer.
const MOST_ROWS: usize = 30;
/// Other levels of brightness at which a row is tried that reads below [`GOOD_ROW`].
const MOST_ALTERNATIVES: usize = 2;
/// Mean confidence of a row that needs no other try.
const GOOD_ROW: f32 = 80.0;

impl Passes<'_> {
    /// Rows of letters that no confident word covers, clearest first.
    pub(super) fn unread<'s>(&self, survey: &'s Survey) -> Vec<&'s Row> {
        let mut read: Vec<[i32; 4]> = Vec::new();
        for line in &self.reading.lines {
            let sure = |word: &&Found| word.confidence >= 75.0 && words::plausible(word);
            if line.words.len() > 2 && line.confidence() >= 80.0 {
                // What stands inside a line that reads well is a part of it.
                read.push(line.bounds());
            } else {
                read.extend(line.words.iter().filter(sure).map(|word| word.bounds));
            }
        }
        let unread = |row: &&Row| {
            let seen: f32 = read.iter().map(|bounds| covered(row.bounds, *bounds)).sum();
            seen < 0.55
        };
        survey.rows.iter().filter(unread).take(MOST_ROWS).collect()
    }

    /// Reads rows and merges what they say. Returns how convincing they are.
    pub(super) fn captions(&mut self, survey: &Survey, rows: &[&Row]) -> Result<f32, EngineError> {
        if rows.is_empty() {
            return Ok(0.0);
        }
        let started = Instant::now();
        let reason = format!("{} rows of letters were not read by the page pass", rows.len());
        let (mut added, mut all) = (Vec::new(), Vec::new());
        for row in rows {
            if self.budget.left().is_zero() {
                self.reading.partial = true;
                break;
            }
            let mut words = self.row(row)?;
            for other in survey.alternatives(row).take(MOST_ALTERNATIVES) {
                let value = |words: &[Found]| words.iter().map(words::score).sum::<f32>();
                if mean(words.iter()) >= GOOD_ROW || self.budget.left().is_zero() {
                    break;
                }
                let again = self.row(other)?;
                if value(&again) > value(&words) {
                    words = again;
                }
            }
            all.extend(words.iter().cloned());
            let line = Line { words, step: "caption".to_owned(), paragraph: false };
            added.extend(words::without_noise(vec![line]));
        }
        let confidence = mean(all.iter());
        added.sort_by_key(|line: &Line| (line.bounds()[1], line.bounds()[0]));
        for line in added {
            words::merge(&mut self.reading.lines, line);
        }
        self.step("caption", reason, started, Some(confidence));
        Ok(words::convincing(all.iter()))
    }

    /// One row, drawn and read as a single line.
    fn row(&mut self, row: &Row) -> Result<Vec<Found>, EngineError> {
        let Some(drawn) = lines::draw(&self.grey, row) else { return Ok(Vec::new()) };
        let words = self.line(&drawn.picture)?.into_iter();
        Ok(words.map(|word| Found { bounds: drawn.back(word.bounds), ..word }).collect())
    }

    /// The words of a picture of one line.
    pub(super) fn line(&mut self, picture: &Raster) -> Result<Vec<Found>, EngineError> {
        let until = Until { deadline: self.budget.left(), words: None };
        let recognized = recognize(self.engine, picture, Layout::Line, RESOLUTION, until)?;
        self.reading.partial |= !recognized.complete;
        Ok(recognized.words)
    }
}
