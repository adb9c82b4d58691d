//! The only source of chance in a simulation. Written here rather than taken from a library, so that a seed means the
//! same run for as long as the simulation itself is unchanged.

/// SplitMix64 (Steele, Lea, Flood: "Fast Splittable Pseudorandom Number Generators", OOPSLA 2014).
#[derive(Debug, Clone)]
pub(super) struct Random(u64);

impl Random {
    pub(super) fn new(seed: u64) -> Self {
        Self(seed)
    }

    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// Between `low` and `high`, both included.
    pub(super) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.next() % (high.saturating_sub(low) + 1)
    }

    /// An index below `length`, which is at least 1.
    pub(super) fn index(&mut self, length: usize) -> usize {
        usize::try_from(self.next() % (length.max(1) as u64)).unwrap_or(0)
    }

    /// True in so many of a thousand cases.
    pub(super) fn chance(&mut self, permille: u64) -> bool {
        self.next() % 1000 < permille
    }

    /// Uniform in 0..1.
    pub(super) fn unit(&mut self) -> f64 {
        // 53 bits are what an f64 can hold exactly.
        (self.next() >> 11) as f64 / (1_u64 << 53) as f64
    }
}
