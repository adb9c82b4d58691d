//! Files made to hurt: drawn here, and, where `OCELLI_SHARED_DATA` points to them, collected ones.

use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ocelli_media::{DecodeError, DecodeLimits, Encoding, Prepare, decode, inspect, prepare};

use crate::drawing::raw_tiff;

/// The header of a PNG of any size, with as many pixels behind it as nobody needs.
fn png_header(width: u32, height: u32, colour: u8) -> Vec<u8> {
    let mut chunk = b"IHDR".to_vec();
    chunk.extend(width.to_be_bytes());
    chunk.extend(height.to_be_bytes());
    chunk.extend([8, colour, 0, 0, 0]);
    let mut bytes = b"\x89PNG\r\n\x1a\n\0\0\0\x0d".to_vec();
    bytes.extend(&chunk);
    bytes.extend(crc32(&chunk).to_be_bytes());
    let data = b"IDAT\x78\x9c\x63\0\0\0\x01\0\x01";
    bytes.extend([0, 0, 0, 9]);
    bytes.extend(data);
    bytes.extend(crc32(data).to_be_bytes());
    bytes
}

fn crc32(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |crc, _| {
            if crc & 1 == 1 { (crc >> 1) ^ 0xedb8_8320 } else { crc >> 1 }
        })
    })
}

fn refused_at_once(bytes: &[u8]) -> DecodeError {
    let started = Instant::now();
    let error = decode(bytes, &DecodeLimits::default()).unwrap_err();
    assert!(started.elapsed() < Duration::from_millis(500), "{error}: {:?}", started.elapsed());
    error
}

#[test]
fn a_bomb_is_refused_by_its_header() {
    for (width, height, setting) in [
        (20_000, 20_000, "limits.image_pixels"),
        (65_000, 65_000, "limits.image_side"),
        (1, 60_000, "limits.image_side"),
        (0x7fff_ffff, 0x7fff_ffff, "limits.image_side"),
    ] {
        let error = refused_at_once(&png_header(width, height, 6));
        assert!(error.to_string().contains(setting), "{error}");
    }
    let gif = b"GIF89a\xff\xff\xff\xff\0\0\0,\0\0\0\0\xff\xff\xff\xff\0\x08\0;";
    assert!(refused_at_once(gif).to_string().contains("limits.image_side"));
    let pnm = b"P6 99999999 99999999 255\n";
    assert!(matches!(refused_at_once(pnm), DecodeError::TooLarge { .. }));
}

#[test]
fn an_image_without_pixels_is_broken() {
    for bytes in [png_header(0, 10, 2), b"P5 0 7 255\n".to_vec(), b"GIF89a\0\0\0\0\0\0\0;".to_vec()]
    {
        let error = refused_at_once(&bytes);
        assert!(matches!(error, DecodeError::Broken { .. }), "{error}");
    }
}

#[test]
fn a_strip_of_one_by_many_pixels_is_an_image_like_others() {
    let strip = format!("P2 1 19999 1\n{}", "1 ".repeat(19_999));
    let pages = decode(strip.as_bytes(), &DecodeLimits::default()).unwrap();
    assert_eq!(pages[0].pixels.dimensions(), (1, 19_999));
}

#[test]
fn a_small_tiff_cannot_ask_for_giant_tiles_rows_or_samples() {
    let page = |extra: &[(u16, u16, Vec<u32>)]| {
        let mut tags = vec![
            (256, 4, vec![4]),
            (257, 4, vec![4]),
            (258, 3, vec![8]),
            (259, 3, vec![1]),
            (262, 3, vec![1]),
        ];
        tags.retain(|(tag, ..)| !extra.iter().any(|(other, ..)| other == tag));
        tags.extend(extra.iter().cloned());
        raw_tiff(&tags, &[7; 16])
    };
    assert!(decode(&page(&[]), &DecodeLimits::default()).is_ok());
    // "All rows in one strip", as many encoders write it.
    assert!(decode(&page(&[(278, 4, vec![u32::MAX])]), &DecodeLimits::default()).is_ok());
    for extra in [
        vec![(277, 3, vec![60_000])],
        vec![(256, 4, vec![u32::MAX])],
        vec![(257, 4, vec![0])],
        vec![(278, 4, vec![0])],
        vec![
            (322, 4, vec![0xffff_fff0]),
            (323, 4, vec![0xffff_fff0]),
            (324, 4, vec![8]),
            (325, 4, vec![16]),
        ],
    ] {
        let error = refused_at_once(&page(&extra));
        assert!(!error.to_string().is_empty());
    }
}

