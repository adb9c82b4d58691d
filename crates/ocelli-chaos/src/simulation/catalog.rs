//! A catalog in memory: real [`Record`]s, merged by the real rules, in transactions that happen as a whole or not at
//! all. What a transaction leaves behind and who hears of it is decided by the caller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelli_catalog::{FenceState, Known};
use ocelli_core::wire::{Announcement, Message};
use ocelli_core::{AnalyzerName, Digest, ImageFacts, Record, Revision};

#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) record: Record,
    /// Whether the intake arrived; a partial result may come first.
    registered: bool,
    /// When each want was last enqueued.
    enqueued_at: BTreeMap<AnalyzerName, Timestamp>,
    /// When the next attempt was promised.
    next_at: BTreeMap<AnalyzerName, Timestamp>,
}

impl Entry {
    pub(super) fn is_complete(&self) -> bool {
        self.registered && self.record.is_complete()
    }
}

/// An open want, as the sweeper sees it.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) image: ImageFacts,
    pub(super) sources: Vec<ocelli_core::SourceUri>,
    pub(super) revision: Option<Revision>,
}

/// An open want when it was seen: its image, and when it had last been enqueued.
pub(super) type Seen = (Digest, Timestamp);

#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) entries: BTreeMap<Digest, Entry>,
    /// Of each analyzer, the earliest first.
    pub(super) fences: BTreeMap<AnalyzerName, Vec<FenceState>>,
    /// The last word of each worker process.
    pub(super) words: BTreeMap<(AnalyzerName, String), Announcement>,
    /// Every message that was committed: what the records must be made of, in any order.
    pub(super) history: Vec<Message>,
}

impl Catalog {
    /// One transaction. Writing the same messages again changes nothing.
    pub(super) fn apply(&mut self, messages: &[Message], now: Timestamp) {
        for message in messages {
            self.write(message, now);
        }
        self.history.extend_from_slice(messages);
    }

    fn write(&mut self, message: &Message, now: Timestamp) {
        match message {
            Message::Intake(intake) => {
                let entry = self.entry(intake.image.digest);
                entry.registered = true;
                for want in &intake.wants {
                    let at = entry.enqueued_at.entry(want.analyzer.clone()).or_default();
                    *at = intake.enqueued_at.max(*at);
                }
                entry.record.merge(record_of(intake));
            }
            Message::Partial(partial) => {
                self.entry(partial.digest).record.add_analysis(partial.analysis.clone());
            }
            Message::Deferred(deferred) => {
                let entry = self.entry(deferred.digest);
                let at = entry.next_at.entry(deferred.analyzer.clone()).or_default();
                *at = deferred.next_at.max(*at);
            }
            Message::FencePassed(fence) => {
                let noted = self.note_fence(&fence.analyzer, fence.published_at);
                noted.passed_at.get_or_insert(now);
            }
            Message::Announcement(word) => {
                let key = (word.analyzer.clone(), word.worker.clone());
                let last = self.words.entry(key).or_insert_with(|| word.clone());
                if word.at > last.at {
                    *last = word.clone();
                }
            }
            // Nothing else is sent in a simulation.
            _ => {}
        }
    }

    fn entry(&mut self, digest: Digest) -> &mut Entry {
        self.entries.entry(digest).or_insert_with(|| Entry {
            record: Record::new(nothing_known(digest)),
            registered: false,
            enqueued_at: BTreeMap::new(),
            next_at: BTreeMap::new(),
        })
    }

    /// What the producer is told.
    pub(super) fn known(&self, digest: &Digest) -> Option<Known> {
        let entry = self.entries.get(digest).filter(|entry| entry.registered)?;
        let record = &entry.record;
        Some(Known {
            refused: record.refusal.is_some(),
            answered: record.analyses.keys().cloned().collect(),
            wanted: record
                .wants
                .iter()
                .map(|(name, (_, revision))| (name.clone(), revision.clone()))
                .collect(),
            open: match record.refusal {
                Some(_) => Default::default(),
                None => record.open().into_iter().cloned().collect(),
            },
        })
    }

    /// What the ledger is asked.
    pub(super) fn is_done(
        &self,
        digest: &Digest,
        analyzer: &AnalyzerName,
        revision: &Revision,
    ) -> bool {
        let key = (analyzer.clone(), revision.clone());
        self.entries.get(digest).is_some_and(|entry| entry.record.analyses.contains_key(&key))
    }

    /// The note of a fence, made if it is not there.
    pub(super) fn note_fence(
        &mut self,
        analyzer: &AnalyzerName,
        published_at: Timestamp,
    ) -> &mut FenceState {
        let fences = self.fences.entry(analyzer.clone()).or_default();
        let place = fences.partition_point(|fence| fence.published_at < published_at);
        if fences.get(place).is_none_or(|fence| fence.published_at != published_at) {
            fences.insert(place, FenceState { published_at, passed_at: None });
        }
        &mut fences[place]
    }

    pub(super) fn forget_fences(&mut self, analyzer: &AnalyzerName, before: Timestamp) {
        if let Some(fences) = self.fences.get_mut(analyzer) {
            fences.retain(|fence| fence.published_at >= before);
        }
    }

    /// What is wanted of `analyzer`, has no outcome, was enqueued before `before` and waits for no attempt at or after
    /// `held`.
    pub(super) fn open(
        &self,
        analyzer: &AnalyzerName,
        before: Timestamp,
        held: Timestamp,
    ) -> Vec<Seen> {
        let seen = self.entries.iter().filter_map(|(digest, entry)| {
            let enqueued_at = *entry.enqueued_at.get(analyzer)?;
            let waits = entry.next_at.get(analyzer).is_some_and(|next_at| *next_at >= held);
            (entry.is_open(analyzer) && enqueued_at < before && !waits)
                .then_some((*digest, enqueued_at))
        });
        seen.collect()
    }

    /// Takes jobs for enqueueing `now`: those that are open and were not enqueued since they were seen.
    pub(super) fn claim(
        &mut self,
        analyzer: &AnalyzerName,
        seen: &[Seen],
        now: Timestamp,
    ) -> Vec<Open> {
        let mut taken = Vec::new();
        for (digest, seen_at) in seen {
            let Some(entry) = self.entries.get_mut(digest) else { continue };
            let unchanged = entry.enqueued_at.get(analyzer) == Some(seen_at);
            if !entry.is_open(analyzer) || !unchanged {
                continue;
            }
            entry.enqueued_at.insert(analyzer.clone(), now);
            taken.push(Open {
                image: entry.record.image.clone(),
                sources: entry.record.sightings.keys().cloned().collect(),
                revision: entry.record.wants.get(analyzer).and_then(|(_, wanted)| wanted.clone()),
            });
        }
        taken
    }
}

impl Entry {
    fn is_open(&self, analyzer: &AnalyzerName) -> bool {
        self.registered
            && self.record.refusal.is_none()
            && self.record.wants.contains_key(analyzer)
            && self.record.current(analyzer).is_none()
    }
}

/// The part of a record that an intake carries.
pub(super) fn record_of(intake: &ocelli_core::wire::Intake) -> Record {
    let mut record = Record::new(intake.image.clone());
    record.refusal.clone_from(&intake.refusal);
    if let Some(sighting) = &intake.sighting {
        record.add_sighting(sighting.clone());
    }
    for want in &intake.wants {
        record.add_want(intake.enqueued_at, want.clone());
    }
    record
}

pub(super) fn nothing_known(digest: Digest) -> ImageFacts {
    ImageFacts { digest, bytes: 0, format: None, width: None, height: None }
}
