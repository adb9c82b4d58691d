//! Every format against its own rules, with ordinary and with hostile words.

use ocelli_core::{
    Analysis, Digest, FailureClass, ImageFacts, ImageFormat, Outcome, Provenance, Reading, Word,
};
use proptest::prelude::*;
use roxmltree::{Document as Xml, Node};

use super::{Document, alto, hocr, tsv};

mod validity;

fn word(text: &str, line: u32, [x, y, w, h]: [i32; 4], confidence: f32) -> Word {
    Word { text: text.to_owned(), x, y, w, h, confidence, line, step: "page".to_owned() }
}

fn image() -> ImageFacts {
    ImageFacts {
        digest: Digest::of(b"image"),
        format: Some(ImageFormat::Tiff),
        width: Some(640),
        height: Some(480),
        bytes: 5,
    }
}

fn analysis(outcome: Outcome) -> Analysis {
    Analysis {
        analyzer: "ocr".parse().expect("a name"),
        revision: ocelli_core::RevisionBuilder::new("ocr").build(),
        outcome,
        attempts: 1,
        finished_at: jiff::Timestamp::UNIX_EPOCH,
        provenance: Provenance { engine: "tesseract 5.3.0".to_owned(), ..Provenance::default() },
    }
}

/// Two pages; the first has two paragraphs.
fn reading() -> Reading {
    Reading {
        text: "Fish & chips\n<open>\n\ndaily\u{c}second page".to_owned(),
        confidence: Some(90.0),
        words: vec![
            word("Fish", 0, [10, 10, 40, 20], 96.2),
            word("&", 0, [55, 10, 10, 20], 80.0),
            word("chips", 0, [70, 10, 50, 20], 95.0),
            word("<open>", 1, [10, 40, 60, 20], 70.5),
            word("daily", 2, [10, 90, 50, 20], 91.0),
            word("second", 3, [700, 10, 60, 20], 88.0),
            word("page", 3, [770, 10, 40, 20], 89.0),
        ],
        languages: Some("eng".to_owned()),
        ..Reading::default()
    }
}

fn with<T>(reading: Reading, source: &str, look: impl FnOnce(&Document<'_>) -> T) -> T {
    let (image, analysis, nothing) =
        (image(), analysis(Outcome::Done(reading)), Reading::default());
    look(&Document::of(&image, source, &analysis, &nothing).expect("a reading of words"))
}

fn of_class<'a>(xml: &'a Xml<'a>, class: &str) -> Vec<Node<'a, 'a>> {
    xml.descendants().filter(|node| node.attribute("class") == Some(class)).collect()
}

fn named<'a>(xml: &'a Xml<'a>, name: &str) -> Vec<Node<'a, 'a>> {
    xml.descendants()
        .filter(|node| node.has_tag_name(("http://www.loc.gov/standards/alto/ns-v4#", name)))
        .collect()
}

fn parse(text: &str) -> Xml<'_> {
    let options = roxmltree::ParsingOptions { allow_dtd: true, ..Default::default() };
    Xml::parse_with_options(text, options).unwrap_or_else(|error| panic!("{error}\n{text}"))
}

fn attribute(node: &Node<'_, '_>, name: &str) -> i32 {
    let value = node.attribute(name).unwrap_or_else(|| panic!("{name} of {node:?}"));
    value.parse().unwrap_or_else(|_| panic!("{name}={value}"))
}

/// Left, top, right, bottom of an hOCR title.
fn bbox(node: &Node<'_, '_>) -> [i32; 4] {
    let title = node.attribute("title").expect("a title");
    let (_, numbers) = title.split_once("bbox ").expect("a box");
    let numbers = numbers.split(';').next().expect("a part");
    let numbers: Vec<i32> = numbers.split(' ').map(|n| n.parse().expect("a number")).collect();
    numbers.try_into().expect("four numbers")
}

fn inside([l, t, r, b]: [i32; 4], outer: [i32; 4]) -> bool {
    l >= outer[0] && t >= outer[1] && r <= outer[2] && b <= outer[3]
}

#[test]
fn hocr_has_pages_paragraphs_lines_and_words_each_inside_the_other() {
    let text = with(reading(), "a \"b\"; c.tif", hocr);
    let xml = parse(&text);
    let counts = ["ocr_page", "ocr_par", "ocr_line", "ocrx_word"].map(|c| of_class(&xml, c).len());
    assert_eq!(counts, [2, 3, 4, 7]);
    let words: Vec<_> = of_class(&xml, "ocrx_word");
    assert_eq!(words[3].text(), Some("<open>"));
    assert_eq!(words[0].attribute("title"), Some("bbox 10 10 50 30; x_wconf 96"));
    for node in xml.descendants().filter(|node| node.attribute("class").is_some()) {
        let parent = node.parent().expect("not the root");
        assert!(parent.attribute("class").is_none() || inside(bbox(&node), bbox(&parent)));
    }
    let page = of_class(&xml, "ocr_page")[0];
    assert_eq!(
        page.attribute("title"),
        Some("image \"a %22b%22%3B c.tif\"; bbox 0 0 640 480; ppageno 0")
    );
}

