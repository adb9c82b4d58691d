//! A mark that goes the way of every job: into the job queue of an analyzer, through a worker, through the results queue
//! and to a collector. Its age says how long this way takes now, also while nobody enqueues anything.
//!
//! Nothing of it is kept: a collector notes in a metric when the mark was sent. Where no worker listens, marks are sent
//! more and more seldom, so that few of them lie in the queue when one comes back.

use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use ocelli_broker::Outgoing;
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Fence, Message};
use ocelli_core::{AnalyzerName, chain};
use tokio_util::sync::CancellationToken;

use crate::collect::Parts;

/// How long a mark may wait for a queue that is full; the next one says the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Marks in a row that may get lost before they become no rarer: one of a thousand rounds.
const MOST_UNHEARD: u32 = 10;

/// Sends marks until `shutdown`.
pub(crate) async fn run(parts: &Parts, shutdown: &CancellationToken) {
    let mut pulses: Vec<Pulse> = parts.options.analyzers.iter().map(Pulse::of).collect();
    for pulse in &pulses {
        parts.metrics.heard(&pulse.analyzer, Timestamp::now());
    }
    loop {
        tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(parts.options.heartbeat_every) => {}
        }
        let mut sending = Vec::new();
        for pulse in &mut pulses {
            if pulse.is_due(parts.metrics.last_heard(&pulse.analyzer)) {
                sending.push(send(parts, pulse.analyzer.clone()));
            }
        }
        join_all(sending).await;
    }
}

async fn send(parts: &Parts, analyzer: AnalyzerName) {
    let published_at = Timestamp::now();
    let mark = Fence { analyzer: analyzer.clone(), published_at, bulk: false, pulse: true };
    let message = Message::Fence(mark);
    let Ok(body) = message.encode() else { return };
    let outgoing = Outgoing {
        id: message.id(),
        body: body.into(),
        routes: vec![Queue::Jobs(analyzer)],
        attempts: 0,
        traceparent: None,
    };
    match tokio::time::timeout(PATIENCE, parts.broker.publish(outgoing)).await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => tracing::debug!("a heartbeat was not sent: {}", chain(&error)),
        Err(_) => tracing::debug!("a heartbeat was not sent in time"),
    }
}

/// When an analyzer gets its next mark: at once while they come back, twice as late after each one that does not.
#[derive(Debug)]
struct Pulse {
    analyzer: AnalyzerName,
    heard: f64,
    unheard: u32,
    rest: u32,
}

impl Pulse {
    fn of(analyzer: &AnalyzerName) -> Self {
        Self { analyzer: analyzer.clone(), heard: 0.0, unheard: 0, rest: 0 }
    }

    /// Asked once a round.
    fn is_due(&mut self, heard: f64) -> bool {
        if heard > self.heard {
            *self = Self { heard, ..Self::of(&self.analyzer) };
        }
        if self.rest > 0 {
            self.rest -= 1;
            return false;
        }
        self.rest = (1 << self.unheard) - 1;
        self.unheard = (self.unheard + 1).min(MOST_UNHEARD);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_that_come_back_are_sent_every_round_and_others_twice_as_late_each_time() {
        let mut pulse = Pulse::of(&"tesseract-ocr".parse().unwrap());
        assert!((1..100).all(|round| pulse.is_due(f64::from(round))));
        let silent: Vec<u32> = (0..64).filter(|_| pulse.is_due(99.0)).collect();
        assert_eq!(silent, [0, 2, 6, 14, 30, 62]);
        assert!(pulse.is_due(100.0) && pulse.is_due(101.0), "one came back");
    }
}
