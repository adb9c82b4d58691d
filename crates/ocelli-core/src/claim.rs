//! Claims: who works on which job, so that no two pay for it. The words that workers and the catalog share.

use std::time::Duration;

use jiff::Timestamp;

use crate::{AnalyzerName, AttemptId, BatchId, Digest, Provenance, Revision};

/// A job: what exactly is paid for once.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct JobKey {
    /// Image.
    pub digest: Digest,
    /// Analyzer.
    pub analyzer: AnalyzerName,
    /// The revision that answers.
    pub revision: Revision,
}

/// A wish to work on a job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ClaimRequest {
    /// Which job.
    pub job: JobKey,
    /// The attempt that is to begin: claims of one process are told apart by it.
    pub attempt: AttemptId,
    /// Which worker process, for people.
    pub holder: String,
    /// The batch that the job came with.
    pub batch: Option<BatchId>,
    /// How long the claim counts without being renewed; none only asks, and claims nothing.
    pub lease: Option<Duration>,
}

/// The answer to a [`ClaimRequest`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// Go ahead.
    Free {
        /// The batch that pays: that of the request, else the one that saw the image first.
        batch: Option<BatchId>,
    },
    /// There is an analysis already.
    Done,
    /// Nobody wants it any more: every batch that asked for it was cancelled.
    Withdrawn,
    /// Somebody else works on it.
    Held {
        /// Who.
        holder: String,
        /// When its claim ends unless it is renewed.
        until: Timestamp,
    },
    /// Not at the moment.
    Paused {
        /// Why, and when it goes on.
        reason: String,
        /// Whether that is so for all jobs of the analyzer; else for those of some batches.
        all: bool,
    },
}

/// That the work on a job goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Renewal {
    /// Which job.
    pub job: JobKey,
    /// Whose claim.
    pub attempt: AttemptId,
    /// How long it counts from now.
    pub lease: Duration,
}

/// What an attempt has cost so far.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cost {
    /// Model name.
    pub model: Option<String>,
    /// Answers that came; nothing was paid while there is none.
    pub calls: u32,
    /// Tokens read.
    pub tokens_in: u64,
    /// Tokens written.
    pub tokens_out: u64,
    /// Millionths of the currency.
    pub micros: u64,
    /// ISO 4217.
    pub currency: Option<String>,
}

impl Cost {
    /// The cost that `provenance` notes; none when nothing was answered.
    #[must_use]
    pub fn of(provenance: &Provenance) -> Option<Self> {
        provenance.has_cost().then(|| Self {
            model: provenance.model.clone(),
            calls: provenance.calls.max(1),
            tokens_in: provenance.tokens_in.unwrap_or(0),
            tokens_out: provenance.tokens_out.unwrap_or(0),
            micros: provenance.cost_micros.unwrap_or(0),
            currency: provenance.currency.clone(),
        })
    }
}

/// What an attempt has cost so far: counts for budgets at once, and as waste if nothing is ever heard of the attempt again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Paid {
    /// Which job.
    pub job: JobKey,
    /// Whose claim.
    pub attempt: AttemptId,
    /// All of it, not what is new.
    pub cost: Cost,
}

/// That an attempt has ended. What it cost was said before ([`Paid`]), and counts for budgets until the collector has
/// written it down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ended {
    /// Which job.
    pub job: JobKey,
    /// Whose claim.
    pub attempt: AttemptId,
    /// How long nobody else may begin, because an answer is on its way; none when the job is to be done again.
    pub answered: Option<Duration>,
}

/// What a worker process has to say at one moment. One transaction for any number of jobs.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Bookings {
    /// Work that goes on.
    pub renewals: Vec<Renewal>,
    /// What attempts have cost so far.
    pub paid: Vec<Paid>,
    /// Work that has ended.
    pub ended: Vec<Ended>,
    /// Work that is to begin; answered in this order.
    pub claims: Vec<ClaimRequest>,
}
