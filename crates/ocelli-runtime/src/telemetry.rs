//! Log lines, to stderr (stdout belongs to data).
//!
//! Compact and coloured on a terminal, one JSON object per line otherwise, so that a journal or a collector can read it.
//! `RUST_LOG` overrides the level setting; `NO_COLOR` (<https://no-color.org>) turns colour off. Secrets cannot get here:
//! they live in types whose `Debug` and `Display` are masked.

use std::io::IsTerminal;

use thiserror::Error;
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{EnvFilter, Layer as _, Registry};

use crate::otlp;
use crate::settings::{LogFormat, LogSettings};

/// Why logging could not be set up.
#[derive(Debug, Error)]
pub enum TelemetryError {
    /// The level or filter does not parse.
    #[error("{origin}: '{filter}' is not a log level or filter")]
    Filter {
        /// `log.level` or `RUST_LOG`.
        origin: &'static str,
        /// The text.
        filter: String,
        /// Why.
        #[source]
        source: tracing_subscriber::filter::ParseError,
    },
    /// Something else in this process already took over logging.
    #[error("logging was already set up for '{binary}'")]
    AlreadySet {
        /// The program.
        binary: &'static str,
        /// What the subscriber said.
        #[source]
        source: tracing_subscriber::util::TryInitError,
    },
}

/// Starts logging, and sending spans where the settings say so.
///
/// # Errors
/// When `RUST_LOG` or `log.level` does not parse, or logging is set up already.
pub fn init(log: &LogSettings, binary: &'static str) -> Result<(), TelemetryError> {
    let terminal = std::io::stderr().is_terminal();
    let filter = filter(std::env::var("RUST_LOG").ok().as_deref(), &log.level)?;
    let color = terminal && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty());
    let lines = tracing_subscriber::fmt::layer().with_writer(std::io::stderr);
    let lines: Box<dyn tracing_subscriber::Layer<Registry> + Send + Sync> =
        if pretty(log.format, terminal) {
            // For people, the spans are left out: they are as long as the lines.
            let words = tracing_subscriber::fmt::format().compact().with_target(false);
            let events = filter_fn(|metadata| metadata.is_event());
            lines.event_format(words).with_ansi(color).with_filter(filter.and(events)).boxed()
        } else {
            let lines =
                lines.json().flatten_event(true).with_current_span(true).with_span_list(false);
            lines.with_filter(filter).boxed()
        };
    let spans = otlp::layer(&log.traces, binary).with_filter(filter_fn(otlp::is_taken));
    let done = tracing_subscriber::registry().with(lines).with(spans).try_init();
    done.map_err(|source| TelemetryError::AlreadySet { binary, source })?;
    tracing::debug!(binary, version = env!("CARGO_PKG_VERSION"), "started");
    Ok(())
}

fn pretty(format: LogFormat, terminal: bool) -> bool {
    match format {
        LogFormat::Auto => terminal,
        LogFormat::Pretty => true,
        LogFormat::Json => false,
    }
}

/// `RUST_LOG` when it says something, else the setting.
/// Libraries whose errors come back as values and are logged where they are handled; a filter may turn them on again.
const QUIET: &str = "lapin=off,sqlx::postgres::notice=off";

fn filter(rust_log: Option<&str>, level: &str) -> Result<EnvFilter, TelemetryError> {
    let (origin, text) = match rust_log {
        Some(text) if !text.trim().is_empty() => ("RUST_LOG", text),
        _ => ("log.level", level),
    };
    EnvFilter::builder().parse(format!("{QUIET},{text}")).map_err(|source| TelemetryError::Filter {
        origin,
        filter: text.to_owned(),
        source,
    })
}

/// Whether `level` is a usable `log.level`; settings are checked with it before anything starts.
///
/// Stricter than the parser, which takes a misspelt level ("inof") for the name of a module and then logs nothing else.
pub(crate) fn is_filter(level: &str) -> bool {
    const LEVELS: [&str; 6] = ["off", "error", "warn", "info", "debug", "trace"];
    let known = |part: &str| LEVELS.iter().any(|level| level.eq_ignore_ascii_case(part.trim()));
    level.split(',').all(|part| part.contains(['=', '[', ']']) || known(part))
        && EnvFilter::builder().parse(level).is_ok()
}

#[cfg(test)]
mod tests {
    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[test]
    fn the_environment_overrides_the_level_setting() {
        let level = |rust_log, setting| filter(rust_log, setting).unwrap().max_level_hint();
        assert_eq!(level(Some("debug"), "info"), Some(LevelFilter::DEBUG));
        assert_eq!(level(Some(" "), "info"), Some(LevelFilter::INFO));
        assert_eq!(level(None, "warn"), Some(LevelFilter::WARN));
    }

    #[test]
    fn a_filter_that_does_not_parse_names_where_it_came_from() {
        let error = filter(Some("a=b=c"), "info").unwrap_err();
        assert_eq!(error.to_string(), "RUST_LOG: 'a=b=c' is not a log level or filter");
    }

    #[test]
    fn a_misspelt_level_is_not_taken_for_a_module() {
        for good in ["info", "WARN", "info,ocelli_broker=debug", "off"] {
            assert!(is_filter(good), "{good}");
        }
        for bad in ["", "inof", "info,", "ocelli_broker", "info,x=loud"] {
            assert!(!is_filter(bad), "{bad}");
        }
    }

    #[test]
    fn auto_is_pretty_only_on_a_terminal() {
        assert!(pretty(LogFormat::Auto, true) && !pretty(LogFormat::Auto, false));
        assert!(pretty(LogFormat::Pretty, false) && !pretty(LogFormat::Json, true));
    }
}
