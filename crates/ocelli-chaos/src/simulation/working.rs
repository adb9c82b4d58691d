//! Workers of a simulation: the pipe of `ocelli-worker` from delivery to settlement, one step per point where a process
//! can die.

use std::collections::VecDeque;
use std::time::Duration;

use jiff::SignedDuration;
use ocelli_core::retry::{Decision, backoff};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Announcement, Deferred, Fence, Intake, Message, Partial};
use ocelli_core::{Analysis, FailureClass, Outcome, Provenance, Reading, Revision, Want};

use super::broker::{Delivery, Owner};
use super::weather::{Flaw, Truth, within};
use super::world::{Role, Step, World, milliseconds};

#[derive(Debug)]
pub(super) struct Worker {
    pub(super) analyzer: usize,
    revision: Revision,
    /// Takes no job before this time: something it depends on was away.
    paused_until: u64,
    looks: u32,
}

impl Worker {
    pub(super) fn new(analyzer: usize, revision: Revision) -> Self {
        Self { analyzer, revision, paused_until: 0, looks: 0 }
    }
}

/// Milliseconds between two announcements of a worker.
pub(super) const ANNOUNCE_EVERY: u64 = 20_000;

/// A job in the hands of a worker.
#[derive(Debug, Clone)]
pub(super) struct Task {
    pub(super) process: usize,
    owner: Owner,
    delivery: Delivery,
    analyzer: usize,
    revision: Revision,
    stage: Stage,
    intake: Option<Intake>,
    /// What is published before the delivery is settled, in order.
    say: VecDeque<(Queue, Vec<u8>)>,
    then: Then,
    outage: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Open,
    Begin,
    End,
    Say,
    Settle,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Ack,
    Retry { delay: Duration, attempts: u32 },
    Reject,
}

impl World {
    /// Takes as many jobs as there are slots.
    pub(super) fn take_jobs(&mut self, index: usize) {
        let Role::Worker(worker) = &self.processes[index].role else { return };
        let (analyzer, paused) = (worker.analyzer, worker.paused_until > self.now);
        let revision = worker.revision.clone();
        let name = self.weather.analyzers[analyzer].clone();
        let mut busy = self.tasks.values().filter(|task| task.process == index).count();
        let owner = self.owner(index);
        while !paused && busy < self.weather.slots {
            let overtake = match self.weather.is_bad(self.now) {
                true => self.weather.chances.overtake,
                false => 0,
            };
            let taken =
                [Queue::Jobs(name.clone()), Queue::Bulk(name.clone())].iter().find_map(|queue| {
                    self.broker.take(queue, owner, self.now, overtake, &mut self.random)
                });
            let Some(delivery) = taken else { return };
            let task = Task {
                process: index,
                owner,
                delivery,
                analyzer,
                revision: revision.clone(),
                stage: Stage::Open,
                intake: None,
                say: VecDeque::new(),
                then: Then::Ack,
                outage: false,
            };
            self.tasks.insert(self.next_task, task);
            self.plan(1, Step::Task(self.next_task));
            self.next_task += 1;
            busy += 1;
        }
    }

    /// Says that the worker is there. What is not delivered is not said again: the next announcement says the same.
    pub(super) fn announce(&mut self, index: usize) {
        let life = self.processes[index].life;
        self.say_word(index, false);
        let pause = self.random.between(ANNOUNCE_EVERY, ANNOUNCE_EVERY + 1000);
        self.plan(pause, Step::Announce(index, life));
    }

    pub(super) fn say_word(&mut self, index: usize, leaving: bool) {
        let Role::Worker(worker) = &self.processes[index].role else { return };
        let word = Message::Announcement(Announcement {
            analyzer: self.weather.analyzers[worker.analyzer].clone(),
            revision: Some(worker.revision.clone()),
            kind: String::new(),
            description: String::new(),
            worker: format!("{index}:{}", self.processes[index].life),
            slots: 1,
            in_progress: 0,
            waiting: None,
            paused: false,
            leaving,
            at: self.clock(index),
        });
        self.publish(&[Queue::Results], &encoded(&word), 0);
    }