#[test]
fn alto_has_what_its_schema_asks_for_in_its_order() {
    let text = with(Reading { rotation: 90, ..reading() }, "a.tif", alto);
    let xml = parse(&text);
    let names = |node: Node<'_, '_>| -> Vec<String> {
        let elements = node.children().filter(Node::is_element);
        elements.map(|child| child.tag_name().name().to_owned()).collect()
    };
    let root = xml.root_element();
    assert_eq!(root.tag_name().namespace(), Some("http://www.loc.gov/standards/alto/ns-v4#"));
    assert_eq!(names(root), ["Description", "Layout"]);
    let description = named(&xml, "Description")[0];
    assert_eq!(names(description), ["MeasurementUnit", "sourceImageInformation", "Processing"]);
    assert_eq!(named(&xml, "MeasurementUnit")[0].text(), Some("pixel"));
    let counts = ["Page", "PrintSpace", "TextBlock", "TextLine", "String", "SP"]
        .map(|n| named(&xml, n).len());
    assert_eq!(counts, [2, 2, 3, 4, 7, 3]);
    for string in named(&xml, "String") {
        let line = string.parent().expect("a line");
        for (side, start) in [("WIDTH", "HPOS"), ("HEIGHT", "VPOS")] {
            assert!(attribute(&string, start) >= attribute(&line, start));
            assert!(
                attribute(&string, start) + attribute(&string, side)
                    <= attribute(&line, start) + attribute(&line, side)
            );
        }
        let confidence: f32 = string.attribute("WC").expect("WC").parse().expect("a number");
        assert!((0.0..=1.0).contains(&confidence));
    }
    assert_eq!(named(&xml, "String")[1].attribute("CONTENT"), Some("&"));
    assert_eq!(named(&xml, "TextBlock")[0].attribute("ROTATION"), Some("90"));
    let mut ids: Vec<_> = xml.descendants().filter_map(|node| node.attribute("ID")).collect();
    let all = ids.len();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), all, "every ID is there once");
}

#[test]
fn tsv_has_the_columns_and_levels_of_tesseract() {
    let text = with(reading(), "a.tif", tsv);
    let rows: Vec<Vec<&str>> = text.lines().map(|line| line.split('\t').collect()).collect();
    assert_eq!(rows[0][0], "level");
    assert!(rows.iter().all(|row| row.len() == 12));
    let level = |n: &str| rows.iter().filter(|row| row[0] == n).count();
    assert_eq!([level("1"), level("2"), level("3"), level("4"), level("5")], [2, 2, 3, 4, 7]);
    assert_eq!(rows[1][6..], ["0", "0", "640", "480", "-1", ""]);
    let first = rows.iter().find(|row| row[0] == "5").expect("a word");
    assert_eq!(first[1..10], ["1", "1", "1", "1", "1", "10", "10", "40", "20"]);
    assert_eq!(first[11], "Fish");
}

#[test]
fn an_empty_image_is_a_page_without_words_and_a_failure_is_no_document() {
    let (image, nothing) = (image(), Reading::default());
    let empty = analysis(Outcome::Empty);
    let document = Document::of(&image, "a.png", &empty, &nothing).expect("a document");
    assert_eq!(of_class(&parse(&hocr(&document)), "ocr_page").len(), 1);
    assert_eq!(named(&parse(&alto(&document)), "Page").len(), 1);
    assert_eq!(tsv(&document).lines().count(), 2);
    let failed = analysis(Outcome::Failed {
        class: FailureClass::Crash,
        reason: "the child died".to_owned(),
    });
    assert!(Document::of(&image, "a.png", &failed, &nothing).is_none());
    let prose = Reading { text: "a cat".to_owned(), ..Reading::default() };
    let model = analysis(Outcome::Done(prose));
    assert!(Document::of(&image, "a.png", &model, &nothing).is_none());
}

#[test]
fn words_are_all_there_when_the_text_says_otherwise() {
    let odd = Reading { text: "one line".to_owned(), ..reading() };
    let text = with(odd, "a.tif", hocr);
    let xml = parse(&text);
    assert_eq!(of_class(&xml, "ocr_page").len(), 1);
    assert_eq!(of_class(&xml, "ocrx_word").len(), 7);
}

proptest! {
    #[test]
    fn whatever_the_words_are_every_document_can_be_parsed_and_holds_them_all(
        words in prop::collection::vec((any::<String>(), 0..4_u32, any::<[i32; 4]>(), any::<f32>()), 0..12),
        text in any::<String>(),
        source in any::<String>(),
        rotation in prop::sample::select(vec![0_u16, 90, 180, 270]),
    ) {
        let words: Vec<Word> =
            words.iter().map(|(text, line, at, sure)| word(text, *line, *at, *sure)).collect();
        prop_assume!(!words.is_empty() || text.is_empty());
        let count = words.len();
        let reading = Reading { text, words, rotation, ..Reading::default() };
        with(reading, &source, |document| {
            let page = hocr(document);
            assert_eq!(of_class(&parse(&page), "ocrx_word").len(), count);
            let page = alto(document);
            assert_eq!(named(&parse(&page), "String").len(), count);
            let table = tsv(document);
            assert!(table.trim_end_matches('\n').split('\n').all(|row| row.split('\t').count() == 12));
            assert_eq!(table.split('\n').filter(|row| row.starts_with("5\t")).count(), count);
        });
    }
}
