//! A job that this worker may do: its claim, renewed while the work goes on, and given back however the work ends.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use ocelli_core::claim::{ClaimRequest, Cost, Ended, JobKey, Paid, Renewal};
use ocelli_core::{AttemptId, BatchId, Provenance};
use ocelli_failpoint::{Failpoint, reached};

use crate::ledger::Note;
use crate::{Ledger, Meter};

/// A claim is renewed this often within its lease: two renewals may be lost.
const RENEWALS: u32 = 3;
/// How long an answer waits until what it cost is written down. It is paid: a catalog that is away must not keep it from
/// the queue.
const NOTED_WITHIN: Duration = Duration::from_secs(2);

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

    /// Whom an analyzer tells what the attempt has cost so far.
    pub(crate) fn meter(&self) -> Meter {
        if self.is_claimed() {
            Meter::new(&self.ledger, &self.job, self.attempt)
        } else {
            Meter::default()
        }
    }

    /// Writes down what the attempt has cost, before anything about it is published: whoever dies in between has not
    /// spent it unseen.
    pub(crate) async fn paid(&self, cost: &Provenance) {
        let Some(cost) = Cost::of(cost).filter(|_| self.is_claimed()) else { return };
        let paid = Paid { job: self.job.clone(), attempt: self.attempt, cost };
        match tokio::time::timeout(NOTED_WITHIN, self.ledger.paid(paid)).await {
            Ok(Ok(())) => reached(Failpoint::WorkerPaid),
            Ok(Err(error)) => {
                tracing::debug!(%error, "what an answer cost is known from its message alone");
            }
            Err(_) => tracing::debug!("what an answer cost is written down later"),
        }
    }

    /// The attempt is over. `answered`: for how long nobody else may begin, because its answer
    /// is on its way to the collector.
    pub(crate) fn end(&self, answered: Option<Duration>) {
        if self.lease.is_none() || self.over.swap(true, Ordering::Relaxed) {
            return;
        }
        self.ledger.note(Note::Ended(Ended {
            job: self.job.clone(),
            attempt: self.attempt,
            answered,
        }));
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.end(None);
    }
}
