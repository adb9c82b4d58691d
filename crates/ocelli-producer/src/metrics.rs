//! What a producer tells Prometheus.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, Opts, Registry};

/// Metrics of producing; the label is a closed set. Cheap to clone.
#[derive(Debug, Clone)]
pub struct ProducerMetrics {
    references: IntCounterVec,
    pub(crate) read_bytes: IntCounter,
    pub(crate) unread: IntCounter,
    pub(crate) publish_seconds: Histogram,
}

/// How a reference ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ended {
    Enqueued,
    Known,
    Refused,
    Skipped,
    Problem,
}

impl Ended {
    const ALL: [Self; 5] =
        [Self::Enqueued, Self::Known, Self::Refused, Self::Skipped, Self::Problem];

    const fn label(self) -> &'static str {
        match self {
            Self::Enqueued => "enqueued",
            Self::Known => "known",
            Self::Refused => "refused",
            Self::Skipped => "skipped",
            Self::Problem => "problem",
        }
    }
}

impl ProducerMetrics {
    /// Creates the metrics in `registry`: `ocelli_producer_references_total{outcome}`,
    /// `ocelli_producer_read_bytes_total`, `ocelli_producer_unread_files_total`, `ocelli_producer_publish_seconds`.
    ///
    /// # Errors
    /// When a name is taken already: register once per process and clone.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            references: IntCounterVec::new(
                Opts::new(
                    "ocelli_producer_references_total",
                    "References that were settled, by outcome.",
                ),
                &["outcome"],
            )?,
            read_bytes: IntCounter::new(
                "ocelli_producer_read_bytes_total",
                "Bytes of images and other files that were read.",
            )?,
            unread: IntCounter::new(
                "ocelli_producer_unread_files_total",
                "Files that were not read, because nothing about them had changed since they were.",
            )?,
            publish_seconds: Histogram::with_opts(
                HistogramOpts::new(
                    "ocelli_producer_publish_seconds",
                    "Time from publishing a message to its confirm.",
                )
                .buckets(vec![0.0005, 0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 60.0]),
            )?,
        };
        for ended in Ended::ALL {
            metrics.references.with_label_values(&[ended.label()]);
        }
        registry.register(Box::new(metrics.references.clone()))?;
        registry.register(Box::new(metrics.read_bytes.clone()))?;
        registry.register(Box::new(metrics.unread.clone()))?;
        registry.register(Box::new(metrics.publish_seconds.clone()))?;
        Ok(metrics)
    }

    pub(crate) fn settled(&self, ended: Ended) {
        self.references.with_label_values(&[ended.label()]).inc();
    }
}
