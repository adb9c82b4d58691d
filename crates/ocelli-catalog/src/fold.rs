//! Facts + stored rows → rows to write, for one image. Pure, and the same for both backends, so that the meaning of
//! [`ocelli_core::Record`] is written down once: no SQL decides which of two analyses stays or what answers a want.

mod changes;

use std::collections::{BTreeMap, BTreeSet};

pub(crate) use changes::{discard, leave_out, reopen, take, wait, withdraw};
use jiff::Timestamp;
use ocelli_core::record::preferred;
use ocelli_core::{
    Analysis, AnalyzerName, Digest, ImageFacts, Need, OutcomeKind, Revision, RuleText,
};

use crate::agreements::Settled;
use crate::gather::{News, smaller, unite};
use crate::model::Hold;
use crate::rows::{Rows, Shown, State};

/// The time by which an image without a sighting is sorted: before every time that can be noted.
const NEVER_SEEN: i64 = -9_000_000_000_000_000_000;

pub(crate) type Key = (AnalyzerName, Revision);

/// What the catalog holds about one image, as far as new facts can change it.
#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Stored {
    /// The number of its row, if there is one.
    pub(crate) number: Option<i64>,
    pub(crate) image: Image,
    pub(crate) wants: BTreeMap<AnalyzerName, Wanted>,
    pub(crate) heads: BTreeMap<Key, Head>,
}

#[derive(Debug, Clone, Default, PartialEq)]
pub(crate) struct Image {
    /// `None` while only an analysis arrived.
    pub(crate) facts: Option<ImageFacts>,
    /// What a worker found out before the intake arrived.
    pub(crate) learned: Option<ImageFacts>,
    pub(crate) refusal: Option<String>,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) complete: bool,
}

#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Wanted {
    pub(crate) asked_at: Timestamp,
    pub(crate) revision: Option<Revision>,
    pub(crate) enqueued_at: Timestamp,
    pub(crate) state: State,
    pub(crate) answer: Option<Revision>,
    /// Failures up to this time were taken out by [`reopen`] and do not come back with a late duplicate.
    pub(crate) reopened: Option<Timestamp>,
    /// The analyzers whose answers its job is given.
    pub(crate) needs: Vec<AnalyzerName>,
    /// Why its job is in no queue, while it is open.
    pub(crate) hold: Option<Hold>,
    /// Up to which distance images count as near-identical, where the job is for the first of them only.
    pub(crate) near: Option<u32>,
    /// The image whose answer it waits for.
    pub(crate) waits_for: Option<Digest>,
    /// Rules that the answers of `after` decide.
    pub(crate) rules: Vec<RuleText>,
    pub(crate) after: Vec<AnalyzerName>,
}

impl Wanted {
    /// The analyzers that must have outcomes before its job is enqueued.
    fn before(&self) -> impl Iterator<Item = &AnalyzerName> {
        self.needs.iter().chain(&self.after)
    }
}

impl Image {
    /// By which time the record is sorted, in microseconds; `None` while its intake has not arrived, and it is found by nobody.
    pub(crate) fn seen(&self) -> Option<i64> {
        self.facts.as_ref()?;
        Some(self.first_seen.map_or(NEVER_SEEN, |at| at.as_microsecond()))
    }
}

/// The part of an analysis that decides.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Head {
    pub(crate) kind: OutcomeKind,
    pub(crate) finished_at: Timestamp,
}

impl Head {
    pub(crate) fn of(analysis: &Analysis) -> Self {
        Self { kind: analysis.outcome.kind(), finished_at: analysis.finished_at }
    }

    /// Whether only the whole content can tell which of the two stays.
    fn ties(self, other: Self) -> bool {
        self.kind.rank() == other.kind.rank() && self.finished_at == other.finished_at
    }

