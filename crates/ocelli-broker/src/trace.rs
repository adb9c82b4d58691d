//! Traces across the queues: the names of spans and attributes stand here and nowhere else, for the conventions they
//! follow still change (OpenTelemetry semantic conventions for messaging, status "development").
//!
//! A producer begins a trace for each image and names it in its log ([`shown`]). Whoever handles a message does so [`within`] its trace: what is published
//! then carries it on by itself, every log line names it, and the record keeps it. Spans are ordinary ones of `tracing`;
//! whether they are sent anywhere is the process's business.

use std::fmt::Write as _;

use ocelli_core::routing::Queue;
use ocelli_core::trace::{TraceContext, TraceId};
use tracing::{Instrument as _, Span};

use crate::{Delivery, Outgoing};

tokio::task_local! {
    static CONTEXT: TraceContext;
}

/// Links of one span: a batch may have hundreds of messages.
const LINKS: usize = 128;

/// A new trace.
#[must_use]
pub fn begin() -> TraceContext {
    TraceContext::begin(rand::random(), rand::random())
}

/// The span that names a trace in every line of the log, whatever its level: for whoever begins one.
#[must_use]
pub fn shown(context: TraceContext) -> Span {
    tracing::error_span!("image", trace_id = %context.trace_id())
}

/// What another message of the same trace carries.
#[must_use]
pub fn sibling(traceparent: Option<&str>) -> Option<String> {
    let context: TraceContext = traceparent?.parse().ok()?;
    Some(context.child(rand::random()).to_string())
}

/// The trace in which this task works, if any.
#[must_use]
pub fn current() -> Option<TraceId> {
    CONTEXT.try_with(|context| context.trace_id()).ok()
}

/// Handles a job within its trace. A message without one begins its own.
pub async fn within<F: Future>(
    delivery: Delivery,
    analyzer: &str,
    work: impl FnOnce(Delivery) -> F,
) -> F::Output {
    let parent: Option<TraceContext> =
        delivery.traceparent.as_deref().and_then(|text| text.parse().ok());
    let context = parent.map_or_else(begin, |parent| parent.child(rand::random()));
    let link = parent.map(|parent| parent.to_string()).unwrap_or_default();
    // Of the level of errors, so that the trace stands in every line, whatever the level of the log.
    let shown = tracing::error_span!("job", trace_id = %context.trace_id(), analyzer);
    let span = tracing::trace_span!(
        target: "ocelli::trace",
        parent: &shown,
        "process job",
        trace_id = %context.trace_id(),
        span_id = context.span_id(),
        parent_id = parent.map(TraceContext::span_id),
        analyzer,
        otel.kind = "consumer",
        otel.links = link,
        messaging.system = "rabbitmq",
        "messaging.operation.type" = "process",
        messaging.destination.name = %delivery.queue,
        messaging.message.id = delivery.id,
    );
    CONTEXT.scope(context, work(delivery)).instrument(span).instrument(shown).await
}

/// The span of writing a batch of messages, linked to the trace of each.
#[must_use]
pub fn batch<'a>(deliveries: impl ExactSizeIterator<Item = &'a Delivery>) -> Span {
    let context = begin();
    let span = tracing::trace_span!(
        target: "ocelli::trace",
        "process results",
        trace_id = %context.trace_id(),
        span_id = context.span_id(),
        otel.kind = "consumer",
        otel.links = tracing::field::Empty,
        messaging.system = "rabbitmq",
        "messaging.operation.type" = "process",
        messaging.batch.message_count = deliveries.len(),
    );
    if !span.is_disabled() {
        let mut links = String::new();
        for link in deliveries.filter_map(|delivery| delivery.traceparent.as_deref()).take(LINKS) {
            let _ = write!(links, "{link} ");
        }
        span.record("otel.links", links.trim_end());
    }
    span
}

/// Gives a message its trace, and the span of sending it.
pub(crate) fn sending(message: &mut Outgoing) -> Span {
    let given = message.traceparent.as_deref().and_then(|text| text.parse::<TraceContext>().ok());
    let parent = CONTEXT.try_with(|context| *context).ok();
    let context = match (given, parent) {
        (Some(given), _) => given,
        (None, Some(parent)) => parent.child(rand::random()),
        // Marks and announcements are in nobody's trace.
        (None, None) => return Span::none(),
    };
    message.traceparent = Some(context.to_string());
    let queue = message.routes.first().map(Queue::to_string).unwrap_or_default();
    tracing::trace_span!(
        target: "ocelli::trace",
        "send",
        trace_id = %context.trace_id(),
        span_id = context.span_id(),
        parent_id = parent.filter(|_| given.is_none()).map(TraceContext::span_id),
        otel.kind = "producer",
        messaging.system = "rabbitmq",
        "messaging.operation.type" = "send",
        messaging.destination.name = queue,
        messaging.message.id = message.id,
        messaging.message.body.size = message.body.len(),
    )
}
