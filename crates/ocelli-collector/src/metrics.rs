//! What a collector tells Prometheus.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry, core::Collector,
};

/// Metrics of collector and sweeper. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    /// `ocelli_collected_messages_total{kind}`.
    pub(crate) messages: IntCounterVec,
    /// `ocelli_collected_rejected_total`.
    pub(crate) rejected: IntCounter,
    /// `ocelli_records_completed_total`.
    pub(crate) completed: IntCounter,
    /// `ocelli_collector_batch_messages`.
    pub(crate) batch: Histogram,
    /// `ocelli_collector_commit_seconds`.
    pub(crate) commit: Histogram,
    /// `ocelli_collector_commit_failures_total`.
    pub(crate) failures: IntCounter,
    /// `ocelli_swept_jobs_total`.
    pub(crate) swept: IntCounter,
    /// `ocelli_dependent_jobs_total`.
    pub(crate) dependent: IntCounter,
    /// `ocelli_dead_letters_total{fate}`.
    pub(crate) dead: IntCounterVec,
}

impl CollectorMetrics {
    /// Creates the metrics in `registry`.
    ///
    /// # Errors
    /// When a name is taken already: register once per process and clone.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        let metrics = Self {
            messages: IntCounterVec::new(
                Opts::new("ocelli_collected_messages_total", "Messages written, by kind."),
                &["kind"],
            )?,
            rejected: counter(
                "ocelli_collected_rejected_total",
                "Messages that could not be written and were set aside in the dead queue.",
            )?,
            completed: counter(
                "ocelli_records_completed_total",
                "Records whose last wanted analysis was written by this process.",
            )?,
            batch: Histogram::with_opts(
                HistogramOpts::new(
                    "ocelli_collector_batch_messages",
                    "Messages written in one transaction.",
                )
                .buckets(vec![1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]),
            )?,
            commit: Histogram::with_opts(
                HistogramOpts::new(
                    "ocelli_collector_commit_seconds",
                    "Time of one transaction, commit included.",
                )
                .buckets(vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0]),
            )?,
            failures: counter(
                "ocelli_collector_commit_failures_total",
                "Transactions that failed and were tried again.",
            )?,
            swept: counter("ocelli_swept_jobs_total", "Lost jobs that were enqueued again.")?,
            dependent: counter(
                "ocelli_dependent_jobs_total",
                "Jobs that were enqueued once what they need was there.",
            )?,
            dead: IntCounterVec::new(
                Opts::new(
                    "ocelli_dead_letters_total",
                    "Messages taken out of the dead queue, by what became of them.",
                ),
                &["fate"],
            )?,
        };
        let collectors: [Box<dyn Collector>; 9] = [
            Box::new(metrics.messages.clone()),
            Box::new(metrics.rejected.clone()),
            Box::new(metrics.completed.clone()),
            Box::new(metrics.batch.clone()),
            Box::new(metrics.commit.clone()),
            Box::new(metrics.failures.clone()),
            Box::new(metrics.swept.clone()),
            Box::new(metrics.dependent.clone()),
            Box::new(metrics.dead.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Records completed by this process.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed.get()
    }
}
