//! How the broker and a consumer are doing, for readiness, progress lines and pausing.

use std::time::Duration;

/// How the broker is doing as a whole: the worst of its connections.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum BrokerState {
    /// Everything can be published and consumed.
    Connected,
    /// A connection was lost and is being made again, for as long as it takes.
    Reconnecting {
        /// Why the last connection ended or the last attempt failed.
        reason: String,
        /// Attempts since the connection was lost.
        attempts: u32,
        /// How long the next attempt is waited for.
        next_in: Duration,
    },
    /// The broker takes no messages (memory or disk alarm): publishers wait, consumers go on.
    Blocked {
        /// The broker's own words.
        reason: String,
    },
    /// [`Broker::close`](crate::Broker::close) was called.
    Closed,
}

/// How one consumer is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConsumerState {
    /// Registered at the broker.
    Consuming,
    /// Not registered now (connection away, queue deleted, channel closed); it is tried again until it works.
    Waiting {
        /// Why.
        reason: String,
    },
    /// Cancelled or closed: [`Consumer::next`](crate::Consumer::next) returns `None`.
    Ended,
}
