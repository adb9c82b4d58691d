//! What a seed means: how large the fleet is, what the images do to their readers, and which faults come when.

use std::time::Duration;

use ocelli_core::retry::RetryPolicy;
use ocelli_core::{AnalyzerName, Digest, FailureClass, Revision, RevisionBuilder, SourceUri};

use super::random::Random;

/// A mistake that a test builds in, to see that the simulation finds it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Workers settle a job before its answer is confirmed.
    AckBeforePublish,
    /// Collectors settle messages before the transaction that holds them.
    AckBeforeCommit,
    /// An outage counts as an attempt.
    OutageSpends,
    /// Nobody enqueues again what got lost.
    NoSweeper,
    /// The sweeper takes one fence for proof.
    OneFence,
    /// The sweeper takes the time that has passed for proof.
    TimeAlone,
    /// The sweeper does not care about workers that went away.
    DeafSweeper,
    /// Workers of another revision answer without saying that the want has changed.
    NoSupersede,
}

/// What reading an image with an analyzer leads to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Truth {
    /// It can be read.
    Reads,
    /// There is nothing to read.
    Empty,
    /// The first so many attempts fail with a passing failure.
    Stumbles(u32),
    /// Every attempt fails like this.
    Poison(FailureClass),
}

/// From, up to but not including; in milliseconds.
pub(super) type Window = (u64, u64);

#[derive(Debug)]
pub(super) struct Image {
    pub(super) digest: Digest,
    pub(super) sources: Vec<SourceUri>,
    /// By analyzer.
    pub(super) truths: Vec<Truth>,
    pub(super) refused: bool,
}

/// Chances of one thousand that a single step goes wrong, while the weather is bad.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Chances {
    /// A publish is stored, its confirm is lost.
    pub(super) unconfirmed: u64,
    /// A publish is lost.
    pub(super) unstored: u64,
    /// An ack is lost.
    pub(super) ack_lost: u64,
    /// A message overtakes others.
    pub(super) overtake: u64,
    /// A transaction fails before it is committed.
    pub(super) commit_fails: u64,
    /// A transaction is committed and the answer is lost.
    pub(super) commit_unheard: u64,
    /// A process dies in the middle of what it does.
    pub(super) dies: u64,
}

#[derive(Debug)]
pub(super) struct Weather {
    /// Nothing fails.
    pub(super) calm: bool,
    /// Everything takes long and workers come and go, but no message gets lost.
    pub(super) slow: bool,
    pub(super) analyzers: Vec<AnalyzerName>,
    /// The revision before and after `upgrade_at`, by analyzer.
    pub(super) revisions: Vec<[Revision; 2]>,
    pub(super) upgrade_at: Option<u64>,
    pub(super) images: Vec<Image>,
    pub(super) workers_per_analyzer: usize,
    pub(super) slots: usize,
    /// Milliseconds.
    pub(super) longest_analysis: u64,
    pub(super) collectors: usize,
    /// How often the producer lists everything to its end.
    pub(super) runs: u32,
    pub(super) policy: RetryPolicy,
    pub(super) chances: Chances,
    /// Faults happen before this time only.
    pub(super) clears_at: u64,
    /// Broker away; at the end of the window its connections are new.
    pub(super) broker_down: Vec<Window>,
    /// Which of these windows ends with empty queues.
    pub(super) wiped: Option<usize>,
    pub(super) catalog_down: Vec<Window>,
    /// Collectors take nothing from the results queue, and their sweepers go on.
    pub(super) results_stalled: Vec<Window>,
    /// By analyzer.
    pub(super) model_down: Vec<Vec<Window>>,
    /// When a random process is killed.
    pub(super) kills: Vec<u64>,
    /// By process: workers, then collectors, then the producer; in milliseconds.
    pub(super) clock_skew: Vec<i64>,
    pub(super) garbage: Vec<u64>,
    pub(super) flaw: Option<Flaw>,
}

