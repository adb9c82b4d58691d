//! What is told: one JSON object, in the form that the Standard Webhooks specification gives to payloads (`type`, `timestamp`, `data`).

use bytes::Bytes;
use jiff::Timestamp;
use ocelli_catalog::Due;
use ocelli_core::{Digest, Record};
use ocelli_export::document;
use serde::Serialize;
use serde_json::value::RawValue;

/// Name and version of the schema. A field may be added at any time; the number grows when one changes its meaning or goes.
pub(crate) const SCHEMA: &str = "ocelli.event/1";

/// The one thing that happens so far; also the routing key.
pub(crate) const COMPLETED: &str = "record.completed";

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    #[serde(rename = "type")]
    kind: &'static str,
    id: &'a str,
    timestamp: Timestamp,
    digest: Digest,
    data: Option<Box<RawValue>>,
}

/// An event as it is sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Event {
    /// The same whenever the same completion is told, to whomever.
    pub(crate) id: String,
    pub(crate) body: Bytes,
}

impl Event {
    /// That `record` is complete. Without the record itself when that has more than `most` bytes.
    pub(crate) fn completed(
        record: &Record,
        due: &Due,
        most: usize,
    ) -> Result<Self, serde_json::Error> {
        let id = format!("{}.{}", due.digest, due.completed_at.as_microsecond());
        let whole = serde_json::value::to_raw_value(&document(record, false))?;
        let data = (whole.get().len() <= most).then_some(whole);
        let body = serde_json::to_vec(&Document {
            schema: SCHEMA,
            kind: COMPLETED,
            id: &id,
            timestamp: due.completed_at,
            digest: due.digest,
            data,
        })?;
        Ok(Self { id, body: body.into() })
    }
}
