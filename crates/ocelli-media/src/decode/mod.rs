//! Pixels from encoded bytes, within limits that are checked before anything is allocated.
//!
//! [`decode`] and [`crate::inspect()`] go the same way: what the bytes are, the header, the checks; only then pixels.
//! Decoders are pure Rust; a panic of theirs is an error here. AVIF and HEIC become PNG before they come here ([`crate::heif`]). Absent on purpose: a limit on time. Sizes and counts bound it
//! to seconds, and whoever needs a hard one runs this in a process that can be killed.

mod animation;
pub(crate) mod budget;
pub mod error;
pub(crate) mod jpeg;
pub(crate) mod panics;
pub(crate) mod raster;
pub(crate) mod single;
pub(crate) mod tiff;
mod tiff_colour;
pub(crate) mod webp;

use image::RgbImage;
use ocelli_core::ImageFormat;

use crate::limits::DecodeLimits;
use crate::sniff::{Sniff, sniff};
use error::DecodeError;

/// One page, ready to be read.
#[derive(Debug, Clone, PartialEq)]
pub struct Page {
    /// Upright (EXIF orientation applied), 8 bits a channel, without transparency; grey images have three equal channels.
    pub pixels: RgbImage,
    /// Where in the file.
    pub place: Place,
}

/// Where in a file a page stands, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// A page of a TIFF, or an image that is a single one.
    Page(u32),
    /// A frame of an animation.
    Frame(u32),
}

/// Decodes the first frame of an image, or all pages of a TIFF. Blocks for as long as decoding takes.
///
/// A JPEG that is cut off within its pixels gives what is there; every other cut is an error.
///
/// # Errors
/// [`DecodeError`]; never a panic.
pub fn decode(bytes: &[u8], limits: &DecodeLimits) -> Result<Vec<Page>, DecodeError> {
    decode_frames(bytes, limits, 1)
}

/// [`decode`], and of an animation up to `frames` frames, spread evenly from the first to the last.
///
/// A GIF or APNG that is broken after its first frame gives the frames before.
///
/// # Errors
/// [`DecodeError`]; never a panic.
pub fn decode_frames(
    bytes: &[u8],
    limits: &DecodeLimits,
    frames: u32,
) -> Result<Vec<Page>, DecodeError> {
    let format = recognise(bytes, limits)?;
    guarded(format, || match format {
        ImageFormat::Tiff => tiff::pages(bytes, limits),
        _ if frames > 1 => animation::frames(bytes, format, limits, frames),
        _ => Ok(vec![Page { pixels: single::read(bytes, format, limits)?, place: Place::Page(0) }]),
    })
}

/// The first page alone, and how many there are.
pub(crate) fn first_page(
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<(RgbImage, u32), DecodeError> {
    let format = recognise(bytes, limits)?;
    guarded(format, || match format {
        ImageFormat::Tiff => tiff::first_page(bytes, limits),
        _ => Ok((single::read(bytes, format, limits)?, 1)),
    })
}

/// The format, unless the bytes are empty, too many or no image.
pub(crate) fn recognise(bytes: &[u8], limits: &DecodeLimits) -> Result<ImageFormat, DecodeError> {
    match sniff(bytes) {
        Sniff::Empty => Err(DecodeError::Empty),
        Sniff::NotAnImage { looks_like } => Err(DecodeError::NotAnImage { looks_like }),
        Sniff::Image(format) => {
            budget::check_bytes(bytes, limits)?;
            Ok(format)
        }
    }
}

/// Runs a decoder; its panic becomes [`DecodeError::Panicked`].
pub(crate) fn guarded<T>(
    format: ImageFormat,
    work: impl FnOnce() -> Result<T, DecodeError>,
) -> Result<T, DecodeError> {
    panics::caught(work).unwrap_or_else(|reason| Err(DecodeError::Panicked { format, reason }))
}
