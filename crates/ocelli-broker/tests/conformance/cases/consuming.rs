//! What a consumer promises.

use std::collections::BTreeSet;
use std::time::Duration;

use ocelli_broker::{ConsumeError, ConsumerState, Delivery};
use ocelli_testkit::wait_until;

use crate::{PATIENCE, Setup, jobs, next, nothing_comes};

pub(crate) async fn consuming_a_missing_queue_or_nothing_at_all_is_an_error(setup: Setup) {
    let missing = setup.broker.consume(&jobs("nobody"), 1).await;
    let Err(ConsumeError::NoQueue { queue }) = missing else { panic!("{missing:?}") };
    assert!(queue.ends_with(".jobs.nobody"), "{queue}");
    let nothing = setup.broker.consume(&jobs("a"), 0).await;
    assert!(matches!(nothing, Err(ConsumeError::NoPrefetch { .. })), "{nothing:?}");
}

pub(crate) async fn no_more_than_the_prefetch_is_held(setup: Setup) {
    for n in 0..4 {
        setup.publish(&n.to_string(), &[jobs("a")]).await;
    }
    let mut consumer = setup.consume(&jobs("a"), 2).await;
    let first = next(&mut consumer).await;
    let _second = next(&mut consumer).await;
    nothing_comes(&mut consumer).await;
    first.ack().await.expect("acked");
    let third = next(&mut consumer).await;
    assert_eq!(third.id, "2");
    nothing_comes(&mut consumer).await;
}

pub(crate) async fn giving_up_on_next_loses_nothing(setup: Setup) {
    let publishing = {
        let broker = setup.broker.clone();
        tokio::spawn(async move {
            for n in 0..200 {
                let message = crate::message(&n.to_string(), &[jobs("a")]);
                broker.publish(message).await.expect("published");
            }
        })
    };
    let mut consumer = setup.consume(&jobs("a"), 3).await;
    let mut seen = BTreeSet::new();
    let all = async {
        while seen.len() < 200 {
            let waited = tokio::time::timeout(Duration::from_micros(200), consumer.next()).await;
            if let Ok(Some(delivery)) = waited {
                assert!(!delivery.redelivered, "{} was lost on the way", delivery.id);
                assert!(seen.insert(delivery.id.clone()));
                delivery.ack().await.expect("acked");
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all of them");
    publishing.await.expect("no panic");
}

pub(crate) async fn a_cancelled_consumer_gives_back_what_it_had_not_handed_out(setup: Setup) {
    for n in 0..10 {
        setup.publish(&n.to_string(), &[jobs("a")]).await;
    }
    let mut consumer = setup.consume(&jobs("a"), 10).await;
    let held = next(&mut consumer).await;
    consumer.cancel().await;
    assert_eq!(*consumer.state().borrow(), ConsumerState::Ended);
    assert!(consumer.next().await.is_none());
    held.ack().await.expect("what was handed out can still be settled");
    all_of(&setup, 1..10).await;
}

pub(crate) async fn a_dropped_consumer_gives_back_what_it_had_not_handed_out(setup: Setup) {
    for n in 0..10 {
        setup.publish(&n.to_string(), &[jobs("a")]).await;
    }
    let mut consumer = setup.consume(&jobs("a"), 10).await;
    let held = next(&mut consumer).await;
    drop(consumer);
    held.ack().await.expect("what was handed out can still be settled");
    all_of(&setup, 1..10).await;
}

/// Exactly these are in the queue.
async fn all_of(setup: &Setup, expected: std::ops::Range<u32>) {
    let mut consumer = setup.consume(&jobs("a"), 100).await;
    let mut seen = BTreeSet::new();
    for _ in expected.clone() {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        delivery.ack().await.expect("acked");
    }
    assert_eq!(seen, expected.map(|n| n.to_string()).collect());
    nothing_comes(&mut consumer).await;
}

pub(crate) async fn two_consumers_share_a_queue(setup: Setup) {
    let mut one = setup.consume(&jobs("a"), 1).await;
    let mut two = setup.consume(&jobs("a"), 1).await;
    for n in 0..20 {
        setup.publish(&n.to_string(), &[jobs("a")]).await;
    }
    let mut seen = BTreeSet::new();
    let mut take = |delivery: &Delivery| assert!(seen.insert(delivery.id.clone()), "twice");
    for _ in 0..10 {
        let (from_one, from_two) = (next(&mut one).await, next(&mut two).await);
        take(&from_one);
        take(&from_two);
        from_one.ack().await.expect("acked");
        from_two.ack().await.expect("acked");
    }
    assert_eq!(seen.len(), 20);
    wait_until("the queue is empty", PATIENCE, || async {
        setup.broker.depth(&jobs("a")).await.expect("declared").ready == 0
    })
    .await;
}
