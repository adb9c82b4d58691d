//! Start-up errors: each within five seconds, each naming the address without the password and what to do.

use std::time::{Duration, Instant};

use ocelli_broker::{Broker, ConnectError, RabbitOptions};
use ocelli_testkit::servers::rabbitmq;
use ocelli_testkit::{ports, wait_until};
use tokio::net::TcpListener;

use crate::PATIENCE;

/// Connects in vain and checks what all refusals have in common.
async fn refused(url: &str) -> ConnectError {
    let started = Instant::now();
    let error = Broker::rabbitmq(RabbitOptions::new(url)).await.expect_err("cannot work");
    assert!(started.elapsed() < Duration::from_millis(5500), "took {:?}", started.elapsed());
    let mut text = error.to_string();
    let mut source = std::error::Error::source(&error);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    assert!(!text.contains("s3cret"), "the password is shown: {text}");
    error
}

fn with(url: &str, change: impl FnOnce(&mut url::Url)) -> String {
    let mut url: url::Url = url.parse().expect("the test server's address");
    change(&mut url);
    url.to_string()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_told_from_everything_else() {
    let server = rabbitmq().await;
    let url = with(&server.url, |url| url.set_password(Some("s3cret")).expect("can be set"));
    let error = refused(&url).await;
    let ConnectError::Credentials { address, user, .. } = &error else { panic!("{error:?}") };
    assert_eq!(user, "guest");
    assert!(address.starts_with("amqp://guest@127.0.0.1:"), "{address}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_missing_virtual_host_is_named() {
    let server = rabbitmq().await;
    let error = refused(&with(&server.url, |url| url.set_path("nowhere"))).await;
    let ConnectError::VirtualHost { vhost, .. } = &error else { panic!("{error:?}") };
    assert_eq!(vhost, "nowhere");
    assert!(error.to_string().contains("add_vhost"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_where_nothing_listens_is_refused() {
    let error = refused(&format!("amqp://me:s3cret@127.0.0.1:{}", ports::free())).await;
    assert!(matches!(error, ConnectError::Refused { .. }), "{error:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_host_that_does_not_exist_is_named() {
    let error = refused("amqp://me:s3cret@no-such-host.invalid").await;
    let ConnectError::Resolve { host, .. } = &error else { panic!("{error:?}") };
    assert_eq!(host, "no-such-host.invalid");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_peer_that_accepts_and_says_nothing_is_silent() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let holding = tokio::spawn(async move {
        let mut held = Vec::new();
        while let Ok((stream, _)) = listener.accept().await {
            held.push(stream);
        }
    });
    for scheme in ["amqp", "amqps"] {
        let error = refused(&format!("{scheme}://me:s3cret@127.0.0.1:{port}")).await;
        assert!(matches!(error, ConnectError::Silent { .. }), "{error:?}");
    }
    // And nothing stays behind, however often it is tried: neither threads nor sockets.
    for _ in 0..10 {
        let mut options = RabbitOptions::new(format!("amqp://127.0.0.1:{port}"));
        options.connect_timeout = Duration::from_millis(50);
        assert!(Broker::rabbitmq(options).await.is_err());
    }
    wait_until("all threads of the library have ended", PATIENCE, || async {
        let tasks = std::fs::read_dir("/proc/self/task").expect("Linux");
        !tasks.flatten().any(|task| {
            std::fs::read_to_string(task.path().join("comm"))
                .is_ok_and(|name| name.starts_with("lapin"))
        })
    })
    .await;
    holding.abort();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_port_that_speaks_something_else_is_not_taken_for_a_broker() {
    let server = rabbitmq().await;
    let management: url::Url = server.management.parse().expect("an address");
    let port = management.port().expect("a port");
    let error = refused(&format!("amqp://me:s3cret@127.0.0.1:{port}")).await;
    assert!(
        matches!(
            error,
            ConnectError::Protocol { .. }
                | ConnectError::Unreachable { .. }
                | ConnectError::Silent { .. }
        ),
        "{error:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn tls_to_a_port_without_tls_is_told() {
    let server = rabbitmq().await;
    let url = with(&server.url, |_| {}).replacen("amqp://", "amqps://", 1);
    let error = refused(&url).await;
    assert!(matches!(error, ConnectError::Tls { .. } | ConnectError::Silent { .. }), "{error:?}");
}
