//! What pixels look like, as 64 bits: a hash of the lowest frequencies of the cosine transform, as described by Zauner,
//! "Implementation and Benchmarking of Perceptual Image Hash Functions" (2010), chapter 3.
//!
//! The image is averaged down to 32 × 32 grey cells, these are transformed, and of the lowest 64 frequencies each gives the bit
//! whether it is above their median. A copy that was scaled or compressed again keeps nearly all of them. Everything is
//! computed in whole numbers, so that the same pixels give the same bits on every machine. Which pixels these are is the
//! business of [`crate::decode()`]: the first page, upright, without transparency.
//!
//! [`ALGORITHM`] names all of that. Whoever changes any of it gives it another name: hashes of different names are
//! never compared.

use image::RgbImage;
use ocelli_core::PerceptualHash;

use crate::decode::{self, panics};
use crate::{DecodeError, DecodeLimits};

/// The name and version of what is done here.
pub const ALGORITHM: &str = "dct1";

/// Cells of a side.
const CELLS: usize = 32;
/// Frequencies of a side.
const FREQUENCIES: usize = 8;
/// Grey values are kept in so many parts of a step of 255.
const PARTS: i64 = 256;
/// Cells that differ less than this from their mean, on average, in steps of 255, show nothing to tell an image by: a blank
/// page is no copy of another blank page, and what compression makes of it is chance.
const FLAT: i64 = 1;
/// Scale of the whole-numbered cosines.
const UNIT: f64 = 4096.0;

/// The hash of an upright image; none for one that is (nearly) of one colour, or has no pixels.
#[must_use]
pub fn perceptual_hash(image: &RgbImage) -> Option<PerceptualHash> {
    let cells = cells(image)?;
    let count = (CELLS * CELLS) as i64;
    let mean = cells.iter().flatten().sum::<i64>() / count;
    let spread = cells.iter().flatten().map(|cell| (cell - mean).abs()).sum::<i64>() / count;
    if spread < FLAT * PARTS {
        return None;
    }
    let values = frequencies(&cells);
    let mut sorted = values;
    sorted.sort_unstable();
    let median = sorted[values.len() / 2];
    let bits = values.iter().fold(0_u64, |bits, value| bits << 1 | u64::from(*value >= median));
    PerceptualHash::new(ALGORITHM, bits).ok()
}

