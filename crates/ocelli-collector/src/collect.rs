//! The collector's loop: gather, decode, write, ack.

use std::time::Duration;

use ocelli_broker::{Broker, Consumer, Delivery};
use ocelli_catalog::Catalog;
use ocelli_core::retry::backoff;
use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;
use thiserror::Error;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::CollectorMetrics;

/// What `main` wires together.
pub struct Parts {
    /// Where messages come from.
    pub broker: Broker,
    /// Where rows go.
    pub catalog: Catalog,
    /// See [`CollectorOptions`].
    pub options: CollectorOptions,
    /// Registered once per process.
    pub metrics: CollectorMetrics,
}

/// Settings of the collector.
#[derive(Debug, Clone)]
pub struct CollectorOptions {
    /// Most messages in one transaction.
    pub batch: usize,
    /// How long a batch waits for more messages after its first.
    pub linger: Duration,
    /// Unsettled messages in hand; at least `batch`.
    pub prefetch: u16,
    /// Longest pause between two tries of a transaction that failed.
    pub retry_cap: Duration,
}

impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            batch: 500,
            linger: Duration::from_millis(20),
            prefetch: 1000,
            retry_cap: Duration::from_secs(10),
        }
    }
}

/// Why a collector ended before it was told to.
#[derive(Debug, Error)]
pub enum CollectorError {
    /// The results queue cannot be read.
    #[error("cannot consume the results queue")]
    Consume(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The broker was closed under it.
    #[error("the broker connection of the collector was closed")]
    Closed,
}

/// Collects until `shutdown`; what was gathered by then is still written.
///
/// # Errors
/// [`CollectorError`].
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), CollectorError> {
    let prefetch =
        parts.options.prefetch.max(u16::try_from(parts.options.batch).unwrap_or(u16::MAX));
    let mut consumer = parts
        .broker
        .consume(&Queue::Results, prefetch)
        .await
        .map_err(|error| CollectorError::Consume(Box::new(error)))?;
    loop {
        match gather(&mut consumer, &parts.options, &shutdown).await {
            Gathered::Batch(deliveries) => parts.collect(deliveries, &shutdown).await,
            Gathered::Shutdown => break,
            Gathered::Closed => return Err(CollectorError::Closed),
        }
    }
    consumer.cancel().await;
    Ok(())
}

enum Gathered {
    Batch(Vec<Delivery>),
    Shutdown,
    Closed,
}

/// Waits for a first message, then takes what comes until the batch is full or the linger is over.
async fn gather(
    consumer: &mut Consumer,
    options: &CollectorOptions,
    shutdown: &CancellationToken,
) -> Gathered {
    let first = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Gathered::Shutdown,
        first = consumer.next() => first,
    };
    let Some(first) = first else { return Gathered::Closed };
    let mut deliveries = vec![first];
    let deadline = Instant::now() + options.linger;
    while deliveries.len() < options.batch {
        tokio::select! {
            biased;
            next = consumer.next() => match next {
                Some(delivery) => deliveries.push(delivery),
                None => break,
            },
            () = tokio::time::sleep_until(deadline) => break,
        }
    }
    Gathered::Batch(deliveries)
}

impl Parts {
    /// Writes one batch. Returns when every message of it is committed and acked, set aside, or (shutdown during an
    /// outage of the catalog) given back.
    async fn collect(&self, deliveries: Vec<Delivery>, shutdown: &CancellationToken) {
        let mut messages = Vec::with_capacity(deliveries.len());
        let mut readable = Vec::with_capacity(deliveries.len());
        for delivery in deliveries {
            match Message::decode(&delivery.body) {
                Ok(message) => {
                    messages.push(message);
                    readable.push(delivery);
                }
                Err(error) => self.set_aside(delivery, &chain(&error)).await,
            }
        }
        if !messages.is_empty() {
            self.write(&messages, readable, shutdown).await;
        }
    }

    async fn write(
        &self,
        messages: &[Message],
        deliveries: Vec<Delivery>,
        shutdown: &CancellationToken,
    ) {
        let mut tries = 0;
        let applied = loop {
            let started = Instant::now();
            match self.catalog.apply(messages).await {
                Ok(applied) => {
                    self.metrics.commit.observe(started.elapsed().as_secs_f64());
                    break applied;
                }
                Err(error) => {
                    self.metrics.failures.inc();
                    tracing::error!(
                        messages = messages.len(),
                        "the catalog cannot be written, nothing is acked and nothing lost: {}",
                        chain(&error)
                    );
                    let pause = backoff(
                        tries,
                        Duration::from_millis(100),
                        self.options.retry_cap,
                        f64::from(tries % 7) / 7.0,
                    );
                    tries = tries.saturating_add(1);
                    tokio::select! {
                        // Dropped deliveries return to the queue; the next collector writes them.
                        () = shutdown.cancelled() => return,
                        () = tokio::time::sleep(pause) => {}
                    }
                }
            }
        };
        self.metrics.batch.observe(messages.len() as f64);
        self.metrics.completed.inc_by(applied.completed.len() as u64);
        for message in messages {
            self.metrics.messages.with_label_values(&[message.kind()]).inc();
        }
        let rejected: std::collections::HashMap<usize, String> =
            applied.rejected.into_iter().collect();
        let mut written = Vec::with_capacity(deliveries.len());
        for (index, delivery) in deliveries.into_iter().enumerate() {
            match rejected.get(&index) {
                Some(reason) => self.set_aside(delivery, reason).await,
                None => written.push(delivery),
            }
        }
        if let Err(error) = Delivery::ack_all(written).await {
            // They will be delivered again; writing them a second time changes nothing.
            tracing::debug!("a batch was committed but not acked: {}", chain(&error));
        }
    }

    async fn set_aside(&self, delivery: Delivery, reason: &str) {
        self.metrics.rejected.inc();
        tracing::error!(id = %delivery.id, "a message was set aside in the dead queue: {reason}");
        if let Err(error) = delivery.reject(reason).await {
            tracing::debug!(
                "a message could not be set aside and will come back: {}",
                chain(&error)
            );
        }
    }
}

/// An error with everything that caused it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
