//! What exists in the broker: exchanges, queues and their limits. Pure; the RabbitMQ backend declares from it and
//! [`definitions`] writes it out for deployments that import it instead.
//!
//! ```text
//! publish ─▶ <ns> (direct) ─▶ <ns>.results, <ns>.jobs.<analyzer>, <ns>.bulk.<analyzer>, <ns>.dead   (by full name)
//! announce ─▶ <ns>.events (topic) ─▶ queues of others, where there are any
//! retry   ─▶ <ns>.delay.<step> (fanout) ─▶ <ns>.delay.<step> ── after <step> ─▶ <ns> ─▶ the queue it came from
//! ```
//!
//! A delay queue has no dead-letter routing key, so an expired message keeps the key it was published with: the name of
//! the queue it came from. That is why a retry is always a fresh message with one key, and why delay queues are not
//! bound to `<ns>`: a copy that was once fanned out would return to all of its queues.
//!
//! All that correctness needs (lifetime, dead-lettering at least once, limits with `reject-publish`) is a queue
//! **argument**: a plain AMQP client cannot set policies, and a queue without them would lose messages silently. Operators may
//! still tighten lengths by policy; RabbitMQ applies the lower of the two.

use std::collections::BTreeMap;
use std::time::Duration;

use ocelli_core::routing::Queue;
use serde_json::{Value, json};

/// Returns to the queue after which a message goes to `Queue::Dead`, on both backends.
///
/// High enough that being prefetched by a consumer that crashes for another message's sake (or loses its connection
/// again and again) does not condemn a message; low enough that a message that kills its consumer ends.
pub const DELIVERY_LIMIT: u32 = 100;

/// Limit of the dead queue, which has no further place to send to: in practice none, but written down, because
/// RabbitMQ 4 would otherwise drop messages after 20 deliveries.
const NO_DELIVERY_LIMIT: u32 = 1_000_000_000;

/// Largest body that is published: what RabbitMQ 4 takes by default. Bodies are references, so real ones are far
/// smaller.
pub const MAX_BODY: usize = 16 * 1024 * 1024;

/// Longest namespace: with the longest analyzer name a queue's name still fits AMQP's 255 bytes.
pub(crate) const MAX_NAMESPACE: usize = 100;

/// A queue argument's value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Argument {
    Text(String),
    Number(u32),
}

/// Everything to declare for one queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct QueueSpec {
    pub(crate) name: String,
    pub(crate) arguments: BTreeMap<&'static str, Argument>,
    /// The exchange it is bound to.
    pub(crate) exchange: ExchangeSpec,
    /// The key it is bound with.
    pub(crate) key: String,
}

/// An exchange; all are durable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct ExchangeSpec {
    pub(crate) name: String,
    pub(crate) kind: &'static str,
}

/// The exchange everything but retries is published to.
pub(crate) fn main_exchange(namespace: &str) -> ExchangeSpec {
    ExchangeSpec { name: namespace.to_owned(), kind: "direct" }
}

/// The exchange events are published to: whoever listens binds queues of their own to it.
pub(crate) fn events_exchange(namespace: &str) -> ExchangeSpec {
    ExchangeSpec { name: format!("{namespace}.events"), kind: "topic" }
}

/// What to declare for `queue`.
pub(crate) fn spec(namespace: &str, queue: &Queue, max_length: u32) -> QueueSpec {
    let name = queue.name(namespace);
    let main = main_exchange(namespace);
    let mut arguments = BTreeMap::from([
        ("x-queue-type", Argument::Text("quorum".to_owned())),
        ("x-overflow", Argument::Text("reject-publish".to_owned())),
        ("x-max-length", Argument::Number(max_length)),
    ]);
    let mut dead_letter = |limit: Option<u32>, key: Option<String>| {
        arguments.insert("x-dead-letter-exchange", Argument::Text(main.name.clone()));
        arguments.insert("x-dead-letter-strategy", Argument::Text("at-least-once".to_owned()));
        if let Some(key) = key {
            arguments.insert("x-dead-letter-routing-key", Argument::Text(key));
        }
        if let Some(limit) = limit {
            arguments.insert("x-delivery-limit", Argument::Number(limit));
        }
    };
    match queue {
        Queue::Results | Queue::Jobs(_) | Queue::Bulk(_) => {
            dead_letter(Some(DELIVERY_LIMIT), Some(Queue::Dead.name(namespace)));
        }
        Queue::Delay(delay) => {
            dead_letter(None, None);
            let lifetime = u32::try_from(delay.as_millis()).unwrap_or(u32::MAX);
            arguments.insert("x-message-ttl", Argument::Number(lifetime));
        }
        Queue::Dead => {
            arguments.insert("x-delivery-limit", Argument::Number(NO_DELIVERY_LIMIT));
        }
    }
    let exchange = match queue {
        Queue::Delay(_) => ExchangeSpec { name: name.clone(), kind: "fanout" },
        _ => main,
    };
    QueueSpec { key: name.clone(), name, arguments, exchange }
}

