//! The scaffolding every ocelli process stands on: settings, logs, signals, readiness, metrics and exit codes.
//!
//! Only `main.rs` files and the command line call this crate. Library crates get finished values (a `Duration`, a
//! `CancellationToken`, a `prometheus::Registry`), so none of them reads a settings file, an environment variable or a
//! signal. Knowledge of brokers, catalogs and models is absent on purpose.
//!
//! | module | room for |
//! |---|---|
//! | [`settings`] | [`Settings`]: layers, checks, origins, reference |
//! | [`telemetry`] | log lines to stderr |
//! | [`metrics`] | the registry and what every process reports about itself |
//! | [`otlp`] | spans to an OpenTelemetry collector |
//! | [`connections`] | HTTP connections within limits |
//! | [`http`] | `/metrics`, `/healthz`, `/readyz` |
//! | [`readiness`] | latches: is this process able to work yet? |
//! | [`watchdog`] | progress marks: does it still move? |
//! | [`shutdown`] | SIGTERM and SIGINT as a token |
//! | [`exit`] | [`ExitCode`]: what a finished process says |

pub mod connections;
pub mod exit;
pub mod http;
pub mod metrics;
pub mod otlp;
pub mod readiness;
pub mod settings;
pub mod shutdown;
pub mod telemetry;
pub mod watchdog;
mod worded;

pub use exit::ExitCode;
pub use http::{HttpError, HttpServer};
pub use readiness::{Latch, Readiness};
pub use settings::{LoadOptions, Loaded, Settings, SettingsError};
pub use watchdog::{Mark, Stall, Watchdog};
