//! The record of an image and its merge.
//!
//! A record is a set of facts, never a counter: the merge of two records is the union of their facts, with a fixed
//! winner where two facts contradict. So it is commutative, associative and idempotent, and messages may arrive late,
//! twice or in any order. The catalog's SQL implements the same rules row by row; its conformance suite compares both.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};

use crate::{
    Analysis, AnalyzerName, BatchId, ImageFacts, Meta, OutcomeKind, Revision, Said, SourceUri,
};

/// An image seen at a source.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Sighting {
    /// Where.
    pub source: SourceUri,
    /// When: from a manifest, else the time of listing.
    pub seen_at: Timestamp,
    /// Which run saw it.
    pub batch: BatchId,
}

/// That an analyzer is asked for an image.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Want {
    /// Which analyzer.
    pub analyzer: AnalyzerName,
    /// The revision asked for; `None` accepts any (the producer did not know one).
    pub revision: Option<Revision>,
}

/// Everything known about one image.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Record {
    /// Digest, format, size.
    pub image: ImageFacts,
    /// Why the producer refused the bytes, when it did: no analyzer is asked then.
    pub refusal: Option<String>,
    /// At most one per source: the earliest.
    pub sightings: BTreeMap<SourceUri, Sighting>,
    /// What lists said about it at a source, by name; of each name the latest.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub meta: BTreeMap<SourceUri, BTreeMap<String, Said>>,
    /// Wanted revisions by analyzer, with the time of asking; the latest ask counts.
    pub wants: BTreeMap<AnalyzerName, (Timestamp, Option<Revision>)>,
    /// One per analyzer and revision. In boxes: a map has room for eleven values as soon as it has one, and these are large.
    #[serde(with = "analyses_as_list")]
    pub analyses: BTreeMap<(AnalyzerName, Revision), Box<Analysis>>,
}

impl Record {
    /// A record with nothing but the image.
    #[must_use]
    pub fn new(image: ImageFacts) -> Self {
        Self {
            image,
            refusal: None,
            sightings: BTreeMap::new(),
            meta: BTreeMap::new(),
            wants: BTreeMap::new(),
            analyses: BTreeMap::new(),
        }
    }

    /// The smallest `seen_at`; `None` before the first sighting arrived.
    #[must_use]
    pub fn first_seen(&self) -> Option<Timestamp> {
        self.sightings.values().map(|sighting| sighting.seen_at).min()
    }

    /// Adds a sighting; of two at one source the earlier stays.
    pub fn add_sighting(&mut self, sighting: Sighting) {
        match self.sightings.entry(sighting.source.clone()) {
            std::collections::btree_map::Entry::Vacant(slot) => {
                slot.insert(sighting);
            }
            std::collections::btree_map::Entry::Occupied(mut slot) => {
                let (old, new) = (slot.get(), &sighting);
                if (new.seen_at, new.batch) < (old.seen_at, old.batch) {
                    slot.insert(sighting);
                }
            }
        }
    }

    /// Adds what a list said about it at a source; of two texts with one name the larger [`Said`] stays.
    pub fn add_meta(&mut self, source: &SourceUri, batch: BatchId, meta: &Meta) {
        for (name, text) in meta.iter() {
            self.say(source, name, Said { batch, text: text.to_owned() });
        }
    }

    /// What lists said about it at a source, in the order of names.
    pub fn said(&self, source: &SourceUri) -> impl Iterator<Item = (&str, &str)> {
        let all = self.meta.get(source).into_iter().flatten();
        all.map(|(name, said)| (name.as_str(), said.text.as_str()))
    }

    fn say(&mut self, source: &SourceUri, name: &str, said: Said) {
        let all = self.meta.entry(source.clone()).or_default();
        match all.get_mut(name) {
            Some(old) => *old = said.max(old.clone()),
            None => drop(all.insert(name.to_owned(), said)),
        }
    }

    /// Adds a want; of two for one analyzer the later stays (a tie goes to the larger revision).
    pub fn add_want(&mut self, asked_at: Timestamp, want: Want) {
        let new = (asked_at, want.revision);
        match self.wants.get(&want.analyzer) {
            Some(old) if *old >= new => {}
            _ => {
                self.wants.insert(want.analyzer, new);
            }
        }
    }