    /// One step of one job.
    pub(super) fn task(&mut self, id: u64) {
        let Some(task) = self.tasks.get(&id).cloned() else { return };
        if self.dies(task.process) {
            return;
        }
        let (task, after) = match task.stage {
            Stage::Open => self.open(task),
            Stage::Begin => {
                let image = self.image_of(&task);
                self.calls.entry((image, task.analyzer)).or_default().begun += 1;
                let takes = self.random.between(10, self.weather.longest_analysis);
                (Task { stage: Stage::End, ..task }, takes)
            }
            Stage::End => self.end(task),
            Stage::Say => self.say(task),
            Stage::Settle => {
                self.settle(id, task);
                return;
            }
        };
        self.tasks.insert(id, task);
        self.plan(after, Step::Task(id));
    }

    fn open(&mut self, mut task: Task) -> (Task, u64) {
        match Message::decode(&task.delivery.body) {
            Ok(Message::Intake(intake)) => {
                let name = self.weather.analyzers[task.analyzer].clone();
                let Some(want) = intake.wants.iter().find(|want| want.analyzer == name).cloned()
                else {
                    return (rejected(task), 1);
                };
                let other = want.revision.as_ref().is_some_and(|wanted| *wanted != task.revision);
                if other && self.weather.flaw != Some(Flaw::NoSupersede) {
                    let message = Message::Intake(Intake {
                        sighting: None,
                        wants: vec![Want {
                            analyzer: name.clone(),
                            revision: Some(task.revision.clone()),
                        }],
                        enqueued_at: self.clock(task.process),
                        ..intake.clone()
                    });
                    task.say.push_back((Queue::Results, encoded(&message)));
                }
                let digest = intake.image.digest;
                task.intake = Some(intake);
                if self.catalog_down().is_some() {
                    task.say.clear();
                    return (self.fails(task, FailureClass::Outage), 1);
                }
                let done = self.catalog.is_done(&digest, &name, &task.revision);
                task.stage = if done { Stage::Say } else { Stage::Begin };
                let fetching = self.random.between(1, 50);
                (task, fetching)
            }
            Ok(Message::Fence(fence)) => {
                let (queue, message) = match fence.bulk {
                    true => (Queue::Results, Message::FencePassed(fence)),
                    false => (
                        Queue::Bulk(fence.analyzer.clone()),
                        Message::Fence(Fence { bulk: true, ..fence }),
                    ),
                };
                task.say.push_back((queue, encoded(&message)));
                task.stage = Stage::Say;
                (task, 1)
            }
            _ => (rejected(task), 1),
        }
    }

    fn end(&mut self, mut task: Task) -> (Task, u64) {
        let image = self.image_of(&task);
        let down = within(&self.weather.model_down[task.analyzer], self.now).is_some();
        let calls = self.calls.entry((image, task.analyzer)).or_default();
        let failure = match self.weather.images[image].truths[task.analyzer] {
            _ if down => Some(FailureClass::Outage),
            Truth::Poison(class) => Some(class),
            Truth::Stumbles(times) if calls.failed < times => Some(FailureClass::Transient),
            _ => None,
        };
        match failure {
            Some(class) => {
                calls.failed += u32::from(class != FailureClass::Outage);
                task = self.fails(task, class);
            }
            None => {
                let outcome = match self.weather.images[image].truths[task.analyzer] {
                    Truth::Empty => Outcome::Empty,
                    _ => Outcome::Done(Reading {
                        text: format!("read {image}"),
                        ..Reading::default()
                    }),
                };
                let attempts = task.delivery.attempts.saturating_add(1);
                self.answers(&mut task, outcome, attempts);
            }
        }
        if self.weather.flaw == Some(Flaw::AckBeforePublish) {
            self.broker.settle(&task.delivery, task.owner);
        }
        (task, 1)
    }

