//! One registration of a consumer: one channel, from `basic.consume` to its end. Settles what it brought, and only that.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures_util::StreamExt;
use lapin::Channel;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
    BasicRejectOptions,
};
use lapin::types::{FieldTable, ShortString};
use ocelli_core::routing::Queue;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

use super::inbox::Inbox;
use super::link::Session;
use super::ticket::{Command, Commands, RabbitTicket, Verdict};
use super::{Rabbit, wire};
use crate::Delivery;
use crate::delivery::Ticket;

/// Commands settled in one go: bounds the time until the next delivery is looked at.
const BATCH: usize = 1024;

/// Why there is no lane.
pub(super) enum NoLane {
    /// The broker's answer to this registration; the connection stands.
    Refused(lapin::Error),
    /// The connection or the channel is gone, or does not answer.
    Lost(String),
    /// The broker was closed.
    Closed,
}

/// How a lane ended.
pub(super) enum Ended {
    /// By us: cancelled and everything settled, or the broker was closed.
    Done,
    /// By the broker or the network.
    Lost(String),
}

/// See the module.
pub(super) struct Lane {
    rabbit: Rabbit,
    queue: Queue,
    session: Arc<Session>,
    channel: Channel,
    stream: lapin::Consumer,
    tag: ShortString,
    commands: Commands,
    incoming: mpsc::UnboundedReceiver<Command>,
    /// Delivery tags that were not settled yet.
    open: BTreeSet<u64>,
}

