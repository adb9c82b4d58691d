//! What `ack`, `retry`, `reject`, `give_back` and dropping mean.

use std::collections::BTreeSet;

use ocelli_broker::{Delivery, SettleError};
use ocelli_core::routing::Queue;
use ocelli_testkit::wait_until;
use tokio::time::Instant;

use crate::{PATIENCE, STEP, Setup, jobs, next, nothing_comes};
use ocelli_broker::topology::DELIVERY_LIMIT;

pub(crate) async fn a_dropped_delivery_comes_back(setup: Setup) {
    setup.publish("m", &[jobs("a")]).await;
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    drop(next(&mut consumer).await);
    let again = next(&mut consumer).await;
    assert_eq!(again.id, "m");
    assert!(again.redelivered);
    again.ack().await.expect("acked");
    nothing_comes(&mut consumer).await;
}

pub(crate) async fn a_delivery_that_is_given_back_comes_again(setup: Setup) {
    setup.publish("m", &[jobs("a")]).await;
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    next(&mut consumer).await.give_back().await.expect("given back");
    let again = next(&mut consumer).await;
    assert_eq!((again.id.as_str(), again.attempts), ("m", 0));
    again.ack().await.expect("acked");
}

pub(crate) async fn a_retry_returns_after_its_delay_to_its_own_queue_only(setup: Setup) {
    // Fanned out: the copy in "a" is retried, the one in "b" must not be doubled by its return.
    setup.publish("m", &[jobs("a"), jobs("b")]).await;
    let mut a = setup.consume(&jobs("a"), 1).await;
    let mut b = setup.consume(&jobs("b"), 5).await;
    next(&mut b).await.ack().await.expect("acked");
    let first = next(&mut a).await;
    let body = first.body.clone();
    let started = Instant::now();
    first.retry(STEP, 4).await.expect("put aside");
    let again = next(&mut a).await;
    assert!(started.elapsed() >= STEP * 9 / 10, "came after {:?}", started.elapsed());
    assert_eq!((again.id.as_str(), again.attempts, &again.body), ("m", 4, &body));
    // And once more, as far as it takes: the way is the same from every round.
    again.retry(STEP, 5).await.expect("put aside");
    let again = next(&mut a).await;
    assert_eq!(again.attempts, 5);
    again.ack().await.expect("acked");
    nothing_comes(&mut a).await;
    nothing_comes(&mut b).await;
}

pub(crate) async fn a_retry_without_its_delay_queue_is_an_error_and_gives_back(setup: Setup) {
    setup.publish("m", &[jobs("a")]).await;
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    let error = next(&mut consumer).await.retry(STEP * 7, 1).await;
    let Err(SettleError::Move { id, queue, .. }) = error else { panic!("{error:?}") };
    assert_eq!(id, "m");
    assert!(queue.ends_with(".delay.2100ms"), "{queue}");
    let again = next(&mut consumer).await;
    assert_eq!((again.id.as_str(), again.attempts), ("m", 0));
    again.ack().await.expect("acked");
    // Others are not disturbed.
    setup.publish("n", &[jobs("a")]).await;
    next(&mut consumer).await.retry(STEP, 1).await.expect("the other step works");
    next(&mut consumer).await.ack().await.expect("acked");
}

pub(crate) async fn a_rejected_delivery_is_in_the_dead_queue_with_its_reason(setup: Setup) {
    setup.publish("m", &[jobs("a")]).await;
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    let delivery = next(&mut consumer).await;
    let body = delivery.body.clone();
    delivery.reject("not an envelope:\nbyte 0").await.expect("rejected");
    let dead = next(&mut setup.consume(&Queue::Dead, 1).await).await;
    assert_eq!((dead.id.as_str(), &dead.body), ("m", &body));
    let death = dead.death.clone().expect("why it died");
    assert_eq!(death.reason, "not an envelope: byte 0");
    assert!(death.queue.ends_with(".jobs.a"), "{}", death.queue);
    dead.ack().await.expect("acked");
    nothing_comes(&mut consumer).await;
}

pub(crate) async fn a_delivery_nobody_ever_settles_ends_in_the_dead_queue(setup: Setup) {
    setup.publish("poison", &[jobs("a")]).await;
    let mut consumer = setup.consume(&jobs("a"), 1).await;
    for _ in 0..=DELIVERY_LIMIT {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.id, "poison");
        drop(delivery);
    }
    let dead = next(&mut setup.consume(&Queue::Dead, 1).await).await;
    assert_eq!(dead.id, "poison");
    let death = dead.death.clone().expect("why it died");
    assert_eq!(death.reason, "delivery_limit");
    assert!(death.queue.ends_with(".jobs.a"), "{}", death.queue);
    dead.ack().await.expect("acked");
    // The queue goes on.
    setup.publish("next", &[jobs("a")]).await;
    next(&mut consumer).await.ack().await.expect("acked");
}

pub(crate) async fn acking_many_acks_exactly_those(setup: Setup) {
    for n in 0..30 {
        setup.publish(&n.to_string(), &[Queue::Results]).await;
    }
    let mut consumer = setup.consume(&Queue::Results, 30).await;
    let mut held: Vec<Delivery> = Vec::new();
    for _ in 0..30 {
        held.push(next(&mut consumer).await);
    }
    let is_kept = |delivery: &Delivery| matches!(delivery.id.as_str(), "7" | "8" | "29");
    let (kept, acked): (Vec<_>, Vec<_>) = held.into_iter().partition(is_kept);
    Delivery::ack_all(acked).await.expect("acked");
    Delivery::ack_all(Vec::new()).await.expect("nothing is fine too");
    drop(kept);
    let mut back = BTreeSet::new();
    for _ in 0..3 {
        let delivery = next(&mut consumer).await;
        back.insert(delivery.id.clone());
        delivery.ack().await.expect("acked");
    }
    assert_eq!(back, ["29", "7", "8"].map(str::to_owned).into());
    nothing_comes(&mut consumer).await;
    wait_until("the queue is empty", PATIENCE, || async {
        setup.broker.depth(&Queue::Results).await.expect("declared").ready == 0
    })
    .await;
}
