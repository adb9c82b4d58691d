//! Tesseract's TSV: the columns, levels and numbering of `tesseract IMAGE - tsv`.

use std::fmt::Write as _;

use super::Document;
use super::layout::{Area, pages};

const HEADER: &str = "level\tpage_num\tblock_num\tpar_num\tline_num\tword_num\tleft\ttop\twidth\theight\tconf\ttext\n";

/// The document as TSV.
pub fn tsv(document: &Document<'_>) -> String {
    let mut out = String::from(HEADER);
    for (page, number) in pages(document).iter().zip(1..) {
        row(&mut out, 1, [number, 0, 0, 0, 0], page.area, None);
        if page.paragraphs.is_empty() {
            continue;
        }
        let block = Area::around(page.paragraphs.iter().map(super::layout::Paragraph::area));
        row(&mut out, 2, [number, 1, 0, 0, 0], block, None);
        for (paragraph, par) in page.paragraphs.iter().zip(1..) {
            row(&mut out, 3, [number, 1, par, 0, 0], paragraph.area(), None);
            for (line, line_number) in paragraph.0.iter().zip(1..) {
                row(&mut out, 4, [number, 1, par, line_number, 0], line.area(), None);
                for (word, word_number) in line.0.iter().zip(1..) {
                    let place = [number, 1, par, line_number, word_number];
                    row(&mut out, 5, place, word.area, Some((word.confidence, word.text)));
                }
            }
        }
    }
    out
}

fn row(out: &mut String, level: u8, place: [u32; 5], area: Area, word: Option<(f32, &str)>) {
    let [page, block, par, line, number] = place;
    let Area { left, top, .. } = area;
    let (width, height) = (area.width(), area.height());
    write!(
        out,
        "{level}\t{page}\t{block}\t{par}\t{line}\t{number}\t{left}\t{top}\t{width}\t{height}\t"
    )
    .expect("a String takes everything");
    match word {
        None => out.push_str("-1\t\n"),
        Some((confidence, text)) => {
            // A tab or a line break inside a word would be a column or a row.
            let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
            writeln!(out, "{confidence:.6}\t{text}").expect("a String takes everything");
        }
    }
}
