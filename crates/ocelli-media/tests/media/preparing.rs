//! What is sent to a model server.

use image::{DynamicImage, ImageFormat};
use ocelli_media::{DecodeLimits, Encoding, Prepare, prepare};

use crate::drawing::{encode, one_of_each, picture, tiff_of};

const JPEG: Encoding = Encoding::Jpeg { quality: 85 };

fn run(bytes: &[u8], longest_side: u32, encoding: Encoding) -> ocelli_media::Prepared {
    prepare(bytes, &DecodeLimits::default(), &Prepare { longest_side, encoding, hash: true })
        .unwrap()
}

#[test]
fn every_format_becomes_jpeg_or_png_and_the_same_input_the_same_bytes() {
    for (name, bytes) in one_of_each() {
        for (encoding, mime, format) in [
            (JPEG, "image/jpeg", ImageFormat::Jpeg),
            (Encoding::Png, "image/png", ImageFormat::Png),
        ] {
            let prepared = run(&bytes, 1024, encoding);
            assert_eq!(prepared.mime, mime, "{name}");
            let again = image::load_from_memory_with_format(&prepared.bytes, format).unwrap();
            assert_eq!(
                (again.width(), again.height()),
                (prepared.width, prepared.height),
                "{name}"
            );
            assert_eq!(run(&bytes, 1024, encoding), prepared, "{name}");
        }
    }
}

#[test]
fn large_images_are_bounded_and_small_ones_never_grow() {
    let size = |width, height, longest_side| {
        let bytes = encode(&DynamicImage::ImageRgb8(picture(width, height)), ImageFormat::Png);
        let prepared = run(&bytes, longest_side, JPEG);
        (prepared.width, prepared.height)
    };
    assert_eq!(size(300, 200, 1024), (300, 200));
    assert_eq!(size(300, 200, 150), (150, 100));
    assert_eq!(size(200, 301, 100), (66, 100));
    assert_eq!(size(2000, 1000, 100), (100, 50));
    assert_eq!(size(4000, 1, 100), (100, 1));
    assert_eq!(size(1, 4000, 100), (1, 100));
    assert_eq!(size(30, 20, 0), (1, 1));
}

#[test]
fn scaling_down_far_keeps_the_average_brightness() {
    // Stripes of one pixel: a filter that only picks pixels would give black or white.
    let stripes = image::GrayImage::from_fn(1600, 1600, |x, _| image::Luma([(x % 2) as u8 * 255]));
    let bytes = encode(&DynamicImage::ImageLuma8(stripes), ImageFormat::Png);
    let prepared = run(&bytes, 100, Encoding::Png);
    let small = image::load_from_memory(&prepared.bytes).unwrap().to_luma8();
    assert!(small.pixels().all(|pixel| (110..=145).contains(&pixel.0[0])));
}

#[test]
fn a_tiff_tells_how_many_pages_were_left_out() {
    let prepared = run(&tiff_of(&[(8, 8), (9, 9), (10, 10)]), 64, Encoding::Png);
    assert_eq!((prepared.width, prepared.height, prepared.pages), (8, 8, 3));
}
