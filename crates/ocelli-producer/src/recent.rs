//! What this run asked for that the catalog may not know yet.

use std::collections::{HashMap, VecDeque};

use ocelli_core::Digest;

/// The latest images and the analyzers that were asked about them, a bounded number.
#[derive(Debug)]
pub(crate) struct Recent {
    asked: HashMap<Digest, u64>,
    order: VecDeque<Digest>,
    capacity: usize,
}

/// Nothing more is to be asked.
pub(crate) const ALL: u64 = u64::MAX;

impl Recent {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { asked: HashMap::new(), order: VecDeque::new(), capacity }
    }

    /// The analyzers that were asked about an image, a bit for each.
    pub(crate) fn asked(&self, digest: &Digest) -> u64 {
        self.asked.get(digest).copied().unwrap_or(0)
    }

    /// Adds analyzers to those that were asked; the oldest image goes when there is no room.
    pub(crate) fn note(&mut self, digest: Digest, analyzers: u64) {
        if self.capacity == 0 {
            return;
        }
        if let Some(asked) = self.asked.get_mut(&digest) {
            *asked |= analyzers;
            return;
        }
        self.asked.insert(digest, analyzers);
        self.order.push_back(digest);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.asked.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_goes_first_and_memory_stays_bounded() {
        let mut recent = Recent::new(2);
        let digests: Vec<_> = (0_u8..3).map(|n| Digest::of(&[n])).collect();
        for digest in &digests {
            recent.note(*digest, 1);
            recent.note(*digest, 4);
        }
        assert_eq!(digests.iter().map(|one| recent.asked(one)).collect::<Vec<_>>(), [0, 5, 5]);
        assert_eq!((recent.asked.len(), recent.order.len()), (2, 2));
        let mut none = Recent::new(0);
        none.note(digests[0], ALL);
        assert_eq!(none.asked(&digests[0]), 0);
    }
}
