//! A whole fleet in one thread: producer, workers, collectors and sweeper over a broker and a catalog that misbehave.
//!
//! **Real** are the decisions: [`ocelli_core::Record`] and its merge, [`ocelli_core::retry::RetryPolicy::decide`] and
//! `backoff`, [`ocelli_producer::plan`](fn@ocelli_producer::plan), the sweeper's proof
//! ([`ocelli_collector::judge`]), and the messages as they are encoded and read on the wire. **A model** is everything
//! around them, written here a second time and in small: the loops of the programs, the broker, the catalog's
//! transactions and the clock. So a simulation finds mistakes in the protocol between the programs and in the pure parts;
//! mistakes in the loops themselves are for the tests with real programs and for `make chaos`.
//!
//! One seed is one run: it draws the size of the fleet, what the images do to their readers, and every fault. Equal
//! seeds give equal runs, step by step ([`Report::trace`]).

mod broker;
mod catalog;
mod check;
mod collecting;
mod producing;
mod random;
mod sweeping;
mod weather;
mod working;
mod world;

pub use weather::Flaw;

/// What a run came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// As given.
    pub seed: u64,
    /// A hash over every step with its time and the state after it.
    pub trace: u64,
    /// Steps taken.
    pub steps: u64,
    /// Different images that the producer reported as accepted.
    pub accepted: usize,
    /// Analyses that were begun.
    pub calls: u64,
    /// Processes that were killed.
    pub kills: u64,
    /// Jobs that the sweeper enqueued again.
    pub swept: u64,
    /// Simulated time until everything was at rest, in seconds.
    pub seconds: u64,
    /// Promises that were broken. Empty is good.
    pub violations: Vec<String>,
}

/// Runs the fleet of `seed` to its end, with a mistake built in if one is given.
#[must_use]
pub fn run(seed: u64, flaw: Option<Flaw>) -> Report {
    let mut world = world::World::new(seed, flaw);
    world.run();
    check::report(world)
}