    fn answers(&mut self, task: &mut Task, outcome: Outcome, attempts: u32) {
        if let Role::Worker(worker) = &mut self.processes[task.process].role {
            worker.looks = 0;
        }
        let Some(intake) = &task.intake else { return };
        let message = Message::Partial(Box::new(Partial {
            digest: intake.image.digest,
            analysis: Analysis {
                analyzer: self.weather.analyzers[task.analyzer].clone(),
                revision: task.revision.clone(),
                outcome,
                attempts,
                finished_at: self.clock(task.process),
                provenance: Provenance::default(),
            },
            hash: None,
            image: None,
        }));
        task.say.push_back((Queue::Results, encoded(&message)));
        task.stage = Stage::Say;
    }

    fn fails(&mut self, mut task: Task, class: FailureClass) -> Task {
        let before = task.delivery.attempts;
        let counted = match self.weather.flaw {
            Some(Flaw::OutageSpends) if class == FailureClass::Outage => FailureClass::Transient,
            _ => class,
        };
        task.outage = class == FailureClass::Outage;
        match self.weather.policy.decide(counted, before) {
            Decision::Retry { step, attempts } => {
                let delay = self.weather.policy.steps[step];
                let wait = SignedDuration::try_from(delay).unwrap_or(SignedDuration::MAX);
                if let Some(intake) = &task.intake {
                    // The news go with the last attempt; only the note goes now.
                    task.say.clear();
                    let note = Message::Deferred(Deferred {
                        digest: intake.image.digest,
                        analyzer: self.weather.analyzers[task.analyzer].clone(),
                        class,
                        reason: class.to_string(),
                        attempts,
                        next_at: self.clock(task.process).saturating_add(wait).unwrap_or_default(),
                        spent: None,
                    });
                    task.say.push_back((Queue::Results, encoded(&note)));
                }
                task.then = Then::Retry { delay, attempts };
                task.stage = Stage::Say;
            }
            Decision::Fail { attempts } => {
                let outcome = Outcome::Failed { class, reason: class.to_string() };
                self.answers(&mut task, outcome, attempts);
            }
        }
        task
    }

    fn say(&mut self, mut task: Task) -> (Task, u64) {
        let Some((queue, body)) = task.say.front().cloned() else {
            return (Task { stage: Stage::Settle, ..task }, 1);
        };
        if !self.publish(&[queue], &body, 0) {
            let pause = self.resend_pause();
            return (task, pause);
        }
        task.say.pop_front();
        (task, 1)
    }

    fn settle(&mut self, id: u64, task: Task) {
        let published = match task.then {
            Then::Ack => true,
            Then::Reject => self.publish(&[Queue::Dead], &task.delivery.body, 0),
            Then::Retry { delay, attempts } => {
                let (queue, body) = (task.delivery.queue.clone(), task.delivery.body.clone());
                self.publish_later(&[queue], &body, attempts, milliseconds(delay))
            }
        };
        if !published {
            let pause = self.resend_pause();
            self.plan(pause, Step::Task(id));
            return;
        }
        self.tasks.remove(&id);
        if self.dies(task.process) {
            return;
        }
        let (delivery, owner) = (task.delivery, task.owner);
        if self.weather.is_bad(self.now) && self.random.chance(self.weather.chances.ack_lost) {
            self.broker.give_back(&delivery, owner);
        } else {
            self.broker.settle(&delivery, owner);
        }
        if task.outage {
            self.pause(task.process);
        }
    }

    fn pause(&mut self, index: usize) {
        let random = self.random.unit();
        let Role::Worker(worker) = &mut self.processes[index].role else { return };
        let (floor, cap) = (Duration::from_millis(500), Duration::from_secs(30));
        let pause = milliseconds(backoff(worker.looks, floor, cap, random));
        worker.looks = worker.looks.saturating_add(1);
        worker.paused_until = self.now + pause;
        self.plan(pause, Step::Wake);
    }

    fn image_of(&self, task: &Task) -> usize {
        let digest = task.intake.as_ref().map(|intake| intake.image.digest);
        self.weather
            .images
            .iter()
            .position(|image| Some(image.digest) == digest)
            .expect("jobs are about images of this simulation")
    }
}

fn rejected(task: Task) -> Task {
    Task { then: Then::Reject, stage: Stage::Settle, ..task }
}

pub(super) fn encoded(message: &Message) -> Vec<u8> {
    message.encode().expect("messages of a simulation are small")
}
