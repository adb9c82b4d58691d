//! Pixels to the bytes of a file, in each of the formats that ocelli reads.

use std::io::Cursor;

use image::codecs::gif::{GifEncoder, Repeat};
use image::codecs::jpeg::JpegEncoder;
use image::{DynamicImage, Frame, ImageEncoder, ImageFormat, ImageResult, RgbaImage};

/// How a sample is written.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Encoding {
    Png,
    /// With its transparency.
    TransparentPng,
    Jpeg(u8),
    /// Turned a quarter to the left, with the EXIF note that a viewer has to turn it back, as phones do.
    TurnedJpeg(u8),
    WebP,
    Gif,
    Tiff,
    Bmp,
}

pub(crate) fn encode(picture: RgbaImage, encoding: Encoding) -> ImageResult<Vec<u8>> {
    let mut bytes = Cursor::new(Vec::new());
    let picture = DynamicImage::ImageRgba8(picture);
    let flat = || DynamicImage::ImageRgb8(picture.to_rgb8());
    match encoding {
        Encoding::Png => flat().write_to(&mut bytes, ImageFormat::Png)?,
        Encoding::TransparentPng => picture.write_to(&mut bytes, ImageFormat::Png)?,
        Encoding::Jpeg(quality) => {
            flat().write_with_encoder(JpegEncoder::new_with_quality(&mut bytes, quality))?;
        }
        Encoding::TurnedJpeg(quality) => {
            let mut encoder = JpegEncoder::new_with_quality(&mut bytes, quality);
            encoder
                .set_exif_metadata(TURN_RIGHT.to_vec())
                .map_err(image::ImageError::Unsupported)?;
            flat().rotate270().write_with_encoder(encoder)?;
        }
        Encoding::WebP => flat().write_to(&mut bytes, ImageFormat::WebP)?,
        Encoding::Gif => {
            let mut encoder = GifEncoder::new_with_speed(&mut bytes, 10);
            encoder.set_repeat(Repeat::Infinite)?;
            encoder.encode_frame(Frame::new(picture.to_rgba8()))?;
        }
        Encoding::Tiff => {
            DynamicImage::ImageLuma8(picture.to_luma8()).write_to(&mut bytes, ImageFormat::Tiff)?;
        }
        Encoding::Bmp => flat().write_to(&mut bytes, ImageFormat::Bmp)?,
    }
    Ok(bytes.into_inner())
}

/// An EXIF block with one entry: orientation (tag 0x0112, one short) 6, "rotate 90 degrees clockwise to show"
/// (CIPA DC-008, 4.6.5). Little endian.
const TURN_RIGHT: &[u8] = &[
    b'I', b'I', 42, 0, 8, 0, 0, 0, // TIFF header; the first directory is at byte 8
    1, 0, // one entry
    0x12, 0x01, 3, 0, 1, 0, 0, 0, 6, 0, 0, 0, // tag, type short, count 1, value 6
    0, 0, 0, 0, // no further directory
];
