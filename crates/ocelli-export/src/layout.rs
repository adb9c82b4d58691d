//! A record as people read it: what `ocelli show`, exports and the web site write.
//!
//! The text layout is that of the archive page this project began with: `First Seen`, the time, then the name and the
//! text of each analyzer in configured order.

use std::fmt::Write as _;

use jiff::Timestamp;
use jiff::tz::Offset;
use ocelli_core::agreement::Pair;
use ocelli_core::{Analysis, AnalyzerName, Flag, Outcome, Record};

use crate::document::{Seen, seen};

/// `2024-05-04T09:00:51+00:00`: RFC 3339 with a numeric zone, always UTC.
#[must_use]
pub fn time(at: Timestamp) -> String {
    let second = Timestamp::from_second(at.as_second()).unwrap_or(at);
    second.display_with_offset(Offset::UTC).to_string()
}

/// Analyzers of a record: configured ones in their order, then others by name.
#[must_use]
pub fn names<'a>(record: &'a Record, order: &'a [AnalyzerName]) -> Vec<&'a AnalyzerName> {
    let here = |name: &AnalyzerName| {
        record.wants.contains_key(name) || record.analyses.keys().any(|(other, _)| other == name)
    };
    let mut names: Vec<_> = order.iter().filter(|name| here(name)).collect();
    for name in record.wants.keys().chain(record.analyses.keys().map(|(name, _)| name)) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// `First Seen` and the time.
#[must_use]
pub fn head(record: &Record) -> String {
    let seen = record.first_seen().map_or_else(|| "not yet written down".to_owned(), time);
    format!("First Seen\n{seen}\n")
}

/// The layout of the archive page.
#[must_use]
pub fn text(record: &Record, order: &[AnalyzerName]) -> String {
    let mut page = head(record);
    if let Some(reason) = &record.refusal {
        let _ = writeln!(page, "[not analyzed: {}]", printable(reason));
        return page;
    }
    for name in names(record, order) {
        let _ = writeln!(page, "{name}\n{}", body(record.current(name)));
    }
    page
}

/// What lists said about the record beside where it is, place by place; empty when they said nothing.
#[must_use]
pub fn metadata(record: &Record) -> String {
    let mut page = String::new();
    for source in record.sightings.keys() {
        for (place, (name, text)) in record.said(source).enumerate() {
            if place == 0 {
                let _ = writeln!(page, "Metadata of {source}");
            }
            let _ = writeln!(page, "  {}: {}", one_line(name), one_line(text));
        }
    }
    page
}

/// The same with headings, sightings and provenance, as Markdown.
#[must_use]
pub fn markdown(record: &Record, order: &[AnalyzerName]) -> String {
    let image = &record.image;
    let mut page = format!("# {}\n\n", image.digest);
    let seen = record.first_seen().map_or_else(|| "not yet written down".to_owned(), time);
    let _ = writeln!(page, "**First Seen** {seen}\n");
    let format = image.format.map_or("unknown format", ocelli_core::ImageFormat::name);
    let size = match (image.width, image.height) {
        (Some(width), Some(height)) => format!(", {width} × {height}"),
        _ => String::new(),
    };
    if image.is_unread() && record.refusal.is_none() {
        page.push_str("not read yet\n\n");
    } else {
        let _ = writeln!(page, "{format}{size}, {} bytes\n", image.bytes);
    }
    for sighting in record.sightings.values() {
        let _ = writeln!(page, "- {} `{}`", time(sighting.seen_at), sighting.source);
        for (name, text) in record.said(&sighting.source) {
            let _ = writeln!(page, "  - {}: {}", one_line(name), one_line(text));
        }
    }
    if let Some(reason) = &record.refusal {
        let _ = writeln!(page, "\nNot analyzed: {}", printable(reason));
        return page;
    }
    for name in names(record, order) {
        let current = record.current(name);
        let _ = writeln!(page, "\n## {name}\n");
        if let Some(analysis) = current {
            let provenance = &analysis.provenance;
            let mut facts = vec![provenance.engine.clone()];
            facts.extend(provenance.model.clone());
            facts.push(format!("revision {}", analysis.revision));
            facts.push(format!("{} ms", provenance.took_ms));
            if let Outcome::Done(reading) = &analysis.outcome {
                facts.extend(reading.confidence.map(|value| format!("confidence {value:.0}")));
                facts.extend(reading.flags.iter().map(|flag| flag_name(*flag).to_owned()));
            }
            facts.retain(|fact| !fact.is_empty());
            let _ = writeln!(page, "*{}*\n", facts.join(" · "));
        }
        let _ = writeln!(page, "{}", body(current));
    }
    page
}

/// The record for programs: the stored facts, and what follows from them.
#[derive(serde::Serialize)]
pub struct Json<'a> {
    digest: ocelli_core::Digest,
    first_seen: Option<Timestamp>,
    complete: bool,
    waiting: Vec<&'a AnalyzerName>,
    image: &'a ocelli_core::ImageFacts,
    refusal: &'a Option<String>,
    sightings: Vec<Seen<'a>>,
    analyses: Vec<JsonAnalysis<'a>>,
    /// How far answers agree; empty while the record is not complete.
    agreement: &'a [Pair],
}

