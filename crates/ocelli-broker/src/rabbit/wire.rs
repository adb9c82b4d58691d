//! Our headers on AMQP messages. Reading trusts nothing: any client can publish anything into a queue.

use bytes::Bytes;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use ocelli_core::routing::Queue;

use crate::delivery::Incoming;
use crate::message::{ATTEMPTS, DEATH_QUEUE, DEATH_REASON, TRACEPARENT};
use crate::topology::MAX_BODY;
use crate::{Death, Event, PublishError};

/// AMQP delivery mode "persistent".
const PERSISTENT: u8 = 2;
/// Bodies are MessagePack envelopes.
const CONTENT_TYPE: &str = "application/msgpack";

/// What to publish, ready for the wire. Half a kilobyte, that goes from hand to hand: it stays in its box.
#[derive(Debug)]
pub(super) struct Parcel {
    pub(super) id: String,
    pub(super) exchange: ShortString,
    pub(super) key: ShortString,
    /// Full name of the queue that takes it: the key, except for retries, whose key is the queue they return to.
    pub(super) queue: String,
    pub(super) body: Bytes,
    pub(super) properties: BasicProperties,
    /// Whether it is an error that no queue takes it.
    pub(super) mandatory: bool,
}

impl Parcel {
    /// What is missing when the exchange is: for a retry the delay queue, not the queue it is to return to.
    pub(super) fn missing(&self) -> String {
        self.exchange.to_string()
    }
}

/// What every copy of a message has in common.
pub(super) struct Content<'a> {
    pub(super) id: &'a str,
    pub(super) body: &'a Bytes,
    pub(super) attempts: u32,
    pub(super) traceparent: Option<&'a str>,
}

/// A message ready to be published.
pub(super) fn parcel(
    content: Content<'_>,
    exchange: &str,
    key: &str,
    headers: &[(&str, String)],
) -> Result<Box<Parcel>, PublishError> {
    let id = content.id.to_owned();
    let refuse = |why: String| PublishError::Refused { id: id.clone(), source: why.into() };
    if content.body.len() > MAX_BODY {
        return Err(refuse(format!(
            "its body has {} bytes, more than {MAX_BODY}",
            content.body.len()
        )));
    }
    let short = |text: &str| ShortString::try_new(text).map_err(|error| refuse(error.to_string()));
    let mut table = FieldTable::default();
    table.insert(ATTEMPTS.into(), AMQPValue::LongUInt(content.attempts));
    let texts = headers.iter().map(|(name, value)| (*name, value.as_str()));
    for (name, value) in texts.chain(content.traceparent.map(|value| (TRACEPARENT, value))) {
        table.insert(name.into(), AMQPValue::LongString(LongString::from(value)));
    }
    let properties = BasicProperties::default()
        .with_message_id(short(content.id)?)
        .with_delivery_mode(PERSISTENT)
        .with_content_type(CONTENT_TYPE.into())
        .with_headers(table);
    Ok(Box::new(Parcel {
        exchange: short(exchange)?,
        key: short(key)?,
        // Our queues have names below the main exchange's, and delay queues the name of their own one.
        queue: match key.strip_prefix(exchange) {
            Some(rest) if rest.starts_with('.') => key.to_owned(),
            _ => exchange.to_owned(),
        },
        body: content.body.clone(),
        properties,
        mandatory: true,
        id,
    }))
}

/// An event ready to be published: to whoever is bound, be it nobody.
pub(super) fn event(event: &Event, exchange: &str) -> Result<Box<Parcel>, PublishError> {
    let content = Content { id: &event.id, body: &event.body, attempts: 0, traceparent: None };
    let parcel = parcel(content, exchange, event.kind, &[])?;
    let properties = BasicProperties::default()
        .with_message_id(event.id.as_str().into())
        .with_delivery_mode(PERSISTENT)
        .with_content_type("application/json".into())
        .with_type(event.kind.into());
    Ok(Box::new(Parcel { properties, mandatory: false, ..*parcel }))
}