impl Weather {
    pub(super) fn of(seed: u64, flaw: Option<Flaw>, random: &mut Random) -> Self {
        // Every eighth fleet has no faults at all: there everything must cost exactly what it has to.
        let calm = seed.is_multiple_of(8);
        // And another eighth has none that costs a message: there the sweeper must never act.
        let slow = seed % 8 == 4;
        let (soonest, latest) = if slow { (300_000, 1_800_000) } else { (20_000, 240_000) };
        let clears_at = random.between(soonest, latest);
        let analyzers: Vec<AnalyzerName> = (0..random.between(1, 3))
            .map(|n| format!("analyzer-{n}").parse().expect("a valid name"))
            .collect();
        let revisions = analyzers
            .iter()
            .map(|name| [1, 2].map(|n| RevisionBuilder::new(name.as_str()).part("n", n).build()))
            .collect();
        let images = images(seed, analyzers.len(), random);
        let workers_per_analyzer = random.index(3) + 1;
        let collectors = random.index(2) + 1;
        let processes = analyzers.len() * workers_per_analyzer + collectors + 1;
        let windows = |most: u64, longest: u64, random: &mut Random| -> Vec<Window> {
            if calm {
                return Vec::new();
            }
            let count = random.between(0, most);
            let mut windows: Vec<Window> = (0..count)
                .map(|_| {
                    let from = random.between(0, clears_at);
                    (from, (from + random.between(200, longest)).min(clears_at))
                })
                .collect();
            windows.sort_unstable();
            windows
        };
        let broker_down = if slow { Vec::new() } else { windows(3, 40_000, random) };
        let catalog_down = windows(3, if slow { 300_000 } else { 40_000 }, random);
        let results_stalled = windows(6, if slow { 300_000 } else { 20_000 }, random);
        let model_down = analyzers
            .iter()
            .map(|_| windows(2, if slow { 600_000 } else { 120_000 }, random))
            .collect();
        let wiped = (!broker_down.is_empty() && random.chance(300))
            .then(|| random.index(broker_down.len()));
        let kills = match calm {
            true => Vec::new(),
            false => {
                // Few enough for the delivery limit where no message may be lost.
                let count = random.between(0, if slow { 8 } else { 25 });
                (0..count).map(|_| random.between(0, clears_at)).collect()
            }
        };
        let skewed = !calm && !slow && random.chance(250);
        let clock_skew = (0..processes)
            .map(|_| match skewed {
                true => random.index(7_200_000) as i64 - 3_600_000,
                false => 0,
            })
            .collect();
        let chances = match calm || slow {
            true => Chances::default(),
            false => Chances {
                unconfirmed: random.between(0, 100),
                unstored: random.between(0, 100),
                ack_lost: random.between(0, 100),
                overtake: random.between(0, 200),
                commit_fails: random.between(0, 200),
                commit_unheard: random.between(0, 100),
                dies: random.between(0, 30),
            },
        };
        Self {
            calm,
            slow,
            longest_analysis: if slow { 50_000 } else { 2_000 },
            results_stalled,
            upgrade_at: (!calm && random.chance(250)).then(|| random.between(0, clears_at)),
            revisions,
            images,
            workers_per_analyzer,
            slots: random.index(3) + 1,
            collectors,
            runs: u32::try_from(random.between(1, 3)).unwrap_or(1),
            policy: RetryPolicy {
                steps: [1, 5, 20].map(Duration::from_secs).to_vec(),
                ..RetryPolicy::default()
            },
            chances,
            clears_at,
            broker_down,
            wiped,
            catalog_down,
            model_down,
            kills,
            clock_skew,
            garbage: match random.chance(300) && !calm && !slow {
                true => vec![random.between(0, clears_at)],
                false => Vec::new(),
            },
            analyzers,
            flaw,
        }
    }

    pub(super) fn is_bad(&self, now: u64) -> bool {
        !self.calm && !self.slow && now < self.clears_at
    }

    pub(super) fn revision(&self, analyzer: usize, now: u64) -> &Revision {
        let new = self.upgrade_at.is_some_and(|at| now >= at);
        &self.revisions[analyzer][usize::from(new)]
    }
}

fn images(seed: u64, analyzers: usize, random: &mut Random) -> Vec<Image> {
    (0..random.between(1, 8))
        .map(|n| Image {
            digest: Digest::of(format!("{seed}/{n}").as_bytes()),
            sources: (0..random.between(1, 2))
                .map(|copy| format!("file:///{n}-{copy}.png").parse().expect("a valid source"))
                .collect(),
            truths: (0..analyzers).map(|_| truth(random)).collect(),
            refused: random.chance(50),
        })
        .collect()
}

fn truth(random: &mut Random) -> Truth {
    match random.index(20) {
        0 => Truth::Poison(FailureClass::Permanent),
        1 => Truth::Poison(FailureClass::Crash),
        2 => Truth::Poison(FailureClass::Quality),
        3 => Truth::Poison(FailureClass::Transient),
        4 | 5 => Truth::Stumbles(u32::try_from(random.between(1, 3)).unwrap_or(1)),
        6 => Truth::Empty,
        _ => Truth::Reads,
    }
}

/// Whether a window is open; if so, until when.
pub(super) fn within(windows: &[Window], now: u64) -> Option<u64> {
    windows.iter().filter(|(from, to)| (*from..*to).contains(&now)).map(|(_, to)| *to).max()
}
