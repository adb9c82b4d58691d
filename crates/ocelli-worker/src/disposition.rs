//! What is to become of a delivery.

use std::time::Duration;

use ocelli_core::routing::Queue;
use ocelli_core::wire::{Deferred, Message};

/// What to do with a delivery, decided by everything before the last step.
#[derive(Debug)]
pub(crate) enum Disposition {
    /// Publish these to the queue with confirms, then ack.
    Publish(Queue, Vec<Message>),
    /// Nothing to publish: the job is done already (`duplicate`), or nobody wants it any more (`withdrawn`).
    Needless(&'static str),
    /// Say so, then let it wait and come back.
    Retry { deferred: Box<Deferred>, delay: Duration, why: Why },
    /// Not a job: keep it for people.
    Reject(String),
}

/// Why a job is put off.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Why {
    /// Its attempt failed.
    Failed,
    /// Something all jobs depend on is away.
    Outage,
    /// Somebody else works on it.
    Held,
    /// It may not be done at the moment.
    JobPaused,
    /// No job of the analyzer may be done at the moment.
    AllPaused,
}

impl Why {
    /// As [`crate::WorkerMetrics`] counts it.
    pub(crate) const fn counted(self) -> &'static str {
        match self {
            Self::Failed | Self::Outage => "retried",
            Self::Held => "held",
            Self::JobPaused | Self::AllPaused => "paused",
        }
    }
}
