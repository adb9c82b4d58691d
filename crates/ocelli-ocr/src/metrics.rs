//! Counters of the OCR children.

use prometheus::{IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// What happens to OCR children.
#[derive(Debug, Clone)]
pub struct OcrMetrics {
    pub(crate) children_started: IntCounter,
    /// Label `reason`: `died`, `deadline`, `idle`.
    pub(crate) children_lost: IntCounterVec,
    /// Label `reason`: `images`, `memory`.
    pub(crate) children_replaced: IntCounterVec,
    pub(crate) child_memory: IntGauge,
}

impl OcrMetrics {
    /// Makes the metrics and registers them.
    ///
    /// # Errors
    /// When a metric of the same name is registered.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::unregistered()?;
        for reason in ["died", "deadline", "idle"] {
            metrics.children_lost.with_label_values(&[reason]);
        }
        for reason in ["images", "memory"] {
            metrics.children_replaced.with_label_values(&[reason]);
        }
        registry.register(Box::new(metrics.children_started.clone()))?;
        registry.register(Box::new(metrics.children_lost.clone()))?;
        registry.register(Box::new(metrics.children_replaced.clone()))?;
        registry.register(Box::new(metrics.child_memory.clone()))?;
        Ok(metrics)
    }

    /// Metrics that nobody collects.
    ///
    /// # Errors
    /// Never for the names in this file.
    pub fn unregistered() -> Result<Self, prometheus::Error> {
        Ok(Self {
            children_started: IntCounter::new(
                "ocelli_ocr_children_started_total",
                "OCR child processes started.",
            )?,
            children_lost: IntCounterVec::new(
                Opts::new(
                    "ocelli_ocr_children_lost_total",
                    "OCR child processes that died or were killed.",
                ),
                &["reason"],
            )?,
            children_replaced: IntCounterVec::new(
                Opts::new(
                    "ocelli_ocr_children_replaced_total",
                    "OCR child processes ended in good order after enough images or memory.",
                ),
                &["reason"],
            )?,
            child_memory: IntGauge::new(
                "ocelli_ocr_child_resident_bytes",
                "Resident memory of the OCR child that answered last.",
            )?,
        })
    }
}
