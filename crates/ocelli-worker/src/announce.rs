//! Telling the collector which analyzer works where: at start, on every change, every few seconds, and at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, Outgoing};
use ocelli_core::routing::Queue;
use ocelli_core::wire::{Announcement, Message};
use ocelli_core::{AnalyzerName, Revision};
use ocelli_failpoint::{Failpoint, reached};
use tokio::sync::watch;

/// Whether the analyzer can work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Condition {
    /// It can, as this revision.
    Ready(Revision),
    /// It cannot: why, and the last known revision.
    Waiting(String, Option<Revision>),
    /// It could, and may not: why, and its revision.
    Paused(String, Revision),
    /// It stops for good.
    Leaving(Option<Revision>),
}

/// Who announces.
#[derive(Debug, Clone)]
pub(crate) struct Card {
    pub(crate) analyzer: AnalyzerName,
    pub(crate) kind: &'static str,
    pub(crate) description: String,
    pub(crate) worker: String,
    pub(crate) slots: Arc<AtomicU32>,
    pub(crate) in_progress: Arc<AtomicU32>,
}

/// How long one announcement may wait for a busy broker; the next one says the same.
const PATIENCE: Duration = Duration::from_secs(5);

/// Announces until the condition is [`Condition::Leaving`].
pub(crate) async fn announce(
    broker: Broker,
    card: Card,
    mut condition: watch::Receiver<Condition>,
    every: Duration,
) {
    loop {
        let now = condition.borrow_and_update().clone();
        let leaving = matches!(now, Condition::Leaving(_));
        let message = Message::Announcement(card.say(now));
        if let Ok(body) = message.encode() {
            let outgoing = Outgoing {
                id: message.id(),
                body: body.into(),
                routes: vec![Queue::Results],
                attempts: 0,
                traceparent: None,
            };
            match tokio::time::timeout(PATIENCE, broker.publish(outgoing)).await {
                Ok(Ok(())) => reached(Failpoint::WorkerAnnounced),
                Ok(Err(error)) => tracing::debug!(%error, "an announcement was not delivered"),
                Err(_) => tracing::debug!("an announcement was not delivered in time"),
            }
        }
        if leaving {
            return;
        }
        tokio::select! {
            changed = condition.changed() => if changed.is_err() { return },
            () = tokio::time::sleep(every) => {}
        }
    }
}

impl Card {
    fn say(&self, condition: Condition) -> Announcement {
        let paused = matches!(condition, Condition::Paused(..));
        let (revision, waiting, leaving) = match condition {
            Condition::Ready(revision) => (Some(revision), None, false),
            Condition::Paused(reason, revision) => (Some(revision), Some(reason), false),
            Condition::Waiting(reason, revision) => (revision, Some(reason), false),
            Condition::Leaving(revision) => (revision, None, true),
        };
        Announcement {
            analyzer: self.analyzer.clone(),
            revision,
            kind: self.kind.to_owned(),
            description: self.description.clone(),
            worker: self.worker.clone(),
            slots: self.slots.load(Ordering::Relaxed),
            in_progress: self.in_progress.load(Ordering::Relaxed),
            waiting,
            paused,
            leaving,
            at: Timestamp::now(),
        }
    }
}
