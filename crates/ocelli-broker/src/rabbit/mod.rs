//! RabbitMQ through lapin, with a supervisor of our own (lapin's auto-recovery stays off: it leaves consumers that
//! never get anything again after channel errors, and gives up after eleven minutes without saying so).
//!
//! | file | room for |
//! |---|---|
//! | `address`, `dial` | the checked address; making one connection within a deadline |
//! | `link`, `board` | keeping a connection made; the state others watch |
//! | `publish`, `returns` | the publishing task: window, confirms, resends; which message was returned |
//! | `consume`, `lane`, `inbox`, `ticket` | a consumer over many connections; one registration of it; settling |
//! | `declare`, `heal` | declaring, checking and measuring queues; making deleted ones again |
//! | `wire` | our headers on AMQP messages |
//!
//! Two connections: publishing may be blocked by the broker (memory or disk alarm), and on a blocked connection even
//! acks hang; the consuming connection never publishes and so is never blocked.

mod address;
mod answer;
mod board;
mod consume;
mod declare;
mod dial;
mod heal;
mod inbox;
mod lane;
mod link;
mod options;
mod publish;
mod returns;
mod ticket;
mod wire;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_core::routing::Queue;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use address::Address;
use board::{Board, Role};
pub(crate) use consume::RabbitConsumer;
use heal::Healer;
use link::{Link, Supervisor};
pub(crate) use options::MAX_LENGTH;
pub use options::RabbitOptions;
use publish::Publisher;
pub(crate) use ticket::RabbitTicket;
use wire::Parcel;

use crate::topology::events_exchange;
use crate::{BrokerMetrics, BrokerState, ConnectError, Delivery, Event, Outgoing, PublishError};

/// Closing never takes longer than this beyond its grace.
const CLOSING: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug, Clone)]
pub(crate) struct Rabbit(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    options: RabbitOptions,
    board: Arc<Board>,
    publisher: Publisher,
    consuming: Link,
    healer: Healer,
    /// No new deliveries are handed out.
    stopping: CancellationToken,
    /// Everything ends.
    closed: CancellationToken,
    tasks: TaskTracker,
    last_ack: Mutex<Option<Instant>>,
}

impl Rabbit {
    pub(crate) async fn connect(options: RabbitOptions) -> Result<Self, ConnectError> {
        let address = Address::parse(&options)?;
        let board = Arc::new(Board::new());
        let closed = CancellationToken::new();
        let tasks = TaskTracker::new();
        let blocked = watch::Sender::new(false);
        let publishers_wait = blocked.subscribe();
        let supervisor = |role, blocked| Supervisor {
            role,
            address: address.clone(),
            options: options.clone(),
            board: Arc::clone(&board),
            blocked,
            closed: closed.clone(),
        };
        let first = tokio::try_join!(
            supervisor(Role::Publish, blocked).start(&tasks),
            supervisor(Role::Consume, watch::Sender::new(false)).start(&tasks),
        );
        let (publishing, consuming) = match first {
            Ok(links) => links,
            Err(error) => {
                // One of the two may stand already.
                closed.cancel();
                return Err(error);
            }
        };
        let publisher =
            Publisher::start(publishing, publishers_wait, options.clone(), closed.clone(), &tasks);
        Ok(Self(Arc::new(Shared {
            options,
            board,
            publisher,
            consuming,
            healer: Healer::default(),
            stopping: CancellationToken::new(),
            closed,
            tasks,
            last_ack: Mutex::new(None),
        })))
    }

