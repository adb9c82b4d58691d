//! The last stage: asks the catalog in bulk, decides with [`plan`], and publishes one message per reference.

use std::collections::HashMap;
use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::trace;
use ocelli_catalog::rules::Seeing as Rulable;
use ocelli_catalog::{Catalog, Known};
use ocelli_core::retry::backoff;
use ocelli_core::routing::Queue;
use ocelli_core::trace::TraceContext;
use ocelli_core::wire::{Intake, Message, Problem, Told};
use ocelli_core::{
    AnalyzerName, BatchId, Dependence, Digest, ImageFacts, Meta, Need, PerceptualHash, Sighting,
    SourceUri, Want, chain,
};
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;

use crate::ProducerOptions;
use crate::backlog::Backlog;
use crate::clock::{self, Stamps};
use crate::error::ProducerError;
use crate::examine::Verdict;
use crate::metrics::{Ended, ProducerMetrics};
use crate::orders::Gate;
use crate::plan::{Ruled, Why, plan, ruled};
use crate::publisher::Publisher;
use crate::readers::{FileNews, Loaded};
use crate::recent::{ALL, Recent};
use crate::source::clip;
use crate::tally::Tally;

/// First wait before the catalog is asked again, and the longest.
const LOOKUP_BACKOFF: (Duration, Duration) = (Duration::from_millis(200), Duration::from_secs(5));

/// Where and when a reference was seen.
type Seen = (SourceUri, Timestamp);

/// An image at a place.
struct Seeing {
    facts: ImageFacts,
    refusal: Option<String>,
    hash: Option<PerceptualHash>,
    sighting: Sighting,
    file: FileNews,
    meta: Meta,
    context: TraceContext,
}

/// What the stage works with.
pub(crate) struct Decider {
    pub(crate) catalog: Catalog,
    pub(crate) gate: Gate,
    pub(crate) backlog: Backlog,
    /// Whether the run goes on when everything was listed, with what appears then.
    pub(crate) stays: bool,
    /// Images whose jobs went to the queues for fresh work.
    pub(crate) fresh: u64,
    pub(crate) options: Arc<ProducerOptions>,
    pub(crate) wanted: Vec<Want>,
    pub(crate) batch: BatchId,
    pub(crate) batch_name: String,
    pub(crate) stamps: Arc<Stamps>,
    pub(crate) recent: Recent,
    pub(crate) publisher: Publisher,
    pub(crate) tally: Tally,
    pub(crate) metrics: ProducerMetrics,
    pub(crate) stop: CancellationToken,
}

