//! [`Delivery`]: a message that is yours until you settle it. Settling consumes it; dropping it gives it back.

use std::time::Duration;

use async_recursion::async_recursion;
use bytes::Bytes;
use ocelli_core::routing::Queue;
use ocelli_core::trace::{TraceContext, TraceId};

use crate::SettleError;
use crate::memory::MemoryTicket;
use crate::message::clip_reason;
use crate::rabbit::RabbitTicket;

/// A message handed out by a [`Consumer`](crate::Consumer).
///
/// Dropped without settling (a panic, an early return), it goes back to its queue; after
/// [`topology::DELIVERY_LIMIT`](crate::topology::DELIVERY_LIMIT) returns it goes to [`Queue::Dead`].
#[derive(Debug)]
#[must_use = "a delivery that is dropped goes back to its queue"]
pub struct Delivery {
    /// The message's id; empty when the sender gave none.
    pub id: String,
    /// The encoded envelope: hostile until decoded.
    pub body: Bytes,
    /// Attempts spent on it so far.
    pub attempts: u32,
    /// The broker has handed it out before; a hint only.
    pub redelivered: bool,
    /// W3C Trace Context of its sender, unchecked.
    pub traceparent: Option<String>,
    /// The queue it came from.
    pub queue: Queue,
    /// Set in [`Queue::Dead`]: where it died and why.
    pub death: Option<Death>,
    ticket: Option<Ticket>,
}

/// Why a message is in [`Queue::Dead`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Death {
    /// Given to [`Delivery::reject`], or the broker's own word (`delivery_limit`, `expired`, `maxlen`).
    pub reason: String,
    /// Full name of the queue it was in.
    pub queue: String,
}

/// What settling needs, per backend.
#[derive(Debug)]
pub(crate) enum Ticket {
    /// In process.
    Memory(MemoryTicket),
    /// Over AMQP.
    Rabbit(RabbitTicket),
}

/// A delivery before it has its ticket: what both backends read from a message.
#[derive(Debug)]
pub(crate) struct Incoming {
    pub(crate) id: String,
    pub(crate) body: Bytes,
    pub(crate) attempts: u32,
    pub(crate) redelivered: bool,
    pub(crate) traceparent: Option<String>,
    pub(crate) queue: Queue,
    pub(crate) death: Option<Death>,
}

impl Delivery {
    pub(crate) fn new(incoming: Incoming, ticket: Ticket) -> Self {
        let Incoming { id, body, attempts, redelivered, traceparent, queue, death } = incoming;
        Self { id, body, attempts, redelivered, traceparent, queue, death, ticket: Some(ticket) }
    }

    /// The trace it belongs to, when its sender named one.
    #[must_use]
    pub fn trace_id(&self) -> Option<TraceId> {
        let context: TraceContext = self.traceparent.as_deref()?.parse().ok()?;
        Some(context.trace_id())
    }

    /// Takes the ticket; from here on the drop of `self` does nothing.
    fn take(&mut self) -> Ticket {
        self.ticket.take().expect("a delivery is settled by value, so it still has its ticket")
    }

    /// Done: the message is removed from the queue.
    ///
    /// The AMQP protocol has no answer to an ack, so `Ok` means "sent": a crash of the broker may still bring the
    /// message again.
    ///
    /// # Errors
    /// [`SettleError::Stale`] when the connection that delivered it is gone: it comes again.
    #[async_recursion]
    pub async fn ack(mut self) -> Result<(), SettleError> {
        match self.take() {
            Ticket::Memory(ticket) => ticket.ack(),
            Ticket::Rabbit(ticket) => ticket.ack(&self.id).await,
        }
    }

    /// Not now: the message comes back to the same queue after `delay`, with `attempts` behind it.
    ///
    /// `Queue::Delay(delay)` must be declared. It is published there with confirm and then acked here, so that a crash
    /// between the two doubles it rather than losing it.
    ///
    /// # Errors
    /// [`SettleError::Move`] when the delay queue does not exist (the delivery was given back), or
    /// [`SettleError::Stale`].
    #[async_recursion]
    pub async fn retry(mut self, delay: Duration, attempts: u32) -> Result<(), SettleError> {
        let ticket = self.take();
        match ticket {
            Ticket::Memory(ticket) => ticket.retry(delay, attempts).await,
            Ticket::Rabbit(ticket) => ticket.retry(&self, delay, attempts).await,
        }
    }

    /// Never: the message goes to [`Queue::Dead`] with the reason, for people.
    ///
    /// # Errors
    /// [`SettleError::Move`] when the dead queue does not exist (the delivery was given back), or
    /// [`SettleError::Stale`].
    #[async_recursion]
    pub async fn reject(mut self, reason: &str) -> Result<(), SettleError> {
        let reason = clip_reason(reason);
        let ticket = self.take();
        match ticket {
            Ticket::Memory(ticket) => ticket.reject(reason).await,
            Ticket::Rabbit(ticket) => ticket.reject(&self, reason).await,
        }
    }

    /// Not by me: back to the queue at once, nothing spent (an orderly stop, a dependency away).
    ///
    /// # Errors
    /// [`SettleError::Stale`] when the connection is gone: the broker has taken it back by itself.
    #[async_recursion]
    pub async fn give_back(mut self) -> Result<(), SettleError> {
        match self.take() {
            Ticket::Memory(ticket) => ticket.give_back(),
            Ticket::Rabbit(ticket) => ticket.give_back(&self.id).await,
        }
    }

    /// Gives back without waiting for anything: for what was never handed out.
    pub(crate) fn give_back_now(mut self) {
        match self.take() {
            // Fails only when the broker has taken it back already.
            Ticket::Memory(ticket) => drop(ticket.give_back()),
            Ticket::Rabbit(ticket) => ticket.give_back_now(),
        }
    }

    /// Acks many at once, with as few frames as possible. All are tried; the first error is returned.
    ///
    /// # Errors
    /// [`SettleError::Stale`] when at least one belongs to a lost connection: those come again.
    #[async_recursion]
    pub async fn ack_all(deliveries: Vec<Self>) -> Result<(), SettleError> {
        let mut rabbit = Vec::with_capacity(deliveries.len());
        let mut result = Ok(());
        for mut delivery in deliveries {
            match delivery.take() {
                Ticket::Memory(ticket) => result = result.and(ticket.ack()),
                Ticket::Rabbit(ticket) => rabbit.push((std::mem::take(&mut delivery.id), ticket)),
            }
        }
        result.and(RabbitTicket::ack_all(rabbit).await)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        match self.ticket.take() {
            Some(Ticket::Memory(ticket)) => ticket.dropped(),
            Some(Ticket::Rabbit(ticket)) => ticket.dropped(),
            None => {}
        }
    }
}
