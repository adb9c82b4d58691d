//! The analyzer seam, and the pipe every worker shares: receive → decode → ask the ledger → fetch → analyze → publish →
//! settle.
//!
//! An analyzer knows images and answers; it knows no queue, no retry and no catalog. The pipe knows those and no
//! analyzer. [`run`] is what `ocelli-ocr-worker`, `ocelli-llm-worker` and the embedded tier start, once per analyzer.
//!
//! Absent on purpose: the catalog. A worker reads one thing from it, whether a job is already done, through
//! [`Ledger`], which `main` wires in.

mod analyzer;
mod announce;
mod fetch;
mod hand;
mod ledger;
mod metrics;
mod pipe;
mod places;
mod run;

pub use analyzer::{AnalyzeError, Analyzer, Answer, Job, Unavailable};
pub use ledger::{Ledger, LedgerError};
pub use metrics::WorkerMetrics;
pub use run::{Parts, WorkerError, WorkerOptions, run};
