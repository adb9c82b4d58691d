//! Damaged images: whatever bytes are changed, decoding in this process ends with pixels or an error, panics caught.
//! The same through real children, and fewer: `damaged_images_through_real_children_…` of `ocelli-ocr`.

use ocelli_media::{DecodeLimits, decode_frames, inspect};

use crate::animations::{apng, gif, webp};
use crate::drawing::one_of_each;

/// Per format; 21,000 in all.
const MUTATIONS: usize = 3_000;

/// Small, so that a mutated size costs little and refusals are reached too.
fn limits() -> DecodeLimits {
    DecodeLimits { bytes: 1 << 20, side: 4096, pixels: 1 << 20, pages: 8, memory: 16 << 20 }
}

/// Xorshift64* (Vigna 2016): the same mutations in every run.
pub(crate) struct Random(pub(crate) u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 8
    }

    fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }
}

/// One to four changes: a byte, a number that means "very many", a cut, a repeated or a removed part.
pub(crate) fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
    for _ in 0..=random.below(4) {
        // Headers decide most, so half of all changes are there.
        let end = if random.below(2) == 0 { bytes.len().min(64) } else { bytes.len() };
        let at = random.below(end);
        match random.below(6) {
            0 | 1 => bytes[at] = random.next() as u8,
            2 => bytes[at] ^= 1 << random.below(8),
            3 => {
                let stop = (at + 1 + random.below(4)).min(bytes.len());
                bytes[at..stop].fill([0x00, 0x7f, 0x80, 0xff][random.below(4)]);
            }
            4 => {
                let stop = (at + random.below(40)).min(bytes.len());
                let part = bytes[at..stop].to_vec();
                bytes.splice(at..at, part);
            }
            _ if random.below(2) == 0 => bytes.truncate(at.max(8)),
            _ => {
                let stop = (at + random.below(16)).min(bytes.len());
                bytes.drain(at..stop);
            }
        }
        if bytes.is_empty() {
            bytes.push(0);
        }
    }
}

/// Damages the images whose names begin with `format`, [`MUTATIONS`] times in all, and decodes every one as the readers do.
fn damaged(format: &str, seed: u64) {
    let mut originals = one_of_each();
    originals.extend([
        ("gif animation", gif(&[10, 60, 110, 160])),
        ("png animation", apng(&[10, 60, 110, 160])),
        ("webp animation", webp(&[10, 60, 110, 160])),
    ]);
    originals.retain(|(name, _)| name.starts_with(format));
    assert!(!originals.is_empty(), "{format}");
    let mut random = Random(seed);
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let (name, original) = &originals[round % originals.len()];
        let mut bytes = original.clone();
        mutate(&mut bytes, &mut random);
        let told = inspect(&bytes, &limits());
        // Every other time as an animation.
        let frames = if (round / originals.len()).is_multiple_of(2) { 1 } else { 4 };
        match decode_frames(&bytes, &limits(), frames) {
            Ok(pages) => {
                decoded += 1;
                let told = told.unwrap_or_else(|error| panic!("{name} {round}: {error}"));
                let size = pages[0].pixels.dimensions();
                assert_eq!(size, (told.width, told.height), "{name} {round}");
                assert!(pages.len() as u64 <= u64::from(limits().pages), "{name} {round}");
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(!text.is_empty() && text.len() < 2000, "{name} {round}: {text}");
            }
        }
    }
    println!("{format}: {decoded} decoded, {refused} refused");
    assert!(decoded > MUTATIONS / 50 && refused > MUTATIONS / 50, "{decoded} and {refused}");
}

#[test]
fn damaged_pngs_decode_or_are_refused_3000_times() {
    damaged("png", 0x0ce1_1100);
}

#[test]
fn damaged_jpegs_decode_or_are_refused_3000_times() {
    damaged("jpeg", 0x0ce1_1101);
}

#[test]
fn damaged_webps_decode_or_are_refused_3000_times() {
    damaged("webp", 0x0ce1_1102);
}

#[test]
fn damaged_gifs_decode_or_are_refused_3000_times() {
    damaged("gif", 0x0ce1_1103);
}

#[test]
fn damaged_bmps_decode_or_are_refused_3000_times() {
    damaged("bmp", 0x0ce1_1104);
}

#[test]
fn damaged_pnms_decode_or_are_refused_3000_times() {
    damaged("pnm", 0x0ce1_1105);
}

#[test]
fn damaged_tiffs_decode_or_are_refused_3000_times() {
    damaged("tiff", 0x0ce1_1106);
}
