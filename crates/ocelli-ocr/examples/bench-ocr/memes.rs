//! Captioned pictures with known text: seven typefaces, five ways to set a caption, photograph-like grounds, three sizes.
//! The same seed gives the same pictures.

use std::fmt::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use image::{Rgb, RgbImage};
use resvg::tiny_skia::{Pixmap, Transform};
use resvg::usvg::{Options, Tree};

use crate::sets::Sample;

const FONTS: [(&str, u32); 7] = [
    ("Bebas Neue", 700),
    ("Liberation Sans Narrow", 700),
    ("Lato", 900),
    ("Comic Neue", 700),
    ("DejaVu Sans", 700),
    ("DejaVu Serif", 700),
    ("Liberation Sans", 700),
];
pub(crate) const WORDS: &str = "when you finally fix the bug but it was a feature all along nobody expected this to work \
    first time my code every monday morning coffee please one does not simply deploy on friday evening still \
    waiting for the build server everything is fine until production meets real users again why would someone \
    delete their whole database before lunch brace yourself meetings are coming soon";

pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64, index: u64) -> Self {
        let mut random = Self(
            0x9e37_79b9_7f4a_7c15_u64.wrapping_add(seed.wrapping_mul(0x632b_e59b_d9b4_e019))
                ^ (index + 1).wrapping_mul(0x2545_f491_4f6c_dd1d),
        );
        for _ in 0..8 {
            random.below(2);
        }
        random
    }
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % end
    }
    pub(crate) fn between(&mut self, low: f64, high: f64) -> f64 {
        low + self.below(10_000) as f64 / 10_000.0 * (high - low)
    }
}

/// Draws `count` memes into `folder`.
pub(crate) fn draw(folder: &Path, seed: u64, count: u64) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let options = fonts();
    for index in 0..count {
        let (name, svg, truth) = meme(seed, index);
        let picture = render(&svg, &options, 7, index + 77)?;
        let path = folder.join(format!("{name}.jpg"));
        picture.save(&path)?;
        samples.push(Sample { path, truth });
    }
    Ok(samples)
}

/// Draws `count` grounds without a caption, coarsely grained.
pub(crate) fn without_text(folder: &Path, seed: u64, count: u64) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    let options = fonts();
    for index in 0..count {
        let mut random = Random::new(seed ^ 0x00f0, index);
        let width = [640.0, 1080.0, 1600.0][(index % 3) as usize];
        let height = width * random.between(0.6, 1.3);
        let mut svg = format!(
            r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}">"#
        );
        ground(&mut svg, &mut random, width, height, index % 2 == 0);
        svg.push_str("</svg>");
        let path = folder.join(format!("photograph-{index:03}.jpg"));
        render(&svg, &options, 20, index + 3)?.save(&path)?;
        samples.push(Sample { path, truth: String::new() });
    }
    Ok(samples)
}

/// The fonts of this machine.
pub(crate) fn fonts() -> Options<'static> {
    let mut options = Options::default();
    options.fontdb_mut().load_system_fonts();
    options
}

/// Renders a scene and adds grain of at most `grain` steps.
pub(crate) fn render(svg: &str, options: &Options<'_>, grain: i32, seed: u64) -> Result<RgbImage> {
    let tree = Tree::from_str(svg, options)?;
    let size = tree.size().to_int_size();
    let mut pixels = Pixmap::new(size.width(), size.height()).context("no size")?;
    resvg::render(&tree, Transform::default(), &mut pixels.as_mut());
    let mut random = Random(seed.max(1));
    Ok(RgbImage::from_fn(size.width(), size.height(), |x, y| {
        let pixel = pixels.pixel(x, y).map_or([0; 3], |p| [p.red(), p.green(), p.blue()]);
        let noise = random.below(grain as u64 * 2 + 1) as i32 - grain;
        Rgb(pixel.map(|value| (i32::from(value) + noise).clamp(0, 255) as u8))
    }))
}

