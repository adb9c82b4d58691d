//! From settings to parts: the one library that sees both.
//!
//! Every `main` does the same things in the same order: read the settings, start logging, open what it needs, run its
//! role, drain, say how it went. [`Process`] is that order; the functions of [`parts`] open what several roles need.
//! The roles themselves (`ocelli-collector`, `ocelli-ocr` …) know no settings and no process.

pub mod books;
pub mod fault;
pub mod health;
mod listening;
mod manual;
pub mod parts;
pub mod process;
pub mod rules;
mod sources;
pub mod workers;

pub use books::Books;
pub use fault::Fault;
pub use listening::Listening;
pub use manual::parse;
pub use process::{CommonArgs, Process, start};
pub use sources::{Retry, SourceArgs};
