//! The numbers of images: what rows of other tables name an image by. Nobody outside of the database sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use ocelli_core::Digest;

use crate::fold::Stored;
use crate::rows::Rows;

/// The numbers of the images that a transaction is about.
#[derive(Debug, Default)]
pub(crate) struct Numbers(HashMap<Digest, i64>);

impl Numbers {
    /// Keeps the numbers of images that were loaded.
    pub(crate) fn learn(&mut self, stored: &BTreeMap<Digest, Stored>) {
        self.extend(stored.iter().filter_map(|(digest, stored)| Some((*digest, stored.number?))));
    }

    pub(crate) fn extend(&mut self, numbers: impl IntoIterator<Item = (Digest, i64)>) {
        self.0.extend(numbers);
    }

    /// Images that rows are about and whose numbers are not known, in the order of digests.
    pub(crate) fn missing(&self, rows: &Rows) -> Vec<Digest> {
        let digests = (rows.images.iter().map(|(digest, ..)| digest))
            .chain(rows.sightings.iter().map(|(digest, ..)| digest))
            .chain(rows.members.iter().map(|(_, digest, _)| digest))
            .chain(rows.wants.iter().map(|(digest, ..)| digest))
            .chain(rows.analyses.iter().map(|(digest, ..)| digest));
        let missing: BTreeSet<Digest> =
            digests.filter(|digest| !self.0.contains_key(digest)).copied().collect();
        missing.into_iter().collect()
    }

    /// The number of an image that is not [`Self::missing`].
    pub(crate) fn of(&self, digest: &Digest) -> i64 {
        *self.0.get(digest).expect("rows are written once the numbers of their images are known")
    }
}
