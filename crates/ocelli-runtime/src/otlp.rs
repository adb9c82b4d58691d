//! Sends finished spans to an OpenTelemetry collector: OTLP over HTTP in its JSON form
//! (<https://opentelemetry.io/docs/specs/otlp/#otlphttp>), off by default.
//!
//! Only spans that name a trace are taken (see `ocelli_broker::trace`). They leave in batches on a thread of its own; when
//! nobody takes them they are dropped and counted, for no work may wait for its own traces. No TLS on purpose: a
//! collector stands beside, and sends on.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{Read as _, Write as _};
use std::net::{TcpStream, ToSocketAddrs as _};
use std::sync::OnceLock;
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde_json::{Value, json};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Metadata, Subscriber};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// Finished spans that wait to be sent; a few megabytes at most.
const WAITING: usize = 4096;
/// Spans of one request.
const BATCH: usize = 256;
/// How long spans wait for others.
const LINGER: Duration = Duration::from_secs(1);
/// Bound of one request, and of the last ones at the end of the process.
const PATIENCE: Duration = Duration::from_secs(3);
/// Longest value of an attribute.
const CHARS: usize = 1024;

static EXPORTER: OnceLock<SyncSender<Order>> = OnceLock::new();

enum Order {
    Span(Box<Finished>),
    /// Send what waits, then say so.
    Flush(SyncSender<()>),
}

/// Whether `text` is where spans can be sent to: `off`, or `http://host:port`.
pub(crate) fn is_target(text: &str) -> bool {
    text == "off" || authority(text).is_some()
}

fn authority(url: &str) -> Option<&str> {
    let rest = url.strip_prefix("http://")?;
    let rest = rest.trim_end_matches('/');
    let (host, port) = rest.rsplit_once(':')?;
    let is_plain = !rest.contains(['/', '@', '?', '#', ' ']);
    (is_plain && !host.is_empty() && port.parse::<u16>().is_ok()).then_some(rest)
}

/// The layer that takes spans, once per process; none when they are not to be sent.
pub(crate) fn layer(target: &str, binary: &'static str) -> Option<Spans> {
    let authority = authority(target)?.to_owned();
    let (sender, orders) = sync_channel(WAITING);
    EXPORTER.set(sender).ok()?;
    std::thread::spawn(move || export(&orders, &authority, binary));
    Some(Spans)
}

/// Sends what is left, for a bounded time. Called last.
pub fn flush() {
    let Some(exporter) = EXPORTER.get() else { return };
    let (sender, done) = sync_channel(1);
    if exporter.try_send(Order::Flush(sender)).is_ok() {
        let _late = done.recv_timeout(PATIENCE);
    }
}

/// Whether a span of this description is taken.
pub(crate) fn is_taken(metadata: &Metadata<'_>) -> bool {
    metadata.is_span() && metadata.fields().field("span_id").is_some()
}

/// Takes spans when they end.
pub(crate) struct Spans;

/// A span under way or finished.
#[derive(Debug)]
struct Finished {
    name: &'static str,
    begun: SystemTime,
    ended: SystemTime,
    fields: BTreeMap<&'static str, Value>,
}

impl Visit for Finished {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.note(field, Value::from(format!("{value:?}")));
    }
    fn record_str(&mut self, field: &Field, value: &str) {
        self.note(field, Value::from(value));
    }
    fn record_i64(&mut self, field: &Field, value: i64) {
        self.note(field, Value::from(value));
    }
    fn record_u64(&mut self, field: &Field, value: u64) {
        self.note(field, Value::from(value));
    }
}

