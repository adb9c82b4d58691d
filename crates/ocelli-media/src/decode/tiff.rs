//! TIFF: all its pages (TIFF 6.0, Adobe 1992), on the `tiff` crate directly, because `image` gives the first page only.

use std::io::Cursor;

use image::RgbImage;
use image::metadata::Orientation;
use ocelli_core::ImageFormat;
use tiff::decoder::{ChunkType, Decoder, DecodingResult, Limits};
use tiff::tags::{CompressionMethod, Tag};
use tiff::{ColorType, TiffError};

use crate::decode::error::DecodeError;
use crate::decode::raster::Raster;
use crate::decode::tiff_colour::{self, Palette};
use crate::decode::{Page, Place, budget, jpeg, single};
use crate::inspect::Inspection;
use crate::limits::DecodeLimits;

type Reader<'a> = Decoder<Cursor<&'a [u8]>>;

/// More samples than colour, alpha and a few spot colours; the decoder's row buffer grows with them.
const MAX_SAMPLES: u16 = 8;

/// A page may come with a thumbnail, a mask and a smaller version; a chain of nothing but those costs time too.
const DIRECTORIES_PER_PAGE: u32 = 4;

/// A page's header.
struct Header {
    /// Position in the file's chain of directories.
    position: u32,
    width: u32,
    height: u32,
    colour: ColorType,
    orientation: Orientation,
    /// Entries of a colour map, of a palette page.
    palette: Option<Palette>,
    /// Bytes held while and after decoding.
    memory: u64,
    kept: u64,
}

/// Decodes every page. All headers are checked before the first pixel.
pub(crate) fn pages(bytes: &[u8], limits: &DecodeLimits) -> Result<Vec<Page>, DecodeError> {
    let headers = headers(bytes, limits, u32::MAX)?;
    let mut pages = Vec::with_capacity(headers.len());
    for (index, header) in (0..).zip(&headers) {
        pages.push(Page { pixels: read(bytes, header, limits)?, place: Place::Page(index) });
    }
    Ok(pages)
}

/// Decodes the first page and counts the others, whose headers may be broken.
pub(crate) fn first_page(
    bytes: &[u8],
    limits: &DecodeLimits,
) -> Result<(RgbImage, u32), DecodeError> {
    let headers = headers(bytes, limits, 1)?;
    let first = headers.first().ok_or_else(no_page)?;
    Ok((read(bytes, first, limits)?, count(bytes, limits)))
}

/// What the header says of the first page, and whether there are several.
pub(crate) fn inspect(bytes: &[u8], limits: &DecodeLimits) -> Result<Inspection, DecodeError> {
    let headers = headers(bytes, limits, u32::MAX)?;
    let first = headers.first().ok_or_else(no_page)?;
    let turned = single::turned(first.orientation);
    let (width, height) =
        if turned { (first.height, first.width) } else { (first.width, first.height) };
    let (format, several_frames) = (ImageFormat::Tiff, headers.len() > 1);
    Ok(Inspection { format, width, height, several_frames, memory: first.memory })
}

fn no_page() -> DecodeError {
    DecodeError::Broken { format: ImageFormat::Tiff, reason: "it has no page".to_owned() }
}

fn open<'a>(bytes: &'a [u8], limits: &DecodeLimits) -> Result<Reader<'a>, TiffError> {
    let mut for_tiff = Limits::default();
    let memory = usize::try_from(limits.memory).unwrap_or(usize::MAX);
    for_tiff.decoding_buffer_size = memory;
    for_tiff.intermediate_buffer_size = memory;
    Ok(Decoder::new(Cursor::new(bytes))?.with_limits(for_tiff))
}

