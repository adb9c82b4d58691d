//! The state of a simulation and its clock: steps in the order of their time, faults among them.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};
use std::time::Duration;

use jiff::Timestamp;
use ocelli_core::routing::Queue;
use ocelli_core::{Digest, Revision, SourceUri};

use super::broker::{Broker, Owner};
use super::catalog::Catalog;
use super::collecting::Collector;
use super::producing::Production;
use super::random::Random;
use super::weather::{Flaw, Weather, within};
use super::working::{Task, Worker};

/// What happens next. Steps of a process carry the life they belong to: a killed process takes no further step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Look whether somebody can take a message.
    Wake,
    Task(u64),
    Gather(usize, u64),
    Commit(usize, u64),
    AckBatch(usize, u64),
    Sweep(usize),
    Deed(usize, u64),
    Announce(usize, u64),
    Produce(u64),
    Kill,
    Start(usize),
    BrokerDown,
    BrokerBack(usize),
    Upgrade,
    Garbage,
}

#[derive(Debug)]
pub(super) enum Role {
    Worker(Worker),
    Collector(Collector),
    Producer(Production),
}

#[derive(Debug)]
pub(super) struct Process {
    pub(super) role: Role,
    pub(super) alive: bool,
    pub(super) life: u64,
    /// Changes with every connection to the broker: acks of an old one count for nothing.
    connection: u64,
}

/// Analyses of one image by one analyzer, as they really were.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Calls {
    pub(super) begun: u64,
    /// Attempts that failed for another reason than an outage.
    pub(super) failed: u32,
}

pub(super) struct World {
    pub(super) seed: u64,
    pub(super) now: u64,
    pub(super) weather: Weather,
    pub(super) random: Random,
    pub(super) broker: Broker,
    pub(super) catalog: Catalog,
    pub(super) processes: Vec<Process>,
    pub(super) tasks: BTreeMap<u64, Task>,
    pub(super) next_task: u64,
    pub(super) calls: BTreeMap<(usize, usize), Calls>,
    pub(super) accepted: BTreeSet<(Digest, SourceUri)>,
    pub(super) swept: u64,
    pub(super) kills: u64,
    pub(super) steps: u64,
    pub(super) trace: u64,
    pub(super) at_rest: bool,
    agenda: BinaryHeap<Reverse<(u64, u64, Step)>>,
    planned: u64,
}

/// Where simulated time begins.
const EPOCH_SECONDS: i64 = 1_714_780_800;
/// Everything must be at rest this long after the faults have ended: clocks may be two hours apart, and the sweeper
/// believes what they say.
const HORIZON: u64 = 26 * 3_600_000;
/// A run that takes more steps goes in circles.
const MOST_STEPS: u64 = 400_000;
pub(super) const SWEEP_EVERY: u64 = 30_000;

impl World {
    pub(super) fn new(seed: u64, flaw: Option<Flaw>) -> Self {
        let mut random = Random::new(seed);
        let weather = Weather::of(seed, flaw, &mut random);
        let mut world = Self {
            seed,
            now: 0,
            random,
            broker: Broker::default(),
            catalog: Catalog::default(),
            processes: Vec::new(),
            tasks: BTreeMap::new(),
            next_task: 0,
            calls: BTreeMap::new(),
            accepted: BTreeSet::new(),
            swept: 0,
            kills: 0,
            steps: 0,
            trace: 0xcbf2_9ce4_8422_2325,
            at_rest: false,
            agenda: BinaryHeap::new(),
            planned: 0,
            weather,
        };
        world.populate();
        world
    }

    fn populate(&mut self) {
        let mut roles = Vec::new();
        for analyzer in 0..self.weather.analyzers.len() {
            for _ in 0..self.weather.workers_per_analyzer {
                let revision = self.weather.revision(analyzer, 0).clone();
                roles.push(Role::Worker(Worker::new(analyzer, revision)));
            }
        }
        roles.extend((0..self.weather.collectors).map(|_| Role::Collector(Collector::default())));
        roles.push(Role::Producer(Production::new(&self.weather)));
        for (index, role) in roles.into_iter().enumerate() {
            match role {
                Role::Collector(_) => {
                    let first = self.random.between(1, SWEEP_EVERY);
                    self.plan(first, Step::Sweep(index));
                }
                Role::Worker(_) => self.plan(1, Step::Announce(index, 1)),
                Role::Producer(_) => {}
            }
            self.processes.push(Process { role, alive: true, life: 1, connection: 1 });
        }
        self.plan(1, Step::Produce(1));
        for (index, (from, to)) in self.weather.broker_down.clone().into_iter().enumerate() {
            self.plan(from, Step::BrokerDown);
            self.plan(to, Step::BrokerBack(index));
        }
        for at in self.weather.kills.clone() {
            self.plan(at, Step::Kill);
        }
        for at in self.weather.garbage.clone() {
            self.plan(at, Step::Garbage);
        }
        for (_, to) in self.weather.results_stalled.clone() {
            self.plan(to, Step::Wake);
        }
        if let Some(at) = self.weather.upgrade_at {
            self.plan(at, Step::Upgrade);
        }
    }

