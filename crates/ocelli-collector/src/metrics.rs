//! What a collector tells Prometheus.

use jiff::Timestamp;
use ocelli_catalog::Fate;
use ocelli_core::AnalyzerName;
use ocelli_core::wire::Message;
use prometheus::{
    Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry,
    register_gauge_vec_with_registry, register_gauge_with_registry,
    register_histogram_with_registry, register_int_counter_vec_with_registry,
    register_int_counter_with_registry, register_int_gauge_vec_with_registry,
    register_int_gauge_with_registry,
};

/// Metrics of collector and sweeper. Cheap to clone.
#[derive(Debug, Clone)]
pub struct CollectorMetrics {
    pub(crate) messages: IntCounterVec,
    pub(crate) rejected: IntCounter,
    completed: IntCounter,
    completion: Histogram,
    pub(crate) batch: Histogram,
    pub(crate) commit: Histogram,
    last_commit: Gauge,
    pub(crate) failures: IntCounter,
    pub(crate) swept: IntCounter,
    pub(crate) fences: IntCounter,
    pub(crate) postponed: IntCounter,
    last_sweep: Gauge,
    pub(crate) dependent: IntCounter,
    pub(crate) dead: IntCounterVec,
    heartbeat: GaugeVec,
    /// What is in the catalog.
    pub(crate) stock: StockMetrics,
}

impl CollectorMetrics {
    /// Creates the metrics in `registry`.
    ///
    /// # Errors
    /// When a name is taken already: register once per process and clone.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter =
            |name: &str, help: &str| register_int_counter_with_registry!(name, help, registry);
        let gauge = |name: &str, help: &str| register_gauge_with_registry!(name, help, registry);
        let metrics = Self {
            messages: register_int_counter_vec_with_registry!(
                "ocelli_collected_messages_total",
                "Messages written, by kind.",
                &["kind"],
                registry
            )?,
            rejected: counter(
                "ocelli_collected_rejected_total",
                "Messages that could not be written and were set aside in the dead queue.",
            )?,
            completed: counter(
                "ocelli_records_completed_total",
                "Records whose last wanted analysis was written by this process.",
            )?,
            // The bounds that objectives are made of are among them: an hour, a day.
            completion: register_histogram_with_registry!(
                "ocelli_record_completion_seconds",
                "Time from the last question about an image to its complete record.",
                vec![
                    0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 60.0, 300.0, 900.0, 3600.0, 10_800.0, 43_200.0,
                    86_400.0, 604_800.0
                ],
                registry
            )?,
            batch: register_histogram_with_registry!(
                "ocelli_collector_batch_messages",
                "Messages written in one transaction.",
                vec![1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0],
                registry
            )?,
            commit: register_histogram_with_registry!(
                "ocelli_collector_commit_seconds",
                "Time of one transaction, commit included.",
                vec![0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0],
                registry
            )?,
            last_commit: gauge(
                "ocelli_collector_last_commit_timestamp_seconds",
                "When the last messages were committed; 0 before the first.",
            )?,
            failures: counter(
                "ocelli_collector_commit_failures_total",
                "Transactions that failed and were tried again.",
            )?,
            swept: counter("ocelli_swept_jobs_total", "Lost jobs that were enqueued again.")?,
            fences: counter(
                "ocelli_sweep_fences_total",
                "Marks sent through job queues, which prove what is lost.",
            )?,
            postponed: counter(
                "ocelli_sweep_postponed_total",
                "Analyzers left for the next sweep: their queue was full or did not exist.",
            )?,
            last_sweep: gauge(
                "ocelli_last_sweep_timestamp_seconds",
                "When the last sweep came to its end; 0 before the first.",
            )?,
            dependent: counter(
                "ocelli_dependent_jobs_total",
                "Jobs that were enqueued once what they need was there.",
            )?,
            dead: register_int_counter_vec_with_registry!(
                "ocelli_dead_letters_total",
                "Messages taken out of the dead queue, by what became of them.",
                &["fate"],
                registry
            )?,
            heartbeat: register_gauge_vec_with_registry!(
                "ocelli_heartbeat_timestamp_seconds",
                "When the last mark was sent that came back through job queue, worker and results queue; the start of the process before the first.",
                &["analyzer"],
                registry
            )?,
            stock: StockMetrics::register(registry)?,
        };
        for kind in Message::KINDS {
            metrics.messages.with_label_values(&[kind]);
        }
        for fate in Fate::ALL {
            metrics.dead.with_label_values(&[fate.name()]);
        }
        Ok(metrics)
    }

    /// Records completed by this process.
    #[must_use]
    pub fn completed(&self) -> u64 {
        self.completed.get()
    }

    /// Records that became complete, and when each was asked for.
    pub(crate) fn complete(&self, records: usize, asked: &[Timestamp]) {
        self.completed.inc_by(records as u64);
        let now = Timestamp::now();
        for asked in asked {
            // Clocks of two machines may disagree: a negative time counts as none.
            let took = now.duration_since(*asked).as_secs_f64().max(0.0);
            self.completion.observe(took);
        }
    }

    pub(crate) fn committed(&self, took: std::time::Duration) {
        self.commit.observe(took.as_secs_f64());
        self.last_commit.set(seconds(Timestamp::now()));
    }

    pub(crate) fn sweep_ended(&self) {
        self.last_sweep.set(seconds(Timestamp::now()));
    }

    /// A mark that was sent at this time came back.
    pub(crate) fn heard(&self, analyzer: &AnalyzerName, sent: Timestamp) {
        let gauge = self.heartbeat.with_label_values(&[analyzer.as_str()]);
        gauge.set(gauge.get().max(seconds(sent)));
    }

    /// When the last mark was sent that came back, in seconds since 1970.
    pub(crate) fn last_heard(&self, analyzer: &AnalyzerName) -> f64 {
        self.heartbeat.with_label_values(&[analyzer.as_str()]).get()
    }
}