impl Lane {
    /// Registers on the current connection; waits while there is none.
    pub(super) async fn open(
        rabbit: &Rabbit,
        queue: &Queue,
        prefetch: u16,
    ) -> Result<Self, NoLane> {
        let session = rabbit.0.consuming.session().await.ok_or(NoLane::Closed)?;
        let timeout = rabbit.options().operation_timeout;
        let channel = session.channel(timeout).await.map_err(NoLane::Lost)?;
        let name = queue.name(rabbit.namespace());
        let register = async {
            channel.basic_qos(prefetch, BasicQosOptions::default()).await?;
            let options = BasicConsumeOptions::default();
            channel
                .basic_consume(name.as_str().into(), "".into(), options, FieldTable::default())
                .await
        };
        let stream = match tokio::time::timeout(timeout, register).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) if super::answer::concerns_channel(&error) => {
                return Err(NoLane::Refused(error));
            }
            Ok(Err(error)) => return Err(NoLane::Lost(error.to_string())),
            Err(_elapsed) => {
                let reason = format!("no answer to basic.consume within {timeout:?}");
                session.condemn(&reason);
                return Err(NoLane::Lost(reason));
            }
        };
        let (commands, incoming) = mpsc::unbounded_channel();
        Ok(Self {
            rabbit: rabbit.clone(),
            queue: queue.clone(),
            tag: stream.tag(),
            session,
            channel,
            stream,
            commands,
            incoming,
            open: BTreeSet::new(),
        })
    }

    /// Moves deliveries into the inbox and settles, until the end of the lane. After `cancelled` nothing new is handed
    /// out; what is out may still be settled. `ended` is called when the broker has confirmed the cancellation.
    pub(super) async fn run(
        mut self,
        inbox: &Inbox,
        cancelled: &CancellationToken,
        ended: impl Fn(),
    ) -> Ended {
        let closed = self.rabbit.0.closed.clone();
        let (mut cancelling, mut dry) = (false, false);
        let outcome = loop {
            if cancelling && dry && self.open.is_empty() {
                break Ended::Done;
            }
            tokio::select! {
                biased;
                () = closed.cancelled() => break Ended::Done,
                Some(command) = self.incoming.recv() => {
                    if let Err(reason) = self.settle(command).await {
                        break Ended::Lost(reason);
                    }
                }
                () = cancelled.cancelled(), if !cancelling => {
                    cancelling = true;
                    if let Err(reason) = self.cancel().await {
                        break Ended::Lost(reason);
                    }
                    for delivery in inbox.end() {
                        delivery.give_back_now();
                    }
                    ended();
                }
                arrived = self.stream.next(), if !dry => match arrived {
                    Some(Ok(delivery)) => self.receive(delivery, inbox, cancelling),
                    Some(Err(error)) => break Ended::Lost(error.to_string()),
                    None if cancelling => dry = true,
                    None => break Ended::Lost(
                        "the broker cancelled the consumer (the queue was deleted or moved)".to_owned(),
                    ),
                },
            }
        };
        // Explicitly: what is unsettled goes back now, and a channel that is only dropped would race with the
        // connection's close.
        if self.session.connected() {
            let closing = self.channel.close(200, "done".into());
            let timeout = self.rabbit.options().operation_timeout;
            if tokio::time::timeout(timeout, closing).await.is_err() {
                self.session.condemn("no answer to channel.close");
            }
        }
        outcome
    }

    fn receive(&mut self, delivery: lapin::message::Delivery, inbox: &Inbox, cancelling: bool) {
        let tag = delivery.delivery_tag;
        self.open.insert(tag);
        let ticket = RabbitTicket::new(self.rabbit.clone(), self.commands.clone(), tag);
        let incoming = wire::incoming(&self.queue, delivery);
        let delivery = Delivery::new(incoming, Ticket::Rabbit(ticket));
        if cancelling {
            delivery.give_back_now();
        } else {
            self.rabbit.metrics().deliveries.inc();
            inbox.push(delivery);
        }
    }

    async fn cancel(&self) -> Result<(), String> {
        let cancel = self.channel.basic_cancel(self.tag.clone(), BasicCancelOptions::default());
        self.in_time("basic.cancel", cancel).await
    }

    /// Everything that waits to be settled, with as few frames as possible.
    async fn settle(&mut self, first: Command) -> Result<(), String> {
        let (mut acks, mut backs, mut done) = (Vec::new(), Vec::new(), Vec::new());
        let mut next = Some(first);
        while let Some(command) = next {
            let Command { tags, verdict, done: told } = command;
            done.extend(told);
            match verdict {
                Verdict::Ack => acks.extend(tags),
                Verdict::GiveBack => backs.extend(tags.into_iter().map(|tag| (tag, true))),
                Verdict::Return => backs.extend(tags.into_iter().map(|tag| (tag, false))),
            }
            let more = acks.len() + backs.len() < BATCH;
            next = if more { self.incoming.try_recv().ok() } else { None };
        }
        for tag in &acks {
            self.open.remove(tag);
        }
        let plan = plan(acks, self.open.first().copied());
        if let Some(upto) = plan.upto {
            let options = BasicAckOptions { multiple: true };
            self.in_time("basic.ack", self.channel.basic_ack(upto, options)).await?;
        }
        for tag in &plan.single {
            let options = BasicAckOptions { multiple: false };
            self.in_time("basic.ack", self.channel.basic_ack(*tag, options)).await?;
        }
        if plan.count > 0 {
            self.rabbit.acked(plan.count);
        }
        for (tag, uncounted) in backs {
            self.open.remove(&tag);
            if uncounted {
                let options = BasicNackOptions { multiple: false, requeue: true };
                self.in_time("basic.nack", self.channel.basic_nack(tag, options)).await?;
            } else {
                let options = BasicRejectOptions { requeue: true };
                self.in_time("basic.reject", self.channel.basic_reject(tag, options)).await?;
            }
        }
        for told in done {
            // Whoever settled may have stopped waiting.
            let _gone = told.send(());
        }
        Ok(())
    }

    async fn in_time(
        &self,
        what: &str,
        work: impl Future<Output = Result<(), lapin::Error>>,
    ) -> Result<(), String> {
        let timeout = self.rabbit.options().operation_timeout;
        match tokio::time::timeout(timeout, work).await {
            Ok(Ok(())) => Ok(()),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => {
                let reason = format!("no way to send {what} within {timeout:?}");
                self.session.condemn(&reason);
                Err(reason)
            }
        }
    }
}

/// Which ack frames to send.
#[derive(Debug, PartialEq, Eq)]
struct Plan {
    /// One multiple ack up to this tag …
    upto: Option<u64>,
    /// … and these one by one.
    single: Vec<u64>,
    count: u64,
}

/// A multiple ack covers every lower tag, so it may reach only below the lowest tag that is still open.
fn plan(mut acks: Vec<u64>, lowest_open: Option<u64>) -> Plan {
    acks.sort_unstable();
    let count = acks.len() as u64;
    let below = match lowest_open {
        Some(open) => acks.partition_point(|tag| *tag < open),
        None => acks.len(),
    };
    let single = acks.split_off(below);
    Plan { upto: acks.last().copied(), single, count }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_ack_never_covers_a_delivery_that_is_still_open() {
        assert_eq!(plan(vec![3, 1, 2], None), Plan { upto: Some(3), single: vec![], count: 3 });
        assert_eq!(
            plan(vec![5, 1, 2, 7], Some(4)),
            Plan { upto: Some(2), single: vec![5, 7], count: 4 }
        );
        assert_eq!(plan(vec![5], Some(1)), Plan { upto: None, single: vec![5], count: 1 });
        assert_eq!(plan(vec![], Some(1)), Plan { upto: None, single: vec![], count: 0 });
    }
}