/// RabbitMQ definitions (`rabbitmqctl import_definitions`, or `POST /api/definitions/<vhost>`) of these queues with
/// the default length limit, for deployments whose clients have no permission to configure.
#[must_use]
pub fn definitions(namespace: &str, queues: &[Queue]) -> Value {
    let specs: Vec<_> =
        queues.iter().map(|queue| spec(namespace, queue, crate::rabbit::MAX_LENGTH)).collect();
    let mut exchanges = BTreeMap::new();
    let main = main_exchange(namespace);
    exchanges.insert(main.name.clone(), main);
    for spec in &specs {
        exchanges.insert(spec.exchange.name.clone(), spec.exchange.clone());
    }
    json!({
        "exchanges": exchanges.values().map(|exchange| json!({
            "name": exchange.name, "type": exchange.kind, "durable": true, "auto_delete": false,
            "internal": false, "arguments": {},
        })).collect::<Vec<_>>(),
        "queues": specs.iter().map(|spec| json!({
            "name": spec.name, "durable": true, "auto_delete": false,
            "arguments": spec.arguments.iter().map(|(name, value)| ((*name).to_owned(), match value {
                Argument::Text(text) => json!(text),
                Argument::Number(number) => json!(number),
            })).collect::<serde_json::Map<_, _>>(),
        })).collect::<Vec<_>>(),
        "bindings": specs.iter().map(|spec| json!({
            "source": spec.exchange.name, "destination": spec.name, "destination_type": "queue",
            "routing_key": spec.key, "arguments": {},
        })).collect::<Vec<_>>(),
    })
}

/// Whether RabbitMQ can wait this long in a queue (its limit is 2^32 - 1 ms, about 49 days).
pub(crate) fn delay_fits(delay: Duration) -> bool {
    (1..u128::from(u32::MAX)).contains(&delay.as_millis())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_expired_message_keeps_the_key_of_the_queue_it_came_from() {
        let spec = spec("ns", &Queue::Delay(Duration::from_secs(10)), 5);
        assert!(!spec.arguments.contains_key("x-dead-letter-routing-key"));
        assert_eq!(spec.arguments["x-message-ttl"], Argument::Number(10_000));
        assert_eq!(spec.exchange, ExchangeSpec { name: "ns.delay.10000ms".into(), kind: "fanout" });
    }

    #[test]
    fn every_queue_is_quorum_and_refuses_rather_than_drops() {
        let analyzer: ocelli_core::AnalyzerName = "a".parse().unwrap();
        for queue in ocelli_core::routing::queues(&[analyzer], &[Duration::from_secs(1)]) {
            let spec = spec("ns", &queue, 5);
            assert_eq!(spec.arguments["x-queue-type"], Argument::Text("quorum".into()));
            assert_eq!(spec.arguments["x-overflow"], Argument::Text("reject-publish".into()));
            let dead_letters = spec.arguments.contains_key("x-dead-letter-exchange");
            assert_eq!(dead_letters, queue != Queue::Dead, "{queue}");
        }
    }

    #[test]
    fn definitions_name_every_exchange_once() {
        let queues = [Queue::Results, Queue::Dead, Queue::Delay(Duration::from_secs(1))];
        let definitions = definitions("ns", &queues);
        assert_eq!(definitions["exchanges"].as_array().unwrap().len(), 2);
        assert_eq!(definitions["queues"].as_array().unwrap().len(), 3);
        assert_eq!(definitions["bindings"].as_array().unwrap().len(), 3);
    }
}
