//! Waiting while collectors are behind, so that a small batch does not wait behind what a huge one says.
//!
//! Sightings and answers go to collectors through one queue, first in, first out. A producer can fill it many times faster than
//! a catalog takes rows, and then whatever is said next waits for minutes. So a batch beyond its share of fresh work waits
//! before it says more, and one within its share never does.

use std::time::Duration;

use ocelli_broker::Broker;
use ocelli_core::routing::Queue;
use tokio::time::Instant;

/// How often the queue is looked at, at most.
const LOOK: Duration = Duration::from_millis(100);

/// How far collectors are behind.
pub(crate) struct Backlog {
    broker: Broker,
    /// Messages that may wait for them; any number when zero.
    most: u64,
    look_at: Instant,
    is_waiting: bool,
}

impl Backlog {
    pub(crate) fn new(broker: Broker, most: u64) -> Self {
        Self { broker, most, look_at: Instant::now(), is_waiting: false }
    }

    /// Waits until fewer messages wait for collectors than may. Without a collector nobody would ever take them: then the queue's own
    /// capacity is the bound. A broker that does not say is left to whoever publishes next.
    pub(crate) async fn room(&mut self) {
        if self.most == 0 || (!self.is_waiting && Instant::now() < self.look_at) {
            return;
        }
        while let Ok(depth) = self.broker.depth(&Queue::Results).await
            && depth.consumers > 0
            && depth.ready >= self.most
        {
            if !self.is_waiting {
                self.is_waiting = true;
                tracing::info!(
                    waiting = depth.ready,
                    "collectors are behind: this batch waits for them (setting producer.results_ahead)"
                );
            }
            tokio::time::sleep(LOOK).await;
        }
        self.is_waiting = false;
        self.look_at = Instant::now() + LOOK;
    }
}

#[cfg(test)]
mod tests {
    use ocelli_broker::{MemoryOptions, Outgoing};

    use super::*;

    async fn say(broker: &Broker, count: usize) {
        for number in 0..count {
            let (id, routes) = (number.to_string(), vec![Queue::Results]);
            let body = b"x".as_slice().into();
            let outgoing = Outgoing { id, body, routes, attempts: 0, traceparent: None };
            broker.publish(outgoing).await.unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_batch_waits_while_collectors_are_behind_and_goes_on_when_they_are_not() {
        let broker = Broker::memory(MemoryOptions::default());
        broker.declare(&[Queue::Results]).await.unwrap();
        say(&broker, 5).await;
        let mut backlog = Backlog::new(broker.clone(), 4);
        // Nobody collects.
        backlog.room().await;
        // One takes what it has room for, and there is more behind it.
        let mut collector = broker.consume(&Queue::Results, 1).await.unwrap();
        let first = collector.next().await.unwrap();
        tokio::time::advance(LOOK).await;
        let (waited, in_hand) = tokio::join!(
            async {
                backlog.room().await;
                broker.depth(&Queue::Results).await.unwrap().ready
            },
            async {
                tokio::time::sleep(3 * LOOK).await;
                first.ack().await.unwrap();
                collector.next().await.unwrap()
            }
        );
        assert_eq!(waited, 3, "it went on when one more was taken");
        drop(in_hand);
        let mut unbound = Backlog::new(broker, 0);
        unbound.room().await;
    }
}
