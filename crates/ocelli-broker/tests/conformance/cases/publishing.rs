//! What `publish`, `declare`, `check` and `depth` mean.

use std::collections::BTreeSet;

use bytes::Bytes;
use ocelli_broker::{BrokerState, Outgoing, PublishError, TopologyError};
use ocelli_core::routing::Queue;
use ocelli_testkit::wait_until;

use crate::{PATIENCE, SCARCE, STEP, Setup, jobs, message, next};

pub(crate) async fn what_is_published_arrives_with_everything_it_carries(setup: Setup) {
    let outgoing = Outgoing {
        id: "the id, ünïcode".to_owned(),
        body: Bytes::from_static(b"\0body\xff"),
        routes: vec![Queue::Results],
        attempts: 3,
        traceparent: Some("00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01".to_owned()),
    };
    setup.broker.publish(outgoing.clone()).await.expect("published");
    let delivery = next(&mut setup.consume(&Queue::Results, 1).await).await;
    assert_eq!(delivery.id, outgoing.id);
    assert_eq!(delivery.body, outgoing.body);
    assert_eq!(delivery.attempts, 3);
    assert_eq!(delivery.traceparent, outgoing.traceparent);
    assert_eq!(delivery.queue, Queue::Results);
    assert_eq!(delivery.death, None);
    assert!(!delivery.redelivered);
    delivery.ack().await.expect("acked");
}

pub(crate) async fn a_message_reaches_every_queue_it_names(setup: Setup) {
    let routes = [Queue::Results, jobs("a"), jobs("b")];
    setup.publish("m", &routes).await;
    for queue in routes {
        let delivery = next(&mut setup.consume(&queue, 1).await).await;
        assert_eq!((delivery.id.as_str(), &delivery.queue), ("m", &queue));
        delivery.ack().await.expect("acked");
    }
}

pub(crate) async fn order_is_kept(setup: Setup) {
    for n in 0..50 {
        setup.publish(&n.to_string(), &[jobs("a")]).await;
    }
    let mut consumer = setup.consume(&jobs("a"), 10).await;
    for n in 0..50 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.id, n.to_string());
        delivery.ack().await.expect("acked");
    }
}

pub(crate) async fn bodies_of_any_bytes_and_size_arrive_unchanged(setup: Setup) {
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    for size in [0, 1, 131_064, 131_072, 1_000_000] {
        let body: Vec<u8> = (0..size).map(|n: usize| (n * 31 % 251) as u8).collect();
        let mut outgoing = message(&size.to_string(), &[jobs("a")]);
        outgoing.body = body.clone().into();
        setup.broker.publish(outgoing).await.expect("published");
        let delivery = next(&mut consumer).await;
        assert!(delivery.body == body, "{size} bytes");
        delivery.ack().await.expect("acked");
    }
}

pub(crate) async fn a_missing_queue_is_named(setup: Setup) {
    let error = setup.broker.publish(message("m", &[jobs("nobody")])).await;
    let Err(PublishError::NoQueue { id, queue }) = error else { panic!("{error:?}") };
    assert_eq!(id, "m");
    assert!(queue.ends_with(".jobs.nobody"), "{queue}");
}

pub(crate) async fn missing_queues_among_others_are_told_apart(setup: Setup) {
    let publishes = (0..400).map(|n| {
        let (broker, missing) = (setup.broker.clone(), n % 7 == 3);
        let queue = if missing { jobs("nobody") } else { jobs("a") };
        async move {
            let result = broker.publish(message(&format!("m{n}"), &[queue])).await;
            match result {
                Ok(()) => assert!(!missing, "m{n} went nowhere and was confirmed"),
                Err(PublishError::NoQueue { id, .. }) => {
                    assert!(missing, "m{n} was taken and reported as returned");
                    assert_eq!(id, format!("m{n}"));
                }
                Err(error) => panic!("{error}"),
            }
        }
    });
    futures_util::future::join_all(publishes).await;
    let expected: BTreeSet<_> = (0..400).filter(|n| n % 7 != 3).map(|n| format!("m{n}")).collect();
    let mut consumer = setup.consume(&jobs("a"), 100).await;
    let mut seen = BTreeSet::new();
    for _ in 0..expected.len() {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        delivery.ack().await.expect("acked");
    }
    assert_eq!(seen, expected);
}

pub(crate) async fn a_message_without_queues_and_one_to_a_delay_queue_are_refused(setup: Setup) {
    let none = setup.broker.publish(message("m", &[])).await;
    assert!(matches!(none, Err(PublishError::NoRoute { .. })), "{none:?}");
    let delay = setup.broker.publish(message("m", &[Queue::Delay(STEP)])).await;
    assert!(matches!(delay, Err(PublishError::DelayRoute { .. })), "{delay:?}");
}

