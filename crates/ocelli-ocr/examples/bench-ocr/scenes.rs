//! What else people keep: dense screens of small text, receipts, charts, slides, faint print, captions in photographs. Each
//! with the text that a person reads in it, line by line.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use resvg::usvg::Options;

use crate::memes::{Random, WORDS, ground, render};
use crate::sets::Sample;

const FACES: [&str; 5] =
    ["DejaVu Sans", "Liberation Sans", "Lato", "Liberation Sans Narrow", "DejaVu Sans Mono"];

/// A picture in the making, and its text.
struct Scene {
    svg: String,
    truth: String,
    random: Random,
    face: &'static str,
}

impl Scene {
    fn new(seed: u64, index: u64, [width, height]: [f64; 2], paper: &str) -> Self {
        let svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}"><rect width="100%" height="100%" fill="{paper}"/>"#
        );
        let random = Random::new(seed, index);
        let face = FACES[(index % FACES.len() as u64) as usize];
        Self { svg, truth: String::new(), random, face }
    }

    /// Text with its base line at `at`, which is its left end.
    fn text(&mut self, at: [f64; 2], size: f64, fill: &str, content: &str) {
        self.draw(at, size, fill, content);
        self.truth.push_str(content);
        self.truth.push('\n');
    }

    fn draw(&mut self, [x, y]: [f64; 2], size: f64, fill: &str, content: &str) {
        let face = self.face;
        let _ = write!(
            self.svg,
            r#"<text x="{x:.1}" y="{y:.1}" font-family="{face}" font-size="{size:.1}" fill="{fill}">{content}</text>"#
        );
    }

    fn rect(&mut self, [x, y, width, height]: [f64; 4], fill: &str) {
        let _ = write!(
            self.svg,
            r#"<rect x="{x:.1}" y="{y:.1}" width="{width:.1}" height="{height:.1}" fill="{fill}"/>"#
        );
    }

    fn words(&mut self, count: u64) -> String {
        let all: Vec<&str> = WORDS.split_whitespace().collect();
        let words: Vec<&str> =
            (0..count).map(|_| all[self.random.below(all.len() as u64) as usize]).collect();
        words.join(" ")
    }

    fn capital(&mut self, count: u64) -> String {
        let words = self.words(count);
        let (first, rest) = words.split_at(1);
        first.to_uppercase() + rest
    }

    fn number(&mut self) -> String {
        match self.random.below(4) {
            0 => format!("{}", 10 + self.random.below(9_990)),
            1 => format!("{}.{:02}", self.random.below(900), self.random.below(100)),
            2 => format!("2024-{:02}-{:02}", 1 + self.random.below(12), 1 + self.random.below(28)),
            _ => format!("{} %", self.random.below(101)),
        }
    }
}

type Kind = fn(u64, u64) -> Scene;

const OTHERS: [(&str, Kind); 6] = [
    ("receipt", receipt),
    ("chart", chart),
    ("slide", slide),
    ("faint", faint),
    ("photograph", photograph),
    ("post", post),
];

/// Screens of 1920 x 1080 pixels full of text of 10 to 13 pixels, light and dark.
pub(crate) fn screens(folder: &Path, seed: u64, count: u64) -> Result<Vec<Sample>> {
    draw(folder, seed, count, |_| ("screen", screen))
}

/// Of each other kind as many.
pub(crate) fn others(folder: &Path, seed: u64, count: u64) -> Result<Vec<Sample>> {
    draw(folder, seed, count, |index| OTHERS[(index % OTHERS.len() as u64) as usize])
}

