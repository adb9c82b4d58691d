//! Turns what travels on the results queue into rows of the catalog, and enqueues again what got lost on the way.
//!
//! [`run`] is the collector proper: it takes messages in batches, writes each batch in one transaction, and acks after
//! the commit; it empties the dead queue in the same way, enqueues dependent jobs once what they need is there, carries
//! out what people order about batches, and keeps the accounts tidy. Any number of collectors may run. [`backfill`]
//! enqueues what a new revision has not answered yet; [`sweep`] and [`requeue_open`] heal what brokers and processes lost.
//!
//! Absent on purpose: any state of its own. A collector that is killed anywhere has lost nothing but time.

mod backfill;
mod collect;
mod dispatch;
mod enqueue;
mod heartbeat;
mod letters;
mod metrics;
mod orders;
mod proof;
mod settings;
mod stock;
mod sweep;
mod tidy;

pub use backfill::{BackfillParts, Backfilled, backfill};
pub use collect::{CollectorError, CollectorOptions, Parts, run};
pub use enqueue::EnqueueError;
pub use metrics::CollectorMetrics;
pub use proof::{Verdict, judge};
pub use settings::needed_text;
pub use sweep::{SweepOptions, Swept, requeue_jobs, requeue_open, sweep};