pub(crate) async fn publishers_wait_while_a_queue_is_full(setup: Setup) {
    // Many: RabbitMQ's limit is soft and takes what is on its way when it is reached.
    let publishing: Vec<_> = (0..2000)
        .map(|n| {
            let broker = setup.broker.clone();
            tokio::spawn(
                async move { broker.publish(message(&format!("m{n}"), &[jobs("a")])).await },
            )
        })
        .collect();
    wait_until("the queue is full", PATIENCE, || async {
        setup.broker.depth(&jobs("a")).await.expect("declared").ready >= u64::from(SCARCE)
    })
    .await;
    assert!(publishing.iter().any(|task| !task.is_finished()), "nobody waited");
    let mut consumer = setup.consume(&jobs("a"), 50).await;
    let mut seen = BTreeSet::new();
    for _ in 0..2000 {
        let delivery = next(&mut consumer).await;
        assert!(seen.insert(delivery.id.clone()), "{} came twice", delivery.id);
        delivery.ack().await.expect("acked");
    }
    for task in publishing {
        task.await.expect("no panic").expect("confirmed in the end");
    }
}

pub(crate) async fn a_full_queue_does_not_hold_up_the_others(setup: Setup) {
    let full: Vec<_> = (0..600)
        .map(|n| {
            let broker = setup.broker.clone();
            tokio::spawn(
                async move { broker.publish(message(&format!("m{n}"), &[jobs("a")])).await },
            )
        })
        .collect();
    wait_until("the queue is full", PATIENCE, || async {
        setup.broker.depth(&jobs("a")).await.expect("declared").ready >= u64::from(SCARCE)
    })
    .await;
    let mut consumer = setup.consume(&Queue::Results, 1).await;
    for n in 0..20 {
        setup.publish(&n.to_string(), &[Queue::Results]).await;
        next(&mut consumer).await.ack().await.expect("acked");
    }
    for task in full {
        task.abort();
    }
}

pub(crate) async fn depth_counts_what_waits_and_who_consumes(setup: Setup) {
    for n in 0..3 {
        setup.publish(&n.to_string(), &[jobs("a")]).await;
    }
    let depth_is = async |ready, consumers| {
        wait_until(&format!("depth is {ready}, {consumers}"), PATIENCE, || async {
            let depth = setup.broker.depth(&jobs("a")).await.expect("declared");
            (depth.ready, depth.consumers) == (ready, consumers)
        })
        .await;
    };
    depth_is(3, 0).await;
    // Also from a task of its own, which may run on any thread.
    let (broker, queue) = (setup.broker.clone(), jobs("a"));
    let asked = tokio::spawn(async move { broker.depth(&queue).await });
    assert_eq!(asked.await.expect("no panic").expect("declared").ready, 3);
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    let delivery = next(&mut consumer).await;
    depth_is(2, 1).await;
    // A quorum queue counts a cancelled consumer until what it holds is settled.
    drop(consumer);
    delivery.give_back().await.expect("given back");
    depth_is(3, 0).await;
    let missing = setup.broker.depth(&jobs("nobody")).await;
    assert!(matches!(missing, Err(TopologyError::Missing { .. })), "{missing:?}");
}

pub(crate) async fn declaring_twice_is_the_same_and_check_names_what_is_missing(setup: Setup) {
    let all = [Queue::Results, Queue::Dead, Queue::Delay(STEP), jobs("a")];
    setup.publish("m", &[jobs("a")]).await;
    setup.broker.declare(&all).await.expect("declared again");
    setup.broker.check(&all).await.expect("all there");
    let error = setup.broker.check(&[Queue::Dead, jobs("nobody")]).await;
    let Err(TopologyError::Missing { queue }) = error else { panic!("{error:?}") };
    assert!(queue.ends_with(".jobs.nobody"), "{queue}");
    next(&mut setup.consume(&jobs("a"), 1).await).await.ack().await.expect("still there");
}

pub(crate) async fn closing_ends_consumers_and_publishers(setup: Setup) {
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    let waiting = tokio::spawn(async move { consumer.next().await });
    assert_eq!(*setup.broker.state().borrow(), BrokerState::Connected);
    setup.broker.close().await;
    let ended = tokio::time::timeout(PATIENCE, waiting).await.expect("in time");
    assert!(ended.expect("no panic").is_none());
    assert_eq!(*setup.broker.state().borrow(), BrokerState::Closed);
    let late = setup.broker.publish(message("m", &[jobs("a")])).await;
    assert!(matches!(late, Err(PublishError::Closed { .. })), "{late:?}");
    assert!(setup.broker.consume(&jobs("a"), 1).await.is_err());
    assert!(matches!(setup.broker.declare(&[Queue::Dead]).await, Err(TopologyError::Closed)));
    setup.broker.close().await;
}
