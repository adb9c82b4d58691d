//! Declarations against a real broker: drift, permissions, imported definitions.

use ocelli_broker::{Broker, ConsumeError, Event, PublishError, TopologyError, topology};
use ocelli_core::routing::Queue;
use ocelli_testkit::servers::{OwnRabbitmq, rabbitmq};
use serde_json::{Value, json};

use crate::{all, api, broker, jobs, message, next, options};

#[tokio::test(flavor = "multi_thread")]
async fn a_queue_that_someone_else_declared_differently_is_named() {
    let server = rabbitmq().await;
    let vhost = server.vhost.clone();
    api(&server, move |api| {
        let classic = json!({"durable": true, "arguments": {}});
        api.put(&format!("queues/{vhost}/ocelli.results"), &classic).expect("declared");
        let short =
            json!({"durable": true, "arguments": {"x-queue-type": "quorum", "x-max-length": 3}});
        api.put(&format!("queues/{vhost}/ocelli.jobs.a"), &short).expect("declared");
    })
    .await;
    let broker = Broker::rabbitmq(options(&server.url)).await.expect("connected");
    for queue in [Queue::Results, jobs()] {
        for result in [
            broker.declare(std::slice::from_ref(&queue)).await,
            broker.check(std::slice::from_ref(&queue)).await,
        ] {
            let Err(TopologyError::Drifted { name, .. }) = &result else { panic!("{result:?}") };
            assert_eq!(*name, queue.name("ocelli"));
        }
    }
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn imported_definitions_are_what_is_declared() {
    let server = rabbitmq().await;
    let definitions = topology::definitions("ocelli", &all());
    let vhost = server.vhost.clone();
    api(&server, move |api| api.post(&format!("definitions/{vhost}"), &definitions))
        .await
        .expect("imported");
    let broker = Broker::rabbitmq(options(&server.url)).await.expect("connected");
    broker.check(&all()).await.expect("nothing is missing or different");
    broker.declare(&all()).await.expect("nothing is different");
    // And it works as what is declared does.
    broker.publish(message("m", jobs())).await.expect("published");
    let mut consumer = broker.consume(&jobs(), 1).await.expect("a consumer");
    next(&mut consumer).await.retry(crate::STEP, 1).await.expect("put aside");
    let again = next(&mut consumer).await;
    assert_eq!(again.attempts, 1);
    again.reject("enough").await.expect("rejected");
    let mut dead = broker.consume(&Queue::Dead, 1).await.expect("a consumer");
    next(&mut dead).await.ack().await.expect("acked");
    broker.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_user_without_permissions_is_told_so() {
    let (owner, server) = broker().await;
    let (vhost, user) = (server.vhost.clone(), format!("reader-{}", server.vhost));
    let made = user.clone();
    api(&server, move |api| {
        let account = json!({"password": "s3cret", "tags": ""});
        api.put(&format!("users/{made}"), &account).expect("a user");
        let nothing = json!({"configure": "^$", "write": "^$", "read": "^$"});
        api.put(&format!("permissions/{vhost}/{made}"), &nothing).expect("permissions");
    })
    .await;
    let mut url: url::Url = server.url.parse().expect("an address");
    url.set_username(&user).expect("can be set");
    url.set_password(Some("s3cret")).expect("can be set");
    let broker = Broker::rabbitmq(options(url.as_str())).await.expect("connected");
    let declared = broker.declare(&[Queue::Results]).await;
    assert!(matches!(declared, Err(TopologyError::Forbidden { .. })), "{declared:?}");
    broker.check(&[Queue::Results]).await.expect("looking needs no permission");
    broker.provide(&all()).await.expect("all of it is there");
    broker.check_dead_lettering().await.expect("nothing is known of what may not be looked at");
    let missing = Queue::Jobs(crate::name("nowhere"));
    let provided = broker.provide(&[Queue::Results, missing.clone()]).await;
    let Err(TopologyError::Forbidden { name, .. }) = &provided else { panic!("{provided:?}") };
    assert_eq!(*name, missing.name("ocelli"), "what is missing is named");
    let published = broker.publish(message("m", jobs())).await;
    assert!(matches!(published, Err(PublishError::Refused { .. })), "{published:?}");
    let consumed = broker.consume(&jobs(), 1).await;
    assert!(matches!(consumed, Err(ConsumeError::Forbidden { .. })), "{consumed:?}");
    broker.close().await;
    owner.close().await;
    api(&server, move |api| api.delete(&format!("users/{user}"))).await.expect("deleted");
}

#[tokio::test(flavor = "multi_thread")]
async fn messages_of_other_clients_do_no_harm() {
    let (broker, server) = broker().await;
    let vhost = server.vhost.clone();
    api(&server, move |api| {
        for properties in [
            json!({}),
            json!({"headers": {"x-ocelli-attempts": "many", "traceparent": 7, "x-death": "no"}}),
            json!({"headers": {"x-ocelli-attempts": -1}, "message_id": "\u{0}\u{7f}", "expiration": "600000"}),
            json!({"headers": {"x-ocelli-attempts": 99_999_999_999_u64}}),
        ] {
            let garbage = json!({
                "properties": properties, "routing_key": "ocelli.jobs.a",
                "payload": "/////w==", "payload_encoding": "base64",
            });
            let answer = api.post(&format!("exchanges/{vhost}/ocelli/publish"), &garbage);
            assert!(answer.expect("published").contains("true"));
        }
    })
    .await;
    let mut consumer = broker.consume(&jobs(), 1).await.expect("a consumer");
    for _ in 0..4 {
        let delivery = next(&mut consumer).await;
        assert_eq!((delivery.attempts, &delivery.body[..]), (0, &[0xff; 4][..]));
        delivery.reject("garbage").await.expect("rejected");
    }
    let mut dead = broker.consume(&Queue::Dead, 10).await.expect("a consumer");
    for _ in 0..4 {
        let delivery = next(&mut dead).await;
        assert_eq!(delivery.death.as_ref().map(|death| death.reason.as_str()), Some("garbage"));
        delivery.ack().await.expect("acked");
    }
    broker.close().await;
}

/// What a broker answers that was upgraded without turning on what is new.
async fn without(flags: &str) -> (TopologyError, OwnRabbitmq) {
    let own = OwnRabbitmq::start_with_flags(flags).await.expect("a broker");
    let broker = Broker::rabbitmq(options(&own.url())).await.expect("connected");
    let started = std::time::Instant::now();
    let provided = match broker.provide(&all()).await {
        Ok(()) => broker.check_dead_lettering().await,
        refused => refused,
    };
    assert!(started.elapsed() < std::time::Duration::from_secs(5), "{:?}", started.elapsed());
    broker.close().await;
    (provided.expect_err("something is missing"), own)
}

#[tokio::test(flavor = "multi_thread")]
async fn own_server_without_the_feature_flags_of_its_version_is_told_from_one_with_them() {
    let (error, own) = without("").await;
    let TopologyError::Unsupported { name, .. } = &error else { panic!("{error:?}") };
    assert!(name.starts_with("ocelli."), "{error}");
    assert!(error.to_string().contains("enable_feature_flag all"), "{error}");
    drop(own);
    // Queues can be declared, and what dies in them would be moved at most once, without a word.
    let (error, own) = without("quorum_queue,implicit_default_bindings").await;
    let TopologyError::Unsupported { name, .. } = &error else { panic!("{error:?}") };
    assert!(name.contains("stream_queue"), "{error}");
    own.control(&["enable_feature_flag", "all"]).await.expect("turned on");
    let broker = Broker::rabbitmq(options(&own.url())).await.expect("connected");
    broker.check_dead_lettering().await.expect("all is on");
    broker.close().await;
}

fn event(id: &str) -> Event {
    Event { id: id.to_owned(), kind: "record.completed", body: "{}".into() }
}

#[tokio::test(flavor = "multi_thread")]
async fn events_reach_every_queue_that_is_bound_and_are_no_error_where_none_is() {
    let (broker, server) = broker().await;
    // Its exchange is made when it is missed.
    broker.announce(event("nobody listens")).await.expect("told");
    let vhost = server.vhost.clone();
    api(&server, move |api| {
        for queue in ["mine", "yours"] {
            api.put(&format!("queues/{vhost}/{queue}"), &json!({"durable": true})).expect("made");
            let key = json!({"routing_key": if queue == "mine" { "record.*" } else { "#" }});
            api.post(&format!("bindings/{vhost}/e/ocelli.events/q/{queue}"), &key).expect("bound");
        }
    })
    .await;
    broker.declare_events().await.expect("it is there, and durable");
    broker.announce(event("told")).await.expect("told");
    for queue in ["mine", "yours"] {
        let vhost = server.vhost.clone();
        let got = api(&server, move |api| {
            let ask = json!({"count": 5, "ackmode": "ack_requeue_false", "encoding": "auto"});
            api.post(&format!("queues/{vhost}/{queue}/get"), &ask).expect("answered")
        })
        .await;
        let got: Value = serde_json::from_str(&got).expect("JSON");
        assert_eq!(got.as_array().map(Vec::len), Some(1), "{got}");
        let properties = &got[0]["properties"];
        assert_eq!(got[0]["payload"], "{}");
        assert_eq!(properties["message_id"], "told");
        assert_eq!(properties["delivery_mode"], 2, "it is on disk");
        assert_eq!(properties["content_type"], "application/json");
    }
    broker.close().await;
}
