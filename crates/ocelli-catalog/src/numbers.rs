//! The numbers of images: what rows of other tables name an image by. Nobody outside of the database sees them.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

use ocelli_core::Digest;

use crate::fold::Stored;
use crate::rows::Rows;

/// The numbers of the images that a transaction is about.
#[derive(Debug, Default)]
pub(crate) struct Numbers {
    known: HashMap<Digest, i64>,
    /// Images that were looked for and are not there.
    absent: HashSet<Digest>,
}

impl Numbers {
    /// Keeps what was found of the images that were looked for.
    pub(crate) fn learn(&mut self, asked: &[Digest], stored: &BTreeMap<Digest, Stored>) {
        self.absent.extend(asked.iter().filter(|digest| !stored.contains_key(*digest)));
        self.extend(stored.iter().filter_map(|(digest, stored)| Some((*digest, stored.number?))));
    }

    pub(crate) fn extend(&mut self, numbers: impl IntoIterator<Item = (Digest, i64)>) {
        self.known.extend(numbers);
    }

    /// Those that were not looked for yet.
    pub(crate) fn not_asked(&self, missing: &[Digest]) -> Vec<Digest> {
        missing.iter().filter(|digest| !self.absent.contains(*digest)).copied().collect()
    }

    /// Images that rows are about and whose numbers are not known, in the order of digests.
    pub(crate) fn missing(&self, rows: &Rows) -> Vec<Digest> {
        let digests = (rows.images.iter().map(|(digest, ..)| digest))
            .chain(rows.sightings.iter().map(|(digest, ..)| digest))
            .chain(rows.members.iter().map(|(_, digest, _)| digest))
            .chain(rows.wants.iter().map(|(digest, ..)| digest))
            .chain(rows.analyses.iter().map(|(digest, ..)| digest))
            .chain(rows.settled.iter().map(|settled| &settled.digest));
        let missing: BTreeSet<Digest> =
            digests.filter(|digest| !self.known.contains_key(digest)).copied().collect();
        missing.into_iter().collect()
    }

    /// The number of an image that is not [`Self::missing`].
    pub(crate) fn of(&self, digest: &Digest) -> i64 {
        *self
            .known
            .get(digest)
            .expect("rows are written once the numbers of their images are known")
    }
}