/// Metrics of the catalog's content, as one process counted it last.
#[derive(Debug, Clone)]
pub(crate) struct StockMetrics {
    pub(crate) records: IntGaugeVec,
    pub(crate) jobs: IntGaugeVec,
    pub(crate) oldest: GaugeVec,
    pub(crate) workers: IntGaugeVec,
    pub(crate) dead: IntGauge,
    pub(crate) unreadable: IntGauge,
    pub(crate) budgets: GaugeVec,
    pub(crate) counted: Gauge,
    pub(crate) differences: IntGauge,
    pub(crate) audited: Gauge,
}

impl StockMetrics {
    fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let number =
            |name: &str, help: &str| register_int_gauge_with_registry!(name, help, registry);
        let gauge = |name: &str, help: &str| register_gauge_with_registry!(name, help, registry);
        Ok(Self {
            records: register_int_gauge_vec_with_registry!(
                "ocelli_records",
                "Records in the catalog, by state.",
                &["state"],
                registry
            )?,
            jobs: register_int_gauge_vec_with_registry!(
                "ocelli_catalog_jobs",
                "Jobs in the catalog: open ones that wait or run, that wait for another attempt or for another analyzer, and outcomes.",
                &["analyzer", "state"],
                registry
            )?,
            oldest: register_gauge_vec_with_registry!(
                "ocelli_oldest_open_job_age_seconds",
                "Age of the question that has waited longest for its answer; 0 when none waits.",
                &["analyzer"],
                registry
            )?,
            workers: register_int_gauge_vec_with_registry!(
                "ocelli_workers",
                "Worker processes that have said lately that they are there, by what they do.",
                &["analyzer", "state"],
                registry
            )?,
            dead: number(
                "ocelli_dead_letters_kept",
                "Messages that died in their queue and wait for people.",
            )?,
            unreadable: number(
                "ocelli_unreadable_references",
                "References of batches that have no image behind them.",
            )?,
            budgets: register_gauge_vec_with_registry!(
                "ocelli_budget_used_ratio",
                "What is spent of a budget: 1 is all of it.",
                &["budget"],
                registry
            )?,
            counted: gauge(
                "ocelli_catalog_count_timestamp_seconds",
                "When the catalog was counted last; 0 before the first time.",
            )?,
            differences: number(
                "ocelli_audit_differences",
                "Kinds of contradictions that the last audit of the catalog found, twice in a row.",
            )?,
            audited: gauge(
                "ocelli_audit_timestamp_seconds",
                "When the catalog was audited last; 0 before the first time.",
            )?,
        })
    }
}

/// Seconds since 1970.
pub(crate) fn seconds(at: Timestamp) -> f64 {
    at.as_millisecond() as f64 / 1000.0
}
