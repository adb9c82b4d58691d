//! Lost connections, lost queues, alarms: nothing is lost, nothing hangs, nobody has to do anything.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use ocelli_broker::{
    Broker, BrokerMetrics, BrokerState, ConsumerState, Delivery, PublishError, SettleError,
};
use ocelli_core::routing::Queue;
use ocelli_testkit::proxy::Proxy;
use ocelli_testkit::servers::{OwnRabbitmq, RabbitmqServer, rabbitmq};
use ocelli_testkit::wait_until;
use tokio::sync::watch;

use crate::injector::Injector;
use crate::{
    PATIENCE, STEP, all, api, broker, close_connections, connections, jobs, message, next, options,
};

/// Publishes that run at the same time.
const STORM: usize = 5_000;

/// Starts `count` publishes at once, `m0` onwards.
fn storm(broker: &Broker, count: usize) -> Vec<tokio::task::JoinHandle<()>> {
    (0..count)
        .map(|n| {
            let broker = broker.clone();
            tokio::spawn(async move {
                broker.publish(message(&format!("m{n}"), jobs())).await.expect("confirmed");
            })
        })
        .collect()
}

/// Consumes until all of `m0` … have come; some may come twice.
async fn drain(broker: &Broker, count: usize) -> usize {
    let mut consumer = broker.consume(&jobs(), 500).await.expect("a consumer");
    let (mut seen, mut doubles) = (BTreeSet::new(), 0);
    while seen.len() < count {
        let delivery = next(&mut consumer).await;
        doubles += usize::from(!seen.insert(delivery.id.clone()));
        // A stale ack only means that it comes again.
        let _ = delivery.ack().await;
    }
    doubles
}

/// The value of a counter.
fn count(registry: &prometheus::Registry, name: &str) -> f64 {
    let families = registry.gather();
    let family = families.iter().find(|family| family.name() == name).expect("registered");
    family.get_metric()[0].get_counter().get_value()
}

/// A proxy in front of the test's broker.
async fn proxy(server: &RabbitmqServer) -> Proxy {
    let url: url::Url = server.url.parse().expect("an address");
    Proxy::start(([127, 0, 0, 1], url.port().expect("a port")).into()).await
}

