//! Collectors of a simulation: gather, write in one transaction, ack.

use std::collections::VecDeque;
use std::time::Duration;

use ocelli_core::retry::backoff;
use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;

use super::broker::{Delivery, Owner};
use super::sweeping::Deed;
use super::weather::Flaw;
use super::world::{Role, Step, World, milliseconds};

#[derive(Debug, Default)]
pub(super) struct Collector {
    gathering: bool,
    batch: Vec<(Delivery, Owner)>,
    messages: Vec<Message>,
    tries: u32,
    /// What its sweeper still has to do.
    pub(super) deeds: VecDeque<Deed>,
}

impl Collector {
    pub(super) fn is_idle(&self) -> bool {
        self.batch.is_empty() && self.deeds.is_empty()
    }
}

/// Messages in one transaction. Small, so that small fleets have several.
const BATCH: usize = 8;
const LINGER: u64 = 20;

impl World {
    pub(super) fn begin_gathering(&mut self, index: usize) {
        let life = self.processes[index].life;
        let ready = !self.results_stalled() && self.broker.has_ready(&Queue::Results, self.now);
        let Some(collector) = self.collector(index) else { return };
        if ready && !collector.gathering && collector.batch.is_empty() {
            collector.gathering = true;
            self.plan(LINGER, Step::Gather(index, life));
        }
    }

    pub(super) fn gather(&mut self, index: usize) {
        let (owner, life) = (self.owner(index), self.processes[index].life);
        let overtake = match self.weather.is_bad(self.now) {
            true => self.weather.chances.overtake,
            false => 0,
        };
        let (mut batch, mut messages) = (Vec::new(), Vec::new());
        while batch.len() < BATCH && self.broker_down().is_none() {
            let queue = Queue::Results;
            let taken = self.broker.take(&queue, owner, self.now, overtake, &mut self.random);
            let Some(delivery) = taken else { break };
            match Message::decode(&delivery.body) {
                Ok(message) => {
                    messages.push(message);
                    batch.push((delivery, owner));
                }
                Err(_) => match self.publish(&[Queue::Dead], &delivery.body, 0) {
                    true => self.broker.settle(&delivery, owner),
                    false => {
                        self.broker.give_back(&delivery, owner);
                        break;
                    }
                },
            }
        }
        let early = self.weather.flaw == Some(Flaw::AckBeforeCommit);
        for (delivery, owner) in batch.iter().filter(|_| early) {
            self.broker.settle(delivery, *owner);
        }
        let empty = batch.is_empty();
        let Some(collector) = self.collector(index) else { return };
        collector.gathering = false;
        collector.tries = 0;
        (collector.batch, collector.messages) = (batch, messages);
        if !empty {
            self.plan(5, Step::Commit(index, life));
        }
    }

    pub(super) fn commit(&mut self, index: usize) {
        if self.dies(index) {
            return;
        }
        let (now, life) = (self.database_clock(), self.processes[index].life);
        let bad = self.weather.is_bad(self.now);
        let fails = self.catalog_down().is_some()
            || (bad && self.random.chance(self.weather.chances.commit_fails));
        let mut heard = !fails;
        if !fails {
            let messages = self
                .collector(index)
                .map(|collector| collector.messages.clone())
                .unwrap_or_default();
            self.catalog.apply(&messages, now);
            heard = !(bad && self.random.chance(self.weather.chances.commit_unheard));
        }
        if heard {
            self.plan(2, Step::AckBatch(index, life));
            return;
        }
        let random = self.random.unit();
        let Some(collector) = self.collector(index) else { return };
        let (floor, cap) = (Duration::from_millis(100), Duration::from_secs(10));
        let pause = milliseconds(backoff(collector.tries, floor, cap, random));
        collector.tries = collector.tries.saturating_add(1);
        self.plan(pause, Step::Commit(index, life));
    }

    pub(super) fn ack_batch(&mut self, index: usize) {
        if self.dies(index) {
            return;
        }
        let lost = self.weather.is_bad(self.now) && {
            let chance = self.weather.chances.ack_lost;
            self.random.chance(chance)
        };
        let Some(collector) = self.collector(index) else { return };
        collector.messages.clear();
        for (delivery, owner) in std::mem::take(&mut collector.batch) {
            match lost {
                true => self.broker.give_back(&delivery, owner),
                false => self.broker.settle(&delivery, owner),
            }
        }
    }

    pub(super) fn collector(&mut self, index: usize) -> Option<&mut Collector> {
        match &mut self.processes[index].role {
            Role::Collector(collector) => Some(collector),
            _ => None,
        }
    }
}
