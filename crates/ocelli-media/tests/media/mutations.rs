//! Damaged images: whatever bytes are changed, decoding ends with pixels or an error.

use ocelli_media::{DecodeLimits, decode, inspect};

use crate::drawing::one_of_each;

/// Of all images together.
const MUTATIONS: usize = 2_000 * 16;

/// Small, so that a mutated size costs little and refusals are reached too.
fn limits() -> DecodeLimits {
    DecodeLimits { bytes: 1 << 20, side: 4096, pixels: 1 << 20, pages: 8, memory: 16 << 20 }
}

/// Xorshift64* (Vigna 2016): the same mutations in every run.
struct Random(u64);

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
fn mutate(bytes: &mut Vec<u8>, random: &mut Random) {
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

#[test]
fn thousands_of_damaged_images_end_in_pixels_or_an_error() {
    let originals = one_of_each();
    let mut random = Random(0x0ce1_1100);
    let (mut decoded, mut refused) = (0, 0);
    for round in 0..MUTATIONS {
        let (name, original) = &originals[round % originals.len()];
        let mut bytes = original.clone();
        mutate(&mut bytes, &mut random);
        let told = inspect(&bytes, &limits());
        match decode(&bytes, &limits()) {
            Ok(pages) => {
                decoded += 1;
                let told = told.unwrap_or_else(|error| panic!("{name} {round}: {error}"));
                let size = pages[0].pixels.dimensions();
                assert_eq!(size, (told.width, told.height), "{name} {round}");
            }
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(!text.is_empty() && text.len() < 2000, "{name} {round}: {text}");
            }
        }
    }
    println!("{decoded} decoded, {refused} refused");
    assert!(decoded > MUTATIONS / 20 && refused > MUTATIONS / 20, "{decoded} and {refused}");
}
