//! What the broker client counts. Built from a registry passed in; without one, the numbers are simply not shown.

use prometheus::{Counter, IntCounter, IntGaugeVec, Opts, Registry};

/// Counters of one process's broker client.
#[derive(Debug, Clone)]
pub struct BrokerMetrics {
    pub(crate) confirmed: IntCounter,
    pub(crate) returned: IntCounter,
    pub(crate) nacked: IntCounter,
    pub(crate) resent: IntCounter,
    pub(crate) reconnects: IntCounter,
    pub(crate) blocked_seconds: Counter,
    pub(crate) deliveries: IntCounter,
    pub(crate) acks: IntCounter,
    pub(crate) stale_acks: IntCounter,
    pub(crate) memory_ready: IntGaugeVec,
}

impl BrokerMetrics {
    /// Registers the metrics.
    ///
    /// # Errors
    /// When a metric of the same name is registered already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let metrics = Self::unregistered()?;
        for collector in [
            &metrics.confirmed,
            &metrics.returned,
            &metrics.nacked,
            &metrics.resent,
            &metrics.reconnects,
            &metrics.deliveries,
            &metrics.acks,
            &metrics.stale_acks,
        ] {
            registry.register(Box::new(collector.clone()))?;
        }
        registry.register(Box::new(metrics.blocked_seconds.clone()))?;
        registry.register(Box::new(metrics.memory_ready.clone()))?;
        Ok(metrics)
    }

    /// Metrics nobody reads.
    pub(crate) fn unregistered() -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(name, help);
        Ok(Self {
            confirmed: counter(
                "ocelli_broker_publishes_confirmed_total",
                "Messages the broker has confirmed, per queue they went to.",
            )?,
            returned: counter(
                "ocelli_broker_publishes_returned_total",
                "Messages the broker returned because their queue does not exist.",
            )?,
            nacked: counter(
                "ocelli_broker_publishes_nacked_total",
                "Publishes refused for now, mostly because a queue was full; they are sent again.",
            )?,
            resent: counter(
                "ocelli_broker_publishes_resent_total",
                "Publishes sent again because their confirm was lost with a connection.",
            )?,
            reconnects: counter(
                "ocelli_broker_reconnects_total",
                "Connections made again after a loss.",
            )?,
            blocked_seconds: Counter::new(
                "ocelli_broker_blocked_seconds_total",
                "Seconds in which the broker took no messages (memory or disk alarm).",
            )?,
            deliveries: counter("ocelli_broker_deliveries_total", "Deliveries handed out.")?,
            acks: counter("ocelli_broker_acks_total", "Deliveries acknowledged.")?,
            stale_acks: counter(
                "ocelli_broker_stale_settles_total",
                "Deliveries settled too late, after their connection was lost; they come again.",
            )?,
            memory_ready: IntGaugeVec::new(
                Opts::new(
                    "ocelli_queue_messages",
                    "Messages waiting in a queue of this process; RabbitMQ counts its own.",
                ),
                &["queue"],
            )?,
        })
    }
}

impl Default for BrokerMetrics {
    fn default() -> Self {
        Self::unregistered().expect("the names above are valid metric names")
    }
}
