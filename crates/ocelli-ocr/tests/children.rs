//! Real children with the real engine: what they read, what they cannot do, and what their deaths cost.

use std::io::Cursor;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bytes::Bytes;
use image::{Rgb, RgbImage};
use ocelli_core::FailureClass;
use ocelli_ocr::pool::{ReadError, StartError};
use ocelli_ocr::sandbox::Layer;
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, data};
use rustix::process::{Pid, Signal};
use tokio::time::Instant;

fn options(children: usize) -> OcrOptions {
    OcrOptions {
        children,
        child_program: Some(PathBuf::from(env!("CARGO_BIN_EXE_ocelli-ocr-worker"))),
        ..OcrOptions::default()
    }
}

fn pool(options: OcrOptions) -> Pool {
    let folder = data::folder(None, None).expect("language data is installed");
    Pool::new(options, folder, OcrMetrics::unregistered().expect("metrics"))
}

fn far() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

/// Capital letters of 5 x 7 dots, 6 pixels each: a picture with known text that needs no font.
fn picture(text: &str) -> RgbImage {
    const DOT: u32 = 6;
    let glyph = |c: char| -> [u8; 7] {
        match c {
            'E' => [31, 16, 16, 30, 16, 16, 31],
            'H' => [17, 17, 17, 31, 17, 17, 17],
            'L' => [16, 16, 16, 16, 16, 16, 31],
            'O' => [14, 17, 17, 17, 17, 17, 14],
            'T' => [31, 4, 4, 4, 4, 4, 4],
            'I' => [14, 4, 4, 4, 4, 4, 14],
            'F' => [31, 16, 16, 30, 16, 16, 16],
            _ => [0; 7],
        }
    };
    let width = text.chars().count() as u32 * 6 * DOT + 80;
    let mut image = RgbImage::from_pixel(width, 7 * DOT + 80, Rgb([255; 3]));
    for (index, c) in text.chars().enumerate() {
        for (row, bits) in glyph(c).into_iter().enumerate() {
            for column in (0..5).filter(|column| bits >> (4 - column) & 1 == 1) {
                for y in 0..DOT {
                    for x in 0..DOT {
                        let left = 40 + (index as u32 * 6 + column) * DOT;
                        image.put_pixel(left + x, 40 + row as u32 * DOT + y, Rgb([0; 3]));
                    }
                }
            }
        }
    }
    image
}

fn png(image: &RgbImage) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    bytes.into_inner().into()
}

/// Noise keeps the layout analysis busy for long: a child reading it can be caught at work.
fn noise(side: u32) -> Bytes {
    let mut state = 1_u32;
    png(&RgbImage::from_fn(side, side, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([(state >> 24) as u8; 3])
    }))
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

fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("the child is there");
}

async fn reads(pool: &Pool) {
    let transcript = pool.read(png(&picture("HELLO THE FILE")), far()).await.expect("read");
    assert_eq!(transcript.text, "HELLO THE FILE", "{transcript:?}");
}

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
async fn a_child_can_open_no_socket_and_no_file_and_start_no_program() {
    let pool = pool(options(1));
    let ready = pool.warm_up().await.expect("started");
    assert_eq!(ready.sandbox.limits, Layer::Active);
    assert_eq!(ready.sandbox.dies_with_parent, Layer::Active);
    let folder = tempfile::tempdir().expect("temporary folder");
    let file = folder.path().join("written-by-child");
    let test = pool.self_test(file.clone()).await.expect("answered");
    assert!(!test.wrote_file && !file.exists());
    assert!(!test.opened_socket && !test.read_file && !test.started_program, "{test:?}");
    reads(&pool).await;
}

