//! Pixels, and the few things done to them before Tesseract sees them: grey, scale, quarter turns.
//!
//! Scaling is left to `fast_image_resize`. The rest is own code instead of `image::imageops` because one plain loop per
//! operation over bytes is several times faster there.

use fast_image_resize::images::{TypedImage, TypedImageRef};
use fast_image_resize::pixels::U8;
use fast_image_resize::{FilterType, ResizeAlg, ResizeOptions, Resizer};
use image::RgbImage;

/// Rows of one byte of brightness per pixel, without padding.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Raster {
    pub width: usize,
    pub height: usize,
    pub data: Vec<u8>,
}

impl Raster {
    pub(crate) fn blank(width: usize, height: usize) -> Self {
        Self { width, height, data: vec![255; width * height] }
    }

    /// Luma by ITU-R BT.601, as Leptonica weighs it.
    pub(crate) fn grey(image: &RgbImage) -> Self {
        let luma = |p: &[u8]| {
            ((u32::from(p[0]) * 77 + u32::from(p[1]) * 150 + u32::from(p[2]) * 29) >> 8) as u8
        };
        let data = image.as_raw().chunks_exact(3).map(luma).collect();
        Self { width: image.width() as usize, height: image.height() as usize, data }
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
        if (width, height) == (self.width, self.height) || self.data.is_empty() {
            return self.clone();
        }
        let mut data = vec![0; width * height];
        let how = ResizeOptions::new()
            .resize_alg(ResizeAlg::Convolution(FilterType::CatmullRom))
            .use_alpha(false);
        // By the type of its pixels: what is told at run time is compiled for thirteen types of pixels.
        let fits = "a raster has as many bytes as its sides say";
        let (from, to) = ((self.width as u32, self.height as u32), (width as u32, height as u32));
        let source = TypedImageRef::<U8>::from_buffer(from.0, from.1, &self.data).expect(fits);
        let mut scaled = TypedImage::<U8>::from_buffer(to.0, to.1, &mut data).expect(fits);
        Resizer::new().resize_typed(&source, &mut scaled, &how).expect(fits);
        Self { width, height, data }
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
        let (w, h) = (self.width, self.height);
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
                data.push(self.data[from_y * w + from_x]);
            }
        }
        Self { width, height, data }
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

#[cfg(test)]
mod tests {
    use super::*;

    fn numbered(width: usize, height: usize) -> Raster {
        let data = (0..width * height).map(|value| value as u8).collect();
        Raster { width, height, data }
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
        let flat = Raster { width: 31, height: 17, data: vec![77; 31 * 17] };
        for (width, height) in [(7, 5), (62, 40), (1, 1), (31, 3)] {
            let scaled = flat.resized(width, height);
            assert_eq!(scaled.data, vec![77; width * height]);
        }
    }

    #[test]
    fn a_blank_page_has_no_contrast() {
        assert_eq!(Raster::blank(50, 50).contrast(), 0);
        assert!(numbered(16, 16).contrast() > 200);
    }
}