impl Finished {
    fn note(&mut self, field: &Field, value: Value) {
        self.fields.insert(field.name(), value);
    }
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Spans {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let Some(span) = context.span(id) else { return };
        let now = SystemTime::now();
        let mut begun =
            Finished { name: span.name(), begun: now, ended: now, fields: BTreeMap::new() };
        attributes.record(&mut begun);
        span.extensions_mut().insert(begun);
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(begun) = span.extensions_mut().get_mut::<Finished>()
        {
            values.record(begun);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let span = context.span(&id);
        let Some(mut finished) = span.and_then(|span| span.extensions_mut().remove::<Finished>())
        else {
            return;
        };
        finished.ended = SystemTime::now();
        if let Some(exporter) = EXPORTER.get() {
            // Full: whoever should take them is too slow, and the work goes on.
            let _dropped = exporter.try_send(Order::Span(Box::new(finished)));
        }
    }
}

/// Sends batches until the process ends.
fn export(orders: &Receiver<Order>, authority: &str, binary: &'static str) {
    let mut waiting = Vec::new();
    loop {
        let flushed = match orders.recv_timeout(LINGER) {
            Ok(Order::Span(span)) => {
                waiting.push(*span);
                if waiting.len() < BATCH {
                    continue;
                }
                None
            }
            Ok(Order::Flush(done)) => Some(done),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => return,
        };
        if !waiting.is_empty() {
            let body = request(&waiting, binary).to_string();
            waiting.clear();
            // Not logged as an error: what is lost is a trace, and it would be logged with every batch.
            if let Err(error) = post(authority, &body) {
                tracing::debug!(%error, "spans were not sent to {authority}");
            }
        }
        if let Some(done) = flushed {
            let _gone = done.send(());
        }
    }
}

fn post(authority: &str, body: &str) -> std::io::Result<()> {
    let none = || std::io::Error::other("it is no address");
    let address = authority.to_socket_addrs()?.next().ok_or_else(none)?;
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write!(
        stream,
        "POST /v1/traces HTTP/1.1\r\nHost: {authority}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n{body}",
        body.len()
    )?;
    let mut answer = [0; 64];
    let read = stream.read(&mut answer)?;
    let status = String::from_utf8_lossy(&answer[..read]);
    if status.split(' ').nth(1).is_some_and(|code| code.starts_with('2')) {
        return Ok(());
    }
    Err(std::io::Error::other(format!("it answered {}", status.lines().next().unwrap_or_default())))
}

/// `ExportTraceServiceRequest`.
fn request(spans: &[Finished], binary: &str) -> Value {
    json!({"resourceSpans": [{
        "resource": {"attributes": [
            attribute("service.name", &Value::from(binary)),
            attribute("service.version", &Value::from(env!("CARGO_PKG_VERSION"))),
        ]},
        "scopeSpans": [{
            "scope": {"name": "ocelli", "version": env!("CARGO_PKG_VERSION")},
            "spans": spans.iter().map(span).collect::<Vec<_>>(),
        }],
    }]})
}

/// What of the fields is no attribute, but a part of the span.
const PARTS: [&str; 5] = ["trace_id", "span_id", "parent_id", "otel.kind", "otel.links"];

fn span(span: &Finished) -> Value {
    let text = |name: &str| span.fields.get(name).and_then(Value::as_str).unwrap_or_default();
    let kind = match text("otel.kind") {
        "producer" => 4,
        "consumer" => 5,
        _ => 1,
    };
    let links = text("otel.links").split(' ').filter_map(|link| {
        let mut parts = link.split('-').skip(1);
        Some(json!({"traceId": parts.next()?, "spanId": parts.next()?}))
    });
    let attributes = span.fields.iter().filter(|(name, _)| !PARTS.contains(name));
    json!({
        "traceId": text("trace_id"),
        "spanId": text("span_id"),
        "parentSpanId": text("parent_id"),
        "name": span.name,
        "kind": kind,
        "startTimeUnixNano": nanos(span.begun),
        "endTimeUnixNano": nanos(span.ended),
        "attributes": attributes.map(|(name, value)| attribute(name, value)).collect::<Vec<_>>(),
        "links": links.collect::<Vec<_>>(),
    })
}

fn attribute(name: &str, value: &Value) -> Value {
    let value = match value {
        // 64 bits are strings in JSON.
        Value::Number(number) => json!({"intValue": number.to_string()}),
        Value::String(text) => json!({"stringValue": text.chars().take(CHARS).collect::<String>()}),
        other => json!({"stringValue": other.to_string()}),
    };
    json!({"key": name, "value": value})
}

fn nanos(at: SystemTime) -> String {
    at.duration_since(UNIX_EPOCH).unwrap_or_default().as_nanos().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn spans_are_sent_to_plain_addresses_or_nowhere() {
        for good in ["off", "http://127.0.0.1:4318", "http://otel-collector:4318/"] {
            assert!(is_target(good), "{good}");
        }
        for bad in [
            "",
            "on",
            "https://host:4318",
            "http://host",
            "http://u:p@host:1",
            "http://host:1/path",
            "http://:1",
        ] {
            assert!(!is_target(bad), "{bad}");
        }
    }

    #[test]
    fn a_span_is_written_as_the_protocol_says() {
        let at = UNIX_EPOCH + Duration::from_nanos(1_700_000_000_000_000_001);
        let fields = BTreeMap::from([
            ("trace_id", Value::from("4bf92f3577b34da6a3ce929d0e0e4736")),
            ("span_id", Value::from("00f067aa0ba902b7")),
            ("otel.kind", Value::from("consumer")),
            ("otel.links", Value::from("00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000007-01")),
            ("messaging.batch.message_count", Value::from(3)),
        ]);
        let written = span(&Finished { name: "process job", begun: at, ended: at, fields });
        assert_eq!(written["startTimeUnixNano"], "1700000000000000001");
        assert_eq!((&written["kind"], &written["parentSpanId"]), (&json!(5), &json!("")));
        assert_eq!(written["links"][0]["spanId"], "0000000000000007");
        let count = json!([{"key": "messaging.batch.message_count", "value": {"intValue": "3"}}]);
        assert_eq!(written["attributes"], count);
    }
}
