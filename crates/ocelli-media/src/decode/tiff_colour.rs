//! A TIFF's samples, as many and as deep as they may be, to 8-bit grey or RGB, with or without alpha.

use std::io::{Read, Seek};

use tiff::decoder::{Decoder, DecodingResult};
use tiff::tags::Tag;
use tiff::{ColorType, TiffResult};

use crate::decode::raster;

const PHOTOMETRIC: u16 = 262;
const PALETTE: u16 = 3;
const BLACK_IS_ZERO: u16 = 1;

/// A colour map, and where the page says that it has one.
///
/// The `tiff` crate decodes no palette pages. As grey pages their samples are the indices, so one number is changed in a
/// copy of the file and the colours are looked up afterwards.
pub(crate) struct Palette {
    pub(crate) bits: u8,
    colours: Vec<[u8; 3]>,
    /// Of the photometric interpretation's value within the file.
    value_at: usize,
    big_endian: bool,
}

/// The palette of the current page, when it has one.
pub(crate) fn palette<R: Read + Seek>(decoder: &mut Decoder<R>) -> TiffResult<Option<Palette>> {
    if decoder.find_tag_unsigned::<u16>(Tag::PhotometricInterpretation)? != Some(PALETTE) {
        return Ok(None);
    }
    let bits = decoder.find_tag_unsigned_vec::<u8>(Tag::BitsPerSample)?.unwrap_or_default();
    let map = decoder.find_tag_unsigned_vec::<u16>(Tag::ColorMap)?.unwrap_or_default();
    let (Some(&bits @ (1 | 2 | 4 | 8)), Some(pointer)) = (bits.first(), decoder.ifd_pointer())
    else {
        return Ok(None);
    };
    let big_endian = decoder.byte_order() == tiff::tags::ByteOrder::BigEndian;
    // All reds, then all greens, then all blues.
    let third = map.len() / 3;
    let colours = (0..third)
        .map(|i| [map[i], map[third + i], map[2 * third + i]].map(raster::to_8_bits))
        .collect();
    let at = usize::try_from(pointer.0).unwrap_or(usize::MAX);
    Ok(find_photometric(decoder, at)?.map(|value_at| Palette {
        bits,
        colours,
        value_at,
        big_endian,
    }))
}

/// Walks the directory at `at`: entries of 12 bytes behind a 2-byte count, or 20 behind 8 in a BigTIFF.
fn find_photometric<R: Read + Seek>(
    decoder: &mut Decoder<R>,
    at: usize,
) -> TiffResult<Option<usize>> {
    decoder.goto_offset_u64(2)?;
    let big = decoder.read_short()? == 43;
    decoder.goto_offset_u64(at as u64)?;
    let count = if big { decoder.read_long8()? } else { u64::from(decoder.read_short()?) };
    let (head, entry, value) = if big { (8, 20, 12) } else { (2, 12, 8) };
    for i in 0..count.min(4096) as usize {
        let entry_at = at.saturating_add(head + i * entry);
        decoder.goto_offset_u64(entry_at as u64)?;
        if decoder.read_short()? == PHOTOMETRIC {
            return Ok(Some(entry_at + value));
        }
    }
    Ok(None)
}

impl Palette {
    /// The file, with this page declared grey.
    pub(crate) fn as_grey(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        let value =
            if self.big_endian { BLACK_IS_ZERO.to_be_bytes() } else { BLACK_IS_ZERO.to_le_bytes() };
        if let Some(place) =
            self.value_at.checked_add(2).and_then(|end| bytes.get_mut(self.value_at..end))
        {
            place.copy_from_slice(&value);
        }
        bytes
    }
}

/// Decoded samples at 8 bits each; sub-byte samples are unpacked but not scaled. `None` for signed and odd types.
pub(crate) fn to_8_bits(result: DecodingResult, colour: ColorType, width: u32) -> Option<Vec<u8>> {
    Some(match result {
        DecodingResult::U8(packed) if colour.bit_depth() < 8 => {
            unpack(&packed, colour.bit_depth(), width as usize * usize::from(colour.num_samples()))?
        }
        DecodingResult::U8(samples) => samples,
        DecodingResult::U16(samples) => samples.into_iter().map(raster::to_8_bits).collect(),
        DecodingResult::U32(samples) => samples.into_iter().map(|s| (s >> 24) as u8).collect(),
        DecodingResult::U64(samples) => samples.into_iter().map(|s| (s >> 56) as u8).collect(),
        DecodingResult::F32(samples) => samples.into_iter().map(unit_to_8_bits).collect(),
        DecodingResult::F64(samples) => {
            samples.into_iter().map(|s| unit_to_8_bits(s as f32)).collect()
        }
        _ => return None,
    })
}