    /// [`preferred`] where it needs no content.
    fn beats(self, old: Self) -> bool {
        if self.kind.rank() == old.kind.rank() {
            self.finished_at < old.finished_at
        } else {
            self.kind.rank() > old.kind.rank()
        }
    }
}

/// The stored analyses without which [`fold`] cannot decide: mostly messages that were delivered twice.
pub(crate) fn undecided(news: &News, stored: &Stored) -> Vec<Key> {
    let mut keys: Vec<Key> = news
        .analyses
        .iter()
        .map(|new| ((new.analyzer.clone(), new.revision.clone()), Head::of(new)))
        .filter(|(key, new)| stored.heads.get(key).is_some_and(|old| new.ties(*old)))
        .map(|(key, _)| key)
        .collect();
    keys.sort();
    keys.dedup();
    keys
}

/// What became of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Folded {
    /// Whether it became complete.
    pub(crate) completed: bool,
    /// When something was asked of it for the last time; none when nothing is, or its image was refused.
    pub(crate) asked_at: Option<Timestamp>,
}

/// Adds `news` to `stored` and collects the rows that change. `contents` holds the [`undecided`] ones.
pub(crate) fn fold(
    digest: Digest,
    news: News,
    stored: Stored,
    contents: &BTreeMap<Key, Analysis>,
    rows: &mut Rows,
) -> Folded {
    let mut now = stored.clone();
    if let Some(facts) = &news.facts {
        now.image.facts =
            Some(now.image.facts.as_ref().map_or_else(|| facts.clone(), |old| unite(old, facts)));
    }
    let learned = [now.image.learned.take(), news.learned].into_iter().flatten();
    let learned = learned.reduce(|a, b| unite(&a, &b));
    match (&mut now.image.facts, learned) {
        (Some(facts), Some(learned)) => facts.add(&learned),
        (None, learned) => now.image.learned = learned,
        (Some(_), None) => {}
    }
    now.image.refusal = smaller(now.image.refusal, news.refusal);
    let seen = news.sightings.values().map(|sighting| sighting.seen_at).min();
    now.image.first_seen = match (now.image.first_seen, seen) {
        (Some(old), Some(new)) => Some(old.min(new)),
        (old, new) => old.or(new),
    };
    rows.hashes.extend(news.hash.map(|hash| (digest, hash)));
    let references = news.references.into_iter();
    rows.references.extend(references.map(|((batch, key), found)| ((batch, digest, key), found)));
    rows.members.extend(news.members.into_iter().map(|(batch, key)| (batch, digest, key)));
    let said = news.meta.into_iter();
    rows.meta.extend(said.map(|((source, name), said)| (digest, source, name, said)));
    rows.sightings.extend(news.sightings.into_values().map(|sighting| (digest, sighting)));
    let mut needs = news.needs;
    for (analyzer, (asked_at, revision)) in news.wants {
        let need = needs.remove(&analyzer).map(|(_, need)| need);
        now.want(analyzer, asked_at, revision, need);
    }
    rows.analyses
        .extend(now.add_analyses(news.analyses, contents).into_values().map(|new| (digest, new)));
    let asked = now
        .wants
        .values()
        .map(|want| want.reopened.map_or(want.asked_at, |at| at.max(want.asked_at)));
    let asked_at = asked.max().filter(|_| now.image.refusal.is_none());
    Folded { completed: now.settle(digest, &stored, rows), asked_at }
}

