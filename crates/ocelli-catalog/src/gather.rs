//! Messages → facts by key. Pure: what is the same whatever the catalog holds is decided here, once for both backends.
//!
//! Values are made storable on the way in: times are cut to microseconds, NUL becomes U+FFFD, numbers that are no number
//! disappear. A message that cannot be stored is rejected with its position, and takes no neighbour with it.

use std::collections::btree_map::Entry;
use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::meta::MAX_NAME_BYTES;
use ocelli_core::wire::{Announcement, BatchReport, Intake, Message, Problem};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Digest, ImageFacts, LeftOut, Need, Outcome, PerceptualHash,
    Revision, Said, Sighting, SourceUri,
};

use crate::rows::time;

/// What a batch of messages says, by what it is about.
#[derive(Debug, Default)]
pub(crate) struct Facts {
    pub(crate) images: BTreeMap<Digest, News>,
    pub(crate) deferrals: BTreeMap<(Digest, AnalyzerName), Deferral>,
    pub(crate) workers: BTreeMap<(AnalyzerName, String), Announcement>,
    pub(crate) revisions: BTreeMap<(AnalyzerName, Revision), Announced>,
    pub(crate) batches: BTreeMap<BatchId, BatchReport>,
    pub(crate) problems: BTreeMap<(BatchId, [u8; 16]), Problem>,
    pub(crate) fences: BTreeSet<(AnalyzerName, Timestamp)>,
    pub(crate) rejected: Vec<(usize, String)>,
}

/// What a batch says about one image.
#[derive(Debug, Default)]
pub(crate) struct News {
    pub(crate) facts: Option<ImageFacts>,
    /// What a worker found out.
    pub(crate) learned: Option<ImageFacts>,
    pub(crate) refusal: Option<String>,
    pub(crate) sightings: BTreeMap<SourceUri, Sighting>,
    /// What lists said, by key of the source and name: of two the larger.
    pub(crate) meta: BTreeMap<([u8; 16], String), Said>,
    /// Every reference of every batch to it, as batch and key; `sightings` keeps only the earliest.
    pub(crate) members: BTreeSet<(BatchId, [u8; 16])>,
    /// Of those that a producer named: the key of their source, and whether nothing had to be enqueued.
    pub(crate) references: BTreeMap<(BatchId, [u8; 16]), ([u8; 16], bool)>,
    pub(crate) wants: BTreeMap<AnalyzerName, (Timestamp, Option<Revision>)>,
    /// What the dependent ones among the wants need, with the time of asking; the latest counts.
    pub(crate) needs: BTreeMap<AnalyzerName, (Timestamp, Need)>,
    /// What it looks like: the first word counts.
    pub(crate) hash: Option<PerceptualHash>,
    /// In the order of arrival: which of two with one key stays also depends on what is stored.
    pub(crate) analyses: Vec<Analysis>,
}

/// The order of the fields decides which of two stays: the larger.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Deferral {
    pub(crate) next_at: Timestamp,
    pub(crate) attempts: u32,
    pub(crate) class: &'static str,
    pub(crate) reason: String,
}

/// A revision as it was announced.
#[derive(Debug, Clone)]
pub(crate) struct Announced {
    pub(crate) first: Timestamp,
    pub(crate) last: Timestamp,
    pub(crate) kind: String,
    pub(crate) description: String,
}

/// Sorts messages into [`Facts`].
pub(crate) fn gather(messages: &[Message]) -> Facts {
    let mut facts = Facts::default();
    for (position, message) in messages.iter().enumerate() {
        if let Err(reason) = facts.add(message) {
            facts.rejected.push((position, reason));
        }
    }
    facts
}

impl Facts {
    fn add(&mut self, message: &Message) -> Result<(), String> {
        match message {
            Message::Intake(intake) => self.add_intake(intake)?,
            Message::Partial(partial) => {
                let learned = partial.image.as_ref();
                if learned.is_some_and(|found| {
                    found.digest != partial.digest || i64::try_from(found.bytes).is_err()
                }) {
                    return Err("what the worker found out is about no such image".to_owned());
                }
                let news = self.images.entry(partial.digest).or_default();
                news.learned = match (news.learned.take(), learned) {
                    (Some(old), Some(new)) => Some(unite(&old, new)),
                    (old, new) => old.or_else(|| new.cloned()),
                };
                news.analyses.push(storable(&partial.analysis));
                news.looks(partial.hash.as_ref());
            }
            Message::Deferred(deferred) => {
                let new = Deferral {
                    next_at: micros(deferred.next_at),
                    attempts: deferred.attempts,
                    class: deferred.class.name(),
                    reason: clean(&deferred.reason),
                };
                let key = (deferred.digest, deferred.analyzer.clone());
                keep(&mut self.deferrals, key, new, |new, old| new > old);
            }
            Message::Announcement(announcement) => self.add_announcement(announcement)?,
            Message::Batch(report) => self.add_batch(report)?,
            Message::Problem(problem) => {
                let new = Problem {
                    batch: problem.batch,
                    reference: clean(&problem.reference),
                    reason: clean(&problem.reason),
                    at: micros(problem.at),
                    source: problem.source.clone(),
                    rule: problem.rule.as_deref().map(clean),
                    told: problem.told.clone(),
                };
                let key = (new.batch, text_key(&new.reference));
                keep(&mut self.problems, key, new, |new, old| {
                    (new.at, &new.reason) < (old.at, &old.reason)
                });
            }
            // A heartbeat has said what it had to say by coming through.
            Message::FencePassed(fence) if fence.pulse => {}
            Message::FencePassed(fence) => {
                self.fences.insert((fence.analyzer.clone(), micros(fence.published_at)));
            }
            Message::Fence(_) => {
                return Err(
                    "a fence belongs into a job queue; the catalog keeps only fences that passed"
                        .to_owned(),
                );
            }
        }
        Ok(())
    }

