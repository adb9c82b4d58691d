//! What this run asked for that the catalog may not know yet.

use std::collections::HashMap;

use ocelli_core::Digest;

/// The latest images and the analyzers that were asked about them, a bounded number: two halves, of which the older goes as a
/// whole when the younger is full. A map that loses one entry for each that it gains grows to twice its size.
#[derive(Debug)]
pub(crate) struct Recent {
    younger: HashMap<Digest, u64>,
    older: HashMap<Digest, u64>,
    /// Of each of them.
    capacity: usize,
}

/// Nothing more is to be asked.
pub(crate) const ALL: u64 = u64::MAX;

impl Recent {
    /// At most so many are remembered, and at least the latest half as many.
    pub(crate) fn new(most: usize) -> Self {
        Self { younger: HashMap::new(), older: HashMap::new(), capacity: most / 2 }
    }

    /// The analyzers that were asked about an image, a bit for each.
    pub(crate) fn asked(&self, digest: &Digest) -> u64 {
        self.younger.get(digest).or_else(|| self.older.get(digest)).copied().unwrap_or(0)
    }

    /// Adds analyzers to those that were asked; the oldest images go when there is no room.
    pub(crate) fn note(&mut self, digest: Digest, analyzers: u64) {
        if self.capacity == 0 {
            return;
        }
        let asked = self.asked(&digest) | analyzers;
        if self.younger.len() >= self.capacity && !self.younger.contains_key(&digest) {
            std::mem::swap(&mut self.younger, &mut self.older);
            // Its room is kept for what comes next.
            self.younger.clear();
        }
        self.younger.insert(digest, asked);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_go_first_and_memory_stays_bounded() {
        let mut recent = Recent::new(4);
        let digests: Vec<_> = (0_u8..5).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            recent.note(*digest, 1);
            recent.note(*digest, 4);
        }
        assert_eq!(
            digests.iter().map(|one| recent.asked(one)).collect::<Vec<_>>(),
            [0, 0, 5, 5, 5]
        );
        assert_eq!((recent.younger.len(), recent.older.len()), (1, 2));
        let mut none = Recent::new(0);
        none.note(digests[0], ALL);
        assert_eq!(none.asked(&digests[0]), 0);
    }

    #[test]
    fn an_image_that_comes_again_and_again_is_never_forgotten() {
        let mut recent = Recent::new(4);
        let often = Digest::of(b"often");
        for number in 0_u8..100 {
            recent.note(Digest::of(&[number]), 2);
            recent.note(often, 1 << (number % 8));
            assert_eq!(recent.asked(&often) & 1, 1);
        }
        assert_eq!(recent.asked(&often), 255);
    }
}
