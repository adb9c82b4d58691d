//! Screens full of small text: where a plain page pass of the engine reads well, ocelli reads as well.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::time::Duration;

use image::RgbImage;
use ocelli_ocr::engine::{Engine, Layout, Pixels, Until};
use ocelli_ocr::local::LocalReader;
use ocelli_ocr::{OcrOptions, data};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

const WORDS: [&str; 24] = [
    "window",
    "folder",
    "Archive",
    "reader",
    "message",
    "Settings",
    "network",
    "picture",
    "yesterday",
    "Download",
    "history",
    "between",
    "project",
    "failed",
    "Search",
    "number",
    "queue",
    "letters",
    "running",
    "Account",
    "waiting",
    "document",
    "selected",
    "evening",
];

/// A heading, a list and a table of three columns, all of it text of `size` pixels except the heading; and its words.
fn screen(face: &str, size: u32, dark: bool) -> (RgbImage, Vec<String>) {
    let (paper, panel, ink) =
        if dark { ("#1e1e22", "#2c2d33", "#d6d6da") } else { ("#ffffff", "#f0f1f4", "#24292f") };
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="1920" height="1080"><rect width="100%" height="100%" fill="{paper}"/><rect width="240" height="1080" fill="{panel}"/>"#
    );
    let mut words = Vec::new();
    let mut text = |x: u32, y: u32, size: u32, content: &str| {
        let _ = write!(
            svg,
            r#"<text x="{x}" y="{y}" font-family="{face}" font-size="{size}" fill="{ink}">{content}</text>"#
        );
        words.extend(content.split(' ').map(str::to_lowercase));
    };
    text(280, 60, 34, "Overview of this archive");
    let mut next = size as usize;
    let mut word = || {
        next = (next * 5 + 7) % 1_009;
        WORDS[next % WORDS.len()]
    };
    for row in 0..14 {
        let y = 110 + row * (size * 2);
        text(20, y, size, &format!("{} {}", word(), word()));
        text(280, y, size, &format!("{} {} {} {}", word(), word(), word(), word()));
        text(760, y, size, &format!("{}", 1_000 + row * 37));
        text(
            1_000,
            y,
            size,
            &format!("{} {} {} {} {} {}", word(), word(), word(), word(), word(), word()),
        );
    }
    svg.push_str("</svg>");
    let mut options = Options::default();
    options.fontdb_mut().load_system_fonts();
    let tree = Tree::from_str(&svg, &options).expect("a scene");
    let mut pixels = Pixmap::new(1920, 1080).expect("a size");
    resvg::render(&tree, Transform::default(), &mut pixels.as_mut());
    let picture = RgbImage::from_fn(1920, 1080, |x, y| {
        let pixel = pixels.pixel(x, y).expect("inside");
        image::Rgb([pixel.red(), pixel.green(), pixel.blue()])
    });
    (picture, words)
}

/// Share of the words that were read, each as often as it is there.
fn recall(words: &[String], read: &str) -> f64 {
    let mut counts: HashMap<String, i32> = HashMap::new();
    for word in read.split_whitespace() {
        *counts.entry(word.to_lowercase()).or_default() += 1;
    }
    let hits = words.iter().filter(|word| {
        counts.get_mut(*word).is_some_and(|count| {
            *count -= 1;
            *count >= 0
        })
    });
    hits.count() as f64 / words.len() as f64
}

#[test]
fn screens_of_small_text_light_and_dark_are_read_as_well_as_by_a_plain_page_pass() {
    let folder = data::folder(None, None).expect("language data is installed");
    let mut plain = Engine::new(&folder, "eng").expect("an engine");
    let options = OcrOptions { soft_deadline: Duration::from_secs(60), ..OcrOptions::default() };
    let mut reader = LocalReader::new(&folder, options).expect("a reader");
    for (face, size, dark) in [
        ("DejaVu Sans", 10, true),
        ("Liberation Sans", 11, false),
        ("Lato", 12, true),
        ("DejaVu Sans Mono", 13, false),
    ] {
        let (picture, words) = screen(face, size, dark);
        let pixels = Pixels { bytes: picture.as_raw(), width: 1920, height: 1080, channels: 3 };
        let until = Until { deadline: Duration::from_secs(60), words: None };
        let found = plain.read(pixels, Layout::Page, 70, until).expect("read").words;
        let by_plain: Vec<&str> = found.iter().map(|word| word.text.as_str()).collect();
        let by_plain = recall(&words, &by_plain.join(" "));
        let transcript = reader.read(picture).expect("read");
        let own = recall(&words, &transcript.text);
        let what = format!("{face}, {size} px, dark: {dark}; plain {by_plain:.3}, ocelli {own:.3}");
        assert!(own >= by_plain - 0.01, "{what}: {:?}", transcript.steps);
        assert!(own >= 0.9, "{what}: {:?}", transcript.steps);
    }
}
