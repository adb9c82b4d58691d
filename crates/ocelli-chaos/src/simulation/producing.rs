//! The producer of a simulation: looks up, plans with the real [`plan`], publishes, and counts as accepted what was
//! confirmed. Killed, it begins from the start.

use std::collections::{BTreeSet, VecDeque};

use ocelli_core::routing::Queue;
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{BatchId, Digest, ImageFacts, Sighting, SourceUri, Want};
use ocelli_producer::plan;

use super::weather::Weather;
use super::working::encoded;
use super::world::{Role, Step, World};

#[derive(Debug)]
pub(super) struct Production {
    /// Image and source, in the order of listing.
    list: Vec<(usize, SourceUri)>,
    listed: usize,
    outbox: VecDeque<Sending>,
    recent: BTreeSet<Digest>,
    wanted: Vec<Want>,
    runs_left: u32,
    batches: u128,
    /// Whether this run enqueues for backfills.
    bulk: bool,
}

#[derive(Debug, Clone)]
struct Sending {
    key: (Digest, SourceUri),
    /// Job queues that have not confirmed yet. The results queue comes after them.
    jobs: Vec<Queue>,
    body: Vec<u8>,
}

/// Images looked up together.
const LOOKUP: usize = 3;
/// Between two runs: longer than the catalog needs to hear of the first one, so that in calm weather the second run
/// finds everything.
const BETWEEN_RUNS: u64 = 30_000;

impl Production {
    pub(super) fn new(weather: &Weather) -> Self {
        let list = weather.images.iter().enumerate();
        let list = list
            .flat_map(|(n, image)| image.sources.iter().map(move |source| (n, source.clone())))
            .collect();
        Self {
            list,
            listed: 0,
            outbox: VecDeque::new(),
            recent: BTreeSet::new(),
            wanted: Vec::new(),
            runs_left: weather.runs,
            batches: 0,
            bulk: false,
        }
    }

    pub(super) fn is_done(&self) -> bool {
        self.runs_left == 0
    }

    pub(super) fn restart(&mut self) {
        self.listed = 0;
        self.outbox.clear();
        self.recent.clear();
    }
}

impl World {
    /// One step of the run: a look-up, or a message.
    pub(super) fn produce(&mut self, index: usize) {
        if self.dies(index) {
            return;
        }
        let life = self.processes[index].life;
        let Some(production) = self.production() else { return };
        if production.is_done() {
            return;
        }
        let pause = match production.outbox.front().cloned() {
            Some(sending) => self.send(sending),
            None if production.listed < production.list.len() => self.look_up(index),
            None => {
                production.restart();
                production.runs_left -= 1;
                BETWEEN_RUNS
            }
        };
        self.plan(pause, Step::Produce(life));
    }

    /// The broker has lost its disk: everything is listed once more.
    pub(super) fn list_again(&mut self) {
        let index = self.producer();
        let (alive, life) = (self.processes[index].alive, self.processes[index].life);
        let Some(production) = self.production() else { return };
        let was_done = production.is_done();
        production.runs_left += 1;
        if was_done && alive {
            self.plan(1, Step::Produce(life));
        }
    }

    fn send(&mut self, sending: Sending) -> u64 {
        let routes = if sending.jobs.is_empty() { vec![Queue::Results] } else { sending.jobs };
        if !self.publish(&routes, &sending.body, 0) {
            return self.resend_pause();
        }
        if routes != [Queue::Results] {
            if let Some(next) = self.production().and_then(|one| one.outbox.front_mut()) {
                next.jobs.clear();
            }
            return self.random.between(1, 50);
        }
        self.accepted.insert(sending.key);
        if let Some(production) = self.production() {
            production.outbox.pop_front();
        }
        self.random.between(1, 200)
    }

    fn look_up(&mut self, index: usize) -> u64 {
        if self.catalog_down().is_some() {
            return 1000;
        }
        let (now, at) = (self.clock(index), self.now);
        if self.production().is_some_and(|production| production.listed == 0) {
            self.begin_run(at);
        }
        let Some(production) = self.production() else { return 1 };
        production.listed += LOOKUP;
        let from = production.listed - LOOKUP;
        let page: Vec<_> = production.list.iter().skip(from).take(LOOKUP).cloned().collect();
        let (wanted, batch) = (production.wanted.clone(), production.batches);
        for (n, source) in page {
            let (digest, refused) = (self.weather.images[n].digest, self.weather.images[n].refused);
            let known = self.catalog.known(&digest);
            let Some(production) = self.production() else { return 1 };
            let wants = match refused || !production.recent.insert(digest) {
                true => Vec::new(),
                false => plan(known.as_ref(), &wanted).enqueue,
            };
            let queue = if production.bulk { Queue::Bulk } else { Queue::Jobs };
            let jobs = wants.iter().map(|want| queue(want.analyzer.clone())).collect();
            let message = Message::Intake(Intake {
                image: ImageFacts { digest, bytes: 7, format: None, width: None, height: None },
                sources: vec![source.clone()],
                sighting: Some(Sighting {
                    source: source.clone(),
                    seen_at: now,
                    batch: BatchId::new(uuid::Uuid::from_u128(batch)),
                }),
                wants,
                refusal: refused.then(|| "no image".to_owned()),
                enqueued_at: now,
                dependence: ocelli_core::Dependence::default(),
                hash: None,
                meta: ocelli_core::Meta::default(),
            });
            let body = encoded(&message);
            production.outbox.push_back(Sending { key: (digest, source), jobs, body });
        }
        5
    }

    /// Which revisions the run asks for: none, the present ones, or those of before an upgrade.
    fn begin_run(&mut self, at: u64) {
        let wanted = (0..self.weather.analyzers.len())
            .map(|n| {
                let revision = match self.random.index(3) {
                    0 => None,
                    1 => Some(self.weather.revision(n, at).clone()),
                    _ => Some(self.weather.revisions[n][0].clone()),
                };
                Want { analyzer: self.weather.analyzers[n].clone(), revision }
            })
            .collect();
        let bulk = self.random.chance(250);
        if let Some(production) = self.production() {
            production.bulk = bulk;
            production.wanted = wanted;
            production.batches += 1;
        }
    }

    fn production(&mut self) -> Option<&mut Production> {
        let index = self.producer();
        match &mut self.processes[index].role {
            Role::Producer(production) => Some(production),
            _ => None,
        }
    }
}