/// Floating-point samples lie between 0 and 1 (TIFF Technical Note 3 leaves the range open; this is what encoders write).
fn unit_to_8_bits(sample: f32) -> u8 {
    (sample.clamp(0.0, 1.0) * 255.0).round() as u8
}

/// Rows of packed samples, each row beginning at a byte.
fn unpack(packed: &[u8], bits: u8, per_row: usize) -> Option<Vec<u8>> {
    if !matches!(bits, 1 | 2 | 4) || per_row == 0 {
        return None;
    }
    let bits = usize::from(bits);
    let mask = (1u8 << bits) - 1;
    let stride = (per_row * bits).div_ceil(8);
    let mut samples = Vec::with_capacity(packed.len() * 8 / bits);
    for row in packed.chunks_exact(stride) {
        samples.extend((0..per_row).map(|i| {
            let at = i * bits;
            (row[at / 8] >> (8 - bits - at % 8)) & mask
        }));
    }
    Some(samples)
}

/// Planes one after the other to pixels.
pub(crate) fn interleave(samples: &[u8], planes: usize) -> Vec<u8> {
    let length = samples.len() / planes;
    let mut out = vec![0; length * planes];
    for (plane, values) in samples.chunks_exact(length.max(1)).take(planes).enumerate() {
        for (pixel, value) in values.iter().enumerate() {
            out[pixel * planes + plane] = *value;
        }
    }
    out
}

/// Channels as [`raster::Raster`] counts them.
pub(crate) fn to_channels(
    samples: Vec<u8>,
    colour: ColorType,
    palette: Option<&Palette>,
) -> Option<(usize, Vec<u8>)> {
    if let Some(palette) = palette {
        // An index beyond the map is black, as elsewhere.
        let colour = |index: &u8| palette.colours.get(usize::from(*index)).copied();
        return Some((3, samples.iter().flat_map(|i| colour(i).unwrap_or_default()).collect()));
    }
    Some(match colour {
        ColorType::Gray(bits @ (1 | 2 | 4)) => {
            let step = 255 / ((1u8 << bits) - 1);
            (1, samples.into_iter().map(|sample| sample.wrapping_mul(step)).collect())
        }
        ColorType::Gray(_) => (1, samples),
        ColorType::GrayA(_) => (2, samples),
        ColorType::Multiband { num_samples: 2, bit_depth } if bit_depth >= 8 => (2, samples),
        ColorType::RGB(_) => (3, samples),
        ColorType::RGBA(_) => (4, samples),
        ColorType::CMYK(_) => (3, samples.as_chunks().0.iter().flat_map(cmyk).collect()),
        ColorType::YCbCr(_) => (3, samples.as_chunks().0.iter().flat_map(ycbcr).collect()),
        _ => return None,
    })
}

fn cmyk(&[c, m, y, k]: &[u8; 4]) -> [u8; 3] {
    let light = 255 - u32::from(k);
    [c, m, y].map(|ink| (((255 - u32::from(ink)) * light + 127) / 255) as u8)
}

/// ITU-R BT.601, full range, as in JFIF and as TIFF's default coefficients say.
fn ycbcr(&[y, cb, cr]: &[u8; 3]) -> [u8; 3] {
    let (y, cb, cr) = (f32::from(y), f32::from(cb) - 128.0, f32::from(cr) - 128.0);
    [y + 1.402 * cr, y - 0.344_136 * cb - 0.714_136 * cr, y + 1.772 * cb]
        .map(|value| value.round().clamp(0.0, 255.0) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_rows_begin_at_a_byte() {
        assert_eq!(unpack(&[0b1010_0000, 0b0110_0000], 1, 3), Some(vec![1, 0, 1, 0, 1, 1]));
        assert_eq!(unpack(&[0xab, 0xc0], 4, 3), Some(vec![0xa, 0xb, 0xc]));
        assert_eq!(unpack(&[0], 3, 3), None);
    }

    #[test]
    fn planes_become_pixels() {
        assert_eq!(interleave(&[1, 2, 3, 4, 5, 6], 3), [1, 3, 5, 2, 4, 6]);
    }

    #[test]
    fn inks_and_luma_become_rgb() {
        assert_eq!(cmyk(&[0, 0, 0, 255]), [0, 0, 0]);
        assert_eq!(cmyk(&[255, 0, 0, 0]), [0, 255, 255]);
        assert_eq!(ycbcr(&[255, 128, 128]), [255, 255, 255]);
        assert_eq!(ycbcr(&[76, 85, 255]), [254, 0, 0]);
    }
}
