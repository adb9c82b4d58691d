//! An image as a vision model's server wants it: upright, without transparency, of bounded size, in a format that
//! every server reads. Servers were seen to refuse WebP and TIFF, and to ignore EXIF orientation.

mod scale;

use bytes::Bytes;
use image::codecs::jpeg::JpegEncoder;
use image::codecs::png::PngEncoder;
use image::imageops;
use image::{ExtendedColorType, ImageEncoder, RgbImage};
use ocelli_core::{ImageFormat, PerceptualHash};

use crate::decode::error::clip;
use crate::decode::{self, panics};
use crate::phash::perceptual_hash;
use crate::{DecodeError, DecodeLimits};

/// How to prepare.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepare {
    /// Larger images are scaled down to this side in pixels; smaller ones are never scaled up.
    pub longest_side: u32,
    /// What to send.
    pub encoding: Encoding,
    /// Whether [`Prepared::hash`] is asked for.
    pub hash: bool,
}

/// The two encodings that every model server reads.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Baseline JPEG without subsampling.
    Jpeg {
        /// 1 to 100.
        quality: u8,
    },
    /// PNG.
    Png,
}

/// The image to send.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Prepared {
    /// Encoded.
    pub bytes: Bytes,
    /// `image/jpeg` or `image/png`.
    pub mime: &'static str,
    /// Pixels.
    pub width: u32,
    /// Pixels.
    pub height: u32,
    /// Pages of the original, of which only the first was prepared; 1 for all formats but TIFF.
    pub pages: u32,
    /// What the whole first page looks like, where that was asked for.
    pub hash: Option<PerceptualHash>,
}

/// Decodes the first page within `limits`, scales it and encodes it again. The same input gives the same bytes.
/// Blocks for as long as that takes.
///
/// # Errors
/// [`DecodeError`]; never a panic.
pub fn prepare(
    bytes: &[u8],
    limits: &DecodeLimits,
    how: &Prepare,
) -> Result<Prepared, DecodeError> {
    let (page, pages) = decode::first_page(bytes, limits)?;
    panics::caught(|| {
        let hash = how.hash.then(|| perceptual_hash(&page)).flatten();
        let prepared = encode(&shrink(page, how.longest_side.max(1)), how.encoding, pages)?;
        Ok(Prepared { hash, ..prepared })
    })
    .unwrap_or_else(|reason| Err(DecodeError::Panicked { format: ImageFormat::Png, reason }))
}

/// Scaled down to `longest_side`, keeping the ratio and at least one pixel.
fn shrink(image: RgbImage, longest_side: u32) -> RgbImage {
    let (width, height) = image.dimensions();
    let longest = width.max(height);
    if longest <= longest_side {
        return image;
    }
    let scaled = |side: u32, to: u32| -> u32 {
        let exact = (u64::from(side) * u64::from(to) + u64::from(longest) / 2) / u64::from(longest);
        u32::try_from(exact).unwrap_or(u32::MAX).max(1)
    };
    let target = (scaled(width, longest_side), scaled(height, longest_side));
    // A wide Lanczos window over a huge image costs seconds; averaging down to twice the target first costs a tenth of it
    // and looks the same.
    let twice = longest_side.saturating_mul(2);
    let image = if longest / 2 >= twice {
        let smaller = imageops::thumbnail(&image, scaled(width, twice), scaled(height, twice));
        drop(image);
        smaller
    } else {
        image
    };
    scale::lanczos(&image, target.0, target.1)
}

fn encode(image: &RgbImage, encoding: Encoding, pages: u32) -> Result<Prepared, DecodeError> {
    let (width, height) = image.dimensions();
    let mut out = Vec::new();
    let (mime, result) = match encoding {
        Encoding::Jpeg { quality } => {
            let encoder = JpegEncoder::new_with_quality(&mut out, quality.clamp(1, 100));
            let result = encoder.write_image(image, width, height, ExtendedColorType::Rgb8);
            ("image/jpeg", result)
        }
        Encoding::Png => {
            let result = PngEncoder::new(&mut out).write_image(
                image,
                width,
                height,
                ExtendedColorType::Rgb8,
            );
            ("image/png", result)
        }
    };
    result.map_err(|error| DecodeError::Encode {
        width,
        height,
        mime,
        reason: clip(&error.to_string()),
    })?;
    Ok(Prepared { bytes: out.into(), mime, width, height, pages, hash: None })
}
