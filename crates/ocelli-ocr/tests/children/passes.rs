//! The cascade: which passes a picture costs, with their reasons on record, and when it ends.

use std::fmt::Write as _;
use std::time::Duration;

use bytes::Bytes;
use image::{Rgb, RgbImage};
use ocelli_core::Step;
use ocelli_ocr::protocol::Transcript;
use ocelli_ocr::{Effort, OcrOptions};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use crate::{far, options, png, pool};

/// A picture of an SVG on white, with the fonts of this machine.
fn drawn(width: u32, height: u32, content: &str) -> Bytes {
    let svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}"><rect width="100%" height="100%" fill="white"/>{content}</svg>"#
    );
    let mut fonts = Options::default();
    fonts.fontdb_mut().load_system_fonts();
    let tree = Tree::from_str(&svg, &fonts).expect("a scene");
    let mut pixels = Pixmap::new(width, height).expect("a size");
    resvg::render(&tree, Transform::default(), &mut pixels.as_mut());
    png(&RgbImage::from_fn(width, height, |x, y| {
        let pixel = pixels.pixel(x, y).expect("inside");
        Rgb([pixel.red(), pixel.green(), pixel.blue()])
    }))
}

/// Print that a plain page pass reads without a mistake.
fn print() -> Bytes {
    let mut lines = String::new();
    for (y, text) in [(70, "The letters on this page"), (130, "are black on white paper")] {
        let _ = write!(
            lines,
            r#"<text x="50" y="{y}" font-family="Liberation Sans" font-size="30">{text}</text>"#
        );
    }
    drawn(480, 180, &lines)
}

/// Rows of triangles, stars and bolts: as large as letters, in rows like letters, and none.
fn shapes() -> Bytes {
    let mut rows = String::new();
    for (row, y) in [30, 110].into_iter().enumerate() {
        for column in 0..8 {
            let points = match (row + column) % 3 {
                0 => "20,0 40,40 0,40",
                1 => "20,0 25,15 40,15 28,24 33,40 20,30 7,40 12,24 0,15 15,15",
                _ => "22,0 4,22 18,22 10,40 36,14 22,16",
            };
            let x = 30 + column * 56;
            let _ = write!(
                rows,
                r#"<polygon transform="translate({x} {y})" points="{points}" fill="black"/>"#
            );
        }
    }
    drawn(500, 180, &rows)
}

/// Time enough that no pass is left out for the want of it, on however busy a machine.
fn patient() -> OcrOptions {
    OcrOptions {
        soft_deadline: Duration::from_secs(60),
        hard_deadline: Duration::from_secs(90),
        ..options(1)
    }
}

async fn read(options: OcrOptions, image: Bytes) -> Transcript {
    pool(options).read(image, far()).await.expect("read")
}

fn names(steps: &[Step]) -> Vec<&str> {
    steps.iter().map(|step| step.name.as_str()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_well_costs_one_pass_and_how_well_that_must_be_is_a_setting() {
    let transcript = read(patient(), print()).await;
    assert_eq!(names(&transcript.steps), ["page"], "{transcript:?}");
    let page = &transcript.steps[0];
    assert!(page.reason.starts_with("first pass"), "{page:?}");
    assert!(page.confidence >= Some(patient().sufficient_confidence), "{page:?}");
    assert!(transcript.text.contains("black on white"), "{transcript:?}");

    // Nothing is ever read with certainty.
    let strict = OcrOptions { sufficient_confidence: 100.0, ..patient() };
    let transcript = read(strict.clone(), print()).await;
    assert_eq!(names(&transcript.steps), ["page", "sparse"], "{transcript:?}");
    assert_eq!(transcript.steps[1].reason, "too little was read with confidence");

    let plain = OcrOptions { effort: Effort::Page, ..strict };
    let transcript = read(plain, print()).await;
    assert_eq!(names(&transcript.steps), ["page"], "{transcript:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_reads_badly_is_looked_for_without_layout_at_last() {
    // Print reads better than this, and shapes that are no letters do not.
    let options = OcrOptions { sufficient_confidence: 90.0, ..patient() };
    let transcript = read(options, shapes()).await;
    let steps = names(&transcript.steps);
    assert_eq!(steps.first(), Some(&"page"), "{transcript:?}");
    assert_eq!(steps.iter().filter(|name| **name == "sparse").count(), 1, "{transcript:?}");
    let last = transcript.steps.last().expect("passes");
    let reason = "too little was read with confidence";
    assert_eq!((last.name.as_str(), last.reason.as_str()), ("sparse", reason), "{transcript:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn outlined_captions_are_read_row_by_row_with_the_reason_on_record() {
    let folder = tempfile::tempdir().expect("temporary folder");
    ocelli_samples::draw(folder.path()).expect("the project's samples");
    let samples = ocelli_samples::samples().iter();
    let memes: Vec<_> =
        samples.filter(|sample| sample.about.starts_with("outlined captions")).collect();
    assert!(memes.len() >= 5, "{memes:?}");
    let pool = pool(patient());
    let mut read_by_rows = Vec::new();
    for meme in &memes {
        let bytes = std::fs::read(folder.path().join(meme.file)).expect("drawn");
        let transcript = pool.read(bytes.into(), far()).await.expect("read");
        assert!(names(&transcript.steps).contains(&"page"), "{}: {transcript:?}", meme.file);
        for step in transcript.steps.iter().filter(|step| step.name == "caption") {
            let why = "rows of letters were not read by the page pass";
            assert!(step.reason.ends_with(why), "{}: {step:?}", meme.file);
        }
        let drawn = meme.truth.join(" ").to_lowercase();
        let drawn: Vec<&str> = drawn.split(' ').collect();
        let words = transcript.words.iter().filter(|word| word.step == "caption");
        let words = words.map(|word| word.text.to_lowercase());
        read_by_rows.extend(words.filter(|word| drawn.contains(&word.as_str())));
    }
    assert!(!read_by_rows.is_empty(), "no word of a caption came from the pass for captions");

    let meme = std::fs::read(folder.path().join(memes[0].file)).expect("drawn");
    let plain = read(OcrOptions { effort: Effort::Page, ..patient() }, meme.into()).await;
    assert_eq!(names(&plain.steps), ["page"], "{plain:?}");
}