    /// Goes on until everything is at rest, or it is clear that it never will be.
    pub(super) fn run(&mut self) {
        let end = self.weather.clears_at + HORIZON;
        while !self.at_rest
            && let Some(Reverse((at, _, step))) = self.agenda.pop()
        {
            if at > end || self.steps >= MOST_STEPS {
                return;
            }
            self.now = at;
            self.steps += 1;
            self.step(step);
            self.dispatch();
            self.note(step);
        }
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Wake => {}
            Step::Task(id) => self.task(id),
            Step::Gather(process, life) => self.alive(process, life, Self::gather),
            Step::Commit(process, life) => self.alive(process, life, Self::commit),
            Step::AckBatch(process, life) => self.alive(process, life, Self::ack_batch),
            Step::Sweep(process) => {
                self.at_rest = self.is_at_rest();
                self.plan(SWEEP_EVERY, Step::Sweep(process));
                if self.processes[process].alive {
                    self.sweep(process);
                }
            }
            Step::Deed(process, life) => self.alive(process, life, Self::deed),
            Step::Announce(process, life) => self.alive(process, life, Self::announce),
            Step::Produce(life) => self.alive(self.producer(), life, Self::produce),
            Step::Kill => {
                // A producer that dies leaves jobs unsent, which is a loss.
                let mortal = self.processes.len() - usize::from(self.weather.slow);
                let process = self.random.index(mortal);
                self.kill(process);
            }
            Step::Start(process) => self.start(process),
            Step::BrokerDown => {
                self.broker.release_all();
                for process in &mut self.processes {
                    process.connection += 1;
                }
            }
            Step::BrokerBack(index) => {
                if self.weather.wiped == Some(index) {
                    self.broker.wipe();
                    // Confirmed but not collected yet: this is lost with the disk, until it is listed again.
                    self.list_again();
                }
            }
            Step::Upgrade => {
                for index in 0..self.processes.len() {
                    if matches!(self.processes[index].role, Role::Worker(_)) {
                        self.say_word(index, true);
                        self.kill(index);
                    }
                }
            }
            Step::Garbage => {
                let queue = match self.random.index(2) {
                    0 => Queue::Results,
                    _ => Queue::Jobs(self.weather.analyzers[0].clone()),
                };
                let length = self.random.index(40);
                let body = (0..length).map(|_| self.random.next().to_le_bytes()[0]).collect();
                self.broker.store(&queue, body, 0, self.now);
            }
        }
    }

    fn alive(&mut self, process: usize, life: u64, step: impl FnOnce(&mut Self, usize)) {
        if self.processes[process].alive && self.processes[process].life == life {
            step(self, process);
        }
    }

    /// Lets everybody take what they can.
    fn dispatch(&mut self) {
        if self.broker_down().is_some() {
            return;
        }
        let first = self.random.index(self.processes.len());
        for offset in 0..self.processes.len() {
            let index = (first + offset) % self.processes.len();
            if !self.processes[index].alive {
                continue;
            }
            match self.processes[index].role {
                Role::Worker(_) => self.take_jobs(index),
                Role::Collector(_) => self.begin_gathering(index),
                Role::Producer(_) => {}
            }
        }
    }

    pub(super) fn plan(&mut self, after: u64, step: Step) {
        self.planned += 1;
        self.agenda.push(Reverse((self.now + after, self.planned, step)));
    }

    pub(super) fn kill(&mut self, index: usize) {
        if !self.processes[index].alive {
            return;
        }
        self.kills += 1;
        self.broker.release_owner(self.owner(index));
        let process = &mut self.processes[index];
        process.alive = false;
        process.life += 1;
        process.connection += 1;
        self.tasks.retain(|_, task| task.process != index);
        let longest = if self.weather.slow { 300_000 } else { 10_000 };
        let pause = self.random.between(100, longest);
        self.plan(pause, Step::Start(index));
    }

    /// In bad weather a process may die at any of its steps. True when it did.
    pub(super) fn dies(&mut self, index: usize) -> bool {
        let dies = self.weather.is_bad(self.now) && self.random.chance(self.weather.chances.dies);
        if dies {
            self.kill(index);
        }
        dies
    }

    fn start(&mut self, index: usize) {
        let now = self.now;
        let process = &mut self.processes[index];
        process.alive = true;
        let life = process.life;
        match &mut process.role {
            Role::Worker(worker) => {
                let revision: &Revision = self.weather.revision(worker.analyzer, now);
                *worker = Worker::new(worker.analyzer, revision.clone());
                self.plan(1, Step::Announce(index, life));
            }
            Role::Collector(collector) => *collector = Collector::default(),
            Role::Producer(production) => {
                production.restart();
                self.plan(100, Step::Produce(life));
            }
        }
    }

    /// Publishes to all `routes`. True when the publisher may be sure of it; otherwise it has to send again, and the
    /// message may be in some of the queues already.
    pub(super) fn publish(&mut self, routes: &[Queue], body: &[u8], attempts: u32) -> bool {
        self.publish_later(routes, body, attempts, 0)
    }

    pub(super) fn publish_later(
        &mut self,
        routes: &[Queue],
        body: &[u8],
        attempts: u32,
        after: u64,
    ) -> bool {
        if self.broker_down().is_some() {
            return false;
        }
        let bad = self.weather.is_bad(self.now);
        let mut sure = true;
        for queue in routes {
            if bad && self.random.chance(self.weather.chances.unstored) {
                sure = false;
                continue;
            }
            let latency = if bad { self.random.between(1, 300) } else { 1 };
            self.broker.store(queue, body.to_vec(), attempts, self.now + after + latency);
            self.plan(after + latency, Step::Wake);
        }
        sure && !(bad && self.random.chance(self.weather.chances.unconfirmed))
    }

    /// How long a publisher waits before it sends again.
    pub(super) fn resend_pause(&mut self) -> u64 {
        self.random.between(50, 2000)
    }

    pub(super) fn owner(&self, index: usize) -> Owner {
        (index, self.processes[index].connection)
    }

    pub(super) fn producer(&self) -> usize {
        self.processes.len() - 1
    }

    pub(super) fn broker_down(&self) -> Option<u64> {
        within(&self.weather.broker_down, self.now)
    }

    pub(super) fn results_stalled(&self) -> bool {
        within(&self.weather.results_stalled, self.now).is_some()
    }

    pub(super) fn catalog_down(&self) -> Option<u64> {
        within(&self.weather.catalog_down, self.now)
    }

    /// What the clock of a process says.
    pub(super) fn clock(&self, index: usize) -> Timestamp {
        self.true_time(i64::try_from(self.now).unwrap_or(i64::MAX) + self.weather.clock_skew[index])
    }

    /// What the clock of the database says.
    pub(super) fn database_clock(&self) -> Timestamp {
        self.true_time(i64::try_from(self.now).unwrap_or(i64::MAX))
    }

    fn true_time(&self, milliseconds: i64) -> Timestamp {
        Timestamp::from_millisecond(EPOCH_SECONDS * 1000 + milliseconds)
            .expect("within a few days of 2024")
    }

    fn is_at_rest(&self) -> bool {
        self.now > self.weather.clears_at
            && self.tasks.is_empty()
            && self.broker.waiting() == 0
            && self.processes.iter().all(|process| match &process.role {
                Role::Producer(production) => production.is_done(),
                Role::Collector(collector) => collector.is_idle(),
                Role::Worker(_) => true,
            })
            && self.accepted.iter().all(|(digest, _)| {
                self.catalog.entries.get(digest).is_some_and(|entry| entry.is_complete())
            })
    }

    /// FNV-1a over the step and the state after it.
    fn note(&mut self, step: Step) {
        let (kind, process, life) = match step {
            Step::Wake => (0, 0, 0),
            Step::Task(id) => (1, 0, id),
            Step::Gather(process, life) => (2, process, life),
            Step::Commit(process, life) => (3, process, life),
            Step::AckBatch(process, life) => (4, process, life),
            Step::Sweep(process) => (5, process, 0),
            Step::Deed(process, life) => (6, process, life),
            Step::Announce(process, life) => (14, process, life),
            Step::Produce(life) => (7, 0, life),
            Step::Kill => (8, 0, 0),
            Step::Start(process) => (9, process, 0),
            Step::BrokerDown => (10, 0, 0),
            Step::BrokerBack(index) => (11, index, 0),
            Step::Upgrade => (12, 0, 0),
            Step::Garbage => (13, 0, 0),
        };
        let state = [
            self.now,
            kind,
            process as u64,
            life,
            self.broker.waiting() as u64,
            self.catalog.history.len() as u64,
            self.tasks.len() as u64,
            self.random.clone().next(),
        ];
        for byte in state.into_iter().flat_map(u64::to_le_bytes) {
            self.trace = (self.trace ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3);
        }
    }
}

pub(super) fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
