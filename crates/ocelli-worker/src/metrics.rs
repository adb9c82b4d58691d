//! What a worker tells Prometheus.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ocelli_core::{FailureClass, OutcomeKind};
use prometheus::{
    GaugeVec, Histogram, HistogramVec, IntCounterVec, IntGaugeVec, Registry,
    register_gauge_vec_with_registry, register_histogram_vec_with_registry,
    register_int_counter_vec_with_registry, register_int_gauge_vec_with_registry,
};

/// How a job was settled when it was not with an outcome of its own.
const OTHERWISE: [&str; 7] =
    ["duplicate", "held", "paused", "rejected", "retried", "returned", "withdrawn"];

/// The steps of a job that are timed. Decoding is a part of analyzing, and analyzers tell how long it took.
const STAGES: [&str; 4] = ["fetch", "decode", "analyze", "publish"];

/// Metrics of the pipe; labels are analyzer names and closed sets. Cheap to clone.
#[derive(Debug, Clone)]
pub struct WorkerMetrics {
    jobs: IntCounterVec,
    failures: IntCounterVec,
    duration: HistogramVec,
    fetched: IntCounterVec,
    last_job: GaugeVec,
    in_progress: IntGaugeVec,
    pub(crate) wait: HistogramVec,
    pub(crate) slots: IntGaugeVec,
    /// 1 while the analyzer can work.
    pub(crate) ready: IntGaugeVec,
    /// 1 while the analyzer may not work: over budget, or paused by people.
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
        // A job may wait for days in a backfill.
        let waits = [&seconds[..], &[1000.0, 3600.0, 10_800.0, 43_200.0, 172_800.0]].concat();
        Ok(Self {
            jobs: register_int_counter_vec_with_registry!(
                "ocelli_jobs_total",
                "Jobs settled by this process, by outcome.",
                &["analyzer", "outcome"],
                registry
            )?,
            failures: register_int_counter_vec_with_registry!(
                "ocelli_job_failures_total",
                "Attempts that ended without an outcome, by class of the failure.",
                &["analyzer", "class"],
                registry
            )?,
            duration: register_histogram_vec_with_registry!(
                "ocelli_job_duration_seconds",
                "Time of a job, by stage; decode is a part of analyze.",
                &["analyzer", "stage"],
                seconds,
                registry
            )?,
            fetched: register_int_counter_vec_with_registry!(
                "ocelli_fetched_bytes_total",
                "Bytes of images that were fetched for an analyzer.",
                &["analyzer"],
                registry
            )?,
            last_job: register_gauge_vec_with_registry!(
                "ocelli_last_job_timestamp_seconds",
                "When the last job was settled with an outcome; 0 before the first.",
                &["analyzer"],
                registry
            )?,
            in_progress: register_int_gauge_vec_with_registry!(
                "ocelli_jobs_in_progress",
                "Jobs being worked on.",
                &["analyzer"],
                registry
            )?,
            wait: register_histogram_vec_with_registry!(
                "ocelli_job_wait_seconds",
                "Time from enqueueing to start.",
                &["analyzer"],
                waits,
                registry
            )?,
            slots: register_int_gauge_vec_with_registry!(
                "ocelli_worker_slots",
                "Jobs that can be worked on at once.",
                &["analyzer"],
                registry
            )?,
            ready: register_int_gauge_vec_with_registry!(
                "ocelli_analyzer_ready",
                "1 while the analyzer can work, else 0.",
                &["analyzer"],
                registry
            )?,
            paused: register_int_gauge_vec_with_registry!(
                "ocelli_analyzer_paused",
                "1 while the analyzer may not work: over budget, or paused by people.",
                &["analyzer"],
                registry
            )?,
            settled: Arc::default(),
            busy: Arc::default(),
        })
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

    /// Shows every series of an analyzer from its first moment on: one that appears with its first event is an event that
    /// no rate sees.
    pub(crate) fn open(&self, analyzer: &str, slots: u32) {
        let kinds = OutcomeKind::ALL.iter().map(|kind| kind.name());
        for outcome in kinds.chain(OTHERWISE) {
            self.jobs.with_label_values(&[analyzer, outcome]);
        }
        for class in FailureClass::ALL {
            self.failures.with_label_values(&[analyzer, class.name()]);
        }
        for stage in STAGES {
            self.duration.with_label_values(&[analyzer, stage]);
        }
        self.fetched.with_label_values(&[analyzer]);
        self.last_job.with_label_values(&[analyzer]);
        self.in_progress.with_label_values(&[analyzer]);
        self.wait.with_label_values(&[analyzer]);
        self.ready.with_label_values(&[analyzer]);
        self.paused.with_label_values(&[analyzer]);
        self.slots.with_label_values(&[analyzer]).set(slots.into());
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
        self.progress(analyzer);
        self.jobs.with_label_values(&[analyzer, kind.name()]).inc();
    }

    pub(crate) fn needless(&self, analyzer: &str, why: &'static str) {
        self.progress(analyzer);
        self.count(analyzer, why);
    }

    fn progress(&self, analyzer: &str) {
        self.settled.fetch_add(1, Ordering::Relaxed);
        let now = Timestamp::now().as_millisecond() as f64 / 1000.0;
        self.last_job.with_label_values(&[analyzer]).set(now);
    }

    pub(crate) fn count(&self, analyzer: &str, what: &'static str) {
        self.jobs.with_label_values(&[analyzer, what]).inc();
    }

    /// Jobs that were interrupted and went back to their queue.
    pub(crate) fn returned(&self, analyzer: &str, jobs: usize) {
        self.jobs.with_label_values(&[analyzer, "returned"]).inc_by(jobs as u64);
    }

    pub(crate) fn failure(&self, analyzer: &str, class: FailureClass) {
        self.failures.with_label_values(&[analyzer, class.name()]).inc();
    }

    pub(crate) fn fetched(&self, analyzer: &str, bytes: usize, took: Duration) {
        self.fetched.with_label_values(&[analyzer]).inc_by(bytes as u64);
        self.stage(analyzer, "fetch", took);
    }

    /// Where an analyzer's times of decoding go.
    pub(crate) fn decoding(&self, analyzer: &str) -> Histogram {
        self.duration.with_label_values(&[analyzer, "decode"])
    }

    pub(crate) fn stage(&self, analyzer: &str, stage: &'static str, took: Duration) {
        self.duration.with_label_values(&[analyzer, stage]).observe(took.as_secs_f64());
    }
}