async fn state_is(state: &mut watch::Receiver<BrokerState>, what: impl Fn(&BrokerState) -> bool) {
    tokio::time::timeout(PATIENCE, state.wait_for(|state| what(state)))
        .await
        .expect("in time")
        .expect("the broker lives");
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_closed_during_a_storm_of_publishes_lose_nothing() {
    let server = rabbitmq().await;
    let registry = prometheus::Registry::new();
    let mut options = options(&server.url);
    options.metrics = BrokerMetrics::register(&registry).expect("fresh names");
    let broker = Broker::rabbitmq(options).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    // The management API learns of connections only every few seconds: their names are needed before the storm.
    let names = connections(&server).await;
    let publishing = storm(&broker, STORM);
    wait_until("the storm is on", PATIENCE, || async {
        count(&registry, "ocelli_broker_publishes_confirmed_total") >= 100.0
    })
    .await;
    close_connections(&server, names).await;
    let left = publishing.iter().filter(|publish| !publish.is_finished()).count();
    assert!(left > 0, "the storm was over before its connection was closed");
    for publish in publishing {
        publish.await.expect("every publish was confirmed");
    }
    let doubles = drain(&broker, STORM).await;
    println!(
        "{left} of {STORM} were not confirmed when the connections were closed, {doubles} doubles"
    );
    assert!(count(&registry, "ocelli_broker_publishes_confirmed_total") >= STORM as f64);
    assert!(count(&registry, "ocelli_broker_publishes_resent_total") >= 1.0);
    assert!(count(&registry, "ocelli_broker_reconnects_total") >= 1.0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn links_cut_during_a_storm_of_publishes_lose_nothing() {
    let server = rabbitmq().await;
    let proxy = proxy(&server).await;
    let broker = Broker::rabbitmq(options(&proxy.url(&server.url))).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    let publishing = storm(&broker, STORM);
    let mut consumer = broker.consume(&jobs(), 100).await.expect("a consumer");
    let (mut seen, mut cuts) = (BTreeSet::new(), 0);
    while seen.len() < STORM {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        let _ = delivery.ack().await;
        if seen.len() / 1000 > cuts {
            cuts += 1;
            proxy.cut();
        }
    }
    for publish in publishing {
        publish.await.expect("every publish was confirmed");
    }
    assert!(cuts >= 4, "{cuts}");
    broker.close().await;
}

/// Whoever did not declare a queue (no permission, imported definitions) does not make it either.
#[tokio::test(flavor = "multi_thread")]
async fn a_queue_deleted_while_it_is_consumed_is_seen_and_consumed_again_when_declared() {
    let (broker, server) = broker().await;
    let reader = Broker::rabbitmq(options(&server.url)).await.expect("connected");
    let mut consumer = reader.consume(&jobs(), 5).await.expect("a consumer");
    let mut state = consumer.state();
    delete(&server, "queues", "ocelli.jobs.a").await;
    let waiting = |state: &ConsumerState| matches!(state, ConsumerState::Waiting { .. });
    tokio::time::timeout(PATIENCE, state.wait_for(waiting)).await.expect("in time").expect("lives");
    // The broker itself is well: one queue is not everything.
    assert_eq!(*reader.state().borrow(), BrokerState::Connected);
    let lost = reader.publish(message("m", jobs())).await;
    assert!(matches!(lost, Err(PublishError::NoQueue { .. })), "{lost:?}");
    broker.declare(&all()).await.expect("declared again");
    broker.publish(message("m", jobs())).await.expect("published");
    next(&mut consumer).await.ack().await.expect("acked");
    assert_eq!(*state.borrow(), ConsumerState::Consuming);
    reader.close().await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_or_exchange_deleted_by_hand_is_made_again_by_whoever_declared_it() {
    let (broker, server) = broker().await;
    let mut consumer = broker.consume(&jobs(), 5).await.expect("a consumer");
    // Missed by its consumer.
    delete(&server, "queues", "ocelli.jobs.a").await;
    wait_until("it is consumed again", PATIENCE, || async {
        broker.depth(&jobs()).await.is_ok_and(|depth| depth.consumers == 1)
    })
    .await;
    // Missed by publishers, of which there are many at once.
    for (kind, name) in [("exchanges", "ocelli"), ("queues", "ocelli.results")] {
        delete(&server, kind, name).await;
        for publish in storm(&broker, 50) {
            publish.await.expect("confirmed");
        }
        broker.publish(message("r", Queue::Results)).await.expect("published");
        let mut seen = BTreeSet::new();
        while seen.len() < 50 {
            let delivery = next(&mut consumer).await;
            seen.insert(delivery.id.clone());
            delivery.ack().await.expect("acked");
        }
    }
    // Missed by a retry: its exchange, and then the queue behind it.
    for kind in ["exchanges", "queues"] {
        broker.publish(message("again", jobs())).await.expect("published");
        delete(&server, kind, "ocelli.delay.300ms").await;
        next(&mut consumer).await.retry(STEP, 1).await.expect("deferred");
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.id.as_str(), delivery.attempts), ("again", 1));
        delivery.ack().await.expect("acked");
    }
    broker.close().await;
}

/// Deletes a queue or an exchange from outside.
async fn delete(server: &RabbitmqServer, kind: &'static str, name: &'static str) {
    let vhost = server.vhost.clone();
    api(server, move |api| api.delete(&format!("{kind}/{vhost}/{name}"))).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_lost_connection_old_deliveries_are_stale_and_the_prefetch_holds() {
    let server = rabbitmq().await;
    let proxy = proxy(&server).await;
    let broker = Broker::rabbitmq(options(&proxy.url(&server.url))).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    for n in 0..10 {
        broker.publish(message(&n.to_string(), jobs())).await.expect("published");
    }
    let mut consumer = broker.consume(&jobs(), 3).await.expect("a consumer");
    let mut state = consumer.state();
    for _ in 0..5 {
        let held = next(&mut consumer).await;
        proxy.cut();
        let waiting = |state: &ConsumerState| matches!(state, ConsumerState::Waiting { .. });
        tokio::time::timeout(PATIENCE, state.wait_for(waiting))
            .await
            .expect("in time")
            .expect("the consumer lives");
        let consuming = |state: &ConsumerState| *state == ConsumerState::Consuming;
        tokio::time::timeout(PATIENCE, state.wait_for(consuming))
            .await
            .expect("in time")
            .expect("the consumer lives");
        let settled = held.ack().await;
        assert!(matches!(settled, Err(SettleError::Stale { .. })), "{settled:?}");
    }
    let mut held = vec![next(&mut consumer).await, next(&mut consumer).await];
    held.push(next(&mut consumer).await);
    wait_until("three are held, no more", PATIENCE, || async { unacked(&server).await == Some(3) })
        .await;
    drop(held);
    let mut seen = BTreeSet::new();
    while seen.len() < 10 {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        delivery.ack().await.expect("acked");
    }
    broker.close().await;
}

/// Deliveries that are held, as the broker counts them.
async fn unacked(server: &RabbitmqServer) -> Option<u64> {
    let path = format!("queues/{}/ocelli.jobs.a", server.vhost);
    let queue = api(server, move |api| api.get(&path)).await.expect("counted");
    queue["messages_unacknowledged"].as_u64()
}

#[tokio::test(flavor = "multi_thread")]
async fn acks_that_are_followed_at_once_by_a_close_are_not_forgotten() {
    let (broker, server) = broker().await;
    for publish in storm(&broker, 2000) {
        publish.await.expect("confirmed");
    }
    let worker = Broker::rabbitmq(options(&server.url)).await.expect("connected");
    let mut consumer = worker.consume(&jobs(), 200).await.expect("a consumer");
    for _ in 0..2000 {
        next(&mut consumer).await.ack().await.expect("acked");
    }
    worker.close().await;
    assert_eq!(broker.depth(&jobs()).await.expect("declared").ready, 0);
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_link_that_goes_dead_without_a_word_is_noticed_and_replaced() {
    let server = rabbitmq().await;
    let proxy = proxy(&server).await;
    let mut options = options(&proxy.url(&server.url));
    options.heartbeat = Duration::from_secs(1);
    options.connect_timeout = Duration::from_secs(2);
    let broker = Broker::rabbitmq(options).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    let mut consumer = broker.consume(&jobs(), 5).await.expect("a consumer");
    let mut state = broker.state();
    proxy.freeze();
    let publishing = storm(&broker, 50);
    state_is(&mut state, |state| matches!(state, BrokerState::Reconnecting { .. })).await;
    assert!(publishing.iter().all(|publish| !publish.is_finished()));
    proxy.cut();
    proxy.restore().await;
    let mut seen = BTreeSet::new();
    while seen.len() < 50 {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        let _ = delivery.ack().await;
    }
    for publish in publishing {
        publish.await.expect("confirmed");
    }
    state_is(&mut state, |state| *state == BrokerState::Connected).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_blocked_broker_makes_publishers_wait_while_consumers_go_on() {
    let server = rabbitmq().await;
    let injector = Arc::new(Injector::start(&server.url).await);
    let broker = Broker::rabbitmq(options(&injector.url)).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    for n in 0..5 {
        broker.publish(message(&n.to_string(), jobs())).await.expect("published");
    }
    let mut consumer = broker.consume(&jobs(), 1).await.expect("a consumer");
    let mut state = broker.state();
    injector.block("low on disk");
    let said = async {
        state
            .wait_for(|state| *state == BrokerState::Blocked { reason: "low on disk".to_owned() })
            .await
            .map(drop)
    };
    tokio::time::timeout(Duration::from_secs(2), said).await.expect("in 2 s").expect("lives");
    let publishing = storm(&broker, 20);
    for _ in 0..5 {
        next(&mut consumer).await.ack().await.expect("acks go on");
    }
    assert!(publishing.iter().all(|publish| !publish.is_finished()));
    injector.unblock();
    for publish in publishing {
        publish.await.expect("confirmed");
    }
    state_is(&mut state, |state| *state == BrokerState::Connected).await;
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_broker_that_is_away_is_waited_for_and_closing_does_not_wait_for_it() {
    let server = rabbitmq().await;
    let proxy = proxy(&server).await;
    let broker = Broker::rabbitmq(options(&proxy.url(&server.url))).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    let mut state = broker.state();
    proxy.refuse().await;
    let away = |state: &BrokerState| {
        matches!(state, BrokerState::Reconnecting { attempts, reason, .. }
            if *attempts >= 2 && reason.contains("nothing listens"))
    };
    state_is(&mut state, away).await;
    let waiting = broker.clone();
    let publish = tokio::spawn(async move { waiting.publish(message("m", jobs())).await });
    tokio::time::timeout(PATIENCE, broker.close()).await.expect("closed in time");
    let error = publish.await.expect("no panic").expect_err("it cannot have been confirmed");
    assert!(matches!(error, PublishError::Closed { .. }), "{error}");
    assert_eq!(*state.borrow(), BrokerState::Closed);
}

#[tokio::test(flavor = "multi_thread")]
async fn own_server_killed_and_started_again_under_load_loses_nothing() {
    let mut server = OwnRabbitmq::start().await;
    let broker = Broker::rabbitmq(options(&server.url())).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    let mut consumer = broker.consume(&jobs(), 50).await.expect("a consumer");
    let publishing = storm(&broker, STORM);
    let mut seen = BTreeSet::new();
    while seen.len() < 1000 {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        let _ = delivery.ack().await;
    }
    let held = next(&mut consumer).await;
    seen.insert(held.id.clone());
    server.kill();
    server.start_again().await;
    assert!(matches!(Delivery::ack_all(vec![held]).await, Err(SettleError::Stale { .. })));
    while seen.len() < STORM {
        let delivery = next(&mut consumer).await;
        seen.insert(delivery.id.clone());
        let _ = delivery.ack().await;
    }
    for publish in publishing {
        publish.await.expect("confirmed");
    }
    broker.close().await;
}
