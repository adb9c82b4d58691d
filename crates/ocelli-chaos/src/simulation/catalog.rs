//! A catalog in memory: real [`Record`]s, merged by the real rules, in transactions that happen as a whole or not at
//! all. What a transaction leaves behind and who hears of it is decided by the caller.

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelli_catalog::Known;
use ocelli_core::wire::Message;
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

/// A fence that came through.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct PassedFence {
    pub(super) published_at: Timestamp,
    pub(super) passed_at: Timestamp,
}

/// An open want, as the sweeper sees it.
#[derive(Debug, Clone)]
pub(super) struct Open {
    pub(super) image: ImageFacts,
    pub(super) sources: Vec<ocelli_core::SourceUri>,
    pub(super) revision: Option<Revision>,
}

#[derive(Debug, Default)]
pub(super) struct Catalog {
    pub(super) entries: BTreeMap<Digest, Entry>,
    pub(super) fences: BTreeMap<AnalyzerName, PassedFence>,
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
                let new = PassedFence { published_at: fence.published_at, passed_at: now };
                let old = self.fences.entry(fence.analyzer.clone()).or_insert(new);
                if new.published_at > old.published_at {
                    *old = new;
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

    /// Whether anything is wanted of `analyzer` that has no outcome.
    pub(super) fn has_open(&self, analyzer: &AnalyzerName) -> bool {
        self.entries.values().any(|entry| entry.is_open(analyzer))
    }

    /// Takes over everything of `analyzer` that was enqueued before `before` and is in no delay queue: it counts as
    /// enqueued `now`.
    pub(super) fn take_open(
        &mut self,
        analyzer: &AnalyzerName,
        before: Timestamp,
        now: Timestamp,
    ) -> Vec<Open> {
        let mut taken = Vec::new();
        for entry in self.entries.values_mut() {
            let early = entry.enqueued_at.get(analyzer).is_some_and(|at| *at < before);
            let held = entry.next_at.get(analyzer).is_some_and(|next_at| *next_at >= before);
            if !entry.is_open(analyzer) || !early || held {
                continue;
            }
            let at = entry.enqueued_at.entry(analyzer.clone()).or_default();
            *at = now.max(*at);
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
