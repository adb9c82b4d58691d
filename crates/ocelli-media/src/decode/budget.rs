//! The checks that come before any allocation.

use crate::decode::error::DecodeError;
use crate::limits::DecodeLimits;

/// The encoded size.
pub(crate) fn check_bytes(bytes: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    at_most("the file's size in bytes", bytes.len() as u64, limits.bytes, "limits.image_bytes")
}

/// Width, height and their product, of an image, page or frame.
pub(crate) fn check_size(
    width: u32,
    height: u32,
    limits: &DecodeLimits,
) -> Result<(), DecodeError> {
    let side = u64::from(width.max(height));
    at_most("the longer side in pixels", side, u64::from(limits.side), "limits.image_side")?;
    let pixels = u64::from(width) * u64::from(height);
    at_most("the number of pixels", pixels, limits.pixels, "limits.image_pixels")
}

/// Memory that decoding is going to take, by an estimate that errs upwards.
pub(crate) fn check_memory(needed: u64, limits: &DecodeLimits) -> Result<(), DecodeError> {
    at_most("the memory to decode it in bytes", needed, limits.memory, "limits.decode_memory")
}

/// The number of pages; counting stops beyond the limit.
pub(crate) fn check_pages(pages: u32, limits: &DecodeLimits) -> Result<(), DecodeError> {
    let limit = u64::from(limits.pages);
    at_most("the number of pages (counted so far)", u64::from(pages), limit, "limits.image_pages")
}

fn at_most(
    what: &'static str,
    value: u64,
    limit: u64,
    setting: &'static str,
) -> Result<(), DecodeError> {
    if value > limit { Err(DecodeError::TooLarge { what, value, limit, setting }) } else { Ok(()) }
}
