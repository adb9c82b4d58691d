//! What an attempt has cost so far, told while it still goes on: a worker that dies then has not spent it unseen.

use ocelli_core::claim::{Cost, JobKey, Paid};
use ocelli_core::{AttemptId, Provenance};

use crate::Ledger;
use crate::ledger::Note;

/// Takes what one attempt has cost so far. The default one tells nobody.
#[derive(Debug, Clone, Default)]
pub struct Meter(Option<Metered>);

#[derive(Debug, Clone)]
struct Metered {
    ledger: Ledger,
    job: JobKey,
    attempt: AttemptId,
}

impl Meter {
    pub(crate) fn new(ledger: &Ledger, job: &JobKey, attempt: AttemptId) -> Self {
        Self(Some(Metered { ledger: ledger.clone(), job: job.clone(), attempt }))
    }

    /// For an analyzer that was answered and is going to ask again. Waits for nothing.
    pub fn tell(&self, so_far: &Provenance) {
        if let (Some(metered), Some(cost)) = (&self.0, Cost::of(so_far)) {
            let (job, attempt) = (metered.job.clone(), metered.attempt);
            metered.ledger.note(Note::Paid(Paid { job, attempt, cost }));
        }
    }
}
