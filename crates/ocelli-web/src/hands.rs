//! What the site sets in motion outside of the catalog. The library knows no queue and no producer: `main` wires them in.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use ocelli_core::{AnalyzerName, BatchId, Digest, SourceUri};

/// Images that somebody brought.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// Name of the batch.
    pub name: String,
    /// The folder of this delivery: no file outside of it is read, whatever a list says.
    pub folder: PathBuf,
    /// Files and lists in that folder.
    pub files: Vec<PathBuf>,
    /// Addresses to fetch.
    pub urls: Vec<SourceUri>,
}

/// What became of jobs that were opened again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Requeued {
    /// So many were enqueued for the workers.
    Enqueued(u64),
    /// There is no fleet to give them to: the next `ocelli run` does them.
    NextRun,
}

/// A queue of the fleet, as its broker counts it.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct QueueDepth {
    /// `results`, `jobs.tesseract-ocr`, …
    pub queue: String,
    /// Messages that wait; none where nothing is known of it.
    pub ready: Option<u64>,
    /// Consumers that would take them.
    pub consumers: Option<u64>,
}

/// Whoever can do it.
pub trait Hand: Send + Sync + 'static {
    /// Enqueues jobs that were opened again.
    fn requeue(
        &self,
        jobs: Vec<(Digest, AnalyzerName)>,
    ) -> BoxFuture<'static, Result<Requeued, String>>;

    /// Gives images to the producer; answers with the batch as soon as it has one. The work goes on behind it.
    fn bring(&self, delivery: Delivery) -> BoxFuture<'static, Result<BatchId, String>>;

    /// How full the queues of these analyzers are, and those that all share; none where queues live and die with other
    /// processes. It may take as long as the broker takes.
    fn queues(
        &self,
        analyzers: Vec<AnalyzerName>,
    ) -> BoxFuture<'static, Result<Option<Vec<QueueDepth>>, String>>;

    /// Why nothing can be brought in, where that is so.
    fn cannot_bring(&self) -> Option<&'static str>;
}

/// Shared by all requests.
#[derive(Clone)]
pub struct Hands(pub(crate) Arc<dyn Hand>);

impl Hands {
    /// The hands that `hand` lends.
    pub fn of(hand: impl Hand) -> Self {
        Self(Arc::new(hand))
    }
}

impl fmt::Debug for Hands {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hands")
    }
}
