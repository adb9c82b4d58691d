//! Files that are no images, broken ones, and such as were made to hurt.

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use image::{Rgb, RgbImage};
use ocelli_core::FailureClass;
use ocelli_ocr::OcrOptions;
use ocelli_ocr::pool::ReadError;
use tokio::time::Instant;

use crate::{far, noise, options, picture, png, pool, reads, resident};

#[tokio::test(flavor = "multi_thread")]
async fn what_is_no_image_is_refused_for_good() {
    let pool = pool(options(1));
    for bytes in [&b"<html><body>404</body></html>"[..], b"", b"\x89PNG\r\n\x1a\n", &[0; 4096]] {
        match pool.read(Bytes::from_static(bytes), far()).await {
            Err(ReadError::Refused(refusal)) => assert_eq!(refusal.class, FailureClass::Permanent),
            other => panic!("{other:?}"),
        }
    }
    reads(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extreme_shapes_end_in_an_answer() {
    let pool = pool(options(1));
    for (width, height) in [(1, 1), (1, 15_000), (15_000, 1), (3, 3), (15_000, 40)] {
        let image =
            RgbImage::from_fn(width, height, |x, y| Rgb([((x * 7 + y * 13) % 256) as u8; 3]));
        let result = pool.read(png(&image), far()).await;
        assert!(result.is_ok(), "{width} x {height}: {result:?}");
    }
    reads(&pool).await;
}

/// A PNG header that claims a size, and nothing behind it.
fn png_that_claims(width: u32, height: u32) -> Bytes {
    let mut bytes = png(&RgbImage::new(1, 1)).to_vec();
    bytes[16..20].copy_from_slice(&width.to_be_bytes());
    bytes[20..24].copy_from_slice(&height.to_be_bytes());
    bytes.into()
}

/// A PNM whose pixels are as many as its header says.
fn pgm(width: usize, height: usize) -> Bytes {
    let mut bytes = format!("P5 {width} {height} 255\n").into_bytes();
    bytes.extend((0..width * height).map(|at| (at * 31 % 251) as u8));
    bytes.into()
}

/// Reads each file; none may cost a child or exceed the hard deadline.
async fn all_end(files: Vec<(String, Bytes)>) {
    let options = OcrOptions { hard_deadline: Duration::from_secs(40), ..options(2) };
    let hard = options.hard_deadline;
    let pool = pool(options);
    for (name, bytes) in files {
        let started = Instant::now();
        let result = pool.read(bytes, far()).await;
        assert!(started.elapsed() < hard + Duration::from_secs(2), "{name}");
        match result {
            Ok(_) => {}
            Err(ReadError::Refused(refusal)) => assert!(!refusal.reason.is_empty(), "{name}"),
            Err(error) => panic!("{name}: {error}"),
        }
    }
    reads(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn hostile_images_end_within_the_hard_deadline_and_the_pool_lives() {
    let files = [
        ("no pixels", png_that_claims(0, 0)),
        ("no width", pgm(0, 5)),
        ("a side of 60,000", png_that_claims(60_000, 60_000)),
        ("a real side of 60,000", pgm(60_000, 2)),
        ("a strip", pgm(1, 40_000)),
        ("a strip within the limits", pgm(1, 20_000)),
        ("4 gigapixels", png_that_claims(65_535, 65_535)),
        ("a web page", Bytes::from_static(b"<!DOCTYPE html><html><p>HELLO</p>")),
        ("a promise", Bytes::from_static(b"P6 20000 5000 255\n")),
        ("noise", noise(700)),
    ];
    all_end(files.map(|(name, bytes)| (name.to_owned(), bytes)).into()).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "reads the images at OCELLI_SHARED_DATA: `make test` runs it where that is set"]
async fn hostile_images_of_the_shared_data_end_within_the_hard_deadline() {
    let shared = std::env::var_os("OCELLI_SHARED_DATA").expect("OCELLI_SHARED_DATA is a folder");
    let listed = std::fs::read_dir(PathBuf::from(shared).join("hostile")).expect("listed");
    let files = listed.map(|entry| {
        let path = entry.expect("entry").path();
        (path.display().to_string(), std::fs::read(&path).expect("read").into())
    });
    all_end(files.collect()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn images_that_cannot_be_read_say_what_is_wrong_and_what_to_do() {
    let pool = pool(options(1));
    for (bytes, words) in [
        (png_that_claims(0, 0), ["PNG", "download it again"]),
        (png_that_claims(60_000, 10), ["60000", "limits.image_side"]),
        (pgm(1, 40_000), ["40000", "limits.image_side"]),
        (Bytes::new(), ["empty", "download it again"]),
        (Bytes::from_static(b"<!DOCTYPE html><html>"), ["web page", "name the image itself"]),
        (Bytes::from_static(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif"), ["AVIF", "download it again"]),
        (Bytes::from_static(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), ["HEIC", "download it again"]),
    ] {
        let Err(ReadError::Refused(refusal)) = pool.read(bytes, far()).await else {
            panic!("{words:?}")
        };
        let said = words.iter().all(|word| refusal.reason.contains(word));
        assert!(said, "{words:?}: {}", refusal.reason);
    }
}

/// A few bytes changed or the end cut off, another way for each seed.
fn mutated(bytes: &[u8], seed: u64) -> Bytes {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut below = |end: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state % end as u64) as usize
    };
    let mut bytes = bytes.to_vec();
    for _ in 0..=below(8) {
        let at = below(bytes.len());
        bytes[at] = below(256) as u8;
    }
    if below(4) == 0 {
        bytes.truncate(below(bytes.len()));
    }
    bytes.into()
}

/// Damages an image of every format `count` times and reads each through real children. Returns the largest resident memory
/// of a child, in kB.
async fn damaged_images_end_in_an_answer(count: u64, options: OcrOptions) -> u64 {
    use image::ImageFormat::{Bmp, Gif, Jpeg, Png, Pnm, Tiff, WebP};
    let (children, worn, hard) =
        (options.children, u64::from(options.images_per_child), options.hard_deadline);
    let pool = std::sync::Arc::new(pool(options));
    pool.warm_up().await.expect("started");
    let beginning = pool.idle_pids();
    let picture = picture("FILE");
    let mut readers = Vec::new();
    for format in [Png, Jpeg, Gif, Bmp, Tiff, WebP, Pnm] {
        let mut encoded = Cursor::new(Vec::new());
        picture.write_to(&mut encoded, format).expect("encoded");
        let (pool, encoded) = (pool.clone(), encoded.into_inner());
        readers.push(tokio::spawn(async move {
            let mut most = 0;
            for seed in 0..count {
                // All readers wait for the same children: seven images at most are before this one.
                let deadline = Instant::now() + hard * 8;
                let result = pool.read(mutated(&encoded, seed), deadline).await;
                let fine = matches!(result, Ok(_) | Err(ReadError::Refused(_)));
                assert!(fine, "{format:?}, seed {seed}: {result:?}");
                most = pool.idle_pids().into_iter().map(resident).fold(most, u64::max);
            }
            most
        }));
    }
    let mut most = 0;
    for reader in readers {
        most = most.max(reader.await.expect("every mutation ended in an answer"));
    }
    if count * 7 < children as u64 * worn {
        let mut alive = pool.idle_pids();
        alive.retain(|pid| beginning.contains(pid));
        assert_eq!(alive.len(), children, "the children of the beginning are those of the end");
    }
    reads(&pool).await;
    most
}

#[tokio::test(flavor = "multi_thread")]
async fn damaged_images_through_real_children_end_in_an_answer_and_never_kill_one() {
    damaged_images_end_in_an_answer(60, options(2)).await;
}

/// As many for the decoders alone are in the tests of `ocelli-media`.
#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: cargo test -p ocelli-ocr --test children twenty_thousand -- --ignored"]
async fn twenty_thousand_damaged_images_through_real_children_end_within_the_hard_deadline() {
    let started = Instant::now();
    let options = OcrOptions {
        soft_deadline: Duration::from_secs(1),
        hard_deadline: Duration::from_secs(10),
        // The children of the beginning are those of the end, so that what they gather is seen.
        images_per_child: u32::MAX,
        ..options(2)
    };
    let most = damaged_images_end_in_an_answer(2_858, options).await;
    println!("20,006 images in {:.0?}, a child took {} MB at most", started.elapsed(), most / 1000);
    assert!(most < 200_000, "a child of {most} kB");
}
