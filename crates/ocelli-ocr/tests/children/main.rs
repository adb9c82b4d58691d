//! Real children with the real engine: what they read, what they cannot do, and what their deaths cost.

mod hostile;
mod limits;
mod lives;
mod passes;
mod reading;
mod twice;

use std::io::Cursor;
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use image::{Rgb, RgbImage};
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, data};
use prometheus::{Registry, TextEncoder};
use rustix::process::{Pid, Signal};
use tokio::time::{Instant, timeout};

pub(crate) fn options(children: usize) -> OcrOptions {
    OcrOptions {
        children,
        child_program: Some(PathBuf::from(env!("CARGO_BIN_EXE_ocelli-ocr-worker"))),
        ..OcrOptions::default()
    }
}

pub(crate) fn pool(options: OcrOptions) -> Pool {
    let folder = data::folder(None, None).expect("language data is installed");
    Pool::new(options, folder, OcrMetrics::unregistered().expect("metrics"))
}

/// A pool whose metrics are in `registry`.
pub(crate) fn watched(options: OcrOptions, registry: &Registry) -> Pool {
    let folder = data::folder(None, None).expect("language data is installed");
    Pool::new(options, folder, OcrMetrics::register(registry).expect("metrics"))
}

/// A metric, with its labels, as whoever scrapes it sees it.
pub(crate) fn counted(registry: &Registry, metric: &str) -> f64 {
    let text = TextEncoder::new().encode_to_string(&registry.gather()).expect("metrics as text");
    let line = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' '));
    let value = line.unwrap_or_else(|| panic!("no {metric} in:\n{text}"));
    value.parse().expect("a number")
}

/// Comes back when `condition` holds.
pub(crate) async fn until(what: &str, condition: impl Fn() -> bool) {
    let holds = async {
        while !condition() {
            tokio::task::yield_now().await;
        }
    };
    let waited = timeout(Duration::from_secs(60), holds).await;
    waited.unwrap_or_else(|_| panic!("waited in vain until {what}"));
}

pub(crate) fn far() -> Instant {
    Instant::now() + Duration::from_secs(120)
}

/// Capital letters of 5 x 7 dots, 6 pixels each: a picture with known text that needs no font.
pub(crate) fn picture(text: &str) -> RgbImage {
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

pub(crate) fn png(image: &RgbImage) -> Bytes {
    let mut bytes = Cursor::new(Vec::new());
    image.write_to(&mut bytes, image::ImageFormat::Png).expect("encoded");
    bytes.into_inner().into()
}

/// Noise keeps the layout analysis busy for long: a child reading it can be caught at work.
pub(crate) fn noise(side: u32) -> Bytes {
    let mut state = 1_u32;
    png(&RgbImage::from_fn(side, side, |_, _| {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        Rgb([(state >> 24) as u8; 3])
    }))
}

pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(pid as i32).expect("a pid");
    rustix::process::kill_process(pid, signal).expect("the child is there");
}

pub(crate) async fn reads(pool: &Pool) {
    let transcript = pool.read(png(&picture("HELLO THE FILE")), far()).await.expect("read");
    assert_eq!(transcript.text, "HELLO THE FILE", "{transcript:?}");
}

/// Resident memory in kB.
pub(crate) fn resident(pid: u32) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.and_then(|line| line.trim().strip_suffix(" kB")?.trim().parse().ok()).unwrap_or(0)
}
