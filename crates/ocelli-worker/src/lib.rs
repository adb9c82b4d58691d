//! The analyzer seam, and the pipe every worker shares: receive → decode → ask the ledger → fetch → analyze → publish →
//! settle.
//!
//! An analyzer knows images and answers; it knows no queue, no retry and no catalog. The pipe knows those and no
//! analyzer. [`run`] is what `ocelli-ocr-worker`, `ocelli-llm-worker` and the embedded tier start, once per analyzer.
//!
//! Absent on purpose: the catalog. A worker asks it one thing, whether a job may be done, and tells it that it is at it, what
//! that has cost, and that it is over, all through [`Ledger`], which `main` wires in.

mod analyzer;
mod announce;
mod disposition;
mod fetch;
mod hand;
mod hold;
mod ledger;
mod meter;
mod metrics;
mod pipe;
mod places;
mod run;
mod took;

pub use analyzer::{AnalyzeError, Analyzer, Answer, Job, Unavailable};
pub use ledger::{Book, Ledger, LedgerError, Note};
pub use meter::Meter;
pub use metrics::WorkerMetrics;
pub use run::{Parts, WorkerError, WorkerOptions, run};