impl Decider {
    /// Handles everything that is loaded, until there is no more or the run is stopped.
    pub(crate) async fn run(mut self, mut loaded: mpsc::Receiver<Loaded>) {
        let stop = self.stop.clone();
        loop {
            let items = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                items = self.gather(&mut loaded) => items,
            };
            if items.is_empty() {
                return;
            }
            let known = tokio::select! {
                biased;
                () = stop.cancelled() => return,
                known = self.lookup(&items) => known,
            };
            let known = match known {
                Ok(known) => known,
                Err(error) => return self.publisher.fail(error),
            };
            if !self.has_share() {
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = self.backlog.room() => {}
                }
            }
            let (mut noted, mut urls) = (Vec::new(), Vec::new());
            for item in items {
                noted.extend(item.noted_file());
                urls.extend(item.noted_url());
                let passed = tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    passed = self.gate.pass() => passed,
                };
                let span = trace::shown(item.context);
                if passed.is_break() || self.handle(item, &known).instrument(span).await.is_break()
                {
                    return;
                }
            }
            if let Err(error) = self.catalog.note_urls(&urls).await {
                tracing::warn!(urls = urls.len(), reason = %chain(&error), "these URLs will be fetched again");
            }
            // They count once the catalog has their sightings too, however long those are on their way.
            if let Err(error) = self.catalog.note_files(&noted).await {
                tracing::warn!(files = noted.len(), reason = %chain(&error), "these files will be read again");
            }
        }
    }

    /// The next references: as many as one query takes, or what came within the linger; none at the end.
    async fn gather(&self, loaded: &mut mpsc::Receiver<Loaded>) -> Vec<Loaded> {
        let most = self.options.lookup_batch;
        let mut items = Vec::with_capacity(most.min(64));
        if loaded.recv_many(&mut items, most).await == 0 {
            return items;
        }
        let deadline = Instant::now() + self.options.lookup_linger;
        while items.len() < most {
            let room = most - items.len();
            match timeout_at(deadline, loaded.recv_many(&mut items, room)).await {
                Ok(0) | Err(_) => break,
                Ok(_) => {}
            }
        }
        items
    }

    async fn lookup(&self, items: &[Loaded]) -> Result<HashMap<Digest, Known>, ProducerError> {
        let mut digests: Vec<Digest> = items
            .iter()
            .filter_map(|item| match &item.verdict {
                Verdict::Image { facts, refusal: None, .. } => Some(facts.digest),
                _ => None,
            })
            .filter(|digest| self.recent.asked(digest) != ALL)
            .collect();
        digests.sort_unstable();
        digests.dedup();
        if digests.is_empty() {
            return Ok(HashMap::new());
        }
        let give_up = Instant::now() + self.options.lookup_patience;
        let mut attempt = 0;
        loop {
            let error = match self.catalog.lookup(&digests).await {
                Ok(known) => return Ok(known),
                Err(error) => error,
            };
            let wait = backoff(attempt, LOOKUP_BACKOFF.0, LOOKUP_BACKOFF.1, rand::random());
            attempt += 1;
            if Instant::now() + wait > give_up {
                return Err(ProducerError::Lookup(error));
            }
            tracing::warn!(attempt, ?wait, reason = %chain(&error), "asking the catalog again");
            tokio::time::sleep(wait).await;
        }
    }

    async fn handle(&mut self, item: Loaded, known: &HashMap<Digest, Known>) -> ControlFlow<()> {
        let Loaded { name, seen, verdict, file, told, context } = item;
        match (verdict, seen) {
            (Verdict::Skipped { rule, why }, seen) => {
                self.passed_over(name, rule, why, seen, context).await
            }
            (Verdict::Problem { reason }, seen) => {
                self.problem(name, reason, seen, told, context).await
            }
            (Verdict::Image { facts, refusal, hash }, Some((source, seen_at))) => {
                let sighting = Sighting { source, seen_at, batch: self.batch };
                let meta = told.meta;
                let image = Seeing { facts, refusal, hash, sighting, file, meta, context };
                self.image(image, known).await
            }
            (Verdict::Image { .. }, None) => {
                self.problem(name, "it has no source".to_owned(), None, told, context).await
            }
        }
    }

    /// What became of a reference without an image. Its texts may quote hostile input of any length.
    fn outcome(&self, reference: &str, reason: &str, seen: Option<Seen>) -> Problem {
        Problem {
            batch: self.batch,
            reference: clip(reference),
            reason: clip(reason),
            at: self.stamps.next(),
            source: seen.map(|(source, _)| source),
            rule: None,
            told: None,
        }
    }

    async fn passed_over(
        &self,
        name: String,
        rule: &str,
        why: String,
        seen: Option<Seen>,
        context: TraceContext,
    ) -> ControlFlow<()> {
        tracing::debug!(path = %name, rule, %why, "passed over");
        let outcome = self.outcome(&name, &why, seen);
        let message = Message::Problem(Problem { rule: Some(rule.to_owned()), ..outcome });
        let (tally, metrics) = (self.tally.clone(), self.metrics.clone());
        self.publisher
            .send(&message, vec![Queue::Results], context, move || {
                metrics.settled(Ended::Skipped);
                tally.count(|progress| progress.skipped += 1);
            })
            .await
    }

    async fn problem(
        &self,
        reference: String,
        reason: String,
        seen: Option<Seen>,
        told: Told,
        context: TraceContext,
    ) -> ControlFlow<()> {
        let told = Some(told).filter(|told| !told.is_empty());
        let problem = Problem { told, ..self.outcome(&reference, &reason, seen) };
        tracing::info!(reference = %problem.reference, reason = %problem.reason, "no image");
        self.tally.problem(&problem);
        let (tally, metrics) = (self.tally.clone(), self.metrics.clone());
        let message = Message::Problem(problem);
        self.publisher
            .send(&message, vec![Queue::Results], context, move || {
                metrics.settled(Ended::Problem);
                tally.count(|progress| progress.problems += 1);
            })
            .await
    }

    /// The wants that the collector enqueues: it alone knows when what they need is there, what rules about answers say then, and
    /// which of near-identical images is the first. An image without a hash is like no other.
    fn dependence(&self, ruled: Ruled, is_hashed: bool) -> (Vec<Want>, Dependence) {
        let Ruled { wants, mut later, left_out, unasked: _ } = ruled;
        let options = &self.options;
        let mut need = |want: &Want| {
            let only_first = is_hashed && options.only_first.contains(&want.analyzer);
            let near = only_first.then_some(options.near_distance);
            let of = options.needs.get(&want.analyzer).cloned();
            let later = later.remove(&want.analyzer);
            let held = of.is_some() || near.is_some() || later.is_some();
            let (rules, after) = later.unwrap_or_default();
            held.then(|| Need {
                analyzer: want.analyzer.clone(),
                of: of.unwrap_or_default(),
                held: true,
                near,
                rules,
                after,
            })
        };
        let needs = wants.iter().filter_map(&mut need).collect();
        (wants, Dependence { needs, texts: Vec::new(), left_out })
    }

    /// The bit of a wanted analyzer; of those behind the first 63 nothing is remembered.
    fn bit(&self, analyzer: &AnalyzerName) -> u64 {
        let place = self.wanted.iter().position(|want| want.analyzer == *analyzer);
        place.filter(|place| *place < 63).map_or(0, |place| 1 << place)
    }

    /// Whether the next image's jobs are fresh work. Whoever watches folders goes on with what is new, whatever was there at first.
    fn is_fresh(&mut self) -> bool {
        let is_fresh = self.has_share();
        self.fresh += u64::from(is_fresh);
        is_fresh
    }

    fn has_share(&self) -> bool {
        let is_new = self.stays && self.tally.progress().all_listed;
        (is_new || self.fresh < self.options.fresh_images) && !self.options.bulk
    }

    async fn image(
        &mut self,
        Seeing { facts, refusal, hash, sighting, file, meta, context }: Seeing,
        known: &HashMap<Digest, Known>,
    ) -> ControlFlow<()> {
        let digest = facts.digest;
        let (ruled, ended) = if refusal.is_some() {
            (Ruled::default(), Ended::Refused)
        } else if self.recent.asked(&digest) == ALL {
            (Ruled::default(), Ended::Known)
        } else {
            let known = known.get(&digest);
            let mut plan = plan(known, &self.wanted);
            // A twin, perhaps where a rule says something else: what was asked for is not asked again, nor left out.
            let asked = self.recent.asked(&digest);
            plan.enqueue.retain(|want| asked & self.bit(&want.analyzer) == 0);
            let seeing = Rulable {
                image: &facts,
                source: &sighting.source,
                seen_at: sighting.seen_at,
                batch: self.batch,
                batch_name: &self.batch_name,
                meta: &meta,
            };
            let ruled = ruled(known, plan.enqueue, &self.options.rules, &seeing);
            tracing::trace!(%digest, why = ?plan.why, jobs = ruled.wants.len(), left_out = ruled.unasked, "planned");
            let ended = match plan.why {
                Why::Refused => Ended::Refused,
                _ if ruled.wants.is_empty() => Ended::Known,
                _ => Ended::Enqueued,
            };
            (ruled, ended)
        };
        let left_out = ruled.unasked;
        let is_unread = matches!(file, FileNews::Unchanged | FileNews::Told);
        // The collector compares by the hash that the catalog has; an image without one counts as the first of its kind.
        let (wants, dependence) = self.dependence(ruled, hash.is_some() || is_unread);
        if file == FileNews::Unchanged && wants.is_empty() && dependence.left_out.is_empty() {
            // The catalog has all of it: a row for each file of each run would grow for ever and say nothing.
            self.metrics.settled(ended);
            self.metrics.unread.inc();
            self.tally.count(|progress| {
                progress.accepted += 1;
                progress.unread += 1;
                progress.left_out += left_out;
                *progress.of(ended) += 1;
            });
            return ControlFlow::Continue(());
        }
        // Remembered before the confirm: a twin may be next in line. Should the confirm fail, the run ends, and the
        // next one asks the catalog. A twin may lie where a rule asks for what is left out here.
        if ended == Ended::Enqueued {
            let bits = wants.iter().fold(0, |bits, want| bits | self.bit(&want.analyzer));
            self.recent.note(digest, if left_out == 0 { ALL } else { bits });
        }
        let jobs = wants.len() as u64;
        let queue = if wants.is_empty() || self.is_fresh() { Queue::Jobs } else { Queue::Bulk };
        let mut routes = vec![Queue::Results];
        routes.extend(
            wants
                .iter()
                .filter(|want| dependence.of(&want.analyzer).is_none())
                .map(|want| queue(want.analyzer.clone())),
        );
        let message = Message::Intake(Intake {
            image: facts,
            sources: vec![sighting.source.clone()],
            sighting: Some(sighting),
            wants,
            refusal,
            enqueued_at: clock::now(),
            dependence,
            hash,
            meta,
        });
        let (tally, metrics) = (self.tally.clone(), self.metrics.clone());
        self.publisher
            .send(&message, routes, context, move || {
                metrics.settled(ended);
                metrics.unread.inc_by(u64::from(is_unread));
                tally.count(|progress| {
                    progress.accepted += 1;
                    progress.unread += u64::from(is_unread);
                    progress.jobs += jobs;
                    progress.left_out += left_out;
                    *progress.of(ended) += 1;
                });
            })
            .await
    }
}
