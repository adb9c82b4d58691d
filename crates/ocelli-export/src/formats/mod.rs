//! Words with their boxes in the formats that other programs read: hOCR, ALTO and Tesseract's TSV.
//!
//! `ocelli show --format hocr|alto|tsv`, exports and the web site write them from what the archive holds; nothing is read
//! again. Absent on purpose: font sizes, hyphenation and blocks, which the archive does not hold; each page is one block.

mod alto;
mod hocr;
mod languages;
mod layout;
mod tsv;
mod xml;

use ocelli_core::{Analysis, AnalyzerName, ImageFacts, Outcome, Reading, Record};

pub use alto::alto;
pub use hocr::hocr;
pub use tsv::tsv;

/// What is written: one image and what one analyzer read in it.
#[derive(Debug, Clone, Copy)]
pub struct Document<'a> {
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
    pub fn of(
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

/// The words of this analyzer as a document, or those of the first in `order` that read some; none where nobody did.
#[must_use]
pub fn words(
    record: &Record,
    order: &[AnalyzerName],
    analyzer: Option<&AnalyzerName>,
    write: fn(&Document<'_>) -> String,
) -> Option<String> {
    let source = record.sightings.keys().next().map(ToString::to_string).unwrap_or_default();
    let nothing = Reading::default();
    let asked: Vec<_> = analyzer.map_or_else(|| order.iter().collect(), |name| vec![name]);
    asked
        .into_iter()
        .filter_map(|name| record.current(name))
        .find_map(|analysis| Document::of(&record.image, &source, analysis, &nothing))
        .map(|document| write(&document))
}

#[cfg(test)]
mod tests;
