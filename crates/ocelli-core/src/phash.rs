//! Perceptual hashes: 64 bits of what an image looks like, equal or nearly so for a copy that was scaled or compressed again.
//!
//! Hashes are only compared with hashes of the same algorithm and version, so its name travels with the bits. How they are
//! made from pixels is in `ocelli-media`.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;

/// The greatest distance that can be asked for. At more than this two images have as many bits in common as chance gives
/// to some pair of a large archive, and the index no longer narrows the search.
pub const MOST_DISTANCE: u32 = 11;

/// The distance up to which images count as near-identical, unless settings say otherwise. Measured in decision 0036.
pub const DEFAULT_DISTANCE: u32 = 6;

/// Bits of a band: a hash has four, and each has an index in the catalog.
const BAND: u32 = 16;
/// Bands of a hash.
const BANDS: u32 = 64 / BAND;

/// What an image looks like.
///
/// Text form: the algorithm with its version, a colon, and 16 hexadecimal characters, as in `dct1:83c3b0e0f0b8f8f0`. An
/// algorithm that this build does not know is kept and compared like any other.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PerceptualHash {
    algorithm: String,
    bits: u64,
}

/// Why a text is not a [`PerceptualHash`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("this is no perceptual hash: expected an algorithm, ':' and 16 hexadecimal characters")]
pub struct NoHash;

impl PerceptualHash {
    /// The hash `bits` of an algorithm, whose name is 1 to 16 of `a-z` and `0-9`.
    ///
    /// # Errors
    /// [`NoHash`] for any other name.
    pub fn new(algorithm: &str, bits: u64) -> Result<Self, NoHash> {
        let is_name = (1..=16).contains(&algorithm.len())
            && algorithm.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit());
        if is_name { Ok(Self { algorithm: algorithm.to_owned(), bits }) } else { Err(NoHash) }
    }

    /// Which algorithm, with its version.
    #[must_use]
    pub fn algorithm(&self) -> &str {
        &self.algorithm
    }

    /// The 64 bits.
    #[must_use]
    pub const fn bits(&self) -> u64 {
        self.bits
    }

    /// In how many bits the two differ (Hamming distance), 0 to 64; none where their algorithms do.
    #[must_use]
    pub fn distance(&self, other: &Self) -> Option<u32> {
        (self.algorithm == other.algorithm).then(|| (self.bits ^ other.bits).count_ones())
    }
}

/// For each of the four bands of `bits`, highest first, the values one of which a hash has in that band when it differs in at
/// most `distance` bits: of so many differing bits, some band has at most a quarter.
#[must_use]
pub fn bands(bits: u64, distance: u32) -> Vec<Vec<u16>> {
    let flips = distance / BANDS;
    (0..BANDS)
        .map(|band| {
            let value = (bits >> (64 - BAND * (band + 1))) as u16;
            let mut values = vec![value];
            let mut first = 0;
            for _ in 0..flips.min(BAND) {
                let more: Vec<u16> = values[first..]
                    .iter()
                    .flat_map(|value| (0..BAND).map(move |bit| value ^ (1 << bit)))
                    .collect();
                first = values.len();
                values.extend(more);
            }
            values.sort_unstable();
            values.dedup();
            values
        })
        .collect()
}

impl fmt::Display for PerceptualHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{:016x}", self.algorithm, self.bits)
    }
}

impl FromStr for PerceptualHash {
    type Err = NoHash;
    fn from_str(text: &str) -> Result<Self, NoHash> {
        let (algorithm, bits) = text.split_once(':').ok_or(NoHash)?;
        if bits.len() != 16 || !bits.bytes().all(|byte| byte.is_ascii_hexdigit()) {
            return Err(NoHash);
        }
        Self::new(algorithm, u64::from_str_radix(bits, 16).map_err(|_| NoHash)?)
    }
}

impl Serialize for PerceptualHash {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for PerceptualHash {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn a_hash_is_written_with_its_algorithm_and_compared_within_it() {
        let text = "dct1:83c3b0e0f0b8f8f0";
        let hash: PerceptualHash = text.parse().unwrap();
        assert_eq!((hash.to_string().as_str(), hash.algorithm()), (text, "dct1"));
        let other = PerceptualHash::new("dct1", hash.bits() ^ 0b1011).unwrap();
        assert_eq!(hash.distance(&other), Some(3));
        assert_eq!(hash.distance(&PerceptualHash::new("dct2", hash.bits()).unwrap()), None);
        for wrong in [
            "",
            "dct1",
            "dct1:1",
            ":83c3b0e0f0b8f8f0",
            "dct1:+3c3b0e0f0b8f8f0",
            "D:83c3b0e0f0b8f8f0",
        ] {
            assert_eq!(wrong.parse::<PerceptualHash>(), Err(NoHash), "{wrong}");
        }
    }

    proptest! {
        #[test]
        fn whatever_is_within_the_distance_has_a_listed_value_in_some_band(
            bits: u64,
            flipped in proptest::collection::btree_set(0..64_u32, 0..=MOST_DISTANCE as usize),
            more in 0..4_u32,
        ) {
            let other = flipped.iter().fold(bits, |bits, bit| bits ^ (1 << bit));
            let distance = (flipped.len() as u32 + more).min(MOST_DISTANCE);
            let bands = bands(bits, distance);
            let found = (0..4).any(|band| {
                bands[band].contains(&((other >> (48 - 16 * band)) as u16))
            });
            prop_assert!(found, "{distance}");
        }
    }

    #[test]
    fn few_values_are_looked_up_for_small_distances() {
        let counts: Vec<usize> =
            [0, 3, 4, 7, 8, 11].map(|distance| bands(7, distance)[0].len()).into();
        assert_eq!(counts, [1, 1, 17, 17, 137, 137]);
    }
}
