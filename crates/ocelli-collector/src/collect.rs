//! The collector's loop: gather, decode, write, ack. While one batch is written, the next is gathered and decoded.

use std::collections::HashMap;
use std::panic::resume_unwind;
use std::pin::pin;
use std::time::Duration;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_broker::{Broker, Consumer, Delivery, trace};
use ocelli_catalog::{Applied, Catalog, CatalogError, Content, Letter};
use ocelli_core::retry::backoff;
use ocelli_core::routing::Queue;
use ocelli_core::wire::Message;
use ocelli_core::{AnalyzerName, Budget, chain};
use ocelli_failpoint::{Failpoint, reached};
use thiserror::Error;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::Instrument as _;
use tracing::field::display;

use crate::{CollectorMetrics, dispatch, heartbeat, letters, orders, stock, tidy};

/// Fewer messages than this are decoded where they are: a thread more would take longer.
const READ_BESIDE: usize = 64;

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
    /// Least time between the beginnings of two transactions: what comes sooner gathers. After a pause the first message is
    /// written at once.
    pub linger: Duration,
    /// The same after a transaction of an eighth of [`Self::batch`] or more; between the two it grows with their number.
    pub busy_linger: Duration,
    /// Unsettled messages in hand; at least `batch`. With twice as many the next batch is gathered while one is written.
    pub prefetch: u16,
    /// Longest pause between two tries of a transaction that failed.
    pub retry_cap: Duration,
    /// The most bytes of one analyzer's text that a dependent job is given.
    pub needed_text: usize,
    /// After how long a job that was taken from the catalog and not enqueued counts as left behind.
    pub dispatch_lease: Duration,
    /// How long each attempt that cost something is remembered by itself.
    pub keep_payments: Duration,
    /// Analyzers that get heartbeats and stand in the metrics, also while nothing is asked of them.
    pub analyzers: Vec<AnalyzerName>,
    /// How often each of them gets one.
    pub heartbeat_every: Duration,
    /// How often the catalog is counted for metrics; never when zero.
    pub count_every: Duration,
    /// How often it is audited; never when zero.
    pub audit_every: Duration,
    /// Budgets in the metrics.
    pub budgets: Vec<Budget>,
    /// How far the clock of a worker may differ from the database's before that is said.
    pub clock_skew: Duration,
}

/// Four pages of print.
pub(crate) const NEEDED_TEXT: usize = 16 * 1024;

impl Default for CollectorOptions {
    fn default() -> Self {
        Self {
            batch: 2000,
            linger: Duration::from_millis(2),
            busy_linger: Duration::from_millis(100),
            prefetch: 4000,
            retry_cap: Duration::from_secs(10),
            needed_text: NEEDED_TEXT,
            dispatch_lease: Duration::from_secs(60),
            keep_payments: Duration::from_secs(90 * 24 * 3600),
            analyzers: Vec::new(),
            heartbeat_every: Duration::from_secs(60),
            count_every: Duration::from_secs(60),
            audit_every: Duration::ZERO,
            budgets: Vec::new(),
            clock_skew: Duration::from_secs(5),
        }
    }
}

