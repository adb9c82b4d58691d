//! Decoded samples on their way to upright RGB: 16 bits to 8, grey to RGB, transparency onto a ground, orientation.

use image::metadata::Orientation;
use image::{DynamicImage, RgbImage};

/// A ground is chosen by the brightness of the pixels that border on it: at this luma and above they need black.
///
/// Halfway between the grey that contrasts equally with black and white (118, by WCAG's formula) and white, because the
/// usual page is white and a photograph cut out should stay on it.
const LIGHT: u64 = 170;

/// Interleaved 8-bit samples; 1 = grey, 2 = grey and alpha, 3 = RGB, 4 = RGB and alpha.
#[derive(Debug)]
pub(crate) struct Raster {
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) channels: usize,
    pub(crate) samples: Vec<u8>,
}

/// Native-endian 16-bit samples to 8 bits, in place.
pub(crate) fn narrow(mut samples: Vec<u8>) -> Vec<u8> {
    let count = samples.len() / 2;
    for i in 0..count {
        samples[i] = to_8_bits(u16::from_ne_bytes([samples[2 * i], samples[2 * i + 1]]));
    }
    samples.truncate(count);
    samples
}

/// Rounds to the nearest of 256 steps.
pub(crate) fn to_8_bits(sample: u16) -> u8 {
    ((u32::from(sample) + 128) / 257) as u8
}

impl Raster {
    /// Upright RGB; `None` when there are fewer samples than the size demands.
    pub(crate) fn into_rgb(self, orientation: Orientation) -> Option<RgbImage> {
        let Self { width, height, channels, samples } = self;
        let pixels = width as usize * height as usize;
        if samples.len() < pixels * channels {
            return None;
        }
        let mut rgb = match channels {
            1 => samples[..pixels].iter().flat_map(|&grey| [grey; 3]).collect(),
            2 => {
                let ground = ground::<2>(&samples, width as usize);
                let mut rgb = Vec::with_capacity(pixels * 3);
                for pixel in samples[..pixels * 2].as_chunks::<2>().0 {
                    rgb.extend_from_slice(&[blend(pixel[0], pixel[1], ground); 3]);
                }
                rgb
            }
            3 => samples,
            4 => flatten_in_place(samples, pixels, width as usize),
            _ => return None,
        };
        rgb.truncate(pixels * 3);
        let image = RgbImage::from_raw(width, height, rgb)?;
        if orientation == Orientation::NoTransforms {
            return Some(image);
        }
        let mut image = DynamicImage::ImageRgb8(image);
        image.apply_orientation(orientation);
        Some(image.into_rgb8())
    }
}

/// The three colours move forward over the alpha they no longer need: no second buffer.
fn flatten_in_place(mut samples: Vec<u8>, pixels: usize, width: usize) -> Vec<u8> {
    let ground = ground::<4>(&samples, width);
    for i in 0..pixels {
        let alpha = samples[4 * i + 3];
        for channel in 0..3 {
            samples[3 * i + channel] = blend(samples[4 * i + channel], alpha, ground);
        }
    }
    samples
}

fn blend(sample: u8, alpha: u8, ground: u8) -> u8 {
    let alpha = u32::from(alpha);
    ((u32::from(sample) * alpha + u32::from(ground) * (255 - alpha) + 127) / 255) as u8
}

/// White, or black where white would swallow what is drawn.
///
/// What decides are the opaque pixels beside transparent ones: those must stand out. White letters without a ground are
/// all border; a screenshot with rounded corners has next to none.
fn ground<const N: usize>(samples: &[u8], width: usize) -> u8 {
    const WHITE: u8 = 255;
    const BLACK: u8 = 0;
    let (mut border, mut border_luma, mut weight, mut luma) = (0u64, 0u64, 0u64, 0u64);
    for row in samples.chunks_exact(width * N) {
        let mut before: Option<&[u8; N]> = None;
        for pixel in row.as_chunks::<N>().0 {
            let alpha = pixel[N - 1];
            weight += u64::from(alpha);
            luma += u64::from(alpha) * brightness(pixel);
            if let Some(before) = before
                && (before[N - 1] >= 128) != (alpha >= 128)
            {
                border += 1;
                border_luma += brightness(if alpha >= 128 { pixel } else { before });
            }
            before = Some(pixel);
        }
    }
    // Only faint or only horizontal edges: the average of everything visible decides.
    let mean = border_luma.checked_div(border).or_else(|| luma.checked_div(weight)).unwrap_or(0);
    if mean >= LIGHT { BLACK } else { WHITE }
}

/// Luma by ITU-R BT.601.
fn brightness<const N: usize>(pixel: &[u8; N]) -> u64 {
    if N < 4 {
        return u64::from(pixel[0]);
    }
    (299 * u64::from(pixel[0]) + 587 * u64::from(pixel[1]) + 114 * u64::from(pixel[2])) / 1000
}

#[cfg(test)]
mod tests {
    use super::*;

    fn on_transparent(colour: [u8; 3]) -> RgbImage {
        let [r, g, b] = colour;
        let row = [[9, 9, 9, 0], [r, g, b, 255], [9, 9, 9, 0], [r, g, b, 255]];
        let samples = row.repeat(2).concat();
        Raster { width: 4, height: 2, channels: 4, samples }
            .into_rgb(Orientation::NoTransforms)
            .unwrap()
    }

    #[test]
    fn white_letters_without_a_ground_are_put_on_black_and_black_ones_on_white() {
        let white = on_transparent([255, 255, 255]);
        assert_eq!(white.get_pixel(0, 0).0, [0, 0, 0]);
        assert_eq!(white.get_pixel(1, 0).0, [255, 255, 255]);
        let black = on_transparent([0, 0, 0]);
        assert_eq!(black.get_pixel(0, 1).0, [255, 255, 255]);
        assert_eq!(black.get_pixel(1, 1).0, [0, 0, 0]);
    }

    #[test]
    fn half_transparent_grey_is_blended_with_its_ground() {
        let samples = vec![0, 128, 0, 255, 0, 0];
        let raster = Raster { width: 3, height: 1, channels: 2, samples };
        let image = raster.into_rgb(Orientation::NoTransforms).unwrap();
        assert_eq!(image.into_raw(), [127, 127, 127, 0, 0, 0, 255, 255, 255]);
    }

    #[test]
    fn sixteen_bits_become_eight_by_rounding() {
        let samples: Vec<u8> =
            [0u16, 128, 129, 65_535, 32_896].iter().flat_map(|s| s.to_ne_bytes()).collect();
        assert_eq!(narrow(samples), [0, 0, 1, 255, 128]);
    }

    #[test]
    fn a_quarter_turn_swaps_width_and_height() {
        let samples = vec![10, 20, 30, 40, 50, 60];
        let raster = Raster { width: 2, height: 1, channels: 3, samples };
        let image = raster.into_rgb(Orientation::Rotate90).unwrap();
        assert_eq!(image.dimensions(), (1, 2));
        assert_eq!(image.get_pixel(0, 0).0, [10, 20, 30]);
    }

    #[test]
    fn too_few_samples_give_nothing_instead_of_a_panic() {
        let raster = Raster { width: 9, height: 9, channels: 4, samples: vec![0; 9] };
        assert!(raster.into_rgb(Orientation::NoTransforms).is_none());
    }
}
