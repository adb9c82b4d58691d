//! Everything that a hostile host or file may do, from outside the crate.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should stop")]

mod animations;
mod certificates;
mod clouds;
mod drawing;
mod formats;
mod heif;
mod hostile_files;
mod hostile_hosts;
mod mutations;
mod objects;
mod posting;
mod preparing;
mod server;