/// Headers of the first `wanted` pages, without thumbnails and masks.
fn headers(bytes: &[u8], limits: &DecodeLimits, wanted: u32) -> Result<Vec<Header>, DecodeError> {
    let mut decoder = open(bytes, limits).map_err(|error| DecodeError::from_tiff(0, &error))?;
    let mut headers: Vec<Header> = Vec::new();
    let mut position = 0;
    let mut kept = 0u64;
    loop {
        if position == 0 || is_page(&mut decoder) {
            let page = headers.len() as u32;
            budget::check_pages(page + 1, limits)?;
            let header = header(&mut decoder, bytes, position, page, limits)?;
            budget::check_memory(kept.saturating_add(header.memory), limits)?;
            kept = kept.saturating_add(header.kept);
            headers.push(header);
            if page + 1 >= wanted {
                return Ok(headers);
            }
        }
        if !decoder.more_images() {
            return Ok(headers);
        }
        position += 1;
        if position / DIRECTORIES_PER_PAGE > limits.pages {
            let reason = format!("{position} directories, and few of them are pages");
            return Err(DecodeError::Broken { format: ImageFormat::Tiff, reason });
        }
        let failed = |error: TiffError| DecodeError::from_tiff(headers.len() as u32, &error);
        decoder.next_image().map_err(failed)?;
    }
}

fn count(bytes: &[u8], limits: &DecodeLimits) -> u32 {
    let Ok(mut decoder) = open(bytes, limits) else { return 1 };
    let mut count = 1;
    while decoder.more_images() && count < limits.pages {
        if decoder.next_image().is_err() {
            return count;
        }
        count += u32::from(is_page(&mut decoder));
    }
    count
}

/// `NewSubfileType` (254): bit 0 a reduced version of another page, bit 2 a transparency mask.
fn is_page(decoder: &mut Reader<'_>) -> bool {
    let kind = decoder.find_tag_unsigned::<u32>(Tag::NewSubfileType).ok().flatten().unwrap_or(0);
    kind & 0b101 == 0
}

fn header(
    decoder: &mut Reader<'_>,
    bytes: &[u8],
    position: u32,
    page: u32,
    limits: &DecodeLimits,
) -> Result<Header, DecodeError> {
    let failed = |error: TiffError| DecodeError::from_tiff(page, &error);
    let unsupported = |reason: String| DecodeError::Unsupported {
        format: ImageFormat::Tiff,
        reason: format!("page {}: {reason}; convert it to PNG first", page + 1),
    };
    let (width, height) = decoder.dimensions().map_err(failed)?;
    budget::check_size(width, height, limits)?;
    let samples: u16 =
        decoder.find_tag_unsigned(Tag::SamplesPerPixel).map_err(failed)?.unwrap_or(1);
    if samples > MAX_SAMPLES {
        return Err(unsupported(format!("{samples} samples per pixel")));
    }
    let palette = tiff_colour::palette(decoder).map_err(failed)?;
    let colour = match &palette {
        Some(palette) => ColorType::Gray(palette.bits),
        None => decoder.colortype().map_err(failed)?,
    };
    let orientation = decoder
        .find_tag_unsigned::<u16>(Tag::Orientation)
        .ok()
        .flatten()
        .and_then(|value| Orientation::from_exif(u8::try_from(value).ok()?))
        .unwrap_or(Orientation::NoTransforms);

    // The decoder allocates rows of its chunks, and for JPEG whole chunks, by their claimed size.
    let (chunk_width, chunk_height) = decoder.chunk_dimensions();
    let chunk_height = match decoder.get_chunk_type() {
        // "All in one strip" is often written as the largest number.
        ChunkType::Strip => chunk_height.min(height),
        ChunkType::Tile => chunk_height,
    };
    budget::check_size(chunk_width, chunk_height, limits)?;
    check_jpeg_chunks(decoder, bytes, page, (chunk_width, chunk_height))?;

    let pixels = u64::from(width) * u64::from(height);
    let bytes_per_sample = u64::from(colour.bit_depth()).div_ceil(8);
    let decoded = pixels * u64::from(samples) * bytes_per_sample;
    let chunk = u64::from(chunk_width) * u64::from(chunk_height) * u64::from(samples) * 4;
    // Decoded samples, the same at 8 bits, RGB; beside them one chunk. A palette page is decoded from a copy.
    let copy = if palette.is_some() { bytes.len() as u64 } else { 0 };
    let kept = pixels * 3;
    let memory = decoded + pixels * u64::from(samples) + kept + chunk.min(decoded * 4) + copy;
    Ok(Header { position, width, height, colour, orientation, palette, memory, kept })
}

