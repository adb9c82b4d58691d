//! The meaning of a broker, as tests. Each case is written once, in `cases`, and registered once, at the end of this file;
//! it runs on the memory backend under paused time and on a real RabbitMQ.

mod cases;

use std::time::Duration;

use bytes::Bytes;
use ocelli_broker::{Broker, Consumer, Delivery, MemoryOptions, Outgoing, RabbitOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_testkit::servers::{RabbitmqServer, rabbitmq};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
/// The delay step all cases use.
const STEP: Duration = Duration::from_millis(300);
/// Room in a queue, where a case wants it scarce.
const SCARCE: u32 = 5;

/// A broker with the queues of two analyzers, and what keeps it alive.
struct Setup {
    broker: Broker,
    _server: Option<RabbitmqServer>,
}

impl Setup {
    async fn memory(capacity: u32) -> Self {
        let capacity_per_queue = capacity as usize;
        let broker = Broker::memory(MemoryOptions { capacity_per_queue });
        Self::declared(broker, None).await
    }

    async fn rabbitmq(capacity: u32) -> Self {
        let server = rabbitmq().await;
        let mut options = RabbitOptions::new(&server.url);
        options.namespace = "conformance".to_owned();
        options.max_length = capacity;
        let broker = Broker::rabbitmq(options).await.expect("the test's own virtual host");
        Self::declared(broker, Some(server)).await
    }

    async fn declared(broker: Broker, server: Option<RabbitmqServer>) -> Self {
        let all = queues(&[name("a"), name("b")], &[STEP]);
        broker.declare(&all).await.expect("a fresh broker takes any declaration");
        Self { broker, _server: server }
    }

    async fn publish(&self, id: &str, routes: &[Queue]) {
        self.broker.publish(message(id, routes)).await.expect("published");
    }

    async fn consume(&self, queue: &Queue, prefetch: u16) -> Consumer {
        self.broker.consume(queue, prefetch).await.expect("a consumer")
    }
}

fn name(text: &str) -> ocelli_core::AnalyzerName {
    text.parse().expect("a valid name")
}

fn jobs(text: &str) -> Queue {
    Queue::Jobs(name(text))
}

fn message(id: &str, routes: &[Queue]) -> Outgoing {
    Outgoing {
        id: id.to_owned(),
        body: Bytes::from(format!("body of {id}")),
        routes: routes.to_vec(),
        attempts: 0,
        traceparent: None,
    }
}

/// The next delivery, which must come.
async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery in time")
        .expect("the consumer has not ended")
}

/// Nothing comes for a while (the only negative wait: long against a delivery, short for a test).
async fn nothing_comes(consumer: &mut Consumer) {
    let came = tokio::time::timeout(Duration::from_millis(300), consumer.next()).await;
    assert!(came.is_err(), "nothing should have come: {came:?}");
}

macro_rules! conformance {
    ($($case:ident $(($capacity:expr))?),* $(,)?) => {
        mod memory {
            use super::*;
            $(
                #[tokio::test(start_paused = true)]
                async fn $case() {
                    let capacity = [$($capacity,)? 1000][0];
                    cases::$case(Setup::memory(capacity).await).await;
                }
            )*
        }
        mod rabbitmq_3_10 {
            use super::*;
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
                async fn $case() {
                    let capacity = [$($capacity,)? 100_000][0];
                    cases::$case(Setup::rabbitmq(capacity).await).await;
                }
            )*
        }
    };
}

conformance! {
    what_is_published_arrives_with_everything_it_carries,
    a_message_reaches_every_queue_it_names,
    order_is_kept,
    bodies_of_any_bytes_and_size_arrive_unchanged,
    a_missing_queue_is_named,
    missing_queues_among_others_are_told_apart,
    a_message_without_queues_and_one_to_a_delay_queue_are_refused,
    consuming_a_missing_queue_or_nothing_at_all_is_an_error,
    a_dropped_delivery_comes_back,
    a_delivery_that_is_given_back_comes_again,
    no_more_than_the_prefetch_is_held,
    a_retry_returns_after_its_delay_to_its_own_queue_only,
    a_retry_without_its_delay_queue_is_an_error_and_gives_back,
    a_rejected_delivery_is_in_the_dead_queue_with_its_reason,
    a_delivery_nobody_ever_settles_ends_in_the_dead_queue,
    acking_many_acks_exactly_those,
    publishers_wait_while_a_queue_is_full(SCARCE),
    a_full_queue_does_not_hold_up_the_others(SCARCE),
    depth_counts_what_waits_and_who_consumes,
    declaring_twice_is_the_same_and_check_names_what_is_missing,
    giving_up_on_next_loses_nothing,
    a_cancelled_consumer_gives_back_what_it_had_not_handed_out,
    a_dropped_consumer_gives_back_what_it_had_not_handed_out,
    two_consumers_share_a_queue,
    closing_ends_consumers_and_publishers,
}
