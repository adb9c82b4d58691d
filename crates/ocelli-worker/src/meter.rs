//! What an attempt has taken so far, told while it still goes on: a worker that dies then has not spent it unseen.

use std::time::Duration;

use ocelli_core::claim::{Cost, JobKey, Paid};
use ocelli_core::{AttemptId, Provenance};
use prometheus::Histogram;

use crate::Ledger;
use crate::ledger::Note;

/// Takes what one attempt has cost so far, and how long its image took to decode. The default one tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Meter {
    cost: Option<Metered>,
    decode: Option<Histogram>,
}

#[derive(Debug, Clone)]
struct Metered {
    ledger: Ledger,
    job: JobKey,
    attempt: AttemptId,
}

impl Meter {
    pub(crate) fn new(ledger: &Ledger, job: &JobKey, attempt: AttemptId) -> Self {
        let cost = Metered { ledger: ledger.clone(), job: job.clone(), attempt };
        Self { cost: Some(cost), decode: None }
    }

    /// The same, with where times of decoding go.
    pub(crate) fn timing(self, decode: Histogram) -> Self {
        Self { decode: Some(decode), ..self }
    }

    /// For an analyzer that was answered and is going to ask again. Waits for nothing.
    pub fn tell(&self, so_far: &Provenance) {
        if let (Some(metered), Some(cost)) = (&self.cost, Cost::of(so_far)) {
            let (job, attempt) = (metered.job.clone(), metered.attempt);
            metered.ledger.note(Note::Paid(Paid { job, attempt, cost }));
        }
    }

    /// For an analyzer that has decoded the image: how long that took.
    pub fn decoded(&self, took: Duration) {
        if let Some(decode) = &self.decode {
            decode.observe(took.as_secs_f64());
        }
    }
}
