//! Every format but TIFF: one page, or the first frame of an animation. Decoded by the `image` crate.

use std::io::Cursor;

use image::codecs::bmp::BmpDecoder;
use image::codecs::gif::GifDecoder;
use image::codecs::jpeg::JpegDecoder;
use image::codecs::png::PngDecoder;
use image::codecs::pnm::PnmDecoder;
use image::codecs::webp::WebPDecoder;
use image::metadata::Orientation;
use image::{ColorType, ImageDecoder, ImageError, RgbImage};
use ocelli_core::ImageFormat;

use crate::decode::error::DecodeError;
use crate::decode::raster::{self, Raster};
use crate::decode::{budget, jpeg, webp};
use crate::limits::DecodeLimits;

/// An opened image whose header passed all checks.
pub(crate) struct Opened<'a> {
    format: ImageFormat,
    decoder: Box<dyn ImageDecoder + 'a>,
    pub(crate) width: u32,
    pub(crate) height: u32,
    pub(crate) orientation: Orientation,
    pub(crate) animated: bool,
    /// Bytes that reading it takes at the most.
    pub(crate) memory: u64,
    bytes: &'a [u8],
}

/// The empty chunk that ends a PNG (ISO/IEC 15948, 11.2.4).
pub(crate) const PNG_END: &[u8] = b"\0\0\0\0IEND\xae\x42\x60\x82";

/// How far an image is going to be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Depth {
    Header,
    Pixels,
}

/// Reads the header and checks everything that it tells. Nothing is allocated for pixels.
pub(crate) fn open<'a>(
    bytes: &'a [u8],
    format: ImageFormat,
    limits: &DecodeLimits,
    depth: Depth,
) -> Result<Opened<'a>, DecodeError> {
    let failed = |error: ImageError| DecodeError::from_image(format, error);
    let mut animated = false;
    // Beside the decoder's output, whose size it tells itself.
    let mut working_memory = 0;
    let mut decoder: Box<dyn ImageDecoder + 'a> = match format {
        ImageFormat::Png => {
            let decoder = PngDecoder::with_limits(Cursor::new(bytes), for_image(limits)).map_err(
                |error| refused_size(bytes, limits).err().unwrap_or_else(|| failed(error)),
            )?;
            animated = decoder.is_apng().unwrap_or(false);
            Box::new(decoder)
        }
        ImageFormat::Jpeg => {
            let mut head = bytes;
            if let Some(frame) = jpeg::frame(bytes) {
                budget::check_size(frame.width, frame.height, limits)?;
                working_memory = frame.working_memory();
                if depth == Depth::Header {
                    // The decoder copies what it gets, and producers look at headers only.
                    head = &bytes[..frame.header_end.min(bytes.len())];
                }
            }
            working_memory += bytes.len() as u64;
            // A damaged header may go on for the decoder where it ended for us.
            let decoder = JpegDecoder::new(Cursor::new(head))
                .or_else(|_| JpegDecoder::new(Cursor::new(bytes)))
                .map_err(failed)?;
            Box::new(decoder)
        }
        ImageFormat::Gif => {
            animated = bytes.windows(11).take(2048).any(|window| window == b"NETSCAPE2.0");
            Box::new(GifDecoder::new(Cursor::new(bytes)).map_err(failed)?)
        }
        ImageFormat::Webp => {
            webp::check_bitstreams(bytes, limits)?;
            let decoder = WebPDecoder::new(Cursor::new(bytes)).map_err(failed)?;
            animated = decoder.has_animation();
            Box::new(decoder)
        }
        ImageFormat::Bmp => Box::new(BmpDecoder::new(Cursor::new(bytes)).map_err(failed)?),
        ImageFormat::Pnm => Box::new(PnmDecoder::new(Cursor::new(bytes)).map_err(failed)?),
        other => return Err(DecodeError::no_decoder(other)),
    };
    let (width, height) = decoder.dimensions();
    if width == 0 || height == 0 {
        let reason = format!("it has {width}x{height} pixels");
        return Err(DecodeError::Broken { format, reason });
    }
    budget::check_size(width, height, limits)?;
    let pixels = u64::from(width) * u64::from(height);
    working_memory += match format {
        // Planes and their upsampling, or the canvas and the frame of an animation.
        ImageFormat::Webp => pixels * 8,
        // A frame that is not as large as the canvas is decoded apart.
        ImageFormat::Gif => pixels * 4,
        _ => 0,
    };
    let orientation = orientation(bytes, format, decoder.as_mut());
    if turned(orientation) {
        working_memory = working_memory.max(pixels * 3);
    }
    if decoder.color_type().channel_count() < 3 {
        working_memory = working_memory.max(pixels * 3);
    }
    let memory = decoder.total_bytes().saturating_add(working_memory);
    budget::check_memory(memory, limits)?;
    decoder.set_limits(for_image(limits)).map_err(failed)?;
    Ok(Opened { format, decoder, width, height, orientation, animated, memory, bytes })
}

