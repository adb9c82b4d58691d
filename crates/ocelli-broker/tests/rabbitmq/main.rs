//! What only a broker over a network can do to us: refuse, stay silent, cut, freeze, block, forget.

mod injector;
mod outages;
mod refusals;
mod topology;

use std::time::Duration;

use bytes::Bytes;
use ocelli_broker::{Broker, Consumer, Delivery, Outgoing, RabbitOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_testkit::servers::{RabbitmqServer, rabbitmq};

/// Longer than anything here takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_millis(300);

fn name(text: &str) -> ocelli_core::AnalyzerName {
    text.parse().expect("a valid name")
}

fn jobs() -> Queue {
    Queue::Jobs(name("a"))
}

fn all() -> Vec<Queue> {
    queues(&[name("a")], &[STEP])
}

/// Defaults, with short pauses: the tests wait for reconnects.
fn options(url: &str) -> RabbitOptions {
    let mut options = RabbitOptions::new(url);
    options.reconnect_cap = Duration::from_millis(500);
    options
}

/// A fresh virtual host with all queues, and a broker on it.
async fn broker() -> (Broker, RabbitmqServer) {
    let server = rabbitmq().await;
    let broker = Broker::rabbitmq(options(&server.url)).await.expect("connected");
    broker.declare(&all()).await.expect("declared");
    (broker, server)
}

fn message(id: &str, queue: Queue) -> Outgoing {
    Outgoing {
        id: id.to_owned(),
        body: Bytes::from_static(b"body"),
        routes: vec![queue],
        attempts: 0,
        traceparent: None,
    }
}

async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(PATIENCE, consumer.next())
        .await
        .expect("a delivery in time")
        .expect("the consumer has not ended")
}

/// A call of the management API, which blocks.
async fn api<T: Send + 'static>(
    server: &RabbitmqServer,
    call: impl FnOnce(&ocelli_testkit::servers::Management) -> T + Send + 'static,
) -> T {
    let api = server.api();
    tokio::task::spawn_blocking(move || call(&api)).await.expect("the call does not panic")
}

/// The names of both connections of this virtual host, as soon as the management API knows them.
async fn connections(server: &RabbitmqServer) -> Vec<String> {
    let started = std::time::Instant::now();
    loop {
        let path = format!("vhosts/{}/connections", server.vhost);
        let found = api(server, move |api| api.get(&path)).await.expect("listed");
        let names = found.as_array().into_iter().flatten().filter_map(|connection| {
            Some(connection["name"].as_str()?.replace(' ', "%20").replace('>', "%3E"))
        });
        let names: Vec<_> = names.collect();
        if names.len() == 2 {
            return names;
        }
        assert!(started.elapsed() < PATIENCE, "the connections never showed up: {names:?}");
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// Has the broker close these connections.
async fn close_connections(server: &RabbitmqServer, names: Vec<String>) {
    api(server, move |api| {
        for name in names {
            api.delete(&format!("connections/{name}")).expect("closed");
        }
    })
    .await;
}
