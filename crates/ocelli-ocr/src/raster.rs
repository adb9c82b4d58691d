//! Pixels, and the few things done to them before Tesseract sees them: grey, scale, quarter turns.
//!
//! Own code instead of `image::imageops` because one plain loop per operation over bytes is several times faster there.

use std::collections::VecDeque;

use image::RgbImage;

/// Rows of 1 (grey) or 3 (RGB) bytes per pixel, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub width: usize,
    pub height: usize,
    pub channels: usize,
    pub data: Vec<u8>,
}

impl Raster {
    pub(crate) fn from_rgb(image: RgbImage) -> Self {
        let (width, height) = (image.width() as usize, image.height() as usize);
        Self { width, height, channels: 3, data: image.into_raw() }
    }

    pub(crate) fn blank(width: usize, height: usize) -> Self {
        Self { width, height, channels: 1, data: vec![255; width * height] }
    }

    /// Luma by ITU-R BT.601, as Leptonica weighs it.
    pub(crate) fn grey(&self) -> Self {
        if self.channels == 1 {
            return self.clone();
        }
        let luma = |p: &[u8]| {
            ((u32::from(p[0]) * 77 + u32::from(p[1]) * 150 + u32::from(p[2]) * 29) >> 8) as u8
        };
        let data = self.data.chunks_exact(3).map(luma).collect();
        Self { width: self.width, height: self.height, channels: 1, data }
    }

    /// Difference between the 99.9th and the 0.1th percentile of a grey raster: a blank page has none.
    pub(crate) fn contrast(&self) -> u8 {
        let mut histogram = [0_usize; 256];
        for &value in &self.data {
            histogram[usize::from(value)] += 1;
        }
        let skip = self.data.len() / 1_000;
        let mut seen = 0;
        let mut reached = |value: &usize| {
            seen += histogram[*value];
            seen > skip
        };
        let low = (0..256).find(&mut reached).unwrap_or(0);
        seen = 0;
        let mut reached = |value: &usize| {
            seen += histogram[*value];
            seen > skip
        };
        let high = (0..256).rev().find(&mut reached).unwrap_or(0);
        high.saturating_sub(low) as u8
    }

    /// Catmull-Rom interpolation, widened by the factor when it shrinks (which averages).
    pub(crate) fn resized(&self, width: usize, height: usize) -> Self {
        let (width, height) = (width.max(1), height.max(1));
        if (width, height) == (self.width, self.height) {
            return self.clone();
        }
        let c = self.channels;
        let across = taps(self.width, width);
        // Rows that were scaled across and are needed by this or a later output row: never the whole picture.
        let mut rows: VecDeque<Vec<f32>> = VecDeque::new();
        let mut first = 0;
        let mut data = Vec::with_capacity(width * height * c);
        let mut line = vec![0_f32; width * c];
        for tap in taps(self.height, height) {
            while first < tap.first {
                rows.pop_front();
                first += 1;
            }
            while rows.len() < tap.weights.len() {
                let at = (first + rows.len()) * self.width * c;
                rows.push_back(scaled_across(&self.data[at..at + self.width * c], &across, c));
            }
            line.fill(0.0);
            for (weight, from) in tap.weights.iter().zip(&rows) {
                for (to, value) in line.iter_mut().zip(from) {
                    *to += weight * value;
                }
            }
            // `as` saturates: the kernel overshoots at edges.
            data.extend(line.iter().map(|value| (value + 0.5) as u8));
        }
        Self { width, height, channels: c, data }
    }

    /// Scaled so that the longest side is at most `side`.
    pub(crate) fn at_most(&self, side: usize) -> Self {
        let longest = self.width.max(self.height);
        if longest <= side {
            return self.clone();
        }
        self.resized(self.width * side / longest, self.height * side / longest)
    }

