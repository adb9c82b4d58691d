//! What a worker tells Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use ocelli_core::OutcomeKind;
use prometheus::{
    HistogramOpts, HistogramVec, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector,
};

/// Metrics of the pipe; labels are analyzer names and closed sets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    /// `ocelli_jobs_total{analyzer,outcome}`: done, empty, skipped, failed, retried, duplicate, withdrawn, held, paused,
    /// rejected, returned.
    pub(crate) jobs: IntCounterVec,
    /// `ocelli_job_duration_seconds{analyzer,stage}`: fetch, analyze, publish.
    pub(crate) duration: HistogramVec,
    /// `ocelli_job_wait_seconds{analyzer}`: enqueued to started.
    pub(crate) wait: HistogramVec,
    /// `ocelli_jobs_in_progress{analyzer}`.
    pub(crate) in_progress: IntGaugeVec,
    /// `ocelli_worker_slots{analyzer}`.
    pub(crate) slots: IntGaugeVec,
    /// `ocelli_analyzer_ready{analyzer}`: 1 while the analyzer can work.
    pub(crate) ready: IntGaugeVec,
    /// `ocelli_analyzer_paused{analyzer}`: 1 while the analyzer may not work: over budget, or paused by people.
    pub(crate) paused: IntGaugeVec,
    settled: Arc<AtomicU64>,
    busy: Arc<AtomicU64>,
}

impl WorkerMetrics {
    /// Creates the metrics in `registry`.
    ///
    /// # Errors
    /// When a name is taken already: register once per process and clone.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let seconds = vec![0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0];
        let metrics = Self {
            jobs: IntCounterVec::new(
                Opts::new("ocelli_jobs_total", "Jobs settled by this process, by outcome."),
                &["analyzer", "outcome"],
            )?,
            duration: HistogramVec::new(
                HistogramOpts::new("ocelli_job_duration_seconds", "Time of a job, by stage.")
                    .buckets(seconds.clone()),
                &["analyzer", "stage"],
            )?,
            wait: HistogramVec::new(
                HistogramOpts::new("ocelli_job_wait_seconds", "Time from enqueueing to start.")
                    .buckets(seconds),
                &["analyzer"],
            )?,
            in_progress: IntGaugeVec::new(
                Opts::new("ocelli_jobs_in_progress", "Jobs being worked on."),
                &["analyzer"],
            )?,
            slots: IntGaugeVec::new(
                Opts::new("ocelli_worker_slots", "Jobs that can be worked on at once."),
                &["analyzer"],
            )?,
            ready: IntGaugeVec::new(
                Opts::new("ocelli_analyzer_ready", "1 while the analyzer can work, else 0."),
                &["analyzer"],
            )?,
            paused: IntGaugeVec::new(
                Opts::new(
                    "ocelli_analyzer_paused",
                    "1 while the analyzer may not work: over budget, or paused by people.",
                ),
                &["analyzer"],
            )?,
            settled: Arc::default(),
            busy: Arc::default(),
        };
        let collectors: [Box<dyn Collector>; 7] = [
            Box::new(metrics.jobs.clone()),
            Box::new(metrics.duration.clone()),
            Box::new(metrics.wait.clone()),
            Box::new(metrics.in_progress.clone()),
            Box::new(metrics.slots.clone()),
            Box::new(metrics.ready.clone()),
            Box::new(metrics.paused.clone()),
        ];
        for collector in collectors {
            registry.register(collector)?;
        }
        Ok(metrics)
    }

    /// Jobs that ended with an outcome, or were found done, since the start of the process.
    #[must_use]
    pub fn settled(&self) -> u64 {
        self.settled.load(Ordering::Relaxed)
    }

    /// Jobs in progress over all analyzers of the process.
    #[must_use]
    pub fn in_progress(&self) -> u64 {
        self.busy.load(Ordering::Relaxed)
    }

    pub(crate) fn begin(&self, analyzer: &str) {
        self.busy.fetch_add(1, Ordering::Relaxed);
        self.in_progress.with_label_values(&[analyzer]).inc();
    }

    pub(crate) fn end(&self, analyzer: &str) {
        self.busy.fetch_sub(1, Ordering::Relaxed);
        self.in_progress.with_label_values(&[analyzer]).dec();
    }

    pub(crate) fn outcome(&self, analyzer: &str, kind: OutcomeKind) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.jobs.with_label_values(&[analyzer, kind.name()]).inc();
    }

    pub(crate) fn needless(&self, analyzer: &str, why: &'static str) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        self.count(analyzer, why);
    }

    pub(crate) fn count(&self, analyzer: &str, what: &'static str) {
        self.jobs.with_label_values(&[analyzer, what]).inc();
    }

    pub(crate) fn stage(&self, analyzer: &str, stage: &'static str, took: Duration) {
        self.duration.with_label_values(&[analyzer, stage]).observe(took.as_secs_f64());
    }
}
