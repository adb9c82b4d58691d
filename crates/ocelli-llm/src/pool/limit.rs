//! How many requests at once an endpoint gets, found by measuring. Pure: the clock is an argument.
//!
//! Model servers queue silently: more requests than they have slots for only wait inside the server, so the time of an
//! answer grows with them. By Little's law (requests at once = answers a second × time of an answer) the time alone tells
//! how many answers a second a level gives, without a wait for bursts of answers to even out. So the level doubles while
//! that gives more (slow start), settles a little above the level at which it no longer did, and tries a little more, and
//! seldom a little less, from time to time. A server that says it is busy makes it fall at once (multiplicative decrease,
//! as in AIMD).

use std::time::Duration;

use tokio::time::Instant;

use crate::options::InFlight;

/// A doubled level must finish this many times the answers to be worth it.
const WORTH_DOUBLING: f64 = 1.3;
/// What a try goes up by, and the part of that which must show in the answers.
const TRY_UP: f64 = 1.5;
const WORTH_TRY: f64 = 0.5;
/// What a try goes down by, and the part of the answers that must stay.
const TRY_DOWN: f64 = 0.8;
const KEEPS: f64 = 0.97;
/// Every so many tries one goes down: it costs answers where the level is right. One that costs none is followed by another.
const DOWN_EVERY: u32 = 8;
/// Measured windows between two tries, and before the first: a search that a hiccup has ended early goes on soon.
const REST: u32 = 8;
const FIRST_REST: u32 = 2;
/// What is sent beyond the slots that were found, as their part and in requests: they are at hand when a slot comes free,
/// while this process still reads the last answer.
const AHEAD: f64 = 0.125;
const AHEAD_REQUESTS: f64 = 1.0;
/// What stays after "busy".
const DECREASE: f64 = 0.7;

/// The limit of one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Limit {
    min: f64,
    max: f64,
    now: f64,
    adaptive: bool,
    phase: Phase,
    /// Requests that began earlier are not measured: they met what an earlier level left behind.
    since: Option<Instant>,
    window: Window,
}

/// What is being found out.
#[derive(Debug, Clone, Copy)]
enum Phase {
    /// Whether twice as many give more than before, which a slot takes so many seconds for.
    Search { before: Option<Measured>, free: f64 },
    /// Nothing, for this many windows; then comes this try. The times of answers meanwhile are added up.
    Rest { left: u32, tries: u32, took: f64, windows: u32 },
    /// Whether another level is better than this one.
    Try { from: Measured, tries: u32 },
}

/// A level, and the mean time of an answer at it in seconds.
#[derive(Debug, Clone, Copy)]
struct Measured {
    level: f64,
    took: f64,
}

impl Measured {
    /// Answers a second.
    fn rate(self) -> f64 {
        self.level / self.took
    }
}

