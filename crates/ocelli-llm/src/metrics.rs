//! Calls, tokens and seconds of model servers, and how the servers stand.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use prometheus::core::{Collector, Desc};
use prometheus::proto::MetricFamily;
use prometheus::{
    Counter, CounterVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec,
    IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::pool::{Pool, Standings};

/// How a call ended: the values of the label `result`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum CallResult {
    /// An answer that was kept.
    Kept,
    /// An answer that was not good enough.
    Rejected,
    /// No answer.
    Failed,
}

impl CallResult {
    const fn name(self) -> &'static str {
        match self {
            Self::Kept => "kept",
            Self::Rejected => "rejected",
            Self::Failed => "failed",
        }
    }
}

/// Metrics of all LLM analyzers of a process.
#[derive(Debug, Clone)]
pub struct LlmMetrics {
    calls: IntCounterVec,
    tokens: IntCounterVec,
    wasted_tokens: IntCounterVec,
    cost: CounterVec,
    seconds: HistogramVec,
    in_flight: IntGaugeVec,
    hangs: IntCounterVec,
    endpoints: Endpoints,
}

impl LlmMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When one of the names is taken already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self {
            calls: IntCounterVec::new(
                Opts::new(
                    "ocelli_llm_calls_total",
                    "Requests to model servers, by how they ended.",
                ),
                &["analyzer", "result"],
            )?,
            tokens: IntCounterVec::new(
                Opts::new(
                    "ocelli_llm_tokens_total",
                    "Tokens read (in) and written (out) by models.",
                ),
                &["analyzer", "direction"],
            )?,
            wasted_tokens: IntCounterVec::new(
                Opts::new(
                    "ocelli_llm_wasted_tokens_total",
                    "Tokens, read and written, of answers that were not kept.",
                ),
                &["analyzer"],
            )?,
            cost: CounterVec::new(
                Opts::new(
                    "ocelli_llm_cost_total",
                    "Cost of answers by the prices in the settings.",
                ),
                &["analyzer", "currency"],
            )?,
            seconds: HistogramVec::new(
                HistogramOpts::new("ocelli_llm_call_seconds", "Time of an answer, kept or not.")
                    .buckets(vec![0.25, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 60.0, 120.0, 300.0, 600.0]),
                &["analyzer"],
            )?,
            in_flight: IntGaugeVec::new(
                Opts::new("ocelli_llm_in_flight", "Requests under way at model servers."),
                &["analyzer"],
            )?,
            hangs: IntCounterVec::new(
                Opts::new(
                    "ocelli_llm_hanging_decoders_total",
                    "Images whose decoding did not end in time and was given up.",
                ),
                &["analyzer"],
            )?,
            endpoints: Endpoints {
                pools: Arc::default(),
                gauge: IntGaugeVec::new(
                    Opts::new(
                        "ocelli_llm_endpoints",
                        "Model servers of an analyzer that can be asked, are full, are away (open breaker, asked to wait), or need a person.",
                    ),
                    &["analyzer", "state"],
                )?,
            },
        };
        registry.register(Box::new(metrics.endpoints.clone()))?;
        registry.register(Box::new(metrics.calls.clone()))?;
        registry.register(Box::new(metrics.tokens.clone()))?;
        registry.register(Box::new(metrics.wasted_tokens.clone()))?;
        registry.register(Box::new(metrics.cost.clone()))?;
        registry.register(Box::new(metrics.seconds.clone()))?;
        registry.register(Box::new(metrics.in_flight.clone()))?;
        registry.register(Box::new(metrics.hangs.clone()))?;
        Ok(metrics)
    }

    /// Shows how the endpoints of an analyzer stand, for as long as there is one.
    pub(crate) fn watch(&self, analyzer: &str, pool: &Arc<Pool>) {
        let mut pools = self.endpoints.pools.lock().unwrap_or_else(PoisonError::into_inner);
        pools.push((analyzer.to_owned(), Arc::downgrade(pool)));
    }

    /// The metrics of one analyzer.
    pub(crate) fn of(&self, analyzer: &str, currency: &str) -> AnalyzerMetrics {
        let calls = |result: CallResult| self.calls.with_label_values(&[analyzer, result.name()]);
        AnalyzerMetrics {
            kept: calls(CallResult::Kept),
            rejected: calls(CallResult::Rejected),
            failed: calls(CallResult::Failed),
            tokens_in: self.tokens.with_label_values(&[analyzer, "in"]),
            tokens_out: self.tokens.with_label_values(&[analyzer, "out"]),
            wasted_tokens: self.wasted_tokens.with_label_values(&[analyzer]),
            cost: self.cost.with_label_values(&[analyzer, currency]),
            seconds: self.seconds.with_label_values(&[analyzer]),
            in_flight: self.in_flight.with_label_values(&[analyzer]),
            hangs: self.hangs.with_label_values(&[analyzer]),
        }
    }
}

impl Default for LlmMetrics {
    /// Counted nowhere: for tests and for programs without a registry.
    fn default() -> Self {
        Self::register(&Registry::new()).expect("no name is taken in a new registry")
    }
}

/// As many as there are analyzers.
type Watched = Vec<(String, Weak<Pool>)>;

/// Looks at the endpoints when somebody asks: a breaker closes with time, which is no event.
#[derive(Debug, Clone)]
struct Endpoints {
    pools: Arc<Mutex<Watched>>,
    gauge: IntGaugeVec,
}

impl Collector for Endpoints {
    fn desc(&self) -> Vec<&Desc> {
        self.gauge.desc()
    }

    fn collect(&self) -> Vec<MetricFamily> {
        for (analyzer, pool) in &*self.pools.lock().unwrap_or_else(PoisonError::into_inner) {
            let Some(pool) = pool.upgrade() else { continue };
            let Standings { free, full, away, blocked } = pool.standings();
            for (state, count) in
                [("free", free), ("full", full), ("away", away), ("blocked", blocked)]
            {
                self.gauge.with_label_values(&[analyzer.as_str(), state]).set(count);
            }
        }
        self.gauge.collect()
    }
}

/// The metrics of one analyzer.
#[derive(Debug, Clone)]
pub(crate) struct AnalyzerMetrics {
    kept: IntCounter,
    rejected: IntCounter,
    failed: IntCounter,
    pub(crate) tokens_in: IntCounter,
    pub(crate) tokens_out: IntCounter,
    pub(crate) wasted_tokens: IntCounter,
    /// In units of the currency.
    pub(crate) cost: Counter,
    pub(crate) seconds: Histogram,
    pub(crate) in_flight: IntGauge,
    pub(crate) hangs: IntCounter,
}

impl AnalyzerMetrics {
    pub(crate) fn ended(&self, result: CallResult) {
        match result {
            CallResult::Kept => self.kept.inc(),
            CallResult::Rejected => self.rejected.inc(),
            CallResult::Failed => self.failed.inc(),
        }
    }
}