/// Decodes the first page within `limits` and hashes it. Blocks for as long as that takes.
///
/// # Errors
/// [`DecodeError`]; never a panic.
pub fn perceptual_hash_of(
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<Option<PerceptualHash>, DecodeError> {
    let format = decode::recognise(bytes, limits)?;
    let (page, _) = decode::first_page(bytes, limits)?;
    panics::caught(|| perceptual_hash(&page))
        .map_err(|reason| DecodeError::Panicked { format, reason })
}

/// The mean grey of each cell, in [`PARTS`] of a step. A pixel that lies in several cells counts in each by its part.
fn cells(image: &RgbImage) -> Option<[[i64; CELLS]; CELLS]> {
    let (width, height) = (image.width() as usize, image.height() as usize);
    if width == 0 || height == 0 {
        return None;
    }
    let (across, down) = (spans(width), spans(height));
    let mut sums = [[0_u64; CELLS]; CELLS];
    let mut grey = vec![0_u64; width];
    for (y, row) in image.as_raw().chunks_exact(width * 3).enumerate() {
        for (grey, pixel) in grey.iter_mut().zip(row.as_chunks::<3>().0) {
            // Luma by ITU-R BT.601, in 256ths.
            let [red, green, blue] = pixel.map(u64::from);
            *grey = 77 * red + 150 * green + 29 * blue;
        }
        let lines = across.map(|span| span.sum(&grey));
        for (sums, span) in sums.iter_mut().zip(&down) {
            let part = span.part(y);
            if part > 0 {
                for (sum, line) in sums.iter_mut().zip(lines) {
                    *sum += line * part;
                }
            }
        }
    }
    let area = (width * height) as u64;
    Some(sums.map(|row| row.map(|sum| i64::try_from(sum / area).unwrap_or(i64::MAX))))
}

/// The pixels of one cell along one side. Lengths are in `CELLS`ths of a pixel, so a cell is as long as the side has pixels.
#[derive(Debug, Clone, Copy)]
struct Span {
    from: usize,
    to: usize,
}

fn spans(length: usize) -> [Span; CELLS] {
    std::array::from_fn(|cell| Span { from: cell * length, to: (cell + 1) * length })
}

impl Span {
    /// How much of a pixel lies within.
    fn part(self, pixel: usize) -> u64 {
        let (from, to) = (pixel * CELLS, (pixel + 1) * CELLS);
        to.min(self.to).saturating_sub(from.max(self.from)) as u64
    }

    /// The sum of a line's pixels, each by its part.
    fn sum(self, line: &[u64]) -> u64 {
        let (first, last) = (self.from / CELLS, (self.to - 1) / CELLS);
        if first == last {
            return line[first] * self.part(first);
        }
        let whole: u64 = line[first + 1..last].iter().sum();
        line[first] * self.part(first) + whole * CELLS as u64 + line[last] * self.part(last)
    }
}

/// The lowest frequencies of the cosine transform (DCT-II, not normalised), row by row. The first is the mean, which tells
/// nothing: in its place stands the lowest that is left out of the square.
fn frequencies(cells: &[[i64; CELLS]; CELLS]) -> [i64; FREQUENCIES * FREQUENCIES] {
    let waves: [[i64; CELLS]; FREQUENCIES + 1] = std::array::from_fn(|frequency| {
        std::array::from_fn(|place| {
            let angle = std::f64::consts::PI * (2 * place + 1) as f64 * frequency as f64
                / (2 * CELLS) as f64;
            (angle.cos() * UNIT).round() as i64
        })
    });
    let product = |line: &[i64; CELLS], wave: usize| -> i64 {
        line.iter().zip(&waves[wave]).map(|(value, wave)| value * wave).sum()
    };
    let value = |down: usize, across: usize| {
        let lines: [i64; CELLS] = std::array::from_fn(|row| product(&cells[row], across));
        product(&lines, down)
    };
    std::array::from_fn(|place| match (place / FREQUENCIES, place % FREQUENCIES) {
        (0, 0) => value(0, FREQUENCIES),
        (down, across) => value(down, across),
    })
}

#[cfg(test)]
mod tests {
    use image::{Rgb, RgbImage, imageops};

    use super::*;

    /// Hills, a sun and some grain, at any size.
    fn scene(width: u32, height: u32) -> RgbImage {
        RgbImage::from_fn(width, height, |x, y| {
            let (x, y) = (f64::from(x) / f64::from(width), f64::from(y) / f64::from(height));
            let hill = 0.6 + 0.15 * (x * 9.0).sin() + 0.05 * (x * 31.0).cos();
            let sun = (x - 0.7).hypot(y - 0.2) < 0.12;
            match (sun, y > hill) {
                (true, _) => Rgb([250, 240, 120]),
                (_, true) => Rgb([40, (120.0 * y) as u8, 30]),
                (_, false) => Rgb([90, 140, (255.0 - 100.0 * y) as u8]),
            }
        })
    }

    #[test]
    fn the_bits_of_an_algorithm_never_change() {
        // Another value here needs another name of the algorithm.
        assert_eq!(perceptual_hash(&scene(320, 200)).unwrap().to_string(), "dct1:369618616f49696f");
    }

    #[test]
    fn a_copy_of_any_size_looks_the_same_and_a_mirrored_one_does_not() {
        let hash = perceptual_hash(&scene(640, 400)).unwrap();
        for (width, height) in [(1280, 800), (321, 199), (97, 61), (40, 30)] {
            let other = perceptual_hash(&scene(width, height)).unwrap();
            assert!(hash.distance(&other).unwrap() <= 4, "{width}x{height}");
        }
        let mirrored = perceptual_hash(&imageops::flip_horizontal(&scene(640, 400))).unwrap();
        assert!(hash.distance(&mirrored).unwrap() > 12);
    }

    #[test]
    fn a_cell_counts_the_parts_of_its_pixels() {
        // 3 pixels in 32 cells: each pixel fills ten and two thirds.
        let image = RgbImage::from_fn(3, 1, |x, _| Rgb([if x == 1 { 255 } else { 0 }; 3]));
        let cells = cells(&image).unwrap();
        assert_eq!(cells[0], cells[31]);
        assert_eq!(cells[0][..10], [0; 10]);
        assert_eq!(cells[0][10], 255 * 256 / 3);
        assert_eq!(cells[0][11], 255 * 256);
    }

    #[test]
    fn what_shows_nothing_has_no_hash_and_a_single_line_has() {
        assert_eq!(perceptual_hash(&RgbImage::from_pixel(300, 200, Rgb([255, 255, 255]))), None);
        assert_eq!(perceptual_hash(&RgbImage::from_pixel(1, 1, Rgb([7, 7, 7]))), None);
        assert_eq!(perceptual_hash(&RgbImage::new(0, 0)), None);
        let speck =
            RgbImage::from_fn(300, 200, |x, y| Rgb([if x == 9 && y == 9 { 0 } else { 255 }; 3]));
        assert_eq!(perceptual_hash(&speck), None);
        let line = RgbImage::from_fn(300, 200, |_, y| Rgb([if y / 20 == 4 { 0 } else { 255 }; 3]));
        assert!(perceptual_hash(&line).is_some());
    }
}
