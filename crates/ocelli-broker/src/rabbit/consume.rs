//! A consumer over many connections: one lane after the other feeds the same inbox.

use std::sync::Arc;
use std::time::Duration;

use ocelli_core::retry::backoff;
use ocelli_core::routing::Queue;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::lane::{Ended, Lane, NoLane};
use super::{Rabbit, answer};
use crate::{ConsumeError, ConsumerState, Delivery};

/// The longest pause before registering again: a queue that is declared anew is consumed within seconds.
const PAUSE_CAP: Duration = Duration::from_secs(5);

/// See the module.
#[derive(Debug)]
pub(crate) struct RabbitConsumer {
    inbox: Arc<Inbox>,
    state: watch::Receiver<ConsumerState>,
    cancelled: CancellationToken,
    limit: Duration,
}

impl Rabbit {
    pub(crate) async fn consume(
        &self,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<RabbitConsumer, ConsumeError> {
        let name = queue.name(self.namespace());
        if prefetch == 0 {
            return Err(ConsumeError::NoPrefetch { queue: name });
        }
        let cancelled = self.0.stopping.child_token();
        let lane = self.first_lane(queue, &name, prefetch, &cancelled).await?;
        let inbox = Arc::new(Inbox::default());
        let (state, seen) = watch::channel(ConsumerState::Consuming);
        let consuming = Consuming {
            rabbit: self.clone(),
            queue: queue.clone(),
            prefetch,
            inbox: Arc::clone(&inbox),
            state,
            cancelled: cancelled.clone(),
        };
        self.0.tasks.spawn(consuming.run(lane));
        let limit = self.options().operation_timeout;
        Ok(RabbitConsumer { inbox, state: seen, cancelled, limit })
    }

    /// The first registration: what the broker refuses is the caller's to know; a lost connection is waited out.
    async fn first_lane(
        &self,
        queue: &Queue,
        name: &str,
        prefetch: u16,
        cancelled: &CancellationToken,
    ) -> Result<Lane, ConsumeError> {
        for attempt in 0_u32.. {
            let opened = tokio::select! {
                biased;
                () = cancelled.cancelled() => return Err(ConsumeError::Closed),
                opened = Lane::open(self, queue, prefetch) => opened,
            };
            match opened {
                Ok(lane) => return Ok(lane),
                Err(NoLane::Closed) => break,
                Err(NoLane::Refused(error)) => {
                    let queue = name.to_owned();
                    return Err(match answer::code(&error) {
                        Some(answer::NOT_FOUND) => ConsumeError::NoQueue { queue },
                        Some(answer::ACCESS_REFUSED) => {
                            ConsumeError::Forbidden { queue, source: Box::new(error) }
                        }
                        _ => ConsumeError::Broker { queue, source: Box::new(error) },
                    });
                }
                Err(NoLane::Lost(reason)) => {
                    tracing::debug!(queue = name, reason, "no consuming channel yet");
                    tokio::time::sleep(self.pause(attempt)).await;
                }
            }
        }
        Err(ConsumeError::Closed)
    }

    fn pause(&self, attempt: u32) -> Duration {
        let (floor, cap) = (self.options().reconnect_floor, self.options().reconnect_cap);
        backoff(attempt, floor, cap.min(PAUSE_CAP), rand::random())
    }
}

/// The task behind a consumer.
struct Consuming {
    rabbit: Rabbit,
    queue: Queue,
    prefetch: u16,
    inbox: Arc<Inbox>,
    state: watch::Sender<ConsumerState>,
    cancelled: CancellationToken,
}

impl Consuming {
    async fn run(self, first: Lane) {
        let mut lane = first;
        loop {
            let ended = || {
                self.state.send_replace(ConsumerState::Ended);
            };
            let outcome = lane.run(&self.inbox, &self.cancelled, ended).await;
            // What was not handed out is stale now: the broker delivers it again.
            drop(self.inbox.clear());
            let Ended::Lost(reason) = outcome else { break };
            if self.cancelled.is_cancelled() {
                break;
            }
            tracing::warn!(queue = %self.queue, reason, "the consumer was lost, registering it again");
            self.state.send_replace(ConsumerState::Waiting { reason });
            let Some(next) = self.reopen().await else { break };
            tracing::info!(queue = %self.queue, "consuming again");
            self.state.send_replace(ConsumerState::Consuming);
            lane = next;
        }
        drop(self.inbox.end());
        self.state.send_replace(ConsumerState::Ended);
    }

    async fn reopen(&self) -> Option<Lane> {
        let name = self.queue.name(self.rabbit.namespace());
        for attempt in 0_u32.. {
            let since = Instant::now();
            let opened = tokio::select! {
                biased;
                () = self.cancelled.cancelled() => return None,
                opened = Lane::open(&self.rabbit, &self.queue, self.prefetch) => opened,
            };
            let reason = match opened {
                Ok(lane) => return Some(lane),
                Err(NoLane::Closed) => return None,
                Err(NoLane::Refused(error)) => {
                    let missing = answer::code(&error) == Some(answer::NOT_FOUND);
                    if missing && self.rabbit.heal(&name, since).await {
                        continue;
                    }
                    error.to_string()
                }
                Err(NoLane::Lost(reason)) => reason,
            };
            let changed = self.state.send_if_modified(|state| {
                let now = ConsumerState::Waiting { reason: reason.clone() };
                let changed = *state != now;
                *state = now;
                changed
            });
            if changed {
                tracing::warn!(queue = %self.queue, reason, "cannot consume yet");
            }
            tokio::select! {
                () = self.cancelled.cancelled() => return None,
                () = tokio::time::sleep(self.rabbit.pause(attempt)) => {}
            }
        }
        None
    }
}

impl RabbitConsumer {
    pub(crate) async fn next(&mut self) -> Option<Delivery> {
        self.inbox.next().await
    }

    pub(crate) async fn cancel(&mut self) {
        self.cancelled.cancel();
        let mut state = self.state.clone();
        let ended = state.wait_for(|state| *state == ConsumerState::Ended);
        // Bounded by the lane's own timeouts; this is for the case that its task died.
        let _late = tokio::time::timeout(self.limit.saturating_mul(2), ended).await;
    }

    pub(crate) fn state(&self) -> watch::Receiver<ConsumerState> {
        self.state.clone()
    }
}

impl Drop for RabbitConsumer {
    fn drop(&mut self) {
        self.cancelled.cancel();
    }
}
