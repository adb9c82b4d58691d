//! Some frames of an animation: GIF, APNG and WebP, through the `image` crate.
//!
//! Each frame builds on the one before, so all up to the last wanted one are decoded; only the wanted ones are kept.

use std::io::Cursor;

use image::codecs::gif::GifDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::webp::WebPDecoder;
use image::{AnimationDecoder, Frames, ImageDecoder, ImageResult};
use ocelli_core::ImageFormat;

use crate::decode::error::DecodeError;
use crate::decode::raster::Raster;
use crate::decode::{Page, Place, budget, single, webp};
use crate::limits::DecodeLimits;

/// Pixels decoded per image, in multiples of `limits.image_pixels`: 500 frames of a megapixel by default, which take a few
/// seconds. Longer animations are sampled up to there.
const DECODED: u64 = 5;
/// Bytes per pixel while decoding: canvas, frame, the one before it, and the copy that is handed out, each RGBA.
const WORKING_BYTES: u64 = 16;

/// Up to `wanted` frames (at least two) of an animation, or the one image that it is.
pub(crate) fn frames(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
    wanted: u32,
) -> Result<Vec<Page>, DecodeError> {
    let opened = single::open(bytes, format, limits, single::Depth::Pixels)?;
    let (width, height, orientation) = (opened.width, opened.height, opened.orientation);
    let pixels = u64::from(width) * u64::from(height);
    let most = u32::try_from(limits.pixels * DECODED / pixels).unwrap_or(u32::MAX);
    let count = count(bytes, format, limits).min(most);
    let wanted = wanted.min(limits.pages).min(count);
    if wanted < 2 {
        drop(opened);
        let pixels = single::read(bytes, format, limits)?;
        return Ok(vec![Page { pixels, place: Place::Page(0) }]);
    }
    drop(opened);
    budget::check_memory(pixels * (WORKING_BYTES + 3 * u64::from(wanted)), limits)?;
    // Both ends are among them.
    let mut places = (0..wanted).map(|i| i * (count - 1) / (wanted - 1)).peekable();
    let failed = |error| DecodeError::from_image(format, error);
    let mut pages: Vec<Page> = Vec::new();
    for (index, frame) in (0..count).zip(open(bytes, format, limits).map_err(failed)?) {
        let frame = match frame {
            Ok(frame) => frame.into_buffer(),
            Err(error) if pages.is_empty() => return Err(failed(error)),
            Err(_) => break,
        };
        if places.next_if_eq(&index).is_none() {
            continue;
        }
        let (width, height) = frame.dimensions();
        let raster = Raster { width, height, channels: 4, samples: frame.into_raw() };
        let Some(pixels) = raster.into_rgb(orientation) else { break };
        pages.push(Page { pixels, place: Place::Frame(index) });
        if places.peek().is_none() {
            break;
        }
    }
    if pages.is_empty() {
        return Err(DecodeError::Broken { format, reason: "it has no frame".to_owned() });
    }
    Ok(pages)
}

fn open<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> ImageResult<Frames<'a>> {
    let input = Cursor::new(bytes);
    Ok(match format {
        ImageFormat::Gif => {
            let mut decoder = GifDecoder::new(input)?;
            decoder.set_limits(single::for_image(limits))?;
            decoder.into_frames()
        }
        ImageFormat::Webp => WebPDecoder::new(input)?.into_frames(),
        _ => PngDecoder::with_limits(input, single::for_image(limits))?.apng()?.into_frames(),
    })
}

/// Frames by the file's structure, without decoding; 1 for what is no animation.
fn count(bytes: &[u8], format: ImageFormat, limits: &DecodeLimits) -> u32 {
    match format {
        ImageFormat::Gif => count_gif(bytes),
        ImageFormat::Webp => webp::check_frames(bytes, limits),
        ImageFormat::Png => count_png(bytes),
        _ => 1,
    }
}

/// Frame control chunks (APNG 1.0, `fcTL`).
fn count_png(bytes: &[u8]) -> u32 {
    let mut rest = bytes.get(8..).unwrap_or_default();
    let mut count = 0;
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        count += u32::from(after.starts_with(b"fcTL"));
        // Name, content, checksum.
        let chunk = (u32::from_be_bytes(*length) as usize).saturating_add(8);
        rest = after.get(chunk..).unwrap_or_default();
    }
    count
}

/// Image descriptors (GIF89a, 20).
fn count_gif(bytes: &[u8]) -> u32 {
    /// Bytes of the colour table that a packed field announces.
    fn table(packed: u8) -> usize {
        if packed & 0x80 == 0 { 0 } else { 3 << ((packed & 7) + 1) }
    }
    fn after_blocks(bytes: &[u8], mut at: usize) -> usize {
        while let Some(&length @ 1..) = bytes.get(at) {
            at += 1 + usize::from(length);
        }
        at + 1
    }
    let mut at = 13 + bytes.get(10).map_or(0, |packed| table(*packed));
    let mut count = 0;
    loop {
        match bytes.get(at) {
            Some(0x21) => at = after_blocks(bytes, at + 2),
            Some(0x2c) => {
                count += 1;
                let local = bytes.get(at + 9).map_or(0, |packed| table(*packed));
                // One byte more: the size of the codes.
                at = after_blocks(bytes, at + 10 + local + 1);
            }
            _ => return count,
        }
    }
}