/// A JPEG chunk is decoded at the size that it claims itself; a lying one must not pass.
fn check_jpeg_chunks(
    decoder: &mut Reader<'_>,
    bytes: &[u8],
    page: u32,
    (width, height): (u32, u32),
) -> Result<(), DecodeError> {
    let failed = |error: TiffError| DecodeError::from_tiff(page, &error);
    let compression: Option<u16> = decoder.find_tag_unsigned(Tag::Compression).map_err(failed)?;
    if compression != Some(CompressionMethod::ModernJPEG.to_u16()) {
        return Ok(());
    }
    let (offsets, lengths) = match decoder.get_chunk_type() {
        ChunkType::Strip => (Tag::StripOffsets, Tag::StripByteCounts),
        ChunkType::Tile => (Tag::TileOffsets, Tag::TileByteCounts),
    };
    let offsets = decoder.get_tag_u64_vec(offsets).map_err(failed)?;
    let lengths = decoder.get_tag_u64_vec(lengths).map_err(failed)?;
    // Encoders pad to whole blocks of at most 32 pixels.
    let (most_wide, most_high) = (width.saturating_add(32), height.saturating_add(32));
    for (offset, length) in offsets.into_iter().zip(lengths) {
        let start = usize::try_from(offset).unwrap_or(usize::MAX);
        let end = start.saturating_add(usize::try_from(length).unwrap_or(usize::MAX));
        let chunk = bytes.get(start..end.min(bytes.len())).unwrap_or_default();
        let fits = jpeg::frame(chunk)
            .is_none_or(|frame| frame.width <= most_wide && frame.height <= most_high);
        if !fits || jpeg::scans(chunk) > jpeg::MAX_SCANS {
            return Err(DecodeError::Broken {
                format: ImageFormat::Tiff,
                reason: format!("page {}: a JPEG part is larger than its place", page + 1),
            });
        }
    }
    Ok(())
}

fn read(bytes: &[u8], header: &Header, limits: &DecodeLimits) -> Result<RgbImage, DecodeError> {
    let page = header.position;
    let failed = |error: TiffError| DecodeError::from_tiff(page, &error);
    let as_grey = header.palette.as_ref().map(|palette| palette.as_grey(bytes));
    let bytes = as_grey.as_deref().unwrap_or(bytes);
    let mut decoder = open(bytes, limits).map_err(failed)?;
    decoder.seek_to_image(page as usize).map_err(failed)?;
    let mut result = DecodingResult::U8(Vec::new());
    let layout = decoder.read_image_to_buffer(&mut result).map_err(failed)?;
    drop(decoder);
    if result.as_buffer(0).byte_len() < layout.complete_len {
        let reason = format!("page {}: not all of its planes could be read", page + 1);
        return Err(DecodeError::Broken { format: ImageFormat::Tiff, reason });
    }
    let broken = |reason: &str| DecodeError::Broken {
        format: ImageFormat::Tiff,
        reason: format!("page {}: {reason}", page + 1),
    };
    let (width, height) = (header.width, header.height);
    let samples = tiff_colour::to_8_bits(result, header.colour, width).ok_or_else(|| {
        DecodeError::Unsupported {
            format: ImageFormat::Tiff,
            reason: format!("page {}: samples of this type; convert it to PNG first", page + 1),
        }
    })?;
    let samples =
        if layout.planes > 1 { tiff_colour::interleave(&samples, layout.planes) } else { samples };
    let (channels, samples) =
        tiff_colour::to_channels(samples, header.colour, header.palette.as_ref())
            .ok_or_else(|| broken("its colours are not understood"))?;
    Raster { width, height, channels, samples }
        .into_rgb(header.orientation)
        .ok_or_else(|| broken("too few pixels"))
}