/// Opens and reads; a PNG that lacks nothing but its last chunk is read all the same, as browsers do.
pub(crate) fn read(
    bytes: &[u8],
    format: ImageFormat,
    limits: &DecodeLimits,
) -> Result<RgbImage, DecodeError> {
    let result = open(bytes, format, limits, Depth::Pixels)?.read();
    match result {
        Err(error @ DecodeError::Truncated { format: ImageFormat::Png, .. }) => {
            let whole = [bytes, PNG_END].concat();
            open(&whole, format, limits, Depth::Pixels)?.read().map_err(|_| error)
        }
        other => other,
    }
}

impl Opened<'_> {
    /// The pixels, upright.
    pub(crate) fn read(self) -> Result<RgbImage, DecodeError> {
        let Self { format, decoder, width, height, orientation, bytes, .. } = self;
        if format == ImageFormat::Jpeg && jpeg::scans(bytes) > jpeg::MAX_SCANS {
            let reason = format!("more than {} scans", jpeg::MAX_SCANS);
            return Err(DecodeError::Broken { format, reason });
        }
        let colour = decoder.color_type();
        // Bounded by the memory limit a moment ago; still an error and not an abort where memory is short.
        let length = usize::try_from(decoder.total_bytes()).unwrap_or(usize::MAX);
        let mut samples = Vec::new();
        samples.try_reserve_exact(length).map_err(|error| DecodeError::Broken {
            format,
            reason: format!("no memory for {length} bytes of pixels: {error}"),
        })?;
        samples.resize(length, 0);
        decoder
            .read_image_boxed(&mut samples)
            .map_err(|error| DecodeError::from_image(format, error))?;
        let samples = match colour {
            ColorType::L8 | ColorType::La8 | ColorType::Rgb8 | ColorType::Rgba8 => samples,
            ColorType::L16 | ColorType::La16 | ColorType::Rgb16 | ColorType::Rgba16 => {
                raster::narrow(samples)
            }
            other => {
                let reason = format!("samples of type {other:?}; convert it to PNG");
                return Err(DecodeError::Unsupported { format, reason });
            }
        };
        let channels = usize::from(colour.channel_count());
        Raster { width, height, channels, samples }
            .into_rgb(orientation)
            .ok_or_else(|| DecodeError::Broken { format, reason: "too few pixels".to_owned() })
    }
}

/// Whether the orientation swaps width and height.
pub(crate) fn turned(orientation: Orientation) -> bool {
    matches!(
        orientation,
        Orientation::Rotate90
            | Orientation::Rotate270
            | Orientation::Rotate90FlipH
            | Orientation::Rotate270FlipH
    )
}

/// From Exif; a broken Exif part says nothing about the pixels, so it is passed over.
fn orientation(
    bytes: &[u8],
    format: ImageFormat,
    decoder: &mut (dyn ImageDecoder + '_),
) -> Orientation {
    let exif = match format {
        // Not through the decoder: it allocates what the chunk's length claims.
        ImageFormat::Webp => webp::exif(bytes).map(<[u8]>::to_vec),
        ImageFormat::Jpeg | ImageFormat::Png => decoder.exif_metadata().ok().flatten(),
        _ => None,
    };
    exif.as_deref()
        .map(|exif| exif.strip_prefix(b"Exif\0\0").unwrap_or(exif))
        .and_then(Orientation::from_exif_chunk)
        .unwrap_or(Orientation::NoTransforms)
}

pub(crate) fn for_image(limits: &DecodeLimits) -> image::Limits {
    let mut for_image = image::Limits::no_limits();
    for_image.max_image_width = Some(limits.side);
    for_image.max_image_height = Some(limits.side);
    for_image.max_alloc = Some(limits.memory);
    for_image
}

/// The PNG decoder refuses a large header without numbers; they stand at a fixed place (ISO/IEC 15948, 11.2.1).
fn refused_size(bytes: &[u8], limits: &DecodeLimits) -> Result<(), DecodeError> {
    let number = |at: usize| {
        bytes.get(at..at + 4).and_then(|part| part.try_into().ok()).map_or(0, u32::from_be_bytes)
    };
    budget::check_size(number(16), number(20), limits)
}