    fn add_intake(&mut self, intake: &Intake) -> Result<(), String> {
        if i64::try_from(intake.image.bytes).is_err() {
            return Err(format!("an image cannot have {} bytes", intake.image.bytes));
        }
        if let Some((name, _)) = intake.meta.iter().find(|(name, _)| name.len() > MAX_NAME_BYTES) {
            return Err(format!("a name of metadata has {} bytes", name.len()));
        }
        let news = self.images.entry(intake.image.digest).or_default();
        news.facts = Some(match news.facts.take() {
            Some(old) => unite(&old, &intake.image),
            None => intake.image.clone(),
        });
        news.looks(intake.hash.as_ref());
        news.refusal = smaller(news.refusal.take(), intake.refusal.as_deref().map(clean));
        if let Some(sighting) = &intake.sighting {
            let new = Sighting { seen_at: micros(sighting.seen_at), ..sighting.clone() };
            let reference = format!("{} {}", new.seen_at.as_microsecond(), new.source.as_str());
            let key = (new.batch, text_key(&reference));
            news.members.insert(key);
            let is_known = intake.wants.is_empty() && intake.refusal.is_none();
            news.references.insert(key, (text_key(new.source.as_str()), is_known));
            let source = text_key(new.source.as_str());
            for (name, text) in intake.meta.iter() {
                let said = Said { batch: new.batch, text: clean(text) };
                keep(&mut news.meta, (source, clean(name)), said, |new, old| new > old);
            }
            keep(&mut news.sightings, new.source.clone(), new, |new, old| {
                (new.seen_at, new.batch) < (old.seen_at, old.batch)
            });
        }
        for want in &intake.wants {
            let new = (micros(intake.enqueued_at), want.revision.clone());
            keep(&mut news.wants, want.analyzer.clone(), new, |new, old| new > old);
            if let Some(need) = intake.dependence.of(&want.analyzer) {
                let new = (micros(intake.enqueued_at), need.clone());
                keep(&mut news.needs, want.analyzer.clone(), new, |new, old| new.0 > old.0);
            }
        }
        for LeftOut { analyzer, rule } in &intake.dependence.left_out {
            let asked_at = micros(intake.enqueued_at);
            let new = (asked_at, Some(rule.revision()));
            keep(&mut news.wants, analyzer.clone(), new, |new, old| new > old);
            news.analyses.push(storable(&rule.skip(analyzer, asked_at)));
        }
        Ok(())
    }

    fn add_announcement(&mut self, said: &Announcement) -> Result<(), String> {
        let new = Announcement {
            analyzer: said.analyzer.clone(),
            revision: said.revision.clone(),
            kind: clean(&said.kind),
            description: clean(&said.description),
            worker: clean(&said.worker),
            slots: said.slots,
            in_progress: said.in_progress,
            waiting: said.waiting.as_deref().map(clean),
            paused: said.paused,
            leaving: said.leaving,
            at: micros(said.at),
        };
        // An index entry of PostgreSQL holds 2,704 bytes.
        if new.worker.len() > 1024 {
            return Err(format!(
                "the name of a worker has {} bytes; at most 1024",
                new.worker.len()
            ));
        }
        if let Some(revision) = &new.revision {
            let announced = Announced {
                first: new.at,
                last: new.at,
                kind: new.kind.clone(),
                description: new.description.clone(),
            };
            match self.revisions.entry((new.analyzer.clone(), revision.clone())) {
                Entry::Vacant(slot) => drop(slot.insert(announced)),
                Entry::Occupied(mut slot) => slot.get_mut().unite(announced),
            }
        }
        let key = (new.analyzer.clone(), new.worker.clone());
        keep(&mut self.workers, key, new, |new, old| {
            (new.at, new.leaving, body(new)) > (old.at, old.leaving, body(old))
        });
        Ok(())
    }

