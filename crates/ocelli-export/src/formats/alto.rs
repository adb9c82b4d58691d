//! ALTO 4.2 (<https://www.loc.gov/standards/alto/>).

use std::fmt::Write as _;

use super::Document;
use super::layout::{Area, Page, pages};
use super::xml::Escaped;

/// The document as ALTO.
pub fn alto(document: &Document<'_>) -> String {
    let mut out = String::new();
    write(&mut out, document).expect("a String takes everything");
    out
}

fn write(out: &mut String, document: &Document<'_>) -> std::fmt::Result {
    write!(
        out,
        r#"<?xml version="1.0" encoding="UTF-8"?>
<alto xmlns="http://www.loc.gov/standards/alto/ns-v4#" xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:schemaLocation="http://www.loc.gov/standards/alto/ns-v4# http://www.loc.gov/standards/alto/v4/alto-4-2.xsd">
<Description>
<MeasurementUnit>pixel</MeasurementUnit>
<sourceImageInformation><fileName>{}</fileName></sourceImageInformation>
<Processing ID="OCR_1"><processingSoftware><softwareName>{}</softwareName></processingSoftware></Processing>
</Description>
<Layout>
"#,
        Escaped(document.source),
        Escaped(document.engine),
    )?;
    for (index, page) in pages(document).iter().enumerate() {
        write_page(out, page, index + 1, document.reading.rotation)?;
    }
    writeln!(out, "</Layout>\n</alto>")
}

fn write_page(out: &mut String, page: &Page<'_>, number: usize, rotation: u16) -> std::fmt::Result {
    let (width, height) = (page.area.width(), page.area.height());
    writeln!(
        out,
        r#"<Page ID="page_{number}" PHYSICAL_IMG_NR="{number}" WIDTH="{width}" HEIGHT="{height}"><PrintSpace {}>"#,
        Place(page.area),
    )?;
    for (index, paragraph) in page.paragraphs.iter().enumerate() {
        let block = format!("{number}_{}", index + 1);
        write!(out, r#"<TextBlock ID="block_{block}" {}"#, Place(paragraph.area()))?;
        if rotation != 0 {
            // Counter-clockwise, which is by how much the text must be turned clockwise to stand upright.
            write!(out, r#" ROTATION="{rotation}""#)?;
        }
        writeln!(out, ">")?;
        for (index, line) in paragraph.0.iter().enumerate() {
            let id = format!("{block}_{}", index + 1);
            writeln!(out, r#"<TextLine ID="line_{id}" {}>"#, Place(line.area()))?;
            for (index, word) in line.0.iter().enumerate() {
                if index > 0 {
                    out.push_str("<SP/>");
                }
                writeln!(
                    out,
                    r#"<String ID="string_{id}_{}" {} WC="{:.2}" CONTENT="{}"/>"#,
                    index + 1,
                    Place(word.area),
                    word.confidence / 100.0,
                    Escaped(word.text),
                )?;
            }
            writeln!(out, "</TextLine>")?;
        }
        writeln!(out, "</TextBlock>")?;
    }
    writeln!(out, "</PrintSpace></Page>")
}

/// As attributes.
struct Place(Area);

impl std::fmt::Display for Place {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Area { left, top, .. } = self.0;
        let (width, height) = (self.0.width(), self.0.height());
        write!(f, r#"HPOS="{left}" VPOS="{top}" WIDTH="{width}" HEIGHT="{height}""#)
    }
}
