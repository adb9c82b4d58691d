//! The chunks of a WebP, looked at before its decoder trusts their lengths and sizes (RFC 9649).

use crate::decode::budget;
use crate::decode::error::DecodeError;
use crate::limits::DecodeLimits;

/// Every chunk as (name, content), cut off at the end of the bytes.
fn chunks(mut bytes: &[u8]) -> impl Iterator<Item = (&[u8; 4], &[u8])> {
    std::iter::from_fn(move || {
        let (name, rest) = bytes.split_first_chunk::<4>()?;
        let (length, rest) = rest.split_first_chunk::<4>()?;
        let length = u32::from_le_bytes(*length) as usize;
        let content = &rest[..length.min(rest.len())];
        bytes = rest.get(length.saturating_add(length & 1)..).unwrap_or_default();
        Some((name, content))
    })
}

/// Checks the size that each lossy bitstream claims for itself: the decoder allocates for it before it compares it with
/// the size in the file's header. Of an animation the first frame; [`check_frames`] has the others.
pub(crate) fn check_bitstreams(bytes: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    for (name, content) in chunks(bytes.get(12..).unwrap_or_default()) {
        match name {
            b"VP8 " => check_lossy(content, limits)?,
            b"ANMF" => return check_frame(content, limits),
            _ => {}
        }
    }
    Ok(())
}

/// The frames of an animation that can be decoded within the limits, from the first on.
pub(crate) fn check_frames(bytes: &[u8], limits: &DecodeLimits) -> u32 {
    let frames = chunks(bytes.get(12..).unwrap_or_default()).filter(|(name, _)| *name == b"ANMF");
    let fine = frames.take_while(|(_, content)| check_frame(content, limits).is_ok());
    u32::try_from(fine.count()).unwrap_or(u32::MAX)
}

/// A frame: 16 bytes of position and size, then chunks.
fn check_frame(frame: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    chunks(frame.get(16..).unwrap_or_default())
        .filter(|(name, _)| *name == b"VP8 ")
        .try_for_each(|(_, content)| check_lossy(content, limits))
}

fn check_lossy(bitstream: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    // RFC 6386 9.1: frame tag (3 bytes), start code (3), width and height (14 bits each, 2 bits of scale).
    let [_, _, _, 0x9d, 0x01, 0x2a, w1, w2, h1, h2, ..] = bitstream else { return Ok(()) };
    let side = |low: u8, high: u8| u32::from(u16::from_le_bytes([low, high]) & 0x3fff);
    budget::check_size(side(*w1, *w2), side(*h1, *h2), limits)
}

/// The Exif chunk.
pub(crate) fn exif(bytes: &[u8]) -> Option<&[u8]> {
    chunks(bytes.get(12..)?).find(|(name, _)| *name == b"EXIF").map(|(_, content)| content)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bitstream_that_claims_more_than_its_file_is_refused_by_its_own_size() {
        let mut bytes = b"RIFF\0\0\0\0WEBPVP8X\x0a\0\0\0".to_vec();
        bytes.extend([0; 10]);
        bytes.extend(b"VP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f");
        let limits = DecodeLimits { pixels: 1_000_000, ..DecodeLimits::default() };
        let error = check_bitstreams(&bytes, &limits).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { value, .. } if value == 16_383 * 16_383));
    }

    #[test]
    fn lengths_beyond_the_end_are_cut_off() {
        let bytes = b"RIFF\0\0\0\0WEBPEXIF\xff\xff\xff\xffMM";
        assert_eq!(exif(bytes), Some(&b"MM"[..]));
        assert_eq!(exif(b"RIFF"), None);
        assert!(check_bitstreams(bytes, &DecodeLimits::default()).is_ok());
    }
}