    pub(crate) async fn publish(&self, message: Outgoing) -> Result<(), PublishError> {
        let Outgoing { id, body, routes, attempts, traceparent } = message;
        if routes.is_empty() {
            return Err(PublishError::NoRoute { id });
        }
        let namespace = self.namespace();
        if let Some(delay) = routes.iter().find(|route| matches!(route, Queue::Delay(_))) {
            return Err(PublishError::DelayRoute { id, queue: delay.name(namespace) });
        }
        let mut parcels = Vec::with_capacity(routes.len());
        for route in &routes {
            let queue = route.name(namespace);
            let make = {
                let (id, body, queue) = (&id, &body, queue);
                let traceparent = traceparent.as_deref();
                move || {
                    let content = wire::Content { id, body, attempts, traceparent };
                    wire::parcel(content, namespace, &queue, &[])
                }
            };
            parcels.push(self.publish_parcel(make));
        }
        let results = futures_util::future::join_all(parcels).await;
        results.into_iter().collect()
    }

    /// Publishes an event: a second time when the exchange was missing and could be declared again.
    pub(crate) async fn announce(&self, event: &Event) -> Result<(), PublishError> {
        let exchange = events_exchange(self.namespace()).name;
        let parcel = || wire::event(event, &exchange);
        if self.is_closed() {
            return Err(PublishError::Closed { id: event.id.clone() });
        }
        match self.0.publisher.publish(parcel()?).await {
            Err(PublishError::NoQueue { id, queue }) => match self.declare_events().await {
                Ok(()) => self.0.publisher.publish(parcel()?).await,
                Err(_missing) => Err(PublishError::NoQueue { id, queue }),
            },
            published => published,
        }
    }

    /// Publishes what `make` makes: a second time when its queue was missing and could be made again.
    async fn publish_parcel(
        &self,
        make: impl Fn() -> Result<Box<Parcel>, PublishError>,
    ) -> Result<(), PublishError> {
        let parcel = make()?;
        if self.is_closed() {
            return Err(PublishError::Closed { id: parcel.id });
        }
        let since = Instant::now();
        match self.0.publisher.publish(parcel).await {
            Err(PublishError::NoQueue { id, queue }) => match self.heal(&queue, since).await {
                true => self.0.publisher.publish(make()?).await,
                false => Err(PublishError::NoQueue { id, queue }),
            },
            published => published,
        }
    }

    /// A copy of a delivery for another place.
    fn parcel(
        &self,
        delivery: &Delivery,
        exchange: &str,
        key: &str,
        attempts: u32,
        headers: &[(&str, String)],
    ) -> Result<Box<Parcel>, PublishError> {
        let content = wire::Content {
            id: &delivery.id,
            body: &delivery.body,
            attempts,
            traceparent: delivery.traceparent.as_deref(),
        };
        wire::parcel(content, exchange, key, headers)
    }

    pub(crate) fn state(&self) -> watch::Receiver<BrokerState> {
        self.0.board.subscribe()
    }

    fn namespace(&self) -> &str {
        &self.0.options.namespace
    }

    fn options(&self) -> &RabbitOptions {
        &self.0.options
    }

    fn metrics(&self) -> &BrokerMetrics {
        &self.0.options.metrics
    }

    fn is_closed(&self) -> bool {
        self.0.closed.is_cancelled()
    }

    fn acked(&self, count: u64) {
        self.metrics().acks.inc_by(count);
        *self.0.last_ack.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    pub(crate) async fn close(&self) {
        self.0.stopping.cancel();
        let latest = Instant::now() + CLOSING;
        // Quorum queues of RabbitMQ 3.10 forget acks that are followed at once by a close (rabbitmq-server issue
        // 10327), so the connection stays until the last one has rested. Acks sent meanwhile are waited for as well.
        loop {
            let last = *self.0.last_ack.lock().unwrap_or_else(PoisonError::into_inner);
            let Some(rested) = last.map(|at| at + self.0.options.close_grace) else { break };
            if rested <= Instant::now() || rested >= latest {
                break;
            }
            tokio::time::sleep_until(rested).await;
        }
        self.0.closed.cancel();
        self.0.board.close();
        self.0.tasks.close();
        if tokio::time::timeout(CLOSING, self.0.tasks.wait()).await.is_err() {
            tracing::warn!("the broker's connections did not close in time and were left");
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        // The last handle is gone without a close: the supervisors must not live on.
        self.closed.cancel();
    }
}