impl Stored {
    fn want(
        &mut self,
        analyzer: AnalyzerName,
        asked_at: Timestamp,
        revision: Option<Revision>,
        need: Option<Need>,
    ) {
        let held = need.as_ref().is_some_and(|need| need.held).then_some(Hold::Needs);
        let want = self.wants.entry(analyzer).or_insert_with(|| Wanted {
            asked_at,
            revision: revision.clone(),
            enqueued_at: asked_at,
            state: State::Open,
            answer: None,
            reopened: None,
            needs: Vec::new(),
            hold: held,
            near: None,
            waits_for: None,
            rules: Vec::new(),
            after: Vec::new(),
        });
        // A want that is open already has its job, or its hold.
        if want.state != State::Open {
            want.hold = held;
        }
        match need {
            Some(need) if asked_at >= want.asked_at => {
                want.needs = need.of;
                want.near = need.near;
                want.rules = need.rules;
                want.after = need.after;
            }
            // Asked anew, and no rule has a question left.
            None if asked_at > want.asked_at => {
                want.rules.clear();
                want.after.clear();
            }
            _ => {}
        }
        want.enqueued_at = want.enqueued_at.max(asked_at);
        if (asked_at, &revision) > (want.asked_at, &want.revision) {
            want.asked_at = asked_at;
            want.revision = revision;
        }
    }

    fn add_analyses(
        &mut self,
        analyses: Vec<Analysis>,
        contents: &BTreeMap<Key, Analysis>,
    ) -> BTreeMap<Key, Analysis> {
        let mut written: BTreeMap<Key, Analysis> = BTreeMap::new();
        for new in analyses {
            let key = (new.analyzer.clone(), new.revision.clone());
            let head = Head::of(&new);
            let reopened = self.wants.get(&key.0).and_then(|want| want.reopened);
            if head.kind == OutcomeKind::Failed && reopened.is_some_and(|at| head.finished_at <= at)
            {
                continue;
            }
            let wins = match self.heads.get(&key) {
                None => true,
                Some(old) if head.ties(*old) => written
                    .get(&key)
                    .or_else(|| contents.get(&key))
                    .is_some_and(|old| preferred(&new, old)),
                Some(old) => head.beats(*old),
            };
            if wins {
                self.heads.insert(key.clone(), head);
                written.insert(key, new);
            }
        }
        written
    }

    /// The revision that answers a want: the meaning of [`ocelli_core::Record::current`].
    fn answer(&self, analyzer: &AnalyzerName, wanted: Option<&Revision>) -> Option<&Key> {
        let fits = |one: &Revision| wanted.map_or(!one.is_of_rule(), |wanted| one == wanted);
        self.heads
            .iter()
            .filter(|(key, _)| key.0 == *analyzer && fits(&key.1))
            .max_by_key(|(key, head)| (head.finished_at, &key.1))
            .map(|(key, _)| key)
    }

    /// Open dependent jobs wait again once a failure that they needed was taken out: it will be another answer.
    fn hold_again(&mut self) {
        let held: Vec<AnalyzerName> = self
            .wants
            .iter()
            .filter(|(name, want)| {
                self.answer(name, want.revision.as_ref()).is_none()
                    && !want.before().all(|need| self.is_answered(need))
            })
            .map(|(name, _)| name.clone())
            .collect();
        for name in held {
            self.wants.entry(name).and_modify(|want| want.hold = Some(Hold::Needs));
        }
    }

    /// Whether an analyzer that others need has the outcome that is wanted of it, or any where nothing is wanted of it.
    pub(crate) fn is_answered(&self, analyzer: &AnalyzerName) -> bool {
        let wanted = self.wants.get(analyzer).and_then(|want| want.revision.as_ref());
        self.answer(analyzer, wanted).is_some()
    }

    /// The analyses that readers of the record see: what answers each want, and as long as that has not come, has failed, or is a
    /// rule's, the newest text of another revision. A newer model takes no text away before it gives its own, and a rule none.
    pub(crate) fn current(&self) -> BTreeSet<Key> {
        let names: BTreeSet<&AnalyzerName> = self.heads.keys().map(|(name, _)| name).collect();
        let mut seen = BTreeSet::new();
        for name in names {
            let wanted = self.wants.get(name).and_then(|want| want.revision.as_ref());
            let answer = self.answer(name, wanted);
            let is_open = answer.is_none_or(|key| {
                let kind = self.heads.get(key).map(|head| head.kind);
                key.1.is_of_rule() || kind == Some(OutcomeKind::Failed)
            });
            if is_open {
                seen.extend(self.newest_text(name).cloned());
            }
            seen.extend(answer.cloned());
        }
        seen
    }

