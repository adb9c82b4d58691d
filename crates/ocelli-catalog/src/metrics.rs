//! What the catalog counts about itself, from a registry that is passed in.

use std::time::Duration;

use prometheus::{Histogram, HistogramOpts, IntCounter, Registry};

/// Metrics of the writing side.
#[derive(Debug, Clone)]
pub struct CatalogMetrics {
    transaction: Histogram,
    rows: IntCounter,
}

impl CatalogMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When one of the names is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let buckets = prometheus::exponential_buckets(0.001, 2.5, 10)?;
        let transaction = Histogram::with_opts(
            HistogramOpts::new(
                "ocelli_catalog_transaction_seconds",
                "Seconds from the beginning of a batch of writes to its commit.",
            )
            .buckets(buckets),
        )?;
        let rows = IntCounter::new(
            "ocelli_catalog_rows_written_total",
            "Rows inserted or changed by committed batches.",
        )?;
        registry.register(Box::new(transaction.clone()))?;
        registry.register(Box::new(rows.clone()))?;
        Ok(Self { transaction, rows })
    }

    pub(crate) fn committed(&self, took: Duration, rows: u64) {
        self.transaction.observe(took.as_secs_f64());
        self.rows.inc_by(rows);
    }
}