    /// Turned clockwise by `quarters` times 90 degrees.
    pub(crate) fn turned(&self, quarters: u8) -> Self {
        let (w, h, c) = (self.width, self.height, self.channels);
        let (width, height) = if quarters % 2 == 1 { (h, w) } else { (w, h) };
        let mut data = Vec::with_capacity(self.data.len());
        for y in 0..height {
            for x in 0..width {
                let (from_x, from_y) = match quarters % 4 {
                    0 => (x, y),
                    1 => (y, h - 1 - x),
                    2 => (w - 1 - x, h - 1 - y),
                    _ => (w - 1 - y, x),
                };
                let at = (from_y * w + from_x) * c;
                data.extend_from_slice(&self.data[at..at + c]);
            }
        }
        Self { width, height, channels: c, data }
    }
}

/// Turns a box back: `bounds` lie in a raster that was turned by `quarters`, `width` and `height` are those before.
pub(crate) fn turned_back(
    [left, top, right, bottom]: [i32; 4],
    quarters: u8,
    width: usize,
    height: usize,
) -> [i32; 4] {
    let (w, h) = (width as i32, height as i32);
    match quarters % 4 {
        0 => [left, top, right, bottom],
        1 => [top, h - right, bottom, h - left],
        2 => [w - right, h - bottom, w - left, h - top],
        _ => [w - bottom, left, w - top, right],
    }
}

fn scaled_across(row: &[u8], across: &[Tap], channels: usize) -> Vec<f32> {
    let mut out = vec![0_f32; across.len() * channels];
    for (tap, pixel) in across.iter().zip(out.chunks_exact_mut(channels)) {
        let source = row[tap.first * channels..].chunks_exact(channels);
        for (weight, from) in tap.weights.iter().zip(source) {
            for (to, &value) in pixel.iter_mut().zip(from) {
                *to += weight * f32::from(value);
            }
        }
    }
    out
}

/// Which inputs make one output, and how much of each.
struct Tap {
    first: usize,
    weights: Vec<f32>,
}

fn taps(from: usize, to: usize) -> Vec<Tap> {
    let step = from as f32 / to as f32;
    let stretch = step.max(1.0);
    (0..to)
        .map(|index| {
            let center = (index as f32 + 0.5) * step - 0.5;
            let first = (center - 2.0 * stretch).ceil().max(0.0) as usize;
            let last = ((center + 2.0 * stretch).floor().max(0.0) as usize).min(from - 1);
            let first = first.min(last);
            let mut weights: Vec<f32> =
                (first..=last).map(|at| catmull_rom((at as f32 - center) / stretch)).collect();
            let sum: f32 = weights.iter().sum();
            for weight in &mut weights {
                *weight /= sum;
            }
            Tap { first, weights }
        })
        .collect()
}

fn catmull_rom(x: f32) -> f32 {
    let x = x.abs();
    if x < 1.0 {
        (1.5 * x - 2.5) * x * x + 1.0
    } else if x < 2.0 {
        ((-0.5 * x + 2.5) * x - 4.0) * x + 2.0
    } else {
        0.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: usize, height: usize) -> Raster {
        let data = (0..width * height).map(|value| value as u8).collect();
        Raster { width, height, channels: 1, data }
    }

    #[test]
    fn four_quarter_turns_are_none_and_boxes_turn_back() {
        let raster = numbered(4, 3);
        for quarters in 0..4 {
            let turned = raster.turned(quarters);
            assert_eq!(turned.turned((4 - quarters) % 4), raster);
            // The pixel (1, 2) alone, found in the turned raster, comes back as a box around (1, 2).
            let at = turned.data.iter().position(|&v| v == 9).expect("there") as i32;
            let (x, y) = (at % turned.width as i32, at / turned.width as i32);
            assert_eq!(turned_back([x, y, x + 1, y + 1], quarters, 4, 3), [1, 2, 2, 3]);
        }
    }

    #[test]
    fn scaling_keeps_a_flat_surface_flat() {
        let flat = Raster { width: 31, height: 17, channels: 3, data: vec![77; 31 * 17 * 3] };
        for (width, height) in [(7, 5), (62, 40), (1, 1), (31, 3)] {
            let scaled = flat.resized(width, height);
            assert_eq!(scaled.data, vec![77; width * height * 3]);
        }
    }

    #[test]
    fn a_blank_page_has_no_contrast() {
        assert_eq!(Raster::blank(50, 50).contrast(), 0);
        assert!(numbered(16, 16).contrast() > 200);
    }
}
