//! Metrics of what is told.

use std::time::Duration;

use jiff::Timestamp;
use ocelli_catalog::ListenerState;
use prometheus::{
    GaugeVec, HistogramVec, IntCounterVec, IntGaugeVec, Registry, register_gauge_vec_with_registry,
    register_histogram_vec_with_registry, register_int_counter_vec_with_registry,
    register_int_gauge_vec_with_registry,
};

/// What became of an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Told,
    LeftOut,
    Refused,
    GivenUp,
}

impl Outcome {
    const ALL: [Self; 4] = [Self::Told, Self::LeftOut, Self::Refused, Self::GivenUp];

    const fn name(self) -> &'static str {
        match self {
            Self::Told => "told",
            Self::LeftOut => "left_out",
            Self::Refused => "refused",
            Self::GivenUp => "given_up",
        }
    }
}

/// Counters of one process, and what waits in the catalog.
#[derive(Debug, Clone)]
pub struct EventMetrics {
    events: IntCounterVec,
    seconds: HistogramVec,
    waiting: IntGaugeVec,
    oldest: GaugeVec,
}

impl EventMetrics {
    /// Registers them; once per process.
    ///
    /// # Errors
    /// When a name is taken.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        Ok(Self {
            events: register_int_counter_vec_with_registry!(
                "ocelli_events_total",
                "Events about complete records, by who listens and what came of them; refused ones are tried again.",
                &["listener", "outcome"],
                registry
            )?,
            seconds: register_histogram_vec_with_registry!(
                "ocelli_event_seconds",
                "How long a listener took to take an event, or not to.",
                &["listener"],
                vec![0.005, 0.02, 0.1, 0.5, 2.0, 10.0, 60.0],
                registry
            )?,
            waiting: register_int_gauge_vec_with_registry!(
                "ocelli_events_waiting",
                "Events in the catalog that a listener has not taken: waiting ones are tried again, given_up ones wait for people.",
                &["listener", "state"],
                registry
            )?,
            oldest: register_gauge_vec_with_registry!(
                "ocelli_event_oldest_age_seconds",
                "For how long the event has waited that a listener was to be told first; 0 when none waits.",
                &["listener"],
                registry
            )?,
        })
    }

    /// Shows a listener before anything was told to it.
    pub fn open(&self, listener: &str) {
        for outcome in Outcome::ALL {
            self.events.with_label_values(&[listener, outcome.name()]);
        }
        self.seconds.with_label_values(&[listener]);
        self.set(listener, 0, 0, 0.0);
    }

    pub(crate) fn count(&self, listener: &str, outcome: Outcome) {
        self.events.with_label_values(&[listener, outcome.name()]).inc();
    }

    pub(crate) fn observe(&self, listener: &str, took: Duration) {
        self.seconds.with_label_values(&[listener]).observe(took.as_secs_f64());
    }

    pub(crate) fn show(&self, states: &[ListenerState], now: Timestamp) {
        for state in states {
            let age = state.oldest.map_or(0.0, |at| now.duration_since(at).as_secs_f64());
            self.set(&state.name, state.waiting, state.dead, age.max(0.0));
        }
    }

    fn set(&self, listener: &str, waiting: u64, given_up: u64, oldest: f64) {
        for (state, count) in [("waiting", waiting), ("given_up", given_up)] {
            let count = i64::try_from(count).unwrap_or(i64::MAX);
            self.waiting.with_label_values(&[listener, state]).set(count);
        }
        self.oldest.with_label_values(&[listener]).set(oldest);
    }
}
