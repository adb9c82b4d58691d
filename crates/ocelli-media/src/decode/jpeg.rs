//! The header of a JPEG, read before its decoder allocates for it (ITU-T T.81).

/// What the frame header says, as far as it decides about memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Frame {
    pub(crate) width: u32,
    pub(crate) height: u32,
    /// Coefficients of all components per 64 pixels of the full size, in blocks; 3 for colour without subsampling.
    pub(crate) blocks_per_64_pixels: u64,
    components: u64,
    progressive: bool,
    /// Components of the first scan are fewer than those of the frame.
    several_scans: bool,
    /// Where the first scan's header ends: all that is needed to know what comes.
    pub(crate) header_end: usize,
}

/// More scans than any encoder writes (about 12), few enough that each of them visiting every block takes seconds and
/// not hours. The same bound as the decoder's own for progressive images.
pub(crate) const MAX_SCANS: usize = 100;

impl Frame {
    /// Bytes that the decoder holds beside its output: all coefficients (16 bits) when it cannot go row by row.
    pub(crate) fn working_memory(&self) -> u64 {
        if self.progressive || self.several_scans {
            let blocks = u64::from(self.width).div_ceil(8) * u64::from(self.height).div_ceil(8);
            blocks * 128 * self.blocks_per_64_pixels
        } else {
            // A row of blocks per component, also once upsampled.
            u64::from(self.width) * 16 * 2 * 8
        }
    }
}

/// Walks the segments up to the first scan. The largest frame header counts, should a hostile file have several.
pub(crate) fn frame(bytes: &[u8]) -> Option<Frame> {
    let mut found: Option<Frame> = None;
    let mut at = 0;
    while at + 1 < bytes.len() {
        let (prefix, marker) = (bytes[at], bytes[at + 1]);
        if prefix != 0xff || matches!(marker, 0x00 | 0xff) {
            at += 1;
            continue;
        }
        // Markers without a segment: TEM, RST, SOI, EOI.
        if matches!(marker, 0x01 | 0xd0..=0xd9) {
            at += 2;
            continue;
        }
        let length = usize::from(u16::from_be_bytes([*bytes.get(at + 2)?, *bytes.get(at + 3)?]));
        let end = (at + 2 + length.max(2)).min(bytes.len());
        let segment = &bytes[(at + 4).min(end)..end];
        match marker {
            0xc0..=0xc3 | 0xc5..=0xc7 | 0xc9..=0xcb | 0xcd..=0xcf => {
                if let Some(new) = frame_header(segment, marker)
                    && found.is_none_or(|old| old.working_memory() <= new.working_memory())
                {
                    found = Some(new);
                }
            }
            0xda => {
                if let Some(frame) = found.as_mut() {
                    frame.header_end = end;
                    frame.several_scans = u64::from(*segment.first()?) < frame.components;
                }
                return found;
            }
            _ => {}
        }
        at = end;
    }
    found
}

/// Number of scans; stops counting beyond [`MAX_SCANS`]. Start-of-scan cannot occur within entropy-coded data.
pub(crate) fn scans(bytes: &[u8]) -> usize {
    bytes.windows(2).filter(|pair| *pair == [0xff, 0xda]).take(MAX_SCANS + 1).count()
}

fn frame_header(segment: &[u8], marker: u8) -> Option<Frame> {
    let [_precision, h1, h2, w1, w2, count, table @ ..] = segment else { return None };
    let height = u32::from(u16::from_be_bytes([*h1, *h2]));
    let width = u32::from(u16::from_be_bytes([*w1, *w2]));
    let count = usize::from(*count);
    let factors: Vec<(u64, u64)> = table
        .as_chunks::<3>()
        .0
        .iter()
        .take(count)
        .map(|[_, sampling, _]| (u64::from(sampling >> 4).max(1), u64::from(sampling & 15).max(1)))
        .collect();
    let widest = factors.iter().map(|f| f.0).max()?;
    let tallest = factors.iter().map(|f| f.1).max()?;
    let blocks: u64 = factors.iter().map(|(h, v)| h * v).sum();
    Some(Frame {
        width,
        height,
        blocks_per_64_pixels: blocks.div_ceil(widest * tallest),
        components: factors.len() as u64,
        progressive: matches!(marker, 0xc2 | 0xc6 | 0xca | 0xce),
        several_scans: false,
        header_end: usize::MAX,
    })
}

#[cfg(test)]
mod tests {
    use image::codecs::jpeg::JpegEncoder;

    use super::*;

    #[test]
    fn the_size_is_read_without_decoding_and_thumbnails_do_not_count() {
        let mut bytes = Vec::new();
        let image = image::RgbImage::new(37, 21);
        JpegEncoder::new(&mut bytes).encode_image(&image).unwrap();
        // An application segment that contains another frame header.
        let mut hidden = vec![0xff, 0xe1, 0, 21];
        hidden.extend([
            0xff, 0xc0, 0, 17, 8, 0xff, 0xff, 0xff, 0xff, 3, 1, 17, 0, 2, 17, 0, 3, 17, 0,
        ]);
        bytes.splice(2..2, hidden);
        let frame = frame(&bytes).unwrap();
        assert_eq!((frame.width, frame.height, frame.progressive), (37, 21, false));
        assert_eq!(scans(&bytes), 1);
    }

    #[test]
    fn a_progressive_image_needs_memory_for_all_coefficients() {
        let header = [8, 0x10, 0, 0x10, 0, 3, 1, 0x22, 0, 2, 0x11, 0, 3, 0x11, 0];
        let progressive = frame_header(&header, 0xc2).unwrap();
        assert_eq!(progressive.blocks_per_64_pixels, 2);
        assert_eq!(progressive.working_memory(), 512 * 512 * 128 * 2);
        assert!(frame_header(&header, 0xc0).unwrap().working_memory() < 2_000_000);
    }

    #[test]
    fn any_bytes_are_walked_to_the_end() {
        assert_eq!(frame(&[]), None);
        assert_eq!(frame(&[0xff]), None);
        assert_eq!(frame(&[0xff, 0xd8, 0xff, 0xc0, 0, 0]), None);
        assert_eq!(frame(&[0xff; 64]), None);
    }
}
