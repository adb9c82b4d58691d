//! The one seam between a worker and the catalog: may this job be done, and what became of it.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ocelli_core::claim::{Claim, ClaimRequest, Ended, Paid, Renewal};
use ocelli_core::{AnalyzerName, Digest, Revision};
use thiserror::Error;

/// What a worker says of a job in hand without waiting for an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Note {
    /// The work goes on.
    Renewal(Renewal),
    /// It has cost something.
    Paid(Paid),
    /// The attempt is over.
    Ended(Ended),
}

/// Whoever keeps the books. `main` wires the catalog in.
pub trait Book: Send + Sync + 'static {
    /// Whether a job may be done; taken for this attempt when it may.
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'static, Result<Claim, LedgerError>>;

    /// Notes what an attempt has cost; ends when that is written down.
    fn paid(&self, paid: Paid) -> BoxFuture<'static, Result<(), LedgerError>>;

    /// Takes a note without waiting. One that is lost costs others at most a lease of waiting.
    fn note(&self, note: Note);

    /// Why no job of this analyzer may be done at the moment.
    fn paused(
        &self,
        analyzer: AnalyzerName,
    ) -> BoxFuture<'static, Result<Option<String>, LedgerError>>;
}

/// Answers "may this job be done?", so that no model is paid twice. Clones share one book.
#[derive(Clone)]
pub struct Ledger(Arc<dyn Book>);

/// The ledger cannot be asked at the moment: an outage, never a reason to fail a job.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the catalog does not answer: {0}")]
pub struct LedgerError(pub String);

impl Ledger {
    /// A ledger that asks `ask` whether a job has an outcome, and knows nothing else: whatever is not done may be done.
    pub fn new<F, Fut>(ask: F) -> Self
    where
        F: Fn(Digest, AnalyzerName, Revision) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, LedgerError>> + Send + 'static,
    {
        Self(Arc::new(Done(ask)))
    }

    /// The ledger that `book` keeps.
    pub fn kept_by(book: impl Book) -> Self {
        Self(Arc::new(book))
    }

    pub(crate) async fn claim(&self, request: ClaimRequest) -> Result<Claim, LedgerError> {
        self.0.claim(request).await
    }

    pub(crate) async fn paid(&self, paid: Paid) -> Result<(), LedgerError> {
        self.0.paid(paid).await
    }

    pub(crate) fn note(&self, note: Note) {
        self.0.note(note);
    }

    pub(crate) async fn paused(
        &self,
        analyzer: &AnalyzerName,
    ) -> Result<Option<String>, LedgerError> {
        self.0.paused(analyzer.clone()).await
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

/// Knows what is done.
struct Done<F>(F);

impl<F, Fut> Book for Done<F>
where
    F: Fn(Digest, AnalyzerName, Revision) -> Fut + Send + Sync + 'static,
    Fut: Future<Output = Result<bool, LedgerError>> + Send + 'static,
{
    fn claim(&self, request: ClaimRequest) -> BoxFuture<'static, Result<Claim, LedgerError>> {
        let batch = request.batch;
        let done = (self.0)(request.job.digest, request.job.analyzer, request.job.revision);
        async move { Ok(if done.await? { Claim::Done } else { Claim::Free { batch } }) }.boxed()
    }

    fn paid(&self, _: Paid) -> BoxFuture<'static, Result<(), LedgerError>> {
        std::future::ready(Ok(())).boxed()
    }

    fn note(&self, _: Note) {}

    fn paused(&self, _: AnalyzerName) -> BoxFuture<'static, Result<Option<String>, LedgerError>> {
        std::future::ready(Ok(None)).boxed()
    }
}