fn draw(
    folder: &Path,
    seed: u64,
    count: u64,
    kind: impl Fn(u64) -> (&'static str, Kind),
) -> Result<Vec<Sample>> {
    let options: Options<'_> = crate::memes::fonts();
    let mut samples = Vec::new();
    for index in 0..count {
        let (name, kind) = kind(index);
        let mut scene = kind(seed ^ 0xace, index);
        scene.svg.push_str("</svg>");
        let screen = matches!(name, "screen" | "chart" | "slide");
        let picture = render(&scene.svg, &options, if screen { 0 } else { 4 }, index + 11)?;
        let extension = if screen { "png" } else { "jpg" };
        let path = folder.join(format!("{name}-{index:03}.{extension}"));
        picture.save(&path)?;
        samples.push(Sample { path, truth: scene.truth });
    }
    Ok(samples)
}

/// A list at the side, a table, prose or code beside it, and bars above and below.
fn screen(seed: u64, index: u64) -> Scene {
    let (paper, panel, ink, faint, strong) = if index.is_multiple_of(2) {
        ("#ffffff", "#eef0f3", "#24292f", "#57606a", "#0550ae")
    } else {
        ("#1e1e22", "#2a2b31", "#d4d4d8", "#9a9ca5", "#7cc7ff")
    };
    let mut scene = Scene::new(seed, index, [1920.0, 1080.0], paper);
    let size = 10.0 + (index % 4) as f64;
    scene.rect([0.0, 0.0, 1920.0, 34.0], panel);
    scene.rect([0.0, 34.0, 260.0, 1020.0], panel);
    scene.rect([0.0, 1054.0, 1920.0, 26.0], panel);
    let mut x = 16.0;
    for _ in 0..8 {
        let label = scene.capital(1);
        scene.text([x, 22.0], size, ink, &label);
        x += 90.0;
    }
    let pitch = (size * 1.9).round();
    let rows = (980.0 / pitch) as u64;
    for row in 0..rows {
        let label = scene.capital(2);
        let fill = if row % 6 == 0 { strong } else { ink };
        scene.text([18.0, 62.0 + row as f64 * pitch], size, fill, &label);
    }
    for row in 0..rows {
        let y = 62.0 + row as f64 * pitch;
        if row % 2 == 1 {
            scene.rect([276.0, y - size * 1.25, 900.0, pitch], panel);
        }
        let name = scene.words(3);
        scene.text([284.0, y], size, ink, &name);
        for column in [560.0, 680.0, 800.0] {
            let number = scene.number();
            scene.text([column, y], size, faint, &number);
        }
        let state = scene.capital(2);
        scene.text([930.0, y], size, strong, &state);
    }
    let lines = (980.0 / (size * 1.5)) as u64;
    for line in 0..lines {
        if line % 9 == 8 {
            continue;
        }
        let count = 5 + scene.random.below(5);
        let prose = scene.words(count);
        scene.text([1210.0, 62.0 + line as f64 * size * 1.5], size, ink, &prose);
    }
    let status = scene.capital(6);
    scene.text([16.0, 1072.0], size, faint, &status);
    scene
}

fn receipt(seed: u64, index: u64) -> Scene {
    let mut scene = Scene::new(seed, index, [560.0, 900.0], "#cfc8bd");
    scene.face = "DejaVu Sans Mono";
    scene.rect([40.0, 20.0, 480.0, 860.0], "#f1eee8");
    let size = 15.0 + scene.random.between(0.0, 5.0);
    let head = scene.words(2).to_uppercase();
    scene.text([80.0, 80.0], size * 1.4, "#2e2c2a", &head);
    let mut y = 130.0;
    for _ in 0..(640.0 / (size * 1.7)) as u64 {
        let (item, price) = (scene.capital(2), scene.random.between(0.5, 99.0));
        scene.text([64.0, y], size, "#3a3836", &item);
        scene.text([400.0, y], size, "#3a3836", &format!("{price:.2}"));
        y += size * 1.7;
    }
    scene.text([64.0, y + 30.0], size * 1.2, "#2a2826", "TOTAL");
    let total = format!("{:.2}", scene.random.between(100.0, 900.0));
    scene.text([380.0, y + 30.0], size * 1.2, "#2a2826", &total);
    scene
}

fn chart(seed: u64, index: u64) -> Scene {
    let dark = index % 4 == 1;
    let (paper, ink, grid) =
        if dark { ("#14171c", "#c9d1d9", "#30363d") } else { ("#ffffff", "#333333", "#dddddd") };
    let mut scene = Scene::new(seed, index, [1000.0, 640.0], paper);
    let title = scene.capital(5);
    scene.text([120.0, 48.0], 26.0, ink, &title);
    for step in 0..6_u32 {
        let y = 540.0 - f64::from(step) * 80.0;
        scene.rect([110.0, y, 800.0, 1.0], grid);
        scene.text([60.0, y + 5.0], 14.0, ink, &format!("{}", step * 200));
    }
    for bar in 0..8_u32 {
        let (x, height) = (130.0 + f64::from(bar) * 96.0, scene.random.between(60.0, 380.0));
        let fill = ["#4c78a8", "#f58518", "#54a24b", "#b279a2"][(bar % 4) as usize];
        scene.rect([x, 540.0 - height, 62.0, height], fill);
        let label = scene.capital(1);
        scene.text([x, 564.0], 13.0, ink, &label);
    }
    let note = scene.capital(7);
    scene.text([110.0, 616.0], 13.0, ink, &note);
    scene
}

fn slide(seed: u64, index: u64) -> Scene {
    let mut scene = Scene::new(seed, index, [1280.0, 720.0], "#20335c");
    let title = scene.capital(4);
    scene.text([80.0, 130.0], 60.0, "#ffffff", &title);
    for line in 0..5_u32 {
        let point = scene.capital(6);
        scene.text([120.0, 240.0 + f64::from(line) * 74.0], 34.0, "#e8ecf5", &point);
    }
    let foot = scene.capital(8);
    scene.text([80.0, 690.0], 15.0, "#aab6d3", &foot);
    scene
}

/// Grey on grey.
fn faint(seed: u64, index: u64) -> Scene {
    let (paper, ink) = [("#f2f2f2", "#a0a0a0"), ("#3a3d42", "#7f858d"), ("#e9dfc7", "#b3a27c")]
        [(index / 6 % 3) as usize];
    let mut scene = Scene::new(seed, index, [900.0, 560.0], paper);
    let size = scene.random.between(16.0, 26.0);
    for line in 0..(460.0 / (size * 1.6)) as u64 {
        let words = scene.words(6);
        scene.text([60.0, 70.0 + line as f64 * size * 1.6], size, ink, &words);
    }
    scene
}

/// A photograph with a caption below it, and small letters at the corner.
fn photograph(seed: u64, index: u64) -> Scene {
    let mut scene = Scene::new(seed, index, [1400.0, 1000.0], "#101010");
    let mut svg = std::mem::take(&mut scene.svg);
    ground(&mut svg, &mut scene.random, 1400.0, 860.0, true);
    scene.svg = svg;
    scene.rect([0.0, 860.0, 1400.0, 140.0], "#ffffff");
    let first = scene.capital(8);
    scene.text([40.0, 910.0], 26.0, "#202020", &first);
    let second = scene.capital(9);
    scene.text([40.0, 956.0], 20.0, "#505050", &second);
    let mark = scene.words(3);
    scene.text([1040.0, 836.0], 19.0, "#ffffff", &mark);
    scene
}

/// A message with a name, a time and some lines, on a phone in dark colours.
fn post(seed: u64, index: u64) -> Scene {
    let mut scene = Scene::new(seed, index, [720.0, 900.0], "#15202b");
    let name = scene.capital(2);
    scene.text([120.0, 80.0], 28.0, "#ffffff", &name);
    let address = format!("@{}", scene.words(1));
    scene.text([120.0, 114.0], 22.0, "#8899a6", &address);
    for line in 0..7_u32 {
        let words = scene.words(5);
        scene.text([40.0, 200.0 + f64::from(line) * 56.0], 36.0, "#ffffff", &words);
    }
    let counts = format!("{} Reposts {} Likes", scene.random.below(900), scene.random.below(9_000));
    scene.text([40.0, 640.0], 22.0, "#8899a6", &counts);
    scene
}
