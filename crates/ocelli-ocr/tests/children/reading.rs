//! What is read: pages upright and turned, frames, pages of a TIFF, photographs that lie on a side.

use std::io::Cursor;

use bytes::Bytes;
use image::{Rgb, RgbImage};
use ocelli_core::FailureClass;
use ocelli_media::{ConvertLimits, Converter};
use ocelli_ocr::OcrOptions;
use ocelli_ocr::pool::ReadError;

use crate::{far, options, picture, png, pool};

#[tokio::test(flavor = "multi_thread")]
async fn a_drawn_page_is_read_with_boxes_and_the_step_that_read_them() {
    let pool = pool(options(1));
    let transcript = pool.read(png(&picture("HELLO THE FILE")), far()).await.expect("read");
    assert_eq!(transcript.text, "HELLO THE FILE");
    assert_eq!(transcript.words.len(), 3);
    let first = &transcript.words[0];
    assert!((first.x - 40).abs() <= 4 && (first.y - 40).abs() <= 4, "{first:?}");
    assert!((first.h - 42).abs() <= 6 && first.confidence > 60.0, "{first:?}");
    assert_eq!(transcript.steps[0].name, "page");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blank_image_has_no_words_and_costs_no_pass() {
    let pool = pool(options(1));
    let blank = png(&RgbImage::from_pixel(640, 480, Rgb([30; 3])));
    let transcript = pool.read(blank, far()).await.expect("read");
    assert!(transcript.words.is_empty() && !transcript.partial);
    assert_eq!(transcript.steps.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn turned_pages_are_read_and_say_how_they_were_turned() {
    let pool = pool(options(1));
    let mut page = RgbImage::from_pixel(1100, 560, Rgb([255; 3]));
    for row in 0..4 {
        image::imageops::overlay(&mut page, &picture("THE HOTEL TO TELL FILE"), 20, row * 120);
    }
    // By how much each was turned, and by how much it must be turned on to stand upright.
    for (turned, rotation) in [
        (image::imageops::rotate180(&page), 180),
        (image::imageops::rotate90(&page), 270),
        (image::imageops::rotate270(&page), 90),
    ] {
        let transcript = pool.read(png(&turned), far()).await.expect("read");
        assert!(transcript.text.contains("HOTEL"), "{rotation}: {}", transcript.text);
        // Tesseract itself reads lines that run upwards or downwards, now and then.
        let turned = [0, rotation].contains(&transcript.rotation);
        assert!(turned && (rotation != 180 || transcript.rotation == 180), "{transcript:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn frames_of_an_animation_are_read_like_pages_and_the_same_text_once() {
    let mut bytes = Vec::new();
    let mut encoder = image::codecs::gif::GifEncoder::new_with_speed(&mut bytes, 30);
    for text in ["HELLO", "HELLO", "FILE"] {
        let mut canvas = RgbImage::from_pixel(300, 130, Rgb([255; 3]));
        image::imageops::overlay(&mut canvas, &picture(text), 0, 0);
        let frame = image::DynamicImage::ImageRgb8(canvas).to_rgba8();
        encoder.encode_frame(image::Frame::new(frame)).expect("encoded");
    }
    drop(encoder);
    let bytes = Bytes::from(bytes);
    let first = pool(options(1)).read(bytes.clone(), far()).await.expect("read");
    assert_eq!(first.text, "HELLO");
    let all = pool(OcrOptions { frames: 3, ..options(1) }).read(bytes, far()).await.expect("read");
    assert_eq!(all.text, "HELLO\u{c}FILE", "{all:?}");
    assert_eq!(all.words.iter().map(|word| word.line).collect::<Vec<_>>(), [0, 1]);
    assert!(all.steps.iter().any(|step| step.reason.starts_with("frame 3: ")), "{:?}", all.steps);
}

/// A TIFF with a page of 16-bit grey for each text.
fn tiff(texts: &[&str]) -> Bytes {
    let mut bytes = b"II*\0\0\0\0\0".to_vec();
    // Where the place of the next directory is to be written.
    let mut link = 4;
    for text in texts {
        let picture = picture(text);
        let strip = bytes.len() as u32;
        bytes
            .extend(picture.pixels().flat_map(|pixel| (u16::from(pixel.0[0]) * 257).to_le_bytes()));
        let (length, directory) = (bytes.len() as u32 - strip, bytes.len() as u32);
        bytes[link..link + 4].copy_from_slice(&directory.to_le_bytes());
        let tags = [
            (256, picture.width()),
            (257, picture.height()),
            (258, 16),
            (259, 1),
            (262, 1),
            (273, strip),
            (277, 1),
            (278, picture.height()),
            (279, length),
        ];
        bytes.extend((tags.len() as u16).to_le_bytes());
        for (tag, value) in tags {
            bytes.extend([(tag as u16).to_le_bytes(), 4_u16.to_le_bytes()].concat());
            bytes.extend([1_u32.to_le_bytes(), value.to_le_bytes()].concat());
        }
        link = bytes.len();
        bytes.extend([0; 4]);
    }
    bytes.into()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_pages_of_a_tiff_are_read_with_a_page_break_between_them() {
    let transcript =
        pool(options(1)).read(tiff(&["HELLO", "THE FILE"]), far()).await.expect("read");
    assert_eq!(transcript.text, "HELLO\u{c}THE FILE", "{transcript:?}");
    assert_eq!(transcript.words.iter().map(|word| word.line).collect::<Vec<_>>(), [0, 1, 1]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_photograph_is_read_as_its_exif_orientation_says() {
    // Stored lying on its left side; orientation 6 (turn clockwise by 90 degrees to show) brings it upright.
    let lying = image::imageops::rotate270(&picture("HELLO THE FILE"));
    let mut encoded = Cursor::new(Vec::new());
    lying.write_to(&mut encoded, image::ImageFormat::Jpeg).expect("encoded");
    let mut bytes = encoded.into_inner();
    let exif = b"\xff\xe1\x00\x22Exif\0\0MM\0\x2a\0\0\0\x08\0\x01\x01\x12\0\x03\0\0\0\x01\0\x06\0\0\0\0\0\0";
    bytes.splice(2..2, exif.iter().copied());
    let pool = pool(options(1));
    let transcript = pool.read(bytes.into(), far()).await.expect("read");
    assert_eq!(transcript.text, "HELLO THE FILE", "{transcript:?}");
    assert_eq!(transcript.rotation, 0, "nothing was left to turn");
    assert!((transcript.words[0].x - 40).abs() <= 4, "boxes lie in the upright picture");
}

/// The picture as `heif-enc` writes it, by the ending of the name.
fn heif(image: &RgbImage, ending: &str) -> Bytes {
    let folder = tempfile::tempdir().expect("a folder");
    let (drawing, file) = (folder.path().join("in.png"), folder.path().join("out"));
    std::fs::write(&drawing, png(image)).expect("written");
    let mut command = std::process::Command::new("heif-enc");
    if ending == "avif" {
        command.arg("-A");
    }
    let output = command.args(["-q", "90", "-o"]).arg(&file).arg(&drawing).output();
    let output = output.expect("heif-enc is installed (Debian: libheif-examples)");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    std::fs::read(file).expect("made").into()
}

#[tokio::test(flavor = "multi_thread")]
async fn avif_and_heic_are_read_and_without_their_program_say_what_is_missing() {
    let with = pool(options(1));
    let none = Converter::with(Vec::new(), ConvertLimits::default());
    let without = pool(OcrOptions { converter: none, ..options(1) });
    for ending in ["avif", "heic"] {
        let image = heif(&picture("HELLO THE FILE"), ending);
        let transcript = with.read(image.clone(), far()).await.expect("read");
        assert_eq!(transcript.text, "HELLO THE FILE", "{ending}");
        let first = &transcript.words[0];
        assert!((first.x - 40).abs() <= 4 && (first.y - 40).abs() <= 4, "{ending}: {first:?}");
        let Err(ReadError::Refused(refusal)) = without.read(image, far()).await else {
            panic!("{ending} was read without the program")
        };
        assert_eq!(refusal.class, FailureClass::Permanent);
        assert!(refusal.reason.contains("libheif-examples"), "{}", refusal.reason);
    }
}