#[test]
fn a_jpeg_within_a_tiff_cannot_be_larger_than_its_place() {
    let mut jpeg = Vec::new();
    let huge = image::GrayImage::new(8, 8);
    image::codecs::jpeg::JpegEncoder::new(&mut jpeg).encode_image(&huge).unwrap();
    let at = jpeg.windows(2).position(|pair| pair == [0xff, 0xc0]).unwrap();
    let tiff = |jpeg: &[u8]| {
        let tags = [
            (256, 4, vec![8]),
            (257, 4, vec![8]),
            (258, 3, vec![8]),
            (259, 3, vec![7]),
            (262, 3, vec![1]),
        ];
        raw_tiff(&tags, jpeg)
    };
    assert!(decode(&tiff(&jpeg), &DecodeLimits::default()).is_ok());
    jpeg[at + 5..at + 9].copy_from_slice(&[0x3f, 0xff, 0x3f, 0xff]);
    let error = refused_at_once(&tiff(&jpeg));
    assert!(error.to_string().contains("larger than its place"), "{error}");
}

#[test]
fn a_jpeg_of_very_many_scans_is_refused() {
    let mut jpeg = Vec::new();
    let image = image::GrayImage::new(16, 16);
    image::codecs::jpeg::JpegEncoder::new(&mut jpeg).encode_image(&image).unwrap();
    jpeg.extend([0xff, 0xda, 0, 8, 1, 1, 0, 0, 63, 0].repeat(200));
    let error = refused_at_once(&jpeg);
    assert!(error.to_string().contains("scans"), "{error}");
}

/// Files of a folder of the shared data.
fn shared(folder: &str) -> Vec<PathBuf> {
    let root = std::env::var_os("OCELLI_SHARED_DATA").expect("OCELLI_SHARED_DATA is a folder");
    let mut files: Vec<_> = std::fs::read_dir(Path::new(&root).join(folder))
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_none_or(|extension| extension != "txt"))
        .collect();
    files.sort();
    assert!(!files.is_empty());
    files
}

#[test]
#[ignore = "reads the images at OCELLI_SHARED_DATA: `make test` runs it where that is set"]
fn every_hostile_file_of_the_shared_data_ends_in_pixels_or_a_clear_error() {
    let how = Prepare { longest_side: 1024, encoding: Encoding::Jpeg { quality: 85 }, hash: true };
    for path in shared("hostile") {
        let bytes = std::fs::read(&path).unwrap();
        let started = Instant::now();
        let told = inspect(&bytes, &DecodeLimits::default());
        let header_took = started.elapsed();
        let pages = decode(&bytes, &DecodeLimits::default());
        let took = started.elapsed();
        let prepared = prepare(&bytes, &DecodeLimits::default(), &how);
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let said = match &pages {
            Ok(pages) => format!("{} pages, {:?}", pages.len(), pages[0].pixels.dimensions()),
            Err(error) => error.to_string(),
        };
        println!("{name}: {said} ({header_took:?}, {took:?})");
        assert_eq!(pages.is_ok(), prepared.is_ok(), "{name}");
        assert!(header_took < Duration::from_millis(500), "{name}: {header_took:?}");
        assert!(took < Duration::from_secs(10), "{name}: {took:?}");
        if let Ok(pages) = pages {
            let told = told.unwrap();
            assert_eq!(pages[0].pixels.dimensions(), (told.width, told.height), "{name}");
        }
        if name.starts_with("bomb_") {
            assert!(said.starts_with("too large"), "{name}: {said}");
        }
    }
}

#[test]
#[ignore = "reads the images at OCELLI_SHARED_DATA: `make test` runs it where that is set"]
fn every_page_of_text_of_the_shared_data_decodes() {
    for path in shared("ocr") {
        let bytes = std::fs::read(&path).unwrap();
        let pages = decode(&bytes, &DecodeLimits::default());
        let pages = pages.unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        assert!(!pages.is_empty(), "{}", path.display());
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let corner = pages[0].pixels.get_pixel(0, 0).0;
        match name.as_str() {
            "rapid_white_font_color_transparent.png" => assert_eq!(corner, [0; 3]),
            "rapid_black_font_color_transparent.png" => assert_eq!(corner, [255; 3]),
            _ => {}
        }
    }
}
