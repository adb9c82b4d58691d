//! What is published, and the names of the headers ocelli adds.

use bytes::Bytes;
use ocelli_core::routing::Queue;

/// Attempts spent on the job so far (our own count: the broker's differs between its versions).
pub(crate) const ATTEMPTS: &str = "x-ocelli-attempts";
/// W3C Trace Context header of the same name.
pub(crate) const TRACEPARENT: &str = "traceparent";
/// Why a message was rejected to [`Queue::Dead`].
pub(crate) const DEATH_REASON: &str = "x-ocelli-death-reason";
/// The full name of the queue a rejected message came from.
pub(crate) const DEATH_QUEUE: &str = "x-ocelli-death-queue";

/// Longest reject reason that is kept: a reason may quote hostile input, and headers live in the broker's memory.
const REASON_CHARS: usize = 1000;

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outgoing {
    /// Identity of the message; the same on every resend, so that consumers can recognise a double.
    pub id: String,
    /// The encoded envelope. References, never pixels.
    pub body: Bytes,
    /// The queues that must all take it; at least one, none of them a [`Queue::Delay`].
    pub routes: Vec<Queue>,
    /// Attempts spent so far.
    pub attempts: u32,
    /// W3C Trace Context, to be continued by whoever handles the message.
    pub traceparent: Option<String>,
}

/// Something to be told to whoever listens, be it nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// Identity of the event; the same whenever it is told again.
    pub id: String,
    /// What happened, in words joined by dots: the routing key.
    pub kind: &'static str,
    /// JSON.
    pub body: Bytes,
}

/// A reason as it is kept in a header: one line, bounded.
pub(crate) fn clip_reason(reason: &str) -> String {
    reason.chars().map(|c| if c.is_control() { ' ' } else { c }).take(REASON_CHARS).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_reason_becomes_one_short_line() {
        let clipped = clip_reason(&format!("a\nb\u{1b}[31m{}", "é".repeat(5000)));
        assert!(clipped.starts_with("a b [31m"));
        assert_eq!(clipped.chars().count(), REASON_CHARS);
    }
}
