//! Format and size from the header, without decoding a pixel. Used by producers.

use ocelli_core::ImageFormat;

use crate::decode::{self, single, tiff};
use crate::heif;
use crate::{DecodeError, DecodeLimits};

/// What a header says.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Inspection {
    /// By the first bytes.
    pub format: ImageFormat,
    /// Pixels, upright: after EXIF orientation, and the turns and crops of AVIF and HEIC.
    pub width: u32,
    /// Pixels, upright.
    pub height: u32,
    /// More than one frame or page, as far as the header shows it.
    pub several_frames: bool,
    /// Bytes of memory that decoding it takes at the most, by an estimate that errs upwards.
    pub memory: u64,
}

/// Reads the header of an image and checks it against `limits`.
///
/// # Errors
/// [`DecodeError`]: what decoding would refuse at the header is refused here with the same words.
pub fn inspect(bytes: &[u8], limits: &DecodeLimits) -> Result<Inspection, DecodeError> {
    let format = decode::recognise(bytes, limits)?;
    decode::guarded(format, || {
        match format {
            ImageFormat::Tiff => return tiff::inspect(bytes, limits),
            ImageFormat::Avif | ImageFormat::Heic => return heif::inspect(bytes, format, limits),
            _ => {}
        }
        let opened = single::open(bytes, format, limits, single::Depth::Header)?;
        let (mut width, mut height) = (opened.width, opened.height);
        if single::turned(opened.orientation) {
            (width, height) = (height, width);
        }
        let (several_frames, memory) = (opened.animated, opened.memory);
        Ok(Inspection { format, width, height, several_frames, memory })
    })
}
