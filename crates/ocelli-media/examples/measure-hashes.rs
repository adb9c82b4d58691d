//! How far apart the perceptual hashes of copies are, and those of different images: what `near.distance` was chosen by
//! (decision 0036).
//!
//! ```console
//! $ cargo run --example measure-hashes -- FOLDER…
//! ```
//!
//! Every image in the folders is compared with copies of itself (compressed, scaled, cropped, captioned in another way) and with
//! all others.

use std::io::Cursor;
use std::path::PathBuf;

use image::codecs::jpeg::JpegEncoder;
use image::imageops::{self, FilterType};
use image::{Rgb, RgbImage};
use ocelli_core::PerceptualHash;
use ocelli_media::{DecodeLimits, decode, perceptual_hash};

type Copy = (&'static str, fn(&RgbImage) -> RgbImage);

const COPIES: [Copy; 10] = [
    ("JPEG, quality 85", |image| jpeg(image, 85)),
    ("JPEG, quality 40", |image| jpeg(image, 40)),
    ("JPEG, quality 15", |image| jpeg(image, 15)),
    ("half the size", |image| scaled(image, 0.5)),
    ("a quarter of the size, JPEG 60", |image| jpeg(&scaled(image, 0.25), 60)),
    ("one and a half times the size", |image| scaled(image, 1.5)),
    ("brighter by a tenth", |image| imageops::brighten(image, 25)),
    ("1 % cut off each side", |image| cropped(image, 0.01)),
    ("3 % cut off each side", |image| cropped(image, 0.03)),
    ("6 % cut off each side", |image| cropped(image, 0.06)),
];

fn jpeg(image: &RgbImage, quality: u8) -> RgbImage {
    let mut bytes = Cursor::new(Vec::new());
    if JpegEncoder::new_with_quality(&mut bytes, quality).encode_image(image).is_err() {
        return image.clone();
    }
    let pages = decode(bytes.get_ref(), &DecodeLimits::default());
    pages.ok().and_then(|mut pages| pages.pop()).map_or_else(|| image.clone(), |page| page.pixels)
}

fn scaled(image: &RgbImage, by: f32) -> RgbImage {
    let side = |side: u32| ((side as f32 * by) as u32).max(1);
    imageops::resize(image, side(image.width()), side(image.height()), FilterType::Lanczos3)
}

fn cropped(image: &RgbImage, part: f32) -> RgbImage {
    let cut = |side: u32| (side as f32 * part) as u32;
    let (x, y) = (cut(image.width()), cut(image.height()));
    imageops::crop_imm(image, x, y, image.width() - 2 * x, image.height() - 2 * y).to_image()
}

/// Bars as letters of a caption would stand: white with a dark edge, in the upper and lower seventh.
fn captioned(image: &RgbImage, seed: u32) -> RgbImage {
    let mut image = image.clone();
    let (width, height) = image.dimensions();
    let band = (height / 7).max(1);
    let letter = (band * 3 / 5).max(2);
    for (top, line) in [(band / 5, 0), (height - band, 1)] {
        let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(line);
        let mut x = width / 12 + state % (width / 6).max(1);
        while x + letter < width - width / 12 {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            if state >> 29 > 1 {
                for (row, column) in
                    (0..letter).flat_map(|row| (0..letter * 4 / 5).map(move |column| (row, column)))
                {
                    let edge = row < 2 || column < 2;
                    let open = row > letter / 3
                        && row < letter * 2 / 3
                        && column > letter / 4
                        && state >> 28 & 1 == 0;
                    if !open && top + row < height {
                        image.put_pixel(
                            x + column,
                            top + row,
                            Rgb([if edge { 0 } else { 255 }; 3]),
                        );
                    }
                }
            }
            x += letter;
        }
    }
    image
}

fn images() -> Vec<(PathBuf, RgbImage)> {
    let mut paths: Vec<PathBuf> = std::env::args_os()
        .skip(1)
        .filter_map(|folder| std::fs::read_dir(folder).ok())
        .flat_map(|entries| entries.filter_map(Result::ok).map(|entry| entry.path()))
        .collect();
    paths.sort();
    let read = |path: PathBuf| {
        let bytes = std::fs::read(&path).ok()?;
        let page = decode(&bytes, &DecodeLimits::default()).ok()?.into_iter().next()?;
        Some((path, page.pixels))
    };
    paths.into_iter().filter_map(read).collect()
}

/// One line: how many are at most so far apart.
fn line(what: &str, mut distances: Vec<u32>) {
    distances.sort_unstable();
    let at_most = |most: u32| distances.iter().filter(|distance| **distance <= most).count();
    let counts: Vec<String> =
        [0, 2, 4, 6, 8, 10, 12].map(|most| format!("{:>6}", at_most(most))).into();
    let (least, most) = (distances.first().copied(), distances.last().copied());
    println!(
        "{what:<34}{:>6} {}   {:>2} to {:>2}",
        distances.len(),
        counts.join(" "),
        least.unwrap_or(0),
        most.unwrap_or(0)
    );
}

fn main() {
    let images = images();
    let hashed: Vec<(&PathBuf, &RgbImage, PerceptualHash)> = images
        .iter()
        .filter_map(|(path, image)| Some((path, image, perceptual_hash(image)?)))
        .collect();
    println!("{} images, {} with a hash", images.len(), hashed.len());
    println!(
        "{:<34}{:>6}      0      2      4      6      8     10     12",
        "distance at most", "of"
    );
    for (what, copy) in COPIES {
        let distances = hashed.iter().filter_map(|(_, image, hash)| {
            perceptual_hash(&copy(image)).and_then(|other| hash.distance(&other))
        });
        line(what, distances.collect());
    }
    let captions = hashed.iter().filter_map(|(_, image, _)| {
        perceptual_hash(&captioned(image, 1))?.distance(&perceptual_hash(&captioned(image, 2))?)
    });
    line("another caption on the same picture", captions.collect());
    let mut different = Vec::new();
    for (place, (path, _, hash)) in hashed.iter().enumerate() {
        for (other_path, _, other) in &hashed[place + 1..] {
            let Some(distance) = hash.distance(other) else { continue };
            if distance <= 10 {
                println!("  {distance:>2}  {}  {}", path.display(), other_path.display());
            }
            different.push(distance);
        }
    }
    line("different images", different);
}
