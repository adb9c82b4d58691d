//! The collector and the sweeper on the broker in memory and a SQLite catalog.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod collecting;
mod dependents;
mod sweeping;
mod world;