impl CollectorOptions {
    /// The least time from the beginning of a transaction of so many messages to that of the next.
    fn pause_after(&self, messages: usize) -> Duration {
        let count = |messages: usize| u32::try_from(messages).unwrap_or(u32::MAX);
        let busy = (self.batch / 8).max(1);
        let longer = self.busy_linger.saturating_sub(self.linger);
        self.linger + longer.saturating_mul(count(messages.min(busy))) / count(busy)
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

/// Collects until `shutdown`; what was gathered by then is still written. Beside the results, the dead queue is emptied,
/// dependent jobs are enqueued, orders about batches are carried out, the accounts are tidied, heartbeats are sent and the
/// catalog is counted.
///
/// # Errors
/// [`CollectorError`].
#[async_recursion]
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<(), CollectorError> {
    let ready = Notify::new();
    let beside = async {
        tokio::join!(
            dispatch::run(&parts, &ready, &shutdown),
            orders::run(&parts, &shutdown),
            heartbeat::run(&parts, &shutdown),
            stock::run(&parts, &shutdown),
            tidy::run(&parts.catalog, parts.options.keep_payments, &shutdown)
        );
        Ok(())
    };
    tokio::try_join!(results(&parts, &ready, &shutdown), letters::run(&parts, &shutdown), beside)
        .map(|_| ())
}

async fn results(
    parts: &Parts,
    ready: &Notify,
    shutdown: &CancellationToken,
) -> Result<(), CollectorError> {
    let CollectorOptions { batch, prefetch, .. } = parts.options;
    let prefetch = prefetch.max(u16::try_from(batch).unwrap_or(u16::MAX));
    let mut consumer = parts
        .broker
        .consume(&Queue::Results, prefetch)
        .await
        .map_err(|error| CollectorError::Consume(Box::new(error)))?;
    let mut gathered =
        gather(&mut consumer, batch, std::future::ready(()), shutdown).await.read().await;
    loop {
        match gathered {
            Gathered::Batch(batch_in_hand) => {
                let not_before = Instant::now() + parts.options.pause_after(batch_in_hand.len());
                let span = trace::batch(batch_in_hand.iter().map(|(delivery, _)| delivery));
                let written = CancellationToken::new();
                let writing = async {
                    parts.collect(batch_in_hand, ready, shutdown).instrument(span).await;
                    written.cancel();
                };
                // As long as it could not be written anyway, more may come.
                let until = async {
                    tokio::time::sleep_until(not_before).await;
                    written.cancelled().await;
                };
                let gathering =
                    async { gather(&mut consumer, batch, until, shutdown).await.read().await };
                ((), gathered) = tokio::join!(writing, gathering);
            }
            Gathered::Shutdown => break,
            Gathered::Closed => return Err(CollectorError::Closed),
        }
    }
    consumer.cancel().await;
    Ok(())
}

pub(crate) enum Gathered<T> {
    Batch(Vec<T>),
    Shutdown,
    Closed,
}

/// A message as it came, and what it says, or why it cannot be read.
type Read = (Delivery, Result<Message, String>);

impl Gathered<Delivery> {
    /// Decodes the messages; many of them on a thread of their own, so that whoever is writing is not held up.
    async fn read(self) -> Gathered<Read> {
        let deliveries = match self {
            Self::Batch(deliveries) => deliveries,
            Self::Shutdown => return Gathered::Shutdown,
            Self::Closed => return Gathered::Closed,
        };
        let bodies: Vec<_> = deliveries.iter().map(|delivery| delivery.body.clone()).collect();
        let decode = move || -> Vec<_> {
            let read = |body| Message::decode(body).map_err(|error| chain(&error));
            bodies.iter().map(|body| read(body)).collect()
        };
        let messages = if deliveries.len() < READ_BESIDE {
            decode()
        } else {
            // It ends by itself or panics: nobody aborts it, and a runtime that ends takes whoever waits here with it.
            let read = tokio::task::spawn_blocking(decode).await;
            read.unwrap_or_else(|error| resume_unwind(error.into_panic()))
        };
        Gathered::Batch(deliveries.into_iter().zip(messages).collect())
    }
}

/// Waits for a first message, then takes what is there, and what comes until `until`, until the batch is full.
pub(crate) async fn gather(
    consumer: &mut Consumer,
    batch: usize,
    until: impl Future<Output = ()>,
    shutdown: &CancellationToken,
) -> Gathered<Delivery> {
    let mut until = pin!(until);
    let first = tokio::select! {
        biased;
        () = shutdown.cancelled() => return Gathered::Shutdown,
        first = consumer.next() => first,
    };
    let Some(first) = first else { return Gathered::Closed };
    let mut deliveries = vec![first];
    while deliveries.len() < batch {
        tokio::select! {
            biased;
            next = consumer.next() => match next {
                Some(delivery) => deliveries.push(delivery),
                None => break,
            },
            () = &mut until => break,
        }
    }
    Gathered::Batch(deliveries)
}

/// What became of a batch of messages.
enum Written {
    /// Committed; these positions were refused, with the reason.
    Applied(Applied),
    /// The database takes none of them as they are, at least not together.
    Refused,
}

impl Parts {
    /// Writes one batch. Returns when every message of it is committed and acked, set aside, or (shutdown during an
    /// outage of the catalog) given back.
    async fn collect(&self, gathered: Vec<Read>, ready: &Notify, shutdown: &CancellationToken) {
        reached(Failpoint::CollectorGathered);
        let mut messages = Vec::with_capacity(gathered.len());
        let mut readable = Vec::with_capacity(gathered.len());
        for (delivery, message) in gathered {
            match message {
                Ok(message) => {
                    messages.push(message);
                    readable.push(delivery);
                }
                Err(reason) => self.set_aside(delivery, &reason).await,
            }
        }
        if messages.is_empty() {
            return;
        }
        match self.write(&messages, shutdown).await {
            Some(Written::Applied(applied)) => {
                announce(&applied, ready);
                self.settle(&messages, readable, applied).await;
            }
            Some(Written::Refused) => {
                // One of them is the reason. It must not keep the others from being written.
                for (message, delivery) in messages.into_iter().zip(readable) {
                    let message = [message];
                    match self.write_alone(&message, &delivery, shutdown).await {
                        Some(applied) => {
                            announce(&applied, ready);
                            self.settle(&message, vec![delivery], applied).await;
                        }
                        // Dropped deliveries return to the queue; the next collector writes them.
                        None => return,
                    }
                }
            }
            None => {}
        }
    }

    /// Tries until the catalog has taken the messages or refused them; `None` after a shutdown.
    async fn write(&self, messages: &[Message], shutdown: &CancellationToken) -> Option<Written> {
        self.persist("messages", messages.len(), shutdown, || self.try_write(messages)).await
    }

    async fn try_write(&self, messages: &[Message]) -> Result<Written, CatalogError> {
        let started = Instant::now();
        match self.catalog.apply(messages).await {
            Ok(applied) => {
                self.metrics.committed(started.elapsed());
                Ok(Written::Applied(applied))
            }
            Err(error) if is_refusal(&error) => {
                self.metrics.failures.inc();
                Ok(Written::Refused)
            }
            Err(error) => Err(error),
        }
    }

    /// Tries until the catalog has taken this message or, while it takes others, refused it.
    async fn write_alone(
        &self,
        message: &[Message],
        delivery: &Delivery,
        shutdown: &CancellationToken,
    ) -> Option<Applied> {
        self.persist("messages", 1, shutdown, || self.try_alone(message, delivery)).await
    }

    async fn try_alone(
        &self,
        message: &[Message],
        delivery: &Delivery,
    ) -> Result<Applied, CatalogError> {
        let error = match self.catalog.apply(message).await {
            Ok(applied) => return Ok(applied),
            Err(error) if is_refusal(&error) => error,
            Err(error) => return Err(error),
        };
        // Whether it is the message or the database: a database that is well takes it as a dead letter.
        let reason = chain(&error);
        let trace_id = delivery.trace_id().map(display);
        tracing::error!(id = %delivery.id, trace_id, "the catalog refuses a message: {reason}");
        let letter = Letter {
            message_id: delivery.id.clone(),
            queue: delivery.queue.to_string(),
            reason,
            body: delivery.body.to_vec(),
            at: Timestamp::now(),
            content: Content::Unusable,
        };
        self.catalog.bury(&[letter]).await?;
        reached(Failpoint::CollectorBuried);
        self.metrics.rejected.inc();
        Ok(Applied::default())
    }

    /// Acks what is committed and sets aside what was refused.
    async fn settle(&self, messages: &[Message], deliveries: Vec<Delivery>, applied: Applied) {
        self.metrics.batch.observe(messages.len() as f64);
        self.metrics.complete(applied.completed.len(), &applied.asked);
        for message in messages {
            self.metrics.messages.with_label_values(&[message.kind()]).inc();
            if let Message::FencePassed(mark) = message {
                self.metrics.heard(&mark.analyzer, mark.published_at);
            }
        }
        let rejected: HashMap<usize, String> = applied.rejected.into_iter().collect();
        let mut written = Vec::with_capacity(deliveries.len());
        for (index, delivery) in deliveries.into_iter().enumerate() {
            match rejected.get(&index) {
                Some(reason) => self.set_aside(delivery, reason).await,
                None => written.push(delivery),
            }
        }
        reached(Failpoint::CollectorCommitted);
        if let Err(error) = Delivery::ack_all(written).await {
            // They will be delivered again; writing them a second time changes nothing.
            tracing::debug!("a batch was committed but not acked: {}", chain(&error));
        }
        reached(Failpoint::CollectorAcked);
    }

    /// Tries a transaction until it is committed; `None` after a shutdown meanwhile.
    pub(crate) async fn persist<T, F: Future<Output = Result<T, CatalogError>>>(
        &self,
        what: &str,
        count: usize,
        shutdown: &CancellationToken,
        write: impl Fn() -> F,
    ) -> Option<T> {
        let mut tries = 0_u32;
        loop {
            let error = match write().await {
                Ok(done) => return Some(done),
                Err(error) => error,
            };
            self.metrics.failures.inc();
            tracing::error!(
                count,
                what,
                "the catalog cannot be written, nothing is acked and nothing lost: {}",
                chain(&error)
            );
            let floor = Duration::from_millis(100);
            let pause = backoff(tries, floor, self.options.retry_cap, f64::from(tries % 7) / 7.0);
            tries = tries.saturating_add(1);
            tokio::select! {
                () = shutdown.cancelled() => return None,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn set_aside(&self, delivery: Delivery, reason: &str) {
        self.metrics.rejected.inc();
        let (id, trace_id) = (delivery.id.clone(), delivery.trace_id().map(display));
        tracing::error!(%id, trace_id, "a message was set aside in the dead queue: {reason}");
        if let Err(error) = delivery.reject(reason).await {
            tracing::debug!(
                %id,
                trace_id,
                "a message could not be set aside and will come back: {}",
                chain(&error)
            );
        }
    }
}

/// Tells the dispatcher that there is something for it.
fn announce(applied: &Applied, ready: &Notify) {
    if applied.ready > 0 || applied.firsts > 0 {
        ready.notify_one();
    }
}

/// Whether the database said no to what it was given, and is neither away nor full nor locked.
fn is_refusal(error: &CatalogError) -> bool {
    matches!(error, CatalogError::Database { .. } | CatalogError::Unreadable { .. })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_more_comes_the_longer_the_next_transaction_gathers() {
        let options = CollectorOptions::default();
        let pauses = [1, 4, 125, 250, 2_000].map(|messages| options.pause_after(messages));
        assert_eq!(pauses[0], Duration::from_micros(2_392));
        assert_eq!(pauses[1], Duration::from_micros(3_568));
        assert_eq!(pauses[2], Duration::from_micros(51_000));
        assert_eq!(pauses[3..], [Duration::from_millis(100); 2]);
        let never = CollectorOptions { busy_linger: Duration::ZERO, ..options };
        assert_eq!(never.pause_after(2_000), never.linger);
    }
}