    fn newest_text(&self, analyzer: &AnalyzerName) -> Option<&Key> {
        self.heads
            .iter()
            .filter(|(key, head)| key.0 == *analyzer && head.kind == OutcomeKind::Done)
            .max_by_key(|(key, head)| (head.finished_at, &key.1))
            .map(|(key, _)| key)
    }

    /// The current answers with a text: those that can be compared.
    pub(crate) fn comparable(&self) -> Vec<Key> {
        if self.heads.values().filter(|head| head.kind == OutcomeKind::Done).nth(1).is_none() {
            return Vec::new();
        }
        let is_text =
            |key: &Key| self.heads.get(key).is_some_and(|head| head.kind == OutcomeKind::Done);
        self.current().into_iter().filter(is_text).collect()
    }

    /// Collects which analyses became current and which are no more.
    fn show(&self, digest: Digest, before: &Self, rows: &mut Rows) {
        let (old, new) = (before.current(), self.current());
        let gone = old.difference(&new).filter(|key| self.heads.contains_key(*key));
        for (key, current) in
            gone.map(|key| (key, false)).chain(new.difference(&old).map(|key| (key, true)))
        {
            let stored = before.heads.contains_key(key);
            rows.shown.push(Shown { digest, key: key.clone(), current, stored });
        }
    }

    /// Derives the states and collects the rows that differ from `before`.
    fn settle(mut self, digest: Digest, before: &Self, rows: &mut Rows) -> bool {
        let (old, new) = (before.comparable(), self.comparable());
        // An answer may also be replaced by another one of its revision.
        let is_written = rows.analyses.last().is_some_and(|(last, _)| *last == digest);
        self.show(digest, before, rows);
        let ready: Vec<AnalyzerName> = self
            .wants
            .iter()
            .filter(|(_, want)| want.hold == Some(Hold::Needs) && want.waits_for.is_none())
            .filter(|(_, want)| want.before().all(|need| self.is_answered(need)))
            .map(|(analyzer, _)| analyzer.clone())
            .collect();
        let mut wants = std::mem::take(&mut self.wants);
        for (analyzer, want) in &mut wants {
            let key = self.answer(analyzer, want.revision.as_ref());
            want.answer = key.map(|key| key.1.clone());
            want.state = match key.and_then(|key| self.heads.get(key)) {
                Some(head) => State::Answered(head.kind),
                None if self.image.refusal.is_some() => State::Refused,
                None => State::Open,
            };
            if want.state != State::Open {
                want.hold = None;
                want.waits_for = None;
            } else if ready.contains(analyzer) {
                want.hold = Some(Hold::Ready);
            }
        }
        self.image.complete =
            self.image.facts.is_some() && wants.values().all(|want| want.state != State::Open);
        let became_complete = self.image.complete && !before.image.complete;
        let seen = self.image.seen();
        if !before.heads.is_empty() && seen != before.image.seen() {
            rows.moved.push((digest, seen));
        }
        rows.seen.insert(digest, seen);
        let is_changed = self.image.complete != before.image.complete || old != new || is_written;
        let settled = (is_changed && old.len().max(new.len()) > 1).then_some(new);
        for (analyzer, want) in wants {
            if before.wants.get(&analyzer) != Some(&want) {
                rows.wants.push((digest, analyzer, want));
            }
        }
        if let Some(settled) = settled {
            let keys = if self.image.complete { settled } else { Vec::new() };
            rows.settled.push(Settled { digest, keys });
        }
        if before.number.is_none() || before.image != self.image {
            rows.images.push((digest, self.image));
        }
        if became_complete {
            rows.completed.push(digest);
        }
        became_complete
    }
}