    fn add_batch(&mut self, report: &BatchReport) -> Result<(), String> {
        let counts = [report.accepted, report.known, report.skipped, report.problems];
        if let Some(count) = counts.into_iter().find(|count| i64::try_from(*count).is_err()) {
            return Err(format!("a batch cannot have a count of {count}"));
        }
        let new = BatchReport {
            name: clean(&report.name),
            started_at: micros(report.started_at),
            at: micros(report.at),
            ..report.clone()
        };
        keep(&mut self.batches, new.batch, new, |new, old| batch_order(new) > batch_order(old));
        Ok(())
    }
}

impl News {
    fn looks(&mut self, hash: Option<&PerceptualHash>) {
        if self.hash.is_none() {
            self.hash = hash.cloned();
        }
    }
}

impl Announced {
    fn unite(&mut self, other: Self) {
        let first = self.first.min(other.first);
        if (other.last, &other.kind, &other.description)
            > (self.last, &self.kind, &self.description)
        {
            *self = other;
        }
        self.first = first;
    }
}

/// The announcement as it is stored.
pub(crate) fn body(announcement: &Announcement) -> String {
    serde_json::to_string(announcement).expect("an announcement has only texts and numbers")
}

/// Which of two reports of one batch stays: the larger. The SQL of both backends compares the same columns.
fn batch_order(report: &BatchReport) -> impl Ord + '_ {
    (
        report.at,
        report.finished,
        report.accepted,
        report.known,
        report.skipped,
        report.problems,
        &report.name,
        report.started_at,
    )
}

/// Two facts about the same bytes differ only when one build knew more: what is known stays.
pub(crate) fn unite(a: &ImageFacts, b: &ImageFacts) -> ImageFacts {
    ImageFacts {
        digest: a.digest,
        bytes: a.bytes.max(b.bytes),
        format: a.format.max(b.format),
        width: a.width.max(b.width),
        height: a.height.max(b.height),
    }
}

/// Of two texts the smaller, of one and none the one: independent of order.
pub(crate) fn smaller(a: Option<String>, b: Option<String>) -> Option<String> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.min(b)),
        (a, b) => a.or(b),
    }
}

/// The key of a text that may be longer than an index entry.
pub(crate) fn text_key(text: &str) -> [u8; 16] {
    let digest = Digest::of(text.as_bytes());
    let mut key = [0; 16];
    key.copy_from_slice(&digest.as_bytes()[..16]);
    key
}

/// Cuts what the catalog does not keep.
pub(crate) fn micros(at: Timestamp) -> Timestamp {
    time(at.as_microsecond()).unwrap_or(at)
}

fn keep<K: Ord, V>(map: &mut BTreeMap<K, V>, key: K, new: V, wins: impl Fn(&V, &V) -> bool) {
    match map.entry(key) {
        Entry::Vacant(slot) => drop(slot.insert(new)),
        Entry::Occupied(mut slot) => {
            if wins(&new, slot.get()) {
                slot.insert(new);
            }
        }
    }
}

pub(crate) fn clean(text: &str) -> String {
    text.replace('\0', "\u{fffd}")
}

fn clean_in_place(text: &mut String) {
    if text.contains('\0') {
        *text = clean(text);
    }
}

fn finite(number: &mut Option<f32>) {
    *number = number.filter(|number| number.is_finite());
}

fn storable(analysis: &Analysis) -> Analysis {
    let mut analysis = analysis.clone();
    analysis.finished_at = micros(analysis.finished_at);
    match &mut analysis.outcome {
        Outcome::Done(reading) => {
            clean_in_place(&mut reading.text);
            finite(&mut reading.confidence);
            reading.languages.iter_mut().for_each(clean_in_place);
            for word in &mut reading.words {
                clean_in_place(&mut word.text);
                clean_in_place(&mut word.step);
                if !word.confidence.is_finite() {
                    word.confidence = 0.0;
                }
            }
            for section in &mut reading.sections {
                clean_in_place(&mut section.heading);
                clean_in_place(&mut section.text);
            }
        }
        Outcome::Empty => {}
        Outcome::Skipped { rule, reason } => {
            clean_in_place(rule);
            clean_in_place(reason);
        }
        Outcome::Failed { reason, .. } => clean_in_place(reason),
    }
    let how = &mut analysis.provenance;
    clean_in_place(&mut how.engine);
    clean_in_place(&mut how.worker);
    for text in [&mut how.model, &mut how.model_digest, &mut how.endpoint, &mut how.prompt] {
        text.iter_mut().for_each(clean_in_place);
    }
    for step in &mut how.steps {
        clean_in_place(&mut step.name);
        clean_in_place(&mut step.reason);
        finite(&mut step.confidence);
    }
    analysis
}
