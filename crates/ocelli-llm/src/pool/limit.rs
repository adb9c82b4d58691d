//! How many requests at once an endpoint gets, found by measuring. Pure: the clock is an argument.
//!
//! Model servers queue silently: more requests than they have slots for only wait inside the server. What shows the number
//! of slots is throughput. So the limit doubles while that finishes more answers a second, settles where it no longer does,
//! and tries a little more from time to time. A server that says it is busy makes it fall at once (multiplicative
//! decrease, as in AIMD).

use tokio::time::Instant;

use crate::options::InFlight;

/// A doubled limit must finish this many times the answers to be worth it.
const WORTH_DOUBLING: f64 = 1.3;
/// Part of the increase that must show in throughput to keep a small step up.
const WORTH_STEP: f64 = 0.5;
/// Measured windows between two steps up.
const REST: u32 = 8;
/// What stays after "busy".
const DECREASE: f64 = 0.7;

/// The limit of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    min: f64,
    max: f64,
    now: f64,
    adaptive: bool,
    doubling: bool,
    /// Level and rate before the step that is being measured.
    before: Option<(f64, f64)>,
    rest: u32,
    window: Window,
}

/// Completions at one level. The first `level` of them began before it and are not measured.
#[derive(Debug, Clone, Default)]
struct Window {
    seen: u32,
    since: Option<Instant>,
    measured: u32,
    /// Answers of the round (as many answers as the level) that is under way, and the most work there was in it.
    round: u32,
    most_wanted: usize,
}

impl Limit {
    pub(crate) fn new(how: InFlight) -> Self {
        let (min, max, adaptive) = match how {
            InFlight::Fixed(n) => (n, n, false),
            InFlight::Adaptive { min, max } => (min, max, min < max),
        };
        let (min, max) = (min.max(1) as f64, max.max(1) as f64);
        Self {
            min,
            max,
            // One in work and one on its way hide the network even at a server with a single slot.
            now: 2.0_f64.clamp(min, max),
            adaptive,
            doubling: true,
            before: None,
            rest: 0,
            window: Window::default(),
        }
    }

    /// Requests at once.
    pub(crate) fn get(&self) -> usize {
        self.now.floor().max(1.0) as usize
    }

    /// An answer came; `wanted` requests were under way or waiting for a place, this one included.
    pub(crate) fn completed(&mut self, at: Instant, wanted: usize) {
        if !self.adaptive {
            return;
        }
        let level = self.get() as u32;
        // Answers of equal length come in bursts, in which places are free for a moment: what counts is the round.
        self.window.round += 1;
        self.window.most_wanted = self.window.most_wanted.max(wanted);
        if self.window.round >= level {
            if self.window.most_wanted < self.get() {
                // There was not enough work to measure the server.
                self.window = Window::default();
                return;
            }
            (self.window.round, self.window.most_wanted) = (0, 0);
        }
        self.window.seen += 1;
        if self.window.seen < level {
            return;
        }
        let Some(since) = self.window.since else {
            self.window.since = Some(at);
            return;
        };
        self.window.measured += 1;
        // Answers of equal length come in bursts of one for each slot, and a window may begin in the middle of one. The steps
        // are small, so their windows are long enough for that not to matter.
        let rounds = if self.doubling { 2 } else { 12 };
        if self.window.measured < (rounds * level).max(4) {
            return;
        }
        let seconds = at.saturating_duration_since(since).as_secs_f64().max(1e-6);
        let rate = f64::from(self.window.measured) / seconds;
        self.window = Window::default();
        self.measured(rate);
    }

    fn measured(&mut self, rate: f64) {
        let level = self.now.floor();
        let Some((old_level, old_rate)) = self.before.take() else {
            if self.doubling {
                self.step_to(level * 2.0, rate);
            } else if self.rest > 0 {
                self.rest -= 1;
            } else {
                self.step_to((level * 1.25).max(level + 1.0), rate);
            }
            return;
        };
        let gain = rate / old_rate;
        let worth = if self.doubling {
            gain >= WORTH_DOUBLING
        } else {
            gain >= 1.0 + (level / old_level - 1.0) * WORTH_STEP
        };
        if worth {
            let next = if self.doubling { level * 2.0 } else { (level * 1.25).max(level + 1.0) };
            self.step_to(next, rate);
        } else {
            // After doubling, one small step is tried at once: the slots may lie in between.
            self.now = old_level;
            self.rest = if self.doubling { 0 } else { REST };
            self.doubling = false;
        }
    }

    fn step_to(&mut self, level: f64, rate: f64) {
        let level = level.min(self.max);
        if level > self.now.floor() {
            self.before = Some((self.now.floor(), rate));
            self.now = level;
        } else {
            self.doubling = false;
            self.rest = REST;
        }
    }

    /// The server says that it is busy.
    pub(crate) fn overloaded(&mut self) {
        if self.adaptive {
            self.now = (self.now * DECREASE).max(self.min);
            self.doubling = false;
            self.before = None;
            self.rest = REST;
            self.window = Window::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BinaryHeap;
    use std::time::Duration;

    use super::*;

    /// A server with `slots` that takes `latency` for each answer, always asked for as much as the limit allows.
    /// Answers with the limit after `seconds`.
    fn settle(limit: &mut Limit, slots: usize, latency: Duration, seconds: u64) -> usize {
        let start = Instant::now();
        let mut free: BinaryHeap<std::cmp::Reverse<Instant>> =
            (0..slots).map(|_| std::cmp::Reverse(start)).collect();
        let mut ends: BinaryHeap<std::cmp::Reverse<Instant>> = BinaryHeap::new();
        let mut now = start;
        while now < start + Duration::from_secs(seconds) {
            while ends.len() < limit.get() {
                let slot = free.pop().unwrap().0.max(now);
                ends.push(std::cmp::Reverse(slot + latency));
                free.push(std::cmp::Reverse(slot + latency));
            }
            let open = ends.len();
            now = ends.pop().unwrap().0;
            limit.completed(now, open);
        }
        limit.get()
    }

    #[test]
    fn the_slots_of_a_server_are_found_within_a_minute() {
        for (slots, milliseconds) in
            [(1, 2000), (4, 1000), (6, 500), (8, 2000), (64, 300), (256, 300)]
        {
            let mut limit = Limit::new(InFlight::Adaptive { min: 1, max: 512 });
            let found = settle(&mut limit, slots, Duration::from_millis(milliseconds), 60);
            // One more hides the network, and one more may just be tried.
            let most = (slots + 2).max(slots * 3 / 2);
            assert!((slots..=most).contains(&found), "{slots} slots, found {found}");
        }
    }

    #[test]
    fn a_busy_server_gets_less_at_once_and_never_less_than_the_minimum() {
        let mut limit = Limit::new(InFlight::Adaptive { min: 2, max: 64 });
        settle(&mut limit, 16, Duration::from_millis(100), 30);
        let before = limit.get();
        limit.overloaded();
        assert!(limit.get() < before);
        for _ in 0..20 {
            limit.overloaded();
        }
        assert_eq!(limit.get(), 2);
    }

    #[test]
    fn too_little_work_and_a_fixed_limit_change_nothing() {
        let now = Instant::now();
        let mut limit = Limit::new(InFlight::Adaptive { min: 1, max: 64 });
        let mut fixed = Limit::new(InFlight::Fixed(3));
        for step in 0..1000 {
            limit.completed(now + Duration::from_millis(step), 1);
            fixed.completed(now + Duration::from_millis(step), 3);
        }
        fixed.overloaded();
        assert_eq!((limit.get(), fixed.get()), (2, 3));
    }
}
