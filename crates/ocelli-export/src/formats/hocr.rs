//! hOCR 1.2 (<https://kba.github.io/hocr-spec/1.2/>), as XHTML.

use std::fmt::Write as _;

use super::Document;
use super::languages::iso_639_1;
use super::layout::{Area, Line, pages};
use super::xml::Escaped;

/// The document as hOCR.
pub fn hocr(document: &Document<'_>) -> String {
    let mut out = String::new();
    write(&mut out, document).expect("a String takes everything");
    out
}

fn write(out: &mut String, document: &Document<'_>) -> std::fmt::Result {
    let reading = document.reading;
    let engine = Escaped(document.engine);
    write!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE html PUBLIC "-//W3C//DTD XHTML 1.0 Transitional//EN" "http://www.w3.org/TR/xhtml1/DTD/xhtml1-transitional.dtd">
<html xmlns="http://www.w3.org/1999/xhtml">
<head>
<title>{}</title>
<meta http-equiv="Content-Type" content="text/html; charset=utf-8"/>
<meta name="ocr-system" content="{engine}"/>
<meta name="ocr-capabilities" content="ocr_page ocr_par ocr_line ocrx_word"/>
<meta name="ocr-langs" content="{}"/>
</head>
<body>
"#,
        Escaped(document.source),
        iso_639_1(reading.languages.as_deref().unwrap_or_default()),
    )?;
    let (mut line_number, mut word_number) = (0, 0);
    for (index, page) in pages(document).iter().enumerate() {
        let page_number = index + 1;
        writeln!(
            out,
            r#"<div class="ocr_page" id="page_{page_number}" title="image &quot;{}&quot;; {}; ppageno {index}">"#,
            Escaped(&quotable(document.source)),
            Bbox(page.area),
        )?;
        for (index, paragraph) in page.paragraphs.iter().enumerate() {
            let id = format!("par_{page_number}_{}", index + 1);
            writeln!(out, r#"<p class="ocr_par" id="{id}" title="{}">"#, Bbox(paragraph.area()))?;
            for line in &paragraph.0 {
                line_number += 1;
                write_line(out, line, line_number, &mut word_number, reading.rotation)?;
            }
            writeln!(out, "</p>")?;
        }
        writeln!(out, "</div>")?;
    }
    writeln!(out, "</body>\n</html>")
}

fn write_line(
    out: &mut String,
    line: &Line<'_>,
    number: u32,
    word_number: &mut u32,
    rotation: u16,
) -> std::fmt::Result {
    write!(out, r#"<span class="ocr_line" id="line_{number}" title="{}"#, Bbox(line.area()))?;
    if rotation != 0 {
        // Counter-clockwise, which is by how much the text must be turned clockwise to stand upright.
        write!(out, "; textangle {rotation}")?;
    }
    writeln!(out, r#"">"#)?;
    for word in &line.0 {
        *word_number += 1;
        writeln!(
            out,
            r#"<span class="ocrx_word" id="word_{word_number}" title="{}; x_wconf {:.0}">{}</span>"#,
            Bbox(word.area),
            word.confidence,
            Escaped(word.text),
        )?;
    }
    writeln!(out, "</span>")
}

/// A title is a list of properties: quotation marks and semicolons inside a name would end it.
fn quotable(name: &str) -> String {
    name.replace('"', "%22").replace(';', "%3B")
}

struct Bbox(Area);

impl std::fmt::Display for Bbox {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Area { left, top, right, bottom } = self.0;
        write!(f, "bbox {left} {top} {right} {bottom}")
    }
}
