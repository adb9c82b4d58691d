//! Words with their boxes in the formats that other programs read: hOCR, ALTO and Tesseract's TSV.
//!
//! `ocelli show --format hocr|alto|tsv` prints them from what the archive holds; nothing is read again. Absent on
//! purpose: font sizes, hyphenation and blocks, which the archive does not hold; each page is one block.

mod alto;
mod hocr;
mod languages;
mod layout;
mod tsv;
mod xml;

use ocelli_core::{Analysis, ImageFacts, Outcome, Reading};

pub(crate) use alto::alto;
pub(crate) use hocr::hocr;
pub(crate) use tsv::tsv;

/// What is written: one image and what one analyzer read in it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Document<'a> {
    image: &'a ImageFacts,
    /// File name or address to name in the document.
    source: &'a str,
    /// Engine with its version.
    engine: &'a str,
    reading: &'a Reading,
}

impl<'a> Document<'a> {
    /// `None` when the analysis is no reading of words: an analyzer of another kind, or a failure. An empty image is a
    /// document without words.
    pub(crate) fn of(
        image: &'a ImageFacts,
        source: &'a str,
        analysis: &'a Analysis,
        nothing: &'a Reading,
    ) -> Option<Self> {
        let reading = match &analysis.outcome {
            // Words are what these formats are about: a model's answer has none.
            Outcome::Done(reading) if reading.words.is_empty() && !reading.text.is_empty() => {
                return None;
            }
            Outcome::Done(reading) => reading,
            Outcome::Empty => nothing,
            Outcome::Skipped { .. } | Outcome::Failed { .. } => return None,
        };
        Some(Self { image, source, engine: &analysis.provenance.engine, reading })
    }
}

#[cfg(test)]
mod tests;
