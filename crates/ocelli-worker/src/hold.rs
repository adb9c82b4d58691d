//! A job that this worker may do: its claim, renewed while the work goes on, and given back however the work ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ocelli_core::claim::{ClaimRequest, Ended, JobKey, Renewal};
use ocelli_core::{AttemptId, BatchId, Provenance};

use crate::Ledger;
use crate::ledger::Note;

/// A claim is renewed this often within its lease: two renewals may be lost.
const RENEWALS: u32 = 3;

/// A job in hand. Dropped without a word, its claim is given back.
#[derive(Debug)]
pub(crate) struct Hold {
    ledger: Ledger,
    job: JobKey,
    pub(crate) attempt: AttemptId,
    /// The batch that pays.
    pub(crate) batch: Option<BatchId>,
    /// None when nothing was claimed.
    lease: Option<Duration>,
    over: AtomicBool,
}

impl Hold {
    pub(crate) fn new(ledger: &Ledger, request: ClaimRequest, batch: Option<BatchId>) -> Self {
        let ClaimRequest { job, attempt, lease, .. } = request;
        Self { ledger: ledger.clone(), job, attempt, batch, lease, over: AtomicBool::new(false) }
    }

    /// Whether it was claimed, and not only asked for.
    pub(crate) const fn is_claimed(&self) -> bool {
        self.lease.is_some()
    }

    /// Runs `work`, renewing the claim meanwhile.
    pub(crate) async fn during<F: Future>(&self, work: F) -> F::Output {
        let Some(lease) = self.lease else { return work.await };
        tokio::pin!(work);
        loop {
            tokio::select! {
                biased;
                output = &mut work => return output,
                () = tokio::time::sleep(lease / RENEWALS) => if !self.over.load(Ordering::Relaxed) {
                    let (job, attempt) = (self.job.clone(), self.attempt);
                    self.ledger.note(Note::Renewal(Renewal { job, attempt, lease }));
                },
            }
        }
    }

    /// The attempt is over, and this is what it cost. `answered`: for how long nobody else may begin, because its answer
    /// is on its way to the collector.
    pub(crate) fn end(&self, answered: Option<Duration>, cost: Option<&Provenance>) {
        if self.lease.is_none() || self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        let tokens = |cost: &Provenance| {
            cost.tokens_in.unwrap_or(0).saturating_add(cost.tokens_out.unwrap_or(0))
        };
        self.ledger.note(Note::Ended(Ended {
            job: self.job.clone(),
            attempt: self.attempt,
            answered,
            tokens: cost.map_or(0, tokens),
            micros: cost.and_then(|cost| cost.cost_micros).unwrap_or(0),
            currency: cost.and_then(|cost| cost.currency.clone()),
        }));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(None, None);
    }
}
