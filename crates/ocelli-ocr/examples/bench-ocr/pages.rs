//! Documents with known text: pages of prose in two sizes, screens of an interface light and dark, and pages that lie
//! on a side. What plain Tesseract reads well, except the turned ones.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::Result;
use image::RgbImage;
use image::imageops::{rotate90, rotate180, rotate270};

use crate::memes::{Random, WORDS, fonts, render};
use crate::sets::Sample;

const FACES: [&str; 5] =
    ["Liberation Serif", "DejaVu Serif", "Liberation Sans", "DejaVu Sans", "Lato"];

/// Pages of prose at 100 to 200 dpi, and every second one a screen of text, light or dark.
pub(crate) fn upright(folder: &Path, seed: u64, count: u64) -> Result<Vec<Sample>> {
    draw(folder, "page", seed, count, |picture, _| picture)
}

/// Pages turned by 90, 180 and 270 degrees, some of few lines.
pub(crate) fn turned(folder: &Path, seed: u64, count: u64) -> Result<Vec<Sample>> {
    draw(folder, "turned", seed, count, |picture, index| match index % 3 {
        0 => rotate90(&picture),
        1 => rotate180(&picture),
        _ => rotate270(&picture),
    })
}

fn draw(
    folder: &Path,
    kind: &str,
    seed: u64,
    count: u64,
    turn: impl Fn(RgbImage, u64) -> RgbImage,
) -> Result<Vec<Sample>> {
    let options = fonts();
    let mut samples = Vec::new();
    for index in 0..count {
        let (svg, truth) = page(seed ^ 0x0f0f, index);
        let picture = turn(render(&svg, &options, 3, index + 5)?, index);
        // Scans are stored as JPEG, screenshots as PNG.
        let extension = if index % 2 == 0 { "jpg" } else { "png" };
        let path = folder.join(format!("{kind}-{index:03}.{extension}"));
        picture.save(&path)?;
        samples.push(Sample { path, truth });
    }
    Ok(samples)
}

fn page(seed: u64, index: u64) -> (String, String) {
    let mut random = Random::new(seed, index);
    let face = FACES[(index % 5) as usize];
    let screen = index % 2 == 1;
    let size = if screen { random.between(14.0, 22.0) } else { random.between(18.0, 34.0) };
    let lines = [6, 14, 30][(index / 2 % 3) as usize];
    let columns = random.between(30.0, 56.0) as usize;
    let (width, height) =
        (columns as f64 * size * 0.62 + 120.0, f64::from(lines) * size * 1.5 + 160.0);
    let (paper, ink) = match index % 6 {
        1 => ("#1e1e24", "#e6e6e6"),
        3 => ("#f4f1ea", "#202020"),
        _ => ("white", "black"),
    };
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}"><rect width="100%" height="100%" fill="{paper}"/>"#
    );
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut truth = String::new();
    for line in 0..lines {
        let mut text = String::new();
        while text.len() < columns - 10 {
            if !text.is_empty() {
                text.push(' ');
            }
            text.push_str(words[random.below(words.len() as u64) as usize]);
        }
        let y = 80.0 + f64::from(line + 1) * size * 1.5;
        let _ = write!(
            svg,
            r#"<text x="60" y="{y:.1}" font-family="{face}" font-size="{size:.1}" fill="{ink}">{text}</text>"#
        );
        let _ = writeln!(truth, "{text}");
    }
    svg.push_str("</svg>");
    (svg, truth)
}
