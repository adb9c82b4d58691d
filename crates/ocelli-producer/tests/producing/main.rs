//! The producer on real folders, with a broker in memory and a catalog in a file. What arrives in the results queue is
//! written to the catalog as the collector would.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod archives;
mod buckets;
mod conditional;
mod digests;
mod folders;
mod hostile;
mod lists;
mod metadata;
mod orders;
mod server;
mod stopping;
mod storms;
mod unchanged;
mod urls;
mod watching;
mod world;
