//! Settling a delivery that came over AMQP.
//!
//! Every delivery belongs to the lane (one channel, one consumer registration) that brought it. Settling is a command to
//! that lane; when the lane is gone the broker has taken the message back already, and the delivery is stale.

use std::time::Duration;

use ocelli_core::routing::Queue;
use ocelli_failpoint::{Failpoint, reached};
use tokio::sync::{mpsc, oneshot};

use super::Rabbit;
use crate::message::{DEATH_QUEUE, DEATH_REASON};
use crate::{Delivery, PublishError, SettleError};

/// What to do with delivery tags of a lane.
#[derive(Debug)]
pub(super) enum Verdict {
    /// Remove from the queue.
    Ack,
    /// Back to the queue; not the message's fault (`basic.nack`, which RabbitMQ ≥ 4.3 does not count).
    GiveBack,
    /// Back to the queue; nobody settled it (`basic.reject`, which is counted towards the delivery limit).
    Return,
}

/// A command to a lane.
#[derive(Debug)]
pub(super) struct Command {
    pub(super) tags: Vec<u64>,
    pub(super) verdict: Verdict,
    /// Told when the frames are written; dropped with the lane. Nobody waits for a return.
    pub(super) done: Option<oneshot::Sender<()>>,
}

/// The way to a lane. Unbounded, but each delivery commands once: at most the prefetch.
pub(super) type Commands = mpsc::UnboundedSender<Command>;

/// What settling needs.
#[derive(Debug)]
pub(crate) struct RabbitTicket {
    rabbit: Rabbit,
    commands: Commands,
    tag: u64,
    settled: bool,
}

impl RabbitTicket {
    pub(super) fn new(rabbit: Rabbit, commands: Commands, tag: u64) -> Self {
        Self { rabbit, commands, tag, settled: false }
    }

    pub(crate) async fn ack(mut self, id: &str) -> Result<(), SettleError> {
        self.settled = true;
        command(&self.rabbit, &self.commands, vec![self.tag], Verdict::Ack, id).await
    }

    pub(crate) async fn give_back(mut self, id: &str) -> Result<(), SettleError> {
        self.settled = true;
        command(&self.rabbit, &self.commands, vec![self.tag], Verdict::GiveBack, id).await
    }

    pub(crate) fn give_back_now(mut self) {
        self.settled = true;
        self.send_back(Verdict::GiveBack);
    }

    fn send_back(&self, verdict: Verdict) {
        // A lane that is gone has given it back already.
        let _gone = self.commands.send(Command { tags: vec![self.tag], verdict, done: None });
    }

    pub(crate) async fn retry(
        self,
        delivery: &Delivery,
        delay: Duration,
        attempts: u32,
    ) -> Result<(), SettleError> {
        let step = Queue::Delay(delay);
        let namespace = self.rabbit.namespace();
        let (exchange, key) = (step.name(namespace), delivery.queue.name(namespace));
        let rabbit = self.rabbit.clone();
        let make = || rabbit.parcel(delivery, &exchange, &key, attempts, &[]);
        self.move_to(&delivery.id, &exchange, Failpoint::MovedToDelay, make).await
    }

    pub(crate) async fn reject(
        self,
        delivery: &Delivery,
        reason: String,
    ) -> Result<(), SettleError> {
        let namespace = &self.rabbit.namespace().to_owned();
        let (dead, from) = (Queue::Dead.name(namespace), delivery.queue.name(namespace));
        let headers = [(DEATH_REASON, reason), (DEATH_QUEUE, from)];
        let rabbit = self.rabbit.clone();
        let make = || rabbit.parcel(delivery, namespace, &dead, delivery.attempts, &headers);
        self.move_to(&delivery.id, &dead, Failpoint::MovedToDead, make).await
    }

    /// Publishes a copy with confirm, and only then acks. If the caller stops waiting in between, the drop of the ticket
    /// gives the message back: doubled at worst, never lost.
    async fn move_to(
        self,
        id: &str,
        queue: &str,
        moved: Failpoint,
        make: impl Fn() -> Result<Box<super::wire::Parcel>, PublishError>,
    ) -> Result<(), SettleError> {
        match self.rabbit.publish_parcel(make).await {
            Ok(()) => {
                reached(moved);
                self.ack(id).await
            }
            Err(PublishError::Closed { .. }) => Err(SettleError::Closed { id: id.to_owned() }),
            Err(source) => {
                // Already an error; that the lane may be gone as well changes nothing for the message.
                let _stale = self.give_back(id).await;
                Err(SettleError::Move { id: id.to_owned(), queue: queue.to_owned(), source })
            }
        }
    }

    /// Acks of one lane become one command.
    pub(crate) async fn ack_all(tickets: Vec<(String, Self)>) -> Result<(), SettleError> {
        let mut lanes: Vec<(Self, String, Vec<u64>)> = Vec::new();
        for (id, mut ticket) in tickets {
            ticket.settled = true;
            match lanes.iter_mut().find(|(lane, ..)| lane.commands.same_channel(&ticket.commands)) {
                Some((_, _, tags)) => tags.push(ticket.tag),
                None => {
                    let tag = ticket.tag;
                    lanes.push((ticket, id, vec![tag]));
                }
            }
        }
        let mut result = Ok(());
        for (lane, id, tags) in lanes {
            let settled = command(&lane.rabbit, &lane.commands, tags, Verdict::Ack, &id).await;
            result = result.and(settled);
        }
        result
    }

    pub(crate) fn dropped(self) {
        drop(self);
    }
}

impl Drop for RabbitTicket {
    fn drop(&mut self) {
        if !self.settled {
            self.send_back(Verdict::Return);
        }
    }
}

/// Commands the lane and waits until it has written the frames.
async fn command(
    rabbit: &Rabbit,
    commands: &Commands,
    tags: Vec<u64>,
    verdict: Verdict,
    id: &str,
) -> Result<(), SettleError> {
    let (done, written) = oneshot::channel();
    let count = tags.len() as u64;
    let sent = commands.send(Command { tags, verdict, done: Some(done) }).is_ok();
    if sent && written.await.is_ok() {
        return Ok(());
    }
    if rabbit.is_closed() {
        return Err(SettleError::Closed { id: id.to_owned() });
    }
    rabbit.metrics().stale_acks.inc_by(count);
    Err(SettleError::Stale { id: id.to_owned() })
}
