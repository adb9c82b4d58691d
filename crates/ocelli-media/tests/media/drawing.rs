//! Small images in every format that can be written, drawn on the spot.

use std::io::Cursor;

use image::{DynamicImage, ImageFormat, Rgb, RgbImage};

/// A gradient with a dark corner: upright, turned and mirrored versions differ.
pub(crate) fn picture(width: u32, height: u32) -> RgbImage {
    RgbImage::from_fn(width, height, |x, y| {
        if x < width / 3 && y < height / 3 {
            Rgb([0, 0, 0])
        } else {
            Rgb([(x * 255 / width) as u8, (y * 255 / height) as u8, 200])
        }
    })
}

pub(crate) fn encode(image: &DynamicImage, format: ImageFormat) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, format).unwrap();
    bytes.into_inner()
}

/// Name and bytes of one image in each format and of a few kinds.
pub(crate) fn one_of_each() -> Vec<(&'static str, Vec<u8>)> {
    let rgb = DynamicImage::ImageRgb8(picture(40, 24));
    let rgba = DynamicImage::ImageRgba8(rgb.to_rgba8());
    let grey = DynamicImage::ImageLuma8(rgb.to_luma8());
    let deep = DynamicImage::ImageRgb16(rgb.to_rgb16());
    vec![
        ("png rgb", encode(&rgb, ImageFormat::Png)),
        ("png rgba", encode(&rgba, ImageFormat::Png)),
        ("png 16 bit", encode(&deep, ImageFormat::Png)),
        ("jpeg", encode(&rgb, ImageFormat::Jpeg)),
        ("jpeg grey", encode(&grey, ImageFormat::Jpeg)),
        ("jpeg cmyk", four_colour_jpeg([255, 0, 0, 255], 0)),
        ("webp", encode(&rgba, ImageFormat::WebP)),
        ("gif", encode(&rgba, ImageFormat::Gif)),
        ("bmp", encode(&rgb, ImageFormat::Bmp)),
        ("bmp grey", encode(&grey, ImageFormat::Bmp)),
        ("pnm", encode(&rgb, ImageFormat::Pnm)),
        ("pnm text", b"P2\n# grey\n3 2\n15\n0 7 15\n15 7 0\n".to_vec()),
        ("tiff rgb", encode(&rgb, ImageFormat::Tiff)),
        ("tiff grey", encode(&grey, ImageFormat::Tiff)),
        ("tiff 16 bit", encode(&deep, ImageFormat::Tiff)),
        ("tiff pages", tiff_of(&[(8, 8), (16, 4)])),
    ]
}

/// A TIFF with one grey page of each size.
pub(crate) fn tiff_of(sizes: &[(u32, u32)]) -> Vec<u8> {
    let mut bytes = Cursor::new(Vec::new());
    let mut encoder = tiff::encoder::TiffEncoder::new(&mut bytes).unwrap();
    for (page, &(width, height)) in sizes.iter().enumerate() {
        let pixels = vec![page as u8 * 10; (width * height) as usize];
        encoder.write_image::<tiff::encoder::colortype::Gray8>(width, height, &pixels).unwrap();
    }
    bytes.into_inner()
}

/// A little-endian TIFF of one uncompressed strip, or of the tiles that the tags place, from raw tag values that fit into an entry, and longer ones.
pub(crate) fn raw_tiff(tags: &[(u16, u16, Vec<u32>)], strip: &[u8]) -> Vec<u8> {
    let mut tags = tags.to_vec();
    // Tiles have tags of their own.
    if tags.iter().all(|(tag, ..)| *tag != 324) {
        tags.push((273, 4, vec![8]));
        tags.push((279, 4, vec![strip.len() as u32]));
    }
    tags.sort();
    let directory = 8 + strip.len() + strip.len() % 2;
    let mut spill_at = directory + 2 + tags.len() * 12 + 4;
    let mut bytes = [b"II*\0".as_slice(), &(directory as u32).to_le_bytes(), strip].concat();
    bytes.resize(directory, 0);
    bytes.extend((tags.len() as u16).to_le_bytes());
    let mut spilled = Vec::new();
    for (tag, kind, values) in tags {
        bytes.extend(tag.to_le_bytes());
        bytes.extend(kind.to_le_bytes());
        bytes.extend((values.len() as u32).to_le_bytes());
        let mut content: Vec<u8> = values
            .iter()
            .flat_map(|value| {
                let size = if kind == 3 { 2 } else { 4 };
                value.to_le_bytes()[..size].to_vec()
            })
            .collect();
        if content.len() > 4 {
            bytes.extend((spill_at as u32).to_le_bytes());
            spill_at += content.len();
            spilled.extend(content);
        } else {
            content.resize(4, 0);
            bytes.extend(content);
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(spilled);
    bytes
}

/// A baseline JPEG of 8x8 pixels of one colour, given as the four stored components, with Adobe's marker
/// (transform 0 = CMYK, 2 = YCCK).
pub(crate) fn four_colour_jpeg(components: [u8; 4], transform: u8) -> Vec<u8> {
    let mut bytes = vec![0xff, 0xd8, 0xff, 0xee, 0, 14];
    bytes.extend(b"Adobe\0\x64\0\0\0\0");
    bytes.push(transform);
    bytes.extend([0xff, 0xdb, 0, 67, 0]);
    bytes.extend([1; 64]);
    bytes.extend([0xff, 0xc0, 0, 20, 8, 0, 8, 0, 8, 4]);
    bytes.extend([1, 0x11, 0, 2, 0x11, 0, 3, 0x11, 0, 4, 0x11, 0]);
    // DC: the twelve categories as codes of four bits. AC: end of block as the only code, of one bit.
    bytes.extend([0xff, 0xc4, 0, 31, 0x00, 0, 0, 0, 12, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend(0..12);
    bytes.extend([0xff, 0xc4, 0, 20, 0x10, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]);
    bytes.extend([0xff, 0xda, 0, 14, 4, 1, 0, 2, 0, 3, 0, 4, 0, 0, 63, 0]);
    let mut bits = String::new();
    for component in components {
        let value = (i32::from(component) - 128) * 8;
        let category = (32 - value.unsigned_abs().leading_zeros()) as usize;
        bits.push_str(&format!("{category:04b}"));
        if category > 0 {
            let code = if value < 0 { value + (1 << category) - 1 } else { value };
            bits.push_str(&format!("{code:0category$b}"));
        }
        bits.push('0');
    }
    while !bits.len().is_multiple_of(8) {
        bits.push('1');
    }
    for byte in bits.as_bytes().chunks(8) {
        let byte = u8::from_str_radix(str::from_utf8(byte).unwrap(), 2).unwrap();
        bytes.push(byte);
        if byte == 0xff {
            bytes.push(0);
        }
    }
    bytes.extend([0xff, 0xd9]);
    bytes
}

/// The checksum of a PNG chunk.
pub(crate) fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}
