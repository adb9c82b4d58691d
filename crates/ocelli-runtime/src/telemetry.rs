//! Log lines, to stderr (stdout belongs to data).
//!
//! Compact and coloured on a terminal, one JSON object per line otherwise, so that a journal or a collector can read it.
//! `RUST_LOG` overrides the level setting; `NO_COLOR` (<https://no-color.org>) turns colour off. Secrets cannot get here:
//! they live in types whose `Debug` and `Display` are masked.
//!
//! A line about one image or message has the field `trace_id` in both forms, as far as there is one.

use std::fmt;
use std::io::IsTerminal;

use thiserror::Error;
use tracing::{Event, Metadata, Subscriber};
use tracing_subscriber::filter::{FilterExt as _, filter_fn};
use tracing_subscriber::fmt::format::{DefaultFields, Format, Json, JsonFields, Writer};
use tracing_subscriber::fmt::{
    FmtContext, FormatEvent, FormatFields, FormattedFields, Layer as Lines, MakeWriter,
};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
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
            // For people, spans are left out, which are as long as the lines: all but the one that names a trace.
            let words = tracing_subscriber::fmt::format().compact().with_target(false);
            let shown = filter_fn(|metadata| metadata.is_event() || names_a_trace(metadata));
            lines.event_format(words).with_ansi(color).with_filter(filter.and(shown)).boxed()
        } else {
            json(lines).with_filter(filter).boxed()
        };
    let spans = otlp::layer(&log.traces, binary).with_filter(filter_fn(otlp::is_taken));
    let done = tracing_subscriber::registry().with(lines).with(spans).try_init();
    done.map_err(|source| TelemetryError::AlreadySet { binary, source })?;
    tracing::debug!(binary, version = env!("CARGO_PKG_VERSION"), "started");
    Ok(())
}

/// Whether a span is there for the log alone: it names a trace and is no part of it (see `ocelli_broker::trace`).
fn names_a_trace(metadata: &Metadata<'_>) -> bool {
    let has = |name: &str| metadata.fields().field(name).is_some();
    metadata.is_span() && has("trace_id") && !has("span_id")
}

fn json<W: for<'a> MakeWriter<'a> + 'static>(
    lines: Lines<Registry, DefaultFields, Format, W>,
) -> Lines<Registry, JsonFields, Traced<Format<Json>>, W> {
    let words = tracing_subscriber::fmt::format().json();
    let words = words.flatten_event(true).with_current_span(true).with_span_list(false);
    lines.json().event_format(Traced(words))
}

/// Lines of JSON in which the trace is a field of the line itself, be it the event that names it or a span around it: one name
/// to look for.
struct Traced<F>(F);

impl<S, N, F> FormatEvent<S, N> for Traced<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        let is_named = event.metadata().fields().field("trace_id").is_some();
        let around = if is_named { None } else { trace_around(context) };
        let Some(trace) = around else { return self.0.format_event(context, writer, event) };
        let mut line = String::new();
        self.0.format_event(context, Writer::new(&mut line), event)?;
        match line.strip_prefix('{') {
            Some(rest) => write!(writer, "{{\"trace_id\":\"{trace}\",{rest}"),
            None => writer.write_str(&line),
        }
    }
}

/// The trace that the innermost of the spans around an event names, in 32 hexadecimal digits.
fn trace_around<S, N>(context: &FmtContext<'_, S, N>) -> Option<String>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    context.event_scope()?.find_map(|span| {
        let extensions = span.extensions();
        // As it was written down when the span began.
        let fields = &extensions.get::<FormattedFields<N>>()?.fields;
        let (_, rest) = fields.split_once("\"trace_id\":\"")?;
        rest.get(..32).map(str::to_owned)
    })
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
    use std::io;
    use std::sync::{Arc, Mutex};

    use tracing_subscriber::filter::LevelFilter;

    use super::*;

    #[derive(Clone, Default)]
    struct Sink(Arc<Mutex<Vec<u8>>>);

    impl io::Write for Sink {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_line_of_json_names_its_trace_in_one_place_whoever_knows_it() {
        const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
        let sink = Sink::default();
        let writer = sink.clone();
        let lines = tracing_subscriber::fmt::layer().with_writer(move || writer.clone());
        let subscriber = tracing_subscriber::registry().with(json(lines));
        tracing::subscriber::with_default(subscriber, || {
            tracing::info!("nobody's");
            tracing::info!(trace_id = TRACE, "its own");
            let job = tracing::error_span!("job", trace_id = %TRACE, analyzer = "a");
            job.in_scope(|| {
                tracing::info!("around");
                tracing::debug_span!("within", part = 1).in_scope(|| tracing::info!("further"));
                tracing::info!(trace_id = "another", "an event knows best");
            });
        });
        let text = String::from_utf8(sink.0.lock().unwrap().clone()).unwrap();
        let lines: Vec<serde_json::Value> =
            text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let traces: Vec<_> = lines.iter().map(|line| line["trace_id"].as_str()).collect();
        assert_eq!(
            traces,
            [None, Some(TRACE), Some(TRACE), Some(TRACE), Some("another")],
            "{text}"
        );
    }

    #[test]
    fn only_spans_that_are_there_for_the_log_are_shown_to_people() {
        let of = |span: tracing::Span| span.metadata().is_some_and(names_a_trace);
        let subscriber = tracing_subscriber::registry().with(tracing_subscriber::fmt::layer());
        tracing::subscriber::with_default(subscriber, || {
            assert!(of(tracing::error_span!("job", trace_id = "t")));
            assert!(!of(tracing::error_span!("process job", trace_id = "t", span_id = "s")));
            assert!(!of(tracing::error_span!("other", part = 1)));
        });
    }

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
