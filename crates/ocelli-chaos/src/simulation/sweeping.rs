//! The sweeper of a simulation: evidence by fences, as in `ocelli-collector`.

use jiff::SignedDuration;
use ocelli_core::Want;
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Fence, Intake, Message};

use super::weather::Flaw;
use super::working::encoded;
use super::world::{Step, World};

/// How long a worker may hold a job at most.
const LONGEST_JOB: SignedDuration = SignedDuration::from_secs(60);

impl World {
    pub(super) fn sweep(&mut self, index: usize) {
        if self.catalog_down().is_some() || self.weather.flaw == Some(Flaw::NoSweeper) {
            return;
        }
        let (now, life) = (self.clock(index), self.processes[index].life);
        if self.collector(index).is_none_or(|collector| !collector.outbox.is_empty()) {
            return;
        }
        let mut messages = Vec::new();
        for analyzer in self.weather.analyzers.clone() {
            if !self.catalog.has_open(&analyzer) {
                continue;
            }
            let passed = self.catalog.fences.get(&analyzer).copied();
            let proven = passed.filter(|fence| {
                fence.passed_at.saturating_add(LONGEST_JOB).is_ok_and(|settled| settled <= now)
            });
            let queue = Queue::Jobs(analyzer.clone());
            if let Some(fence) = proven {
                for open in self.catalog.take_open(&analyzer, fence.published_at, now) {
                    let message = Message::Intake(Intake {
                        image: open.image,
                        sources: open.sources,
                        sighting: None,
                        wants: vec![Want { analyzer: analyzer.clone(), revision: open.revision }],
                        refusal: None,
                        enqueued_at: now,
                    });
                    self.swept += 1;
                    messages.push((queue.clone(), encoded(&message)));
                }
            }
            if passed.is_none() || proven.is_some() {
                let fence = Message::Fence(Fence { analyzer, published_at: now, bulk: false });
                messages.push((queue, encoded(&fence)));
            }
        }
        if !messages.is_empty()
            && let Some(collector) = self.collector(index)
        {
            collector.outbox.extend(messages);
            self.plan(1, Step::Outbox(index, life));
        }
    }

    /// Publishes the next of what the sweeper decided.
    pub(super) fn outbox(&mut self, index: usize) {
        if self.dies(index) {
            return;
        }
        let life = self.processes[index].life;
        let next = self.collector(index).and_then(|collector| collector.outbox.front().cloned());
        let Some((queue, body)) = next else { return };
        let mut pause = 1;
        if self.publish(&[queue], &body, 0) {
            if let Some(collector) = self.collector(index) {
                collector.outbox.pop_front();
            }
        } else {
            pause = self.resend_pause();
        }
        self.plan(pause, Step::Outbox(index, life));
    }
}
