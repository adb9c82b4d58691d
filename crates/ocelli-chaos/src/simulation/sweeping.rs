//! The sweeper of a simulation: the real proof ([`judge`]), and around it the deeds of `ocelli-collector` in their order,
//! one step each, so that a sweeper can die or lose its database between any two of them.

use std::time::Duration;

use jiff::Timestamp;
use ocelli_collector::{SweepOptions, Verdict, judge};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Announcement, Fence, Intake, Message};
use ocelli_core::{AnalyzerName, Want};

use super::catalog::{Open, Seen};
use super::weather::Flaw;
use super::working::{ANNOUNCE_EVERY, encoded};
use super::world::{Step, World};

/// How long a delivery may be in the hands of a worker at most: the longest analysis of slow weather, and some reserve.
const LONGEST_JOB: Duration = Duration::from_secs(60);

/// Announcements that may be missed before a worker counts as gone, as in the settings of `ocelli-collector`.
const MISSED: u32 = 4;

/// What a sweeper has decided to do.
#[derive(Debug, Clone)]
pub(super) enum Deed {
    Claim(AnalyzerName, Vec<Seen>),
    Enqueue(Queue, Vec<u8>),
    Forget(AnalyzerName, Timestamp),
    NoteFence(AnalyzerName, Timestamp),
    SendFence(AnalyzerName, Timestamp),
}

fn options() -> SweepOptions {
    SweepOptions {
        longest_job: LONGEST_JOB,
        silence: Duration::from_millis(ANNOUNCE_EVERY) * MISSED,
        ..SweepOptions::default()
    }
}

impl World {
    pub(super) fn sweep(&mut self, index: usize) {
        if self.catalog_down().is_some() || self.weather.flaw == Some(Flaw::NoSweeper) {
            return;
        }
        let (now, life) = (self.clock(index), self.processes[index].life);
        if self.collector(index).is_none_or(|collector| !collector.deeds.is_empty()) {
            return;
        }
        let options = options();
        let young = now.saturating_sub(options.clock_skew).unwrap_or(now);
        let mut deeds = Vec::new();
        for analyzer in self.weather.analyzers.clone() {
            // Younger ones would not be proven by a fence of now.
            if self.catalog.open(&analyzer, young, Timestamp::MAX).is_empty() {
                continue;
            }
            let verdict = self.verdict(&analyzer, &options, now);
            if let Some(before) = verdict.lost_before {
                let lost = self.catalog.open(&analyzer, before, before);
                deeds.push(Deed::Claim(analyzer.clone(), lost));
            }
            if let Some(before) = verdict.forget_before {
                deeds.push(Deed::Forget(analyzer.clone(), before));
            }
            if verdict.send {
                deeds.push(Deed::NoteFence(analyzer.clone(), now));
                deeds.push(Deed::SendFence(analyzer, now));
            }
        }
        if !deeds.is_empty()
            && let Some(collector) = self.collector(index)
        {
            collector.deeds.extend(deeds);
            self.plan(1, Step::Deed(index, life));
        }
    }

    fn verdict(&self, analyzer: &AnalyzerName, options: &SweepOptions, now: Timestamp) -> Verdict {
        let fences = self.catalog.fences.get(analyzer).map(Vec::as_slice).unwrap_or_default();
        let words: Vec<&Announcement> =
            self.catalog.words.values().filter(|word| word.analyzer == *analyzer).collect();
        let verdict = judge(fences, &words, options, now);
        let settle = options.longest_job + options.silence + options.clock_skew;
        let long_ago = now.saturating_sub(settle).unwrap_or(now);
        match self.weather.flaw {
            Some(Flaw::OneFence) => {
                let settled = fences.iter().rev();
                let settled = settled
                    .filter(|fence| fence.passed_at.is_some_and(|passed| passed <= long_ago));
                let lost_before = settled.map(|fence| fence.published_at).next();
                Verdict { lost_before, ..verdict }
            }
            Some(Flaw::TimeAlone) => Verdict { lost_before: Some(long_ago), ..verdict },
            Some(Flaw::DeafSweeper) => judge(fences, &[], options, now),
            _ => verdict,
        }
    }

    /// The next of what the sweeper decided.
    pub(super) fn deed(&mut self, index: usize) {
        if self.dies(index) {
            return;
        }
        let (now, life) = (self.clock(index), self.processes[index].life);
        let next = self.collector(index).and_then(|collector| collector.deeds.front().cloned());
        let Some(deed) = next else { return };
        let of_catalog = !matches!(deed, Deed::Enqueue(..) | Deed::SendFence(..));
        if of_catalog && self.catalog_down().is_some() {
            // The sweep stops half way, the next one goes on.
            if let Some(collector) = self.collector(index) {
                collector.deeds.clear();
            }
            return;
        }
        let mut news = Vec::new();
        let sent = match deed {
            Deed::Claim(analyzer, seen) => {
                let claimed = self.catalog.claim(&analyzer, &seen, now);
                // Lost work is old work: fresh images go first.
                let queue = Queue::Bulk(analyzer.clone());
                news.extend(
                    claimed.into_iter().map(|open| {
                        Deed::Enqueue(queue.clone(), encoded(&job(&analyzer, open, now)))
                    }),
                );
                true
            }
            Deed::Forget(analyzer, before) => {
                self.catalog.forget_fences(&analyzer, before);
                true
            }
            Deed::NoteFence(analyzer, at) => {
                self.catalog.note_fence(&analyzer, at);
                true
            }
            Deed::SendFence(analyzer, at) => {
                let queue = Queue::Jobs(analyzer.clone());
                let fence =
                    Message::Fence(Fence { analyzer, published_at: at, bulk: false, pulse: false });
                self.publish(&[queue], &encoded(&fence), 0)
            }
            Deed::Enqueue(queue, body) => {
                let sent = self.publish(&[queue], &body, 0);
                self.swept += u64::from(sent);
                sent
            }
        };
        let mut pause = 1;
        if sent {
            if let Some(collector) = self.collector(index) {
                collector.deeds.pop_front();
                news.into_iter().rev().for_each(|deed| collector.deeds.push_front(deed));
            }
        } else {
            pause = self.resend_pause();
        }
        self.plan(pause, Step::Deed(index, life));
    }
}

fn job(analyzer: &AnalyzerName, open: Open, now: Timestamp) -> Message {
    Message::Intake(Intake {
        image: open.image,
        sources: open.sources,
        sighting: None,
        wants: vec![Want { analyzer: analyzer.clone(), revision: open.revision }],
        refusal: None,
        enqueued_at: now,
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    })
}
