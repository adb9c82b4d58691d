//! Publishing with a bounded window: many messages wait for their confirm at once, and only a confirm counts.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use ocelli_broker::{Broker, Outgoing, PublishError, trace};
use ocelli_core::routing::Queue;
use ocelli_core::trace::TraceContext;
use ocelli_core::wire::Message;
use ocelli_failpoint::{Failpoint, die, due, reached};
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::error::ProducerError;
use crate::metrics::ProducerMetrics;

/// Sends messages and remembers the first error, which ends the run. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Publisher {
    broker: Broker,
    window: Arc<Semaphore>,
    in_flight: TaskTracker,
    /// Cancelled to end the run.
    stop: CancellationToken,
    /// Cancelled to give up on what has no confirm yet.
    abandon: CancellationToken,
    failure: Arc<Mutex<Option<ProducerError>>>,
    metrics: ProducerMetrics,
}

impl Publisher {
    pub(crate) fn new(
        broker: Broker,
        window: usize,
        stop: CancellationToken,
        metrics: ProducerMetrics,
    ) -> Self {
        Self {
            broker,
            window: Arc::new(Semaphore::new(window)),
            in_flight: TaskTracker::new(),
            stop,
            abandon: CancellationToken::new(),
            failure: Arc::default(),
            metrics,
        }
    }

    /// Sends when there is room in the window, and does not wait for the confirm; `confirmed` is called with it.
    /// Breaks when the run is ending; then the message was not sent.
    pub(crate) async fn send(
        &self,
        message: &Message,
        routes: Vec<Queue>,
        context: TraceContext,
        confirmed: impl FnOnce() + Send + 'static,
    ) -> ControlFlow<()> {
        let permit = tokio::select! {
            biased;
            () = self.stop.cancelled() => return ControlFlow::Break(()),
            permit = Arc::clone(&self.window).acquire_owned() => permit,
        };
        let outgoing = outgoing(message, routes, context);
        let publisher = self.clone();
        self.in_flight.spawn(async move {
            tokio::select! {
                biased;
                is_confirmed = publisher.publish(outgoing) => if is_confirmed {
                    reached(Failpoint::ProducerConfirmed);
                    confirmed();
                },
                () = publisher.abandon.cancelled() => {}
            }
            drop(permit);
        });
        ControlFlow::Continue(())
    }

    /// Sends and waits for the confirm, for as long as the broker is away; `false` when it will never come.
    ///
    /// The results queue comes last: what the catalog hears of is then in its job queues. A producer that dies in between
    /// leaves jobs of an image that the catalog does not know, and the next run sends all of it again.
    pub(crate) async fn publish(&self, outgoing: Outgoing) -> bool {
        let what = outgoing.id.clone();
        let started = Instant::now();
        match self.jobs_first(outgoing).await {
            Ok(()) => {
                self.metrics.publish_seconds.observe(started.elapsed().as_secs_f64());
                true
            }
            Err(source) => {
                self.fail(ProducerError::Publish { what, source });
                false
            }
        }
    }

    async fn jobs_first(&self, outgoing: Outgoing) -> Result<(), PublishError> {
        let (results, jobs): (Vec<_>, Vec<_>) =
            outgoing.routes.iter().cloned().partition(|queue| *queue == Queue::Results);
        if !jobs.is_empty() {
            reached(Failpoint::ProducerPlanned);
            if due(Failpoint::ProducerFirstJob) {
                let first = jobs.iter().take(1).cloned().collect();
                drop(self.broker.publish(Outgoing { routes: first, ..outgoing }).await);
                die(Failpoint::ProducerFirstJob);
            }
            self.broker.publish(Outgoing { routes: jobs, ..outgoing.clone() }).await?;
            reached(Failpoint::ProducerJobs);
        }
        let traceparent = trace::sibling(outgoing.traceparent.as_deref());
        self.broker.publish(Outgoing { routes: results, traceparent, ..outgoing }).await
    }

    /// Ends the run with this error, unless it has one already.
    pub(crate) fn fail(&self, error: ProducerError) {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(error);
        self.stop.cancel();
    }

    /// Whether an error ended the run.
    pub(crate) fn has_failed(&self) -> bool {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).is_some()
    }

    /// The error that ended the run.
    pub(crate) fn failure(&self) -> Option<ProducerError> {
        self.failure.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits for the confirms of everything sent; once the run was stopped, for at most `patience`.
    pub(crate) async fn drain(&self, patience: Duration) {
        self.in_flight.close();
        tokio::select! {
            () = self.in_flight.wait() => {}
            () = async { self.stop.cancelled().await; tokio::time::sleep(patience).await } => {
                tracing::warn!(
                    messages = self.in_flight.len(),
                    "the broker did not confirm in time; the same command enqueues what is missing"
                );
                self.abandon.cancel();
                self.in_flight.wait().await;
            }
        }
    }
}

/// The message as the broker takes it. The first route is the results queue.
pub(crate) fn outgoing(message: &Message, routes: Vec<Queue>, context: TraceContext) -> Outgoing {
    let body = message
        .encode()
        .expect("an intake, problem or report has bounded parts, far below the limit");
    let traceparent = Some(context.to_string());
    Outgoing { id: message.id(), body: Bytes::from(body), routes, attempts: 0, traceparent }
}
