//! The one thing a worker reads from the catalog.

use std::fmt;
use std::future::Future;
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use ocelli_core::{AnalyzerName, Digest, Revision};
use thiserror::Error;

type Ask = dyn Fn(Digest, AnalyzerName, Revision) -> BoxFuture<'static, Result<bool, LedgerError>>
    + Send
    + Sync;

/// Answers "is this job already done?", so that no model is paid twice.
#[derive(Clone)]
pub struct Ledger(Arc<Ask>);

/// The ledger cannot be asked at the moment: an outage, never a reason to fail a job.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("the catalog does not answer: {0}")]
pub struct LedgerError(pub String);

impl Ledger {
    /// A ledger that asks `ask`.
    pub fn new<F, Fut>(ask: F) -> Self
    where
        F: Fn(Digest, AnalyzerName, Revision) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<bool, LedgerError>> + Send + 'static,
    {
        Self(Arc::new(move |digest, analyzer, revision| ask(digest, analyzer, revision).boxed()))
    }

    /// Whether the catalog holds an outcome of this job.
    ///
    /// # Errors
    /// [`LedgerError`] when the catalog is away.
    pub async fn is_done(
        &self,
        digest: Digest,
        analyzer: &AnalyzerName,
        revision: &Revision,
    ) -> Result<bool, LedgerError> {
        (self.0)(digest, analyzer.clone(), revision.clone()).await
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}