#[derive(serde::Serialize)]
struct JsonAnalysis<'a> {
    /// Whether it answers what is wanted now; older revisions stay beside it.
    current: bool,
    #[serde(flatten)]
    analysis: &'a Analysis,
}

impl<'a> Json<'a> {
    /// `order` is that of display, `agreement` what the catalog knows of this record.
    #[must_use]
    pub fn new(record: &'a Record, order: &'a [AnalyzerName], agreement: &'a [Pair]) -> Self {
        let analyses = names(record, order).into_iter().flat_map(|name| {
            let current = record.current(name);
            let mut all: Vec<_> =
                record.answers().filter(|analysis| analysis.analyzer == *name).collect();
            all.sort_by_key(|analysis| std::cmp::Reverse(analysis.finished_at));
            all.into_iter().map(move |analysis| JsonAnalysis {
                current: current.is_some_and(|one| std::ptr::eq(one, analysis)),
                analysis,
            })
        });
        Self {
            digest: record.image.digest,
            first_seen: record.first_seen(),
            complete: record.is_complete(),
            waiting: if record.refusal.is_some() {
                vec![]
            } else {
                record.open().into_iter().collect()
            },
            image: &record.image,
            refusal: &record.refusal,
            sightings: seen(record),
            analyses: analyses.collect(),
            agreement,
        }
    }
}

/// What one analyzer says, or in brackets why it says nothing.
#[must_use]
pub fn body(analysis: Option<&Analysis>) -> String {
    match analysis.map(|analysis| (&analysis.outcome, analysis.attempts)) {
        None => "[waiting]".to_owned(),
        Some((Outcome::Done(reading), _)) => printable(&reading.text),
        Some((Outcome::Empty, _)) => "[nothing to read]".to_owned(),
        Some((Outcome::Skipped { rule, reason }, _)) => {
            format!("[skipped by rule '{}': {}]", printable(rule), printable(reason))
        }
        Some((Outcome::Failed { class, reason }, attempts)) => {
            let times = if attempts == 1 { "attempt" } else { "attempts" };
            format!("[failed after {attempts} {times}, {class}: {}]", printable(reason))
        }
    }
}

/// A flag as people read it.
#[must_use]
pub const fn flag_name(flag: Flag) -> &'static str {
    match flag {
        Flag::Partial => "partial",
        Flag::Truncated => "truncated",
        Flag::Refused => "refused",
        Flag::MissingSections => "missing sections",
        Flag::Preamble => "preamble",
        Flag::OtherModel => "other model",
        Flag::Repetition => "repetition",
        _ => "flagged",
    }
}

