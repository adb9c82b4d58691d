//! Frames of animations: which are decoded, and what damage does.

use image::codecs::gif::{GifEncoder, Repeat};
use image::{Frame, ImageFormat, Rgb, RgbImage, Rgba, RgbaImage};
use ocelli_media::{DecodeLimits, Place, decode, decode_frames};

use crate::drawing::{crc32, encode};

/// A GIF with a frame of each shade.
pub(crate) fn gif(shades: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut encoder = GifEncoder::new(&mut bytes);
    encoder.set_repeat(Repeat::Infinite).unwrap();
    for shade in shades {
        let frame = RgbaImage::from_pixel(6, 6, Rgba([*shade, *shade, *shade, 255]));
        encoder.encode_frame(Frame::new(frame)).unwrap();
    }
    drop(encoder);
    bytes
}

/// An APNG of 4 x 4 pixels: still images of one colour, put into frames (APNG 1.0).
pub(crate) fn apng(shades: &[u8]) -> Vec<u8> {
    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let named = [name.as_slice(), content].concat();
        let length = (content.len() as u32).to_be_bytes();
        [length.as_slice(), &named, &crc32(&named).to_be_bytes()].concat()
    }
    let mut bytes = Vec::new();
    let mut number = 0_u32;
    for (index, shade) in shades.iter().enumerate() {
        let still = encode(&RgbImage::from_pixel(4, 4, Rgb([*shade; 3])).into(), ImageFormat::Png);
        // Signature and header are 33 bytes; then the pixels' chunk, as its length says.
        let length = u32::from_be_bytes(still[33..37].try_into().unwrap()) as usize;
        assert_eq!(&still[37..41], b"IDAT");
        let pixels = &still[41..41 + length];
        if index == 0 {
            bytes.extend(&still[..33]);
            let frames = shades.len() as u32;
            bytes.extend(chunk(b"acTL", &[frames.to_be_bytes(), [0; 4]].concat()));
        }
        // Number, 4 x 4 at 0,0; 1/10 s; no blending.
        let place = [number, 4, 4, 0, 0].map(u32::to_be_bytes).concat();
        bytes.extend(chunk(b"fcTL", &[place.as_slice(), &[0, 1, 0, 10, 0, 0]].concat()));
        number += 1;
        if index == 0 {
            bytes.extend(chunk(b"IDAT", pixels));
        } else {
            bytes.extend(chunk(b"fdAT", &[&number.to_be_bytes(), pixels].concat()));
            number += 1;
        }
    }
    bytes.extend(chunk(b"IEND", &[]));
    bytes
}

/// A WebP animation of 4 x 4 pixels: still images of one colour, put into frames (RFC 9649, 2.7.1.1).
pub(crate) fn webp(shades: &[u8]) -> Vec<u8> {
    fn chunk(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
        let mut bytes = [name.as_slice(), &(content.len() as u32).to_le_bytes(), content].concat();
        bytes.resize(bytes.len().next_multiple_of(2), 0);
        bytes
    }
    // Flags: animation; canvas of 4 x 4.
    let mut body = [b"WEBP".as_slice(), &chunk(b"VP8X", &[2, 0, 0, 0, 3, 0, 0, 3, 0, 0])].concat();
    body.extend(chunk(b"ANIM", &[0; 6]));
    for shade in shades {
        let still = encode(&RgbImage::from_pixel(4, 4, Rgb([*shade; 3])).into(), ImageFormat::WebP);
        // Place 0,0; size 4 x 4; 100 ms; no blending.
        let head = [0, 0, 0, 0, 0, 0, 3, 0, 0, 3, 0, 0, 100, 0, 0, 2];
        body.extend(chunk(b"ANMF", &[head.as_slice(), &still[12..]].concat()));
    }
    chunk(b"RIFF", &body)
}

fn shades(bytes: &[u8], frames: u32) -> Vec<u8> {
    let pages = decode_frames(bytes, &DecodeLimits::default(), frames).unwrap();
    pages.iter().map(|page| page.pixels.get_pixel(1, 1).0[0]).collect()
}

#[test]
fn frames_are_spread_from_the_first_to_the_last() {
    let all = [10, 40, 80, 120, 160];
    for (name, bytes) in [("gif", gif(&all)), ("png", apng(&all)), ("webp", webp(&all))] {
        assert_eq!(shades(&bytes, 1), [10], "{name}");
        assert_eq!(shades(&bytes, 2), [10, 160], "{name}");
        assert_eq!(shades(&bytes, 3), [10, 80, 160], "{name}");
        assert_eq!(shades(&bytes, 50), all, "{name}");
        let pages = decode_frames(&bytes, &DecodeLimits::default(), 3).unwrap();
        let places: Vec<_> = pages.iter().map(|page| page.place).collect();
        assert_eq!(places, [Place::Frame(0), Place::Frame(2), Place::Frame(4)], "{name}");
    }
}

#[test]
fn a_still_image_is_one_page_however_many_frames_are_wanted() {
    for bytes in [gif(&[9]), apng(&[9]), webp(&[9])] {
        let pages = decode_frames(&bytes, &DecodeLimits::default(), 5).unwrap();
        assert_eq!(pages, decode(&bytes, &DecodeLimits::default()).unwrap());
        assert_eq!(pages[0].place, Place::Page(0));
    }
}

#[test]
fn an_animation_that_breaks_off_gives_the_frames_before() {
    let all = [10, 40, 80, 120, 160];
    // Of a WebP the length in its header must be there.
    for (name, bytes) in [("gif", gif(&all)), ("png", apng(&all))] {
        let cut = &bytes[..bytes.len() * 2 / 3];
        let read = shades(cut, 50);
        assert!((1..5).contains(&read.len()) && all.starts_with(&read), "{name}: {read:?}");
    }
}

#[test]
fn frames_together_keep_to_the_limits() {
    let bytes = gif(&[10, 40, 80, 120]);
    // Five times the pixels of one frame: three of four frames fit into 100 of 144 pixels, decoded from 36 each.
    let few = DecodeLimits { pixels: 36, pages: 2, ..DecodeLimits::default() };
    assert_eq!(decode_frames(&bytes, &few, 50).unwrap().len(), 2);
    let little = DecodeLimits { memory: 600, ..DecodeLimits::default() };
    assert!(decode(&bytes, &little).is_ok());
    let error = decode_frames(&bytes, &little, 4).unwrap_err();
    assert!(error.to_string().contains("limits.decode_memory"), "{error}");
}
