//! Sources → jobs: finds images, reads them once, and enqueues what the catalog lacks.
//!
//! [`run`] lists files, folders, URLs, manifests and standard input; [`watch`](fn@watch) does the same and stays with the folders. For each
//! image one message goes to the collector and to every analyzer that still has something to answer. A producer keeps
//! nothing that it could not do without: it can be killed at any time and run again, and enqueues what is missing and no more.
//!
//! Every reference ends visibly: accepted (enqueued, known or refused), skipped, or a problem with its reason.
//! Absent on purpose: settings and signals (the binary wires them), pixels (workers decode), the state of jobs (the
//! catalog has it).
//!
//! | module | room for |
//! |---|---|
//! | [`options`] | [`ProducerOptions`] |
//! | [`source`] | [`Source`]: what the user names; whether it can be opened |
//! | `manifest`, `table`, `row`, `lines`, [`first_seen`], `walk`, `filter`, `archive`, `bucket`, `held`, `again`, `listing` | sources → references |
//! | `metadata` | what lists say about references beside where they are |
//! | `remembering`, `unchanged` | files and URLs that need not be read |
//! | `read`, `examine`, `readers` | references → facts about images |
//! | [`plan`](mod@plan), `recent`, `decide` | facts → jobs |
//! | `publisher`, `report`, `tally`, `orders`, `backlog` | messages, reports of the batch, counts; waiting while people paused it or collectors are behind |
//! | `run`, `watching`, `settle` | the roles |

mod again;
mod archive;
mod backlog;
mod bucket;
mod clock;
mod decide;
pub mod error;
mod examine;
mod filter;
pub mod first_seen;
mod held;
mod lines;
mod listing;
mod manifest;
mod metadata;
mod metrics;
pub mod options;
mod orders;
pub mod plan;
mod publisher;
mod read;
mod readers;
mod recent;
mod remembering;
mod report;
pub mod role;
mod row;
mod run;
mod settings;
mod settle;
pub mod source;
mod table;
mod tally;
mod unchanged;
mod walk;
mod watching;

pub use error::ProducerError;
pub use metadata::MetaLimits;
pub use metrics::ProducerMetrics;
pub use options::ProducerOptions;
pub use plan::{Plan, Why, plan};
pub use run::{Parts, run, watch};
pub use source::{Source, SourceError, resolve};
pub use tally::{Progress, Summary};