/// Text from images and models must not move the cursor or recolour the terminal of whoever reads it.
fn printable(text: &str) -> String {
    text.trim_end()
        .chars()
        .map(|c| if c.is_control() && c != '\n' && c != '\t' { '\u{fffd}' } else { c })
        .collect()
}

/// The same without line ends: what a list says must not look like a line of ocelli's own.
fn one_line(text: &str) -> String {
    printable(text).replace(['\n', '\t'], " ")
}

#[cfg(test)]
mod tests {
    use ocelli_core::{
        BatchId, Digest, FailureClass, ImageFacts, Provenance, Reading, RevisionBuilder, Sighting,
        Want,
    };

    use super::*;

    fn record() -> Record {
        let at: Timestamp = "2024-05-04T09:00:51Z".parse().unwrap();
        let mut record = Record::new(ImageFacts {
            digest: Digest::of(b"x"),
            bytes: 1,
            format: None,
            width: None,
            height: None,
        });
        record.add_sighting(Sighting {
            source: "file:///a/chart.png".parse().unwrap(),
            seen_at: at,
            batch: BatchId::new(uuid::Uuid::nil()),
        });
        for (name, outcome) in [
            (
                "tesseract-ocr",
                Outcome::Done(Reading { text: "MMLU\x1b[2J 80\n".into(), ..Reading::default() }),
            ),
            (
                "gemma3-27b-vision",
                Outcome::Done(Reading {
                    text: "## Visual Description".into(),
                    ..Reading::default()
                }),
            ),
            ("b", Outcome::Failed { class: FailureClass::Crash, reason: "died".into() }),
        ] {
            record.add_want(at, Want { analyzer: name.parse().unwrap(), revision: None });
            record.add_analysis(Analysis {
                analyzer: name.parse().unwrap(),
                revision: RevisionBuilder::new("t").build(),
                outcome,
                attempts: 2,
                finished_at: at,
                provenance: Provenance::default(),
            });
        }
        record.add_want(at, Want { analyzer: "a".parse().unwrap(), revision: None });
        record
    }

    #[test]
    fn the_text_layout_is_first_seen_and_then_each_analyzer_in_configured_order() {
        let order =
            ["gemma3-27b-vision", "tesseract-ocr", "llama3.2-vision"].map(|n| n.parse().unwrap());
        assert_eq!(
            text(&record(), &order),
            "First Seen\n2024-05-04T09:00:51+00:00\n\
             gemma3-27b-vision\n## Visual Description\n\
             tesseract-ocr\nMMLU\u{fffd}[2J 80\n\
             a\n[waiting]\n\
             b\n[failed after 2 attempts, crash: died]\n"
        );
    }

    #[test]
    fn what_lists_said_is_shown_on_lines_of_its_own_that_nobody_can_forge() {
        let mut record = record();
        assert_eq!(metadata(&record), "");
        let source = record.sightings.keys().next().unwrap().clone();
        let said = [("author", "me\x1b[2J\ntesseract-ocr: no"), ("pages", "7")];
        let said = said.map(|(name, text)| (name.to_owned(), text.to_owned()));
        record.add_meta(&source, BatchId::new(uuid::Uuid::nil()), &said.into_iter().collect());
        let expected = "  author: me\u{fffd}[2J tesseract-ocr: no\n  pages: 7\n";
        assert_eq!(metadata(&record), format!("Metadata of /a/chart.png\n{expected}"));
        assert!(markdown(&record, &[]).contains("\n  - pages: 7\n"));
        let json = serde_json::to_value(Json::new(&record, &[], &[])).unwrap();
        assert_eq!(json["sightings"][0]["meta"]["pages"], "7");
        assert_eq!(json["sightings"][0]["source"], "file:///a/chart.png");
    }

    #[test]
    fn a_refused_image_says_why_in_every_layout() {
        let mut record = record();
        record.refusal = Some("not an image: it looks like HTML".into());
        assert!(text(&record, &[]).ends_with("[not analyzed: not an image: it looks like HTML]\n"));
        assert!(markdown(&record, &[]).contains("Not analyzed: not an image"));
    }
}
