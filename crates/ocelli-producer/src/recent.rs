//! The digests of this run that the catalog may not know yet.

use std::collections::{HashSet, VecDeque};

use ocelli_core::Digest;

/// A set of the latest digests, of bounded size.
#[derive(Debug)]
pub(crate) struct Recent {
    digests: HashSet<Digest>,
    order: VecDeque<Digest>,
    capacity: usize,
}

impl Recent {
    pub(crate) fn new(capacity: usize) -> Self {
        Self { digests: HashSet::new(), order: VecDeque::new(), capacity }
    }

    pub(crate) fn contains(&self, digest: &Digest) -> bool {
        self.digests.contains(digest)
    }

    /// Adds a digest; the oldest goes when there is no room.
    pub(crate) fn insert(&mut self, digest: Digest) {
        if self.capacity == 0 || !self.digests.insert(digest) {
            return;
        }
        self.order.push_back(digest);
        if self.order.len() > self.capacity
            && let Some(oldest) = self.order.pop_front()
        {
            self.digests.remove(&oldest);
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
            recent.insert(*digest);
            recent.insert(*digest);
        }
        assert!(!recent.contains(&digests[0]));
        assert!(recent.contains(&digests[1]) && recent.contains(&digests[2]));
        assert_eq!((recent.digests.len(), recent.order.len()), (2, 2));
        let mut none = Recent::new(0);
        none.insert(digests[0]);
        assert!(!none.contains(&digests[0]));
    }
}