/// ABORT is what an assertion of the engine does, KILL what the kernel does when memory is short.
#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_dies_at_work_costs_its_own_job_and_no_other_and_says_how_it_died() {
    for (how, word) in [(Signal::KILL, "killed"), (Signal::ABORT, "aborted")] {
        let pool = pool(options(1));
        pool.warm_up().await.expect("started");
        let pid = pool.idle_pids()[0];
        let job = pool.read(noise(2000), far());
        let killer = async {
            // The child is at work once it is no longer idle.
            while !pool.idle_pids().is_empty() {
                tokio::task::yield_now().await;
            }
            signal(pid, how);
        };
        let (result, ()) = tokio::join!(job, killer);
        let Err(ReadError::Died(reason)) = result else { panic!("{how:?}: {result:?}") };
        assert!(reason.contains(word), "{how:?}: {reason}");
        reads(&pool).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_child_that_died_while_idle_costs_no_job() {
    let pool = pool(options(1));
    pool.warm_up().await.expect("started");
    let pid = pool.idle_pids()[0];
    signal(pid, Signal::KILL);
    let gone = || !Path::new(&format!("/proc/{pid}/statm")).exists() || zombie(pid);
    let give_up = Instant::now() + Duration::from_secs(10);
    while !gone() && Instant::now() < give_up {
        tokio::task::yield_now().await;
    }
    reads(&pool).await;
}

fn zombie(pid: u32) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(')').next().is_some_and(|rest| rest.trim_start().starts_with('Z'))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hanging_child_is_killed_at_the_hard_deadline_while_its_neighbour_reads_on() {
    let pool = pool(OcrOptions { hard_deadline: Duration::from_secs(3), ..options(2) });
    pool.warm_up().await.expect("started");
    // The last one in is the next one out.
    let stopped = *pool.idle_pids().last().expect("two children");
    signal(stopped, Signal::STOP);
    let started = Instant::now();
    let hanging = pool.read(png(&picture("HELLO")), far());
    let (result, ()) = tokio::join!(hanging, reads(&pool));
    assert!(matches!(result, Err(ReadError::Deadline(_))), "{result:?}");
    assert!(started.elapsed() < Duration::from_secs(10));
    reads(&pool).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_soft_deadline_keeps_what_was_read_and_says_so() {
    let mut page = RgbImage::from_pixel(1100, 4800, Rgb([255; 3]));
    for row in 0..40 {
        image::imageops::overlay(&mut page, &picture("THE HOTEL TO TELL FILE"), 20, row * 120);
    }
    let soft_deadline = Duration::from_millis(60);
    let pool = pool(OcrOptions { soft_deadline, ..options(1) });
    let transcript = pool.read(png(&page), far()).await.expect("an answer, not a failure");
    assert!(transcript.partial, "{:?}", transcript.steps);
    assert!(transcript.words.len() < 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worn_child_is_replaced() {
    let pool = pool(OcrOptions { images_per_child: 2, ..options(1) });
    pool.warm_up().await.expect("started");
    let first = pool.idle_pids();
    reads(&pool).await;
    assert_eq!(pool.idle_pids(), first);
    reads(&pool).await;
    assert!(pool.idle_pids().is_empty());
    reads(&pool).await;
    assert_ne!(pool.idle_pids(), first);
}

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
async fn a_program_that_is_no_ocr_child_is_an_error_and_never_a_hang() {
    for (program, silent) in [("/bin/true", true), ("/bin/cat", true), ("/no/such/program", false)]
    {
        let options = OcrOptions {
            child_program: Some(program.into()),
            start_deadline: Duration::from_secs(5),
            ..options(1)
        };
        let error = pool(options).warm_up().await.expect_err("no child");
        assert_eq!(matches!(error, StartError::Silent { .. }), silent, "{program}: {error}");
        assert_eq!(matches!(error, StartError::Spawn { .. }), !silent, "{program}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn missing_language_data_is_a_reason_and_never_a_hang() {
    let pool = pool(OcrOptions { languages: "xyz".to_owned(), ..options(1) });
    let error = pool.warm_up().await.expect_err("no data");
    assert!(matches!(&error, StartError::NotReady(reason) if reason.contains("xyz")), "{error}");
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
        (Bytes::from_static(b"\0\0\0\x18ftypavif\0\0\0\0mif1avif"), ["AVIF", "convert it to PNG"]),
        (Bytes::from_static(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic"), ["HEIC", "convert it to PNG"]),
    ] {
        let Err(ReadError::Refused(refusal)) = pool.read(bytes, far()).await else {
            panic!("{words:?}")
        };
        let said = words.iter().all(|word| refusal.reason.contains(word));
        assert!(said, "{words:?}: {}", refusal.reason);
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

/// Resident memory in kB.
fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
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