/// The scene of one meme: its name, its SVG and its text.
fn meme(seed: u64, index: u64) -> (String, String, String) {
    let mut random = Random::new(seed, index);
    let (font, weight) = FONTS[(index % 7) as usize];
    let width = [420.0, 800.0, 1400.0][(index / 7 % 3) as usize];
    let height = width * random.between(0.7, 1.2);
    let style = ["outline", "yellow", "shadow", "bar", "plain"][(index % 5) as usize];
    let size = width * random.between(0.06, 0.1);
    let caps = font == "Bebas Neue" || random.below(2) == 0;
    let words: Vec<&str> = WORDS.split_whitespace().collect();
    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" width="{width:.0}" height="{height:.0}">"#
    );
    ground(&mut svg, &mut random, width, height, style == "plain");
    let mut text = String::new();
    for place in ["top", "bottom"] {
        let lines = 1 + random.below(2) as usize;
        for line in 0..lines {
            let first = random.below(words.len() as u64 - 6) as usize;
            let mut content = words[first..first + 3 + random.below(2) as usize].join(" ");
            if caps {
                content = content.to_uppercase();
            }
            let y = if place == "top" {
                size * 1.25 * (line as f64 + 1.0)
            } else {
                height - size * 1.25 * ((lines - line) as f64 - 0.6)
            };
            caption(&mut svg, style, (font, weight), size, [width, y], &content);
            let _ = writeln!(text, "{content}");
        }
    }
    svg.push_str("</svg>");
    let name = format!("{style}-{}-{width:.0}-{index:03}", font.replace(' ', ""));
    (name, svg, text)
}

pub(crate) fn ground(svg: &mut String, random: &mut Random, width: f64, height: f64, dark: bool) {
    let high = if dark { 110.0 } else { 235.0 };
    let mut colour = || {
        let [r, g, b] = [0; 3].map(|_: i32| random.between(20.0, high) as u8);
        format!("rgb({r},{g},{b})")
    };
    let (a, b) = (colour(), colour());
    let colours: Vec<String> = (0..26).map(|_| colour()).collect();
    let _ = write!(
        svg,
        r#"<defs><linearGradient id="g" x1="0" y1="0" x2="1" y2="1"><stop offset="0" stop-color="{a}"/><stop offset="1" stop-color="{b}"/></linearGradient><filter id="b"><feGaussianBlur stdDeviation="{:.1}"/></filter></defs><rect width="100%" height="100%" fill="url(#g)"/><g filter="url(#b)">"#,
        width / 300.0
    );
    for colour in &colours {
        let (x, y) = (random.between(0.0, width), random.between(0.0, height));
        let (w, h) = (random.between(0.02, 0.2) * width, random.between(0.02, 0.25) * height);
        let turn = random.between(0.0, 180.0);
        let _ = write!(
            svg,
            r#"<ellipse cx="{x:.0}" cy="{y:.0}" rx="{w:.0}" ry="{h:.0}" fill="{colour}" opacity="0.8" transform="rotate({turn:.0} {x:.0} {y:.0})"/>"#
        );
    }
    svg.push_str("</g>");
}

fn caption(svg: &mut String, style: &str, font: (&str, u32), size: f64, at: [f64; 2], text: &str) {
    let [width, y] = at;
    let (family, weight) = font;
    // The widest capitals are 0.85 of their size: nothing runs over the edge.
    let capitals = text.chars().filter(char::is_ascii_uppercase).count() as f64;
    let size = size.min(width * 0.94 / (capitals * 0.85 + (text.len() as f64 - capitals) * 0.62));
    let mut line = |x: f64, y: f64, look: &str| {
        let _ = write!(
            svg,
            r#"<text x="{x:.1}" y="{y:.1}" font-family="{family}" font-weight="{weight}" font-size="{size:.1}" text-anchor="middle" {look}>{text}</text>"#
        );
    };
    let (x, off) = (width / 2.0, size / 18.0);
    match style {
        "outline" | "yellow" => {
            let fill = if style == "outline" { "white" } else { "#ffe800" };
            let look = format!(
                r#"fill="{fill}" stroke="black" stroke-width="{:.1}" paint-order="stroke" stroke-linejoin="round""#,
                size / 7.0
            );
            line(x, y, &look);
        }
        "shadow" => {
            line(x + off, y + off, r#"fill="black""#);
            line(x, y, r#"fill="white""#);
        }
        "bar" => {
            let _ = write!(
                svg,
                r#"<rect x="0" y="{:.1}" width="{width:.0}" height="{:.1}" fill="white"/>"#,
                y - size,
                size * 1.3
            );
            let _ = write!(
                svg,
                r#"<text x="{x:.1}" y="{y:.1}" font-family="{family}" font-weight="{weight}" font-size="{size:.1}" text-anchor="middle" fill="black">{text}</text>"#
            );
        }
        _ => line(x, y, r#"fill="white""#),
    }
}
