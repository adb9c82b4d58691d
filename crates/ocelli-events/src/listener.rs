//! One who is told, and how.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use ocelli_broker::Broker;
use ocelli_catalog::query::Query;
use ocelli_core::chain;
use ocelli_media::Poster;

use crate::event::{COMPLETED, Event};
use crate::signature::Secret;

/// The name of the broker's exchange among listeners. No webhook may have it.
pub const EXCHANGE: &str = "exchange";

/// Events that the broker gets at once.
const EXCHANGE_AT_ONCE: u32 = 32;

/// Someone who is told of complete records.
pub struct Listener {
    name: String,
    /// Only records that match, where there is one.
    pub(crate) query: Option<Query>,
    /// Told at once.
    pub(crate) at_once: u32,
    way: Way,
}

enum Way {
    Exchange(Broker),
    Webhook { poster: Poster, secret: Box<Secret> },
}

/// Why something was not told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Untold {
    pub(crate) reason: String,
    /// How long the other side asked to be left alone.
    pub(crate) retry_after: Option<Duration>,
}

impl Listener {
    /// Whoever has bound a queue to the broker's exchange of events.
    #[must_use]
    pub fn exchange(broker: Broker) -> Self {
        Self {
            name: EXCHANGE.to_owned(),
            query: None,
            at_once: EXCHANGE_AT_ONCE,
            way: Way::Exchange(broker),
        }
    }

    /// A webhook, told `at_once` events at once, of the records that match.
    #[must_use]
    pub fn webhook(
        name: String,
        poster: Poster,
        secret: Secret,
        query: Option<Query>,
        at_once: u32,
    ) -> Self {
        Self {
            name,
            query,
            at_once: at_once.max(1),
            way: Way::Webhook { poster, secret: Box::new(secret) },
        }
    }

    /// Its name, in settings, metrics and the catalog.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Tells one event; it was taken when this succeeds.
    pub(crate) async fn tell(&self, event: Event) -> Result<(), Untold> {
        match &self.way {
            Way::Exchange(broker) => {
                let event =
                    ocelli_broker::Event { id: event.id, kind: COMPLETED, body: event.body };
                broker
                    .announce(event)
                    .await
                    .map_err(|error| Untold { reason: chain(&error), retry_after: None })
            }
            Way::Webhook { poster, secret } => post(poster, secret, event).await,
        }
    }
}

/// The headers are those of the Standard Webhooks specification. The time is that of this attempt: receivers refuse old ones.
async fn post(poster: &Poster, secret: &Secret, event: Event) -> Result<(), Untold> {
    let Event { id, body } = event;
    let seconds = Timestamp::now().as_second();
    let signature = secret.sign(&id, seconds, &body);
    let headers = [
        ("content-type", "application/json".to_owned()),
        ("webhook-id", id),
        ("webhook-timestamp", seconds.to_string()),
        ("webhook-signature", signature),
    ];
    let body: Bytes = body;
    poster
        .post(&headers, body)
        .await
        .map_err(|error| Untold { reason: chain(&error), retry_after: error.retry_after() })
}
