//! Scaling down row by row.
//!
//! The usual two passes of a separable filter keep the half-scaled image between them, in floats: 61 MB of a photograph of
//! 12 megapixels. Here each row of the result is finished before the next begins: the rows of the source that it depends
//! on are added up to one row of floats, and that row is filtered across. The sums and their order are those of
//! `image::imageops::resize` with `FilterType::Lanczos3`, and so are the pixels; a test compares them.

use std::f32::consts::PI;

use image::RgbImage;

/// Samples of a pixel.
const CHANNELS: usize = 3;
/// Half the width of the filter, in pixels of the result.
const SUPPORT: f32 = 3.0;

/// The image with another size, by Lanczos' filter (Duchon, "Lanczos Filtering in One and Two Dimensions", 1979).
pub(crate) fn lanczos(image: &RgbImage, width: u32, height: u32) -> RgbImage {
    let (from_width, from_height) = image.dimensions();
    let (across, down) = (Taps::new(from_width, width), Taps::new(from_height, height));
    let stride = from_width as usize * CHANNELS;
    let samples = image.as_raw();
    let mut sums = vec![0.0_f32; stride];
    let mut out = RgbImage::new(width, height);
    let rows = out.chunks_exact_mut((width as usize * CHANNELS).max(1));
    for (row, (first, weights)) in rows.zip(down.iter()) {
        sums.fill(0.0);
        let sources = samples[first * stride..].chunks_exact(stride.max(1));
        for (source, weight) in sources.zip(weights) {
            for (sum, sample) in sums.iter_mut().zip(source) {
                *sum += f32::from(*sample) * weight;
            }
        }
        let pixels = row.as_chunks_mut::<CHANNELS>().0;
        for (pixel, (first, weights)) in pixels.iter_mut().zip(across.iter()) {
            let mut sum = [0.0_f32; CHANNELS];
            for (source, weight) in
                sums[first * CHANNELS..].as_chunks::<CHANNELS>().0.iter().zip(weights)
            {
                for channel in 0..CHANNELS {
                    sum[channel] += source[channel] * weight;
                }
            }
            *pixel = sum.map(|sample| sample.clamp(0.0, 255.0).round() as u8);
        }
    }
    out
}

/// For each position of the result: where its part of the source begins, and how much each of it counts. All parts lie
/// one after the other in one vector.
struct Taps {
    /// First of the source, and the end of its weights in `weights`.
    places: Vec<(usize, usize)>,
    weights: Vec<f32>,
}

impl Taps {
    fn new(from: u32, to: u32) -> Self {
        let ratio = from as f32 / to as f32;
        let scale = ratio.max(1.0);
        let reach = SUPPORT * scale;
        let (mut places, mut weights) = (Vec::with_capacity(to as usize), Vec::new());
        let last = i64::from(from) - 1;
        for place in 0..to {
            let centre = (place as f32 + 0.5) * ratio;
            let first = ((centre - reach).floor() as i64).clamp(0, last);
            let end = ((centre + reach).ceil() as i64).clamp(first + 1, i64::from(from));
            let begin = weights.len();
            // A pixel lies where its middle is.
            let centre = centre - 0.5;
            weights.extend((first..end).map(|at| kernel((at as f32 - centre) / scale)));
            let mut sum = 0.0_f32;
            for weight in &weights[begin..] {
                sum += weight;
            }
            for weight in &mut weights[begin..] {
                *weight /= sum;
            }
            places.push((usize::try_from(first).unwrap_or(0), weights.len()));
        }
        Self { places, weights }
    }

    fn iter(&self) -> impl Iterator<Item = (usize, &[f32])> {
        let begins = std::iter::once(0).chain(self.places.iter().map(|(_, end)| *end));
        self.places
            .iter()
            .zip(begins)
            .map(|((first, end), begin)| (*first, &self.weights[begin..*end]))
    }
}

fn kernel(x: f32) -> f32 {
    if x.abs() < SUPPORT { sinc(x) * sinc(x / SUPPORT) } else { 0.0 }
}

fn sinc(x: f32) -> f32 {
    let x = x * PI;
    if x == 0.0 { 1.0 } else { x.sin() / x }
}

#[cfg(test)]
mod tests {
    use image::Rgb;
    use image::imageops::{FilterType, resize};

    use super::*;

    /// Edges, gradients and grain.
    fn picture(width: u32, height: u32) -> RgbImage {
        let mut state = 1_u32;
        RgbImage::from_fn(width, height, |x, y| {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            let grain = (state >> 24) as u8;
            Rgb([if x % 7 < 3 { 255 } else { 0 }, (x * 5 + y * 3) as u8, grain])
        })
    }

    #[test]
    fn the_pixels_are_those_of_the_two_passes_that_need_a_second_image() {
        for ((width, height), (to_width, to_height)) in [
            ((400, 300), (128, 96)),
            ((333, 217), (100, 65)),
            ((64, 64), (63, 63)),
            ((1, 500), (1, 90)),
            ((500, 1), (90, 1)),
            ((37, 11), (5, 1)),
            ((2, 2), (1, 1)),
        ] {
            let image = picture(width, height);
            let expected = resize(&image, to_width, to_height, FilterType::Lanczos3);
            assert!(lanczos(&image, to_width, to_height) == expected, "{width}x{height}");
        }
    }
}
