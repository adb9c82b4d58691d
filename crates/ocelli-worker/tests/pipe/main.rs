//! The pipe from job to settlement, with real queues in memory and real files; only the reader of images is scripted.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

mod answers;
mod attempts;
mod load;
mod no_jobs;
mod world;
