//! How to reach RabbitMQ, and every limit of the client, each with its reason.

use std::fmt;
use std::time::Duration;

use crate::BrokerMetrics;

/// Default of [`RabbitOptions::max_length`].
pub(crate) const MAX_LENGTH: u32 = 1_000_000;

/// Settings of the RabbitMQ backend. `RabbitOptions::new(url)` has the defaults.
#[derive(Clone)]
pub struct RabbitOptions {
    /// `amqp://user:password@host:port/vhost` or `amqps://…`. Never printed with its password.
    pub url: String,
    /// Prefix of all exchanges and queues, so that several fleets share a broker. Default `ocelli`.
    pub namespace: String,
    /// What the broker's own pages call this client, for example `ocelli-collector@host`.
    pub connection_name: String,
    /// The first connection must stand within this. Default 4 s: a person is waiting, and knows within 5 s.
    pub connect_timeout: Duration,
    /// Any single AMQP exchange (open a channel, declare, ack) within this, or the connection is made anew.
    /// Default 10 s: RabbitMQ answers in milliseconds, a quorum electing a leader takes a few seconds.
    pub operation_timeout: Duration,
    /// Publishes outstanding and none confirmed for this long (while not blocked): the connection is made anew and they
    /// are sent again. Default 30 s: a slow disk must not look like a dead broker, as resending doubles messages.
    pub confirm_timeout: Duration,
    /// A peer silent for twice this is dead. Default 10 s, as RabbitMQ's guide advises 5 to 20 s; sub-second parts are
    /// dropped, and 0 would switch it off, so 1 s is the least (and noticed after 2.5 s).
    pub heartbeat: Duration,
    /// Unconfirmed publishes per queue before publishers wait. Default 256: throughput no longer grows beyond.
    pub confirm_window: usize,
    /// Messages waiting in one queue before the broker refuses more and publishers wait. Default 1,000,000: about 1 GB
    /// on the broker's disk.
    pub max_length: u32,
    /// The first pause before connecting again; grows with full jitter. Default 200 ms.
    pub reconnect_floor: Duration,
    /// The longest pause before connecting again. Default 15 s: everything works again within half a minute after the
    /// broker's return.
    pub reconnect_cap: Duration,
    /// Waited after the last ack before the connection is closed. Default 500 ms: quorum queues of RabbitMQ 3.10 forget
    /// acks that are followed at once by a close (rabbitmq-server issue 10327).
    pub close_grace: Duration,
    /// Where to count; by default nobody reads it.
    pub metrics: BrokerMetrics,
}

impl RabbitOptions {
    /// The defaults, for the broker at `url`.
    #[must_use]
    pub fn new(url: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            namespace: "ocelli".to_owned(),
            connection_name: "ocelli".to_owned(),
            connect_timeout: Duration::from_secs(4),
            operation_timeout: Duration::from_secs(10),
            confirm_timeout: Duration::from_secs(30),
            heartbeat: Duration::from_secs(10),
            confirm_window: 256,
            max_length: MAX_LENGTH,
            reconnect_floor: Duration::from_millis(200),
            reconnect_cap: Duration::from_secs(15),
            close_grace: Duration::from_millis(500),
            metrics: BrokerMetrics::default(),
        }
    }
}

impl fmt::Debug for RabbitOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RabbitOptions")
            .field("namespace", &self.namespace)
            .field("connection_name", &self.connection_name)
            .finish_non_exhaustive()
    }
}