    /// Adds an analysis; of two with one key [`preferred`] stays.
    pub fn add_analysis(&mut self, analysis: Analysis) {
        let key = (analysis.analyzer.clone(), analysis.revision.clone());
        match self.analyses.get(&key) {
            Some(old) if !preferred(&analysis, old) => {}
            _ => {
                self.analyses.insert(key, Box::new(analysis));
            }
        }
    }

    /// Unites two records of one image.
    pub fn merge(&mut self, other: Self) {
        debug_assert_eq!(self.image.digest, other.image.digest);
        self.image.add(&other.image);
        // Of two reasons the smaller text stays, so that the order of merging does not matter.
        self.refusal = [self.refusal.take(), other.refusal].into_iter().flatten().min();
        for sighting in other.sightings.into_values() {
            self.add_sighting(sighting);
        }
        for (source, all) in other.meta {
            for (name, said) in all {
                self.say(&source, &name, said);
            }
        }
        for (analyzer, (asked_at, revision)) in other.wants {
            self.add_want(asked_at, Want { analyzer, revision });
        }
        for analysis in other.analyses.into_values() {
            self.add_analysis(*analysis);
        }
    }

    /// All of them, in the order of analyzers and revisions.
    pub fn answers(&self) -> impl DoubleEndedIterator<Item = &Analysis> {
        self.analyses.values().map(Box::as_ref)
    }

    /// The analysis that answers what is wanted of `analyzer`: the wanted revision, or the newest of the analyzer's own when any
    /// will do.
    #[must_use]
    pub fn current(&self, analyzer: &AnalyzerName) -> Option<&Analysis> {
        match self.wants.get(analyzer) {
            Some((_, Some(revision))) => {
                self.answers().find(|one| one.analyzer == *analyzer && one.revision == *revision)
            }
            _ => self
                .answers()
                .filter(|analysis| {
                    analysis.analyzer == *analyzer && !analysis.revision.is_of_rule()
                })
                .max_by(|a, b| (a.finished_at, &a.revision).cmp(&(b.finished_at, &b.revision))),
        }
    }

    /// Wanted analyzers without an outcome.
    #[must_use]
    pub fn open(&self) -> BTreeSet<&AnalyzerName> {
        self.wants.keys().filter(|analyzer| self.current(analyzer).is_none()).collect()
    }

    /// Whether every wanted analyzer has an outcome.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.refusal.is_some() || self.open().is_empty()
    }

    /// How many analyses have this kind of outcome.
    #[must_use]
    pub fn count(&self, kind: OutcomeKind) -> usize {
        self.answers().filter(|analysis| analysis.outcome.kind() == kind).count()
    }
}

/// Whether `new` replaces `old` under the same key: the higher [`OutcomeKind::rank`], then the earlier one, so that an
/// answer never changes after it was first shown. A full tie is broken by content, to stay independent of order.
#[must_use]
pub fn preferred(new: &Analysis, old: &Analysis) -> bool {
    let (new_rank, old_rank) = (new.outcome.kind().rank(), old.outcome.kind().rank());
    if new_rank != old_rank {
        return new_rank > old_rank;
    }
    if new.finished_at != old.finished_at {
        return new.finished_at < old.finished_at;
    }
    format!("{new:?}") < format!("{old:?}")
}

mod analyses_as_list {
    //! JSON has no keys made of pairs.
    use super::{Analysis, AnalyzerName, BTreeMap, Revision};
    use serde::{Deserialize as _, Deserializer, Serializer};

    type Analyses = BTreeMap<(AnalyzerName, Revision), Box<Analysis>>;

    pub(super) fn serialize<S: Serializer>(map: &Analyses, s: S) -> Result<S::Ok, S::Error> {
        s.collect_seq(map.values())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Analyses, D::Error> {
        Ok(Vec::<Box<Analysis>>::deserialize(d)?
            .into_iter()
            .map(|analysis| ((analysis.analyzer.clone(), analysis.revision.clone()), analysis))
            .collect())
    }
}