/// Answers at one level.
#[derive(Debug, Clone, Default)]
struct Window {
    answers: u32,
    took: Duration,
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
            phase: Phase::Search { before: None, free: 0.0 },
            since: None,
            window: Window::default(),
        }
    }

    /// Requests at once.
    pub(crate) fn get(&self) -> usize {
        self.now.floor().max(1.0) as usize
    }

    /// An answer came after `took`; `wanted` requests were under way or waiting for a place, this one included.
    pub(crate) fn completed(&mut self, at: Instant, took: Duration, wanted: usize) {
        if !self.adaptive {
            return;
        }
        self.window.most_wanted = self.window.most_wanted.max(wanted);
        let is_measured =
            self.since.is_none_or(|since| at.checked_sub(took).is_some_and(|begun| begun >= since));
        if !is_measured {
            return;
        }
        self.window.answers += 1;
        self.window.took += took;
        let level = self.get() as u32;
        // Small differences need more answers to be seen.
        let rounds = if matches!(self.phase, Phase::Try { .. }) { 3 } else { 1 };
        if self.window.answers < (rounds * level).max(4) {
            return;
        }
        let window = std::mem::take(&mut self.window);
        if window.most_wanted < self.get() {
            // There was not enough work to measure the server.
            return;
        }
        let took = (window.took.as_secs_f64() / f64::from(window.answers)).max(1e-6);
        let before = self.get();
        self.measured(Measured { level: self.now.floor(), took });
        if before != self.get() {
            // Until then the server works off what the other level left in it.
            self.since = Some(at + Duration::from_secs_f64(took));
        }
    }

    fn measured(&mut self, here: Measured) {
        match self.phase {
            Phase::Search { before: None, .. } => self.search_on(here, here.took),
            Phase::Search { before: Some(before), free } => {
                if here.rate() >= before.rate() * WORTH_DOUBLING {
                    self.search_on(here, here.took);
                } else {
                    // As many as the server finishes in the time that one takes it when none has to wait.
                    let slots = here.rate() * free;
                    let most = here.level.max(before.level + AHEAD_REQUESTS);
                    self.go(((1.0 + AHEAD) * slots + AHEAD_REQUESTS).min(most));
                    self.rest(FIRST_REST, 0);
                }
            }
            Phase::Rest { left: 0, tries, took, windows } => {
                let from = Measured {
                    level: here.level,
                    took: (took + here.took) / f64::from(windows + 1),
                };
                let down = tries % DOWN_EVERY == DOWN_EVERY - 1 || from.level >= self.max;
                let up = (from.level * TRY_UP).max(from.level + 1.0);
                self.go(if down { from.level * TRY_DOWN } else { up });
                if (self.now - from.level).abs() < 0.5 {
                    self.rest(REST, tries.wrapping_add(1));
                } else {
                    self.phase = Phase::Try { from, tries };
                }
            }
            Phase::Rest { left, tries, took, windows } => {
                let (took, windows) = (took + here.took, windows + 1);
                self.phase = Phase::Rest { left: left - 1, tries, took, windows };
            }
            Phase::Try { from, tries } => {
                let up = here.level > from.level;
                let worth = 1.0 + (here.level / from.level - 1.0) * WORTH_TRY;
                if up && here.rate() >= from.rate() * worth {
                    // At that level some of the time was waiting already.
                    self.search_on(here, here.took.min(from.took / (1.0 + AHEAD)));
                } else if up || here.rate() < from.rate() * KEEPS {
                    self.now = from.level;
                    self.rest(REST, tries.wrapping_add(1));
                } else {
                    self.rest(FIRST_REST, tries);
                }
            }
        }
    }

    fn search_on(&mut self, here: Measured, free: f64) {
        self.go(here.level * 2.0);
        if self.now.floor() > here.level {
            self.phase = Phase::Search { before: Some(here), free };
        } else {
            self.rest(REST, 0);
        }
    }

    const fn rest(&mut self, left: u32, tries: u32) {
        self.phase = Phase::Rest { left, tries, took: 0.0, windows: 0 };
    }

    fn go(&mut self, level: f64) {
        self.now = level.floor().clamp(self.min, self.max);
    }

    /// The server says that it is busy.
    pub(crate) fn overloaded(&mut self) {
        if self.adaptive {
            self.now = (self.now * DECREASE).max(self.min);
            self.rest(REST, 0);
            self.since = None;
            self.window = Window::default();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::cmp::Reverse;
    use std::collections::BinaryHeap;

    use rand::{RngExt, SeedableRng, rngs::StdRng};

    use super::*;

    /// A server that is always asked for as much as the limit allows.
    struct Server {
        now: Instant,
        slots: BinaryHeap<Reverse<Instant>>,
        ends: BinaryHeap<Reverse<(Instant, Instant)>>,
        random: StdRng,
        /// Part by which a time may differ from the usual one.
        spread: f64,
    }

    impl Server {
        fn new(slots: usize, spread: f64) -> Self {
            let now = Instant::now();
            let slots = (0..slots).map(|_| Reverse(now)).collect();
            let random = StdRng::seed_from_u64(7);
            Self { now, slots, ends: BinaryHeap::new(), random, spread }
        }

        /// Answers to `limit` for some seconds, each after `latency` in a slot.
        fn work(&mut self, limit: &mut Limit, latency: Duration, seconds: u64) -> usize {
            let end = self.now + Duration::from_secs(seconds);
            while self.now < end {
                while self.ends.len() < limit.get() {
                    let part = self.random.random_range(1.0 - self.spread..=1.0 + self.spread);
                    let done = self.slots.pop().unwrap().0.max(self.now) + latency.mul_f64(part);
                    self.ends.push(Reverse((done, self.now)));
                    self.slots.push(Reverse(done));
                }
                let open = self.ends.len();
                let Reverse((at, begun)) = self.ends.pop().unwrap();
                self.now = at;
                limit.completed(at, at - begun, open);
            }
            limit.get()
        }
    }

    fn adaptive() -> Limit {
        Limit::new(InFlight::Adaptive { min: 1, max: 512 })
    }

    fn assert_near(slots: usize, found: usize) {
        let most = (slots + 2).max(slots * 3 / 2);
        assert!((slots..=most).contains(&found), "{slots} slots, found {found}");
    }

    #[test]
    fn the_slots_of_a_server_are_found_within_a_minute_and_kept() {
        for (slots, milliseconds) in
            [(1, 2000), (4, 1000), (6, 500), (8, 2000), (64, 1000), (100, 300), (256, 300)]
        {
            for spread in [0.0, 0.3] {
                let (mut limit, mut server) = (adaptive(), Server::new(slots, spread));
                let latency = Duration::from_millis(milliseconds);
                server.work(&mut limit, latency, 45);
                for _ in 0..20 {
                    let found = server.work(&mut limit, latency, 15);
                    // A try goes up by half, or down by a fifth, for a moment.
                    let now = matches!(limit.phase, Phase::Rest { .. });
                    if now {
                        assert_near(slots, found);
                    }
                }
            }
        }
    }

    #[test]
    fn half_a_minute_is_enough_to_have_all_slots_at_work() {
        for (slots, milliseconds) in [(8, 2000), (64, 1000), (256, 300)] {
            let (mut limit, mut server) = (adaptive(), Server::new(slots, 0.0));
            let found = server.work(&mut limit, Duration::from_millis(milliseconds), 30);
            assert!(found >= slots, "{slots} slots, found {found}");
        }
    }

    #[test]
    fn a_hiccup_during_the_search_is_made_good() {
        let (mut limit, mut server) = (adaptive(), Server::new(64, 0.0));
        let usual = Duration::from_millis(500);
        server.work(&mut limit, usual, 4);
        server.work(&mut limit, usual * 4, 4);
        server.work(&mut limit, usual, 30);
        assert!(limit.get() >= 64, "{}", limit.get());
    }

    #[test]
    fn slots_that_come_and_go_are_followed() {
        let (mut limit, mut server) = (adaptive(), Server::new(16, 0.1));
        let latency = Duration::from_millis(300);
        server.work(&mut limit, latency, 30);
        for slots in [48, 8] {
            let now = Reverse(server.now);
            server.slots = (0..slots).map(|_| now).collect();
            server.work(&mut limit, latency, 600);
            // Not in the middle of a try.
            while !matches!(limit.phase, Phase::Rest { .. }) {
                server.work(&mut limit, latency, 1);
            }
            // Going down is slow on purpose, for it costs answers, and may end where it costs next to none.
            let found = limit.get();
            let near = slots * 9 / 10..=slots * 2;
            assert!(near.contains(&found), "{slots} slots, found {found}");
        }
    }

    #[test]
    fn a_busy_server_gets_less_at_once_and_never_less_than_the_minimum() {
        let mut limit = Limit::new(InFlight::Adaptive { min: 2, max: 64 });
        Server::new(16, 0.0).work(&mut limit, Duration::from_millis(100), 30);
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
        let (now, took) = (Instant::now(), Duration::from_millis(1));
        let mut limit = Limit::new(InFlight::Adaptive { min: 1, max: 64 });
        let mut fixed = Limit::new(InFlight::Fixed(3));
        for step in 0..1000 {
            limit.completed(now + Duration::from_millis(step), took, 1);
            fixed.completed(now + Duration::from_millis(step), took, 3);
        }
        fixed.overloaded();
        assert_eq!((limit.get(), fixed.get()), (2, 3));
    }
}