/// What we understand of a message that arrived.
pub(super) fn incoming(queue: &Queue, delivery: lapin::message::Delivery) -> Incoming {
    let empty = FieldTable::default();
    let headers = delivery.properties.headers().as_ref().unwrap_or(&empty);
    let id = delivery.properties.message_id().as_ref().map(ToString::to_string);
    Incoming {
        id: id.unwrap_or_default(),
        attempts: headers.inner().get(ATTEMPTS).and_then(number).unwrap_or(0),
        redelivered: delivery.redelivered,
        traceparent: headers.inner().get(TRACEPARENT).and_then(text),
        death: if *queue == Queue::Dead { death(headers) } else { None },
        queue: queue.clone(),
        body: Bytes::from(delivery.data),
    }
}

/// Ours when we rejected it, the broker's latest (`x-death` has the newest first) when it did.
fn death(headers: &FieldTable) -> Option<Death> {
    let get = |name: &str| headers.inner().get(name).and_then(text);
    if let (Some(reason), Some(queue)) = (get(DEATH_REASON), get(DEATH_QUEUE)) {
        return Some(Death { reason, queue });
    }
    let AMQPValue::FieldArray(deaths) = headers.inner().get("x-death")? else { return None };
    let AMQPValue::FieldTable(latest) = deaths.as_slice().first()? else { return None };
    let get = |name: &str| latest.inner().get(name).and_then(text);
    Some(Death { reason: get("reason")?, queue: get("queue")? })
}

fn text(value: &AMQPValue) -> Option<String> {
    match value {
        AMQPValue::LongString(text) => String::from_utf8(text.as_bytes().to_vec()).ok(),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    }
}

/// Any integer that fits; brokers and other clients change the width.
fn number(value: &AMQPValue) -> Option<u32> {
    match value {
        AMQPValue::ShortShortInt(n) => u32::try_from(*n).ok(),
        AMQPValue::ShortShortUInt(n) => Some((*n).into()),
        AMQPValue::ShortInt(n) => u32::try_from(*n).ok(),
        AMQPValue::ShortUInt(n) => Some((*n).into()),
        AMQPValue::LongInt(n) => u32::try_from(*n).ok(),
        AMQPValue::LongUInt(n) => Some(*n),
        AMQPValue::LongLongInt(n) => u32::try_from(*n).ok(),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrived(properties: BasicProperties) -> Incoming {
        let mut delivery =
            lapin::message::Delivery::mock(1, "".into(), "k".into(), false, b"x".to_vec());
        delivery.properties = properties;
        incoming(&Queue::Dead, delivery)
    }

    #[test]
    fn what_is_written_is_read() {
        let body = Bytes::from_static(b"x");
        let content = Content { id: "i", body: &body, attempts: 7, traceparent: Some("00-1") };
        let headers = [(DEATH_REASON, "why".to_owned()), (DEATH_QUEUE, "where".to_owned())];
        let read = arrived(parcel(content, "e", "k", &headers).unwrap().properties);
        assert_eq!((read.id.as_str(), read.attempts), ("i", 7));
        assert_eq!(read.traceparent.as_deref(), Some("00-1"));
        assert_eq!(read.death, Some(Death { reason: "why".into(), queue: "where".into() }));
    }

    #[test]
    fn foreign_headers_of_any_type_are_survived() {
        for value in [
            AMQPValue::Void,
            AMQPValue::LongLongInt(-1),
            AMQPValue::FieldArray(vec![AMQPValue::Void].into()),
            AMQPValue::LongString(LongString::from(vec![0xff, 0xfe])),
        ] {
            let mut headers = FieldTable::default();
            for name in [ATTEMPTS, TRACEPARENT, DEATH_REASON, DEATH_QUEUE, "x-death"] {
                headers.insert(name.into(), value.clone());
            }
            let read = arrived(BasicProperties::default().with_headers(headers));
            assert_eq!((read.attempts, read.traceparent, read.death), (0, None, None));
        }
        assert_eq!(arrived(BasicProperties::default()).id, "");
    }

    #[test]
    fn what_amqp_cannot_carry_is_refused() {
        let content = |id, body| Content { id, body, attempts: 0, traceparent: None };
        let (small, large) = (Bytes::new(), Bytes::from(vec![0; MAX_BODY + 1]));
        let long = "i".repeat(256);
        for bad in [content(&long, &small), content("i", &large)] {
            assert!(matches!(parcel(bad, "e", "k", &[]), Err(PublishError::Refused { .. })));
        }
    }
}
