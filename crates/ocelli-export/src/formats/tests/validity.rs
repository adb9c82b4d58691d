//! The documents against what others say they must be: ALTO against its schema with a validator, hOCR against the tables of
//! its specification.

use std::io::Write as _;
use std::process::{Command, Stdio};

use ocelli_core::{Outcome, Reading};

use super::{analysis, image, parse, reading, with, word};
use crate::formats::{Document, alto, hocr};

const SCHEMAS: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../../tests/schemas");

/// Readings that make every part of the documents appear.
fn readings() -> Vec<Reading> {
    let hostile = "a<b>&\"'\u{1}\u{fffe}\u{10ffff}]]>é日\u{202e}";
    vec![
        reading(),
        Reading { rotation: 270, languages: Some("eng+deu+chi_sim".to_owned()), ..reading() },
        Reading { languages: None, ..reading() },
        Reading {
            text: hostile.to_owned(),
            words: vec![
                word(hostile, 0, [-5, -5, 0, 0], f32::NAN),
                word("", 0, [i32::MAX, i32::MIN, i32::MAX, i32::MIN], 1e9),
            ],
            languages: Some("script/Latin+xyz".to_owned()),
            ..Reading::default()
        },
    ]
}

/// All documents of one format, the one of an empty image too.
fn documents(format: fn(&Document<'_>) -> String) -> Vec<String> {
    let (image, nothing) = (image(), Reading::default());
    let empty = analysis(Outcome::Empty);
    let mut all: Vec<String> =
        readings().into_iter().map(|reading| with(reading, "a \"b\";<c>&.tif", format)).collect();
    all.push(format(&Document::of(&image, "a.png", &empty, &nothing).expect("a document")));
    all
}

/// Runs xmllint over a document on its standard input.
fn xmllint(arguments: &[&str], document: &str) -> Result<(), String> {
    let mut child = Command::new("xmllint")
        .args(["--noout", "--nonet"])
        .args(arguments)
        .arg("-")
        .env("XML_CATALOG_FILES", format!("{SCHEMAS}/catalog.xml"))
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("xmllint is installed (Debian: libxml2-utils; deploy/local/setup.sh --servers)");
    let mut input = child.stdin.take().expect("a pipe");
    input.write_all(document.as_bytes()).expect("xmllint reads");
    drop(input);
    let output = child.wait_with_output().expect("xmllint ends");
    if output.status.success() {
        return Ok(());
    }
    Err(String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn alto_is_valid_by_the_schema_of_the_library_of_congress() {
    let schema = format!("{SCHEMAS}/alto-4-2.xsd");
    for document in documents(alto) {
        let verdict = xmllint(&["--schema", &schema], &document);
        assert_eq!(verdict, Ok(()), "{document}");
    }
    // The validator does see what is wrong.
    let wrong = with(reading(), "a.tif", alto).replace("HPOS", "HPUS");
    let verdict = xmllint(&["--schema", &schema], &wrong);
    assert!(verdict.is_err_and(|why| why.contains("HPUS")));
}

/// Of the elements that ocelli writes: their class, properties that they must have, that they may have, and the class of the
/// element around them (hOCR 1.2, sections 4 to 8).
type Element =
    (&'static str, &'static [&'static str], &'static [&'static str], Option<&'static str>);

const ELEMENTS: [Element; 4] = [
    ("ocr_page", &["bbox"], &["image", "ppageno"], None),
    ("ocr_par", &["bbox"], &[], Some("ocr_page")),
    ("ocr_line", &["bbox"], &["textangle"], Some("ocr_par")),
    ("ocrx_word", &["bbox"], &["x_wconf"], Some("ocr_line")),
];

/// Whether a property's value is what the grammar of the specification says.
fn is_value_of(property: &str, value: &str) -> bool {
    let parts: Vec<&str> = value.split(' ').collect();
    let unsigned = |part: &&str| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty();
    let quoted = |value: &str| {
        value.len() >= 2 && value.starts_with('"') && value.ends_with('"') && {
            !value[1..value.len() - 1].contains('"')
        }
    };
    match property {
        "bbox" => parts.len() == 4 && parts.iter().all(unsigned),
        "ppageno" => parts.len() == 1 && parts.iter().all(unsigned),
        "textangle" => value.parse::<f32>().is_ok_and(f32::is_finite),
        "x_wconf" => value.parse::<f32>().is_ok_and(|value| (0.0..=100.0).contains(&value)),
        "image" => quoted(value),
        _ => false,
    }
}

#[test]
fn hocr_keeps_the_rules_of_its_specification() {
    for document in documents(hocr) {
        assert_eq!(xmllint(&[], &document), Ok(()), "well-formed XHTML: {document}");
        let xml = parse(&document);
        let metadata = |name: &str| -> Vec<&str> {
            let named = xml.descendants().filter(|node| node.attribute("name") == Some(name));
            named.filter_map(|node| node.attribute("content")).collect()
        };
        assert_eq!(metadata("ocr-system").len(), 1);
        let [capabilities] = metadata("ocr-capabilities")[..] else { panic!("{document}") };
        let capabilities: Vec<&str> = capabilities.split(' ').collect();
        for languages in metadata("ocr-langs") {
            let codes = languages.split(' ').all(|code| {
                code == "unknown"
                    || (code.len() == 2 && code.bytes().all(|b| b.is_ascii_lowercase()))
            });
            assert!(codes, "ISO 639-1: {languages}");
        }
        let elements: Vec<_> = xml
            .descendants()
            .filter_map(|node| Some((node.attribute("class")?, node)))
            .filter(|(class, _)| class.starts_with("ocr"))
            .collect();
        assert!(elements.iter().any(|(class, _)| *class == "ocr_page"));
        for (class, node) in elements {
            let row = ELEMENTS.iter().find(|(name, ..)| *name == class);
            let (_, required, allowed, around) = row.unwrap_or_else(|| panic!("{class}"));
            assert!(capabilities.contains(&class), "{class} is no declared capability");
            let parent = node.ancestors().skip(1).find_map(|node| node.attribute("class"));
            assert_eq!(parent, *around, "around {class}");
            let title = node.attribute("title").unwrap_or_default();
            let properties: Vec<(&str, &str)> =
                title.split("; ").map(|part| part.split_once(' ').unwrap_or((part, ""))).collect();
            for (name, value) in &properties {
                assert!(required.contains(name) || allowed.contains(name), "{name} of {class}");
                assert!(is_value_of(name, value), "{name} {value}");
                assert_eq!(properties.iter().filter(|(other, _)| other == name).count(), 1);
            }
            for name in *required {
                assert!(properties.iter().any(|(other, _)| other == name), "{class} lacks {name}");
            }
        }
        let mut ids: Vec<_> = xml.descendants().filter_map(|node| node.attribute("id")).collect();
        let all = ids.len();
        ids.sort_unstable();
        ids.dedup();
        assert_eq!(ids.len(), all, "every id is there once");
    }
}
