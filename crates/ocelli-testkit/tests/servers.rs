//! The servers and the proxy do what the tests built on them take for granted.

use std::time::Duration;

use ocelli_testkit::proxy::Proxy;
use ocelli_testkit::servers::{OwnPostgres, OwnRabbitmq, postgres, rabbitmq};
use sqlx::{Connection, PgConnection};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

const SOON: Duration = Duration::from_secs(30);
/// Long enough for bytes that are let through to arrive, over loopback.
const QUIET: Duration = Duration::from_millis(200);

async fn answers(url: &str) -> bool {
    matches!(
        tokio::time::timeout(Duration::from_secs(1), PgConnection::connect(url)).await,
        Ok(Ok(_))
    )
}

#[tokio::test]
async fn each_call_makes_a_virtual_host_that_goes_away_when_dropped() {
    let one = rabbitmq().await;
    let two = rabbitmq().await;
    assert_ne!(one.vhost, two.vhost);
    assert!(one.url.ends_with(&one.vhost));
    let (api, vhost) = (two.api(), one.vhost.clone());
    assert!(api.get(&format!("vhosts/{vhost}")).is_ok());
    drop(one);
    assert!(api.get(&format!("vhosts/{vhost}")).is_err());
}

#[tokio::test]
async fn each_call_makes_a_database_that_goes_away_when_dropped() {
    let one = postgres().await;
    let two = postgres().await;
    assert_ne!(one.url, two.url);
    let url = one.url.clone();
    assert!(answers(&url).await);
    drop(one);
    assert!(!answers(&url).await);
    assert!(answers(&two.url).await);
}

#[tokio::test]
async fn a_private_postgres_survives_a_stop_a_kill_and_a_freeze() {
    let mut server = OwnPostgres::start().await;
    let url = format!("{}/postgres", server.url());
    assert!(answers(&url).await);
    server.stop().await;
    assert!(!answers(&url).await);
    server.start_again().await;
    assert!(answers(&url).await);
    server.kill();
    assert!(!answers(&url).await);
    server.start_again().await;
    server.pause();
    assert!(!answers(&url).await);
    server.resume();
    ocelli_testkit::wait_until("the server goes on", SOON, || answers(&url)).await;
}

#[tokio::test]
async fn a_private_rabbitmq_keeps_its_data_over_a_stop_and_a_kill_and_leaves_nothing_behind() {
    let mut server = OwnRabbitmq::start().await;
    let api = server.api();
    api.put("vhosts/kept", &serde_json::json!({})).expect("the API makes virtual hosts");
    server.stop().await;
    assert!(TcpStream::connect(server.address()).await.is_err());
    server.start_again().await;
    assert!(api.get("vhosts/kept").is_ok());
    server.kill();
    server.start_again().await;
    assert!(api.get("vhosts/kept").is_ok());
    let address = server.address();
    drop(server);
    ocelli_testkit::wait_until("its port is free", SOON, || async move {
        TcpStream::connect(address).await.is_err()
    })
    .await;
}

/// A server that sends back what it gets, behind a proxy.
async fn echo() -> Proxy {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let (mut read, mut write) = stream.split();
                tokio::io::copy(&mut read, &mut write).await
            });
        }
    });
    Proxy::start(address).await
}

async fn echoed(stream: &mut TcpStream) -> bool {
    let mut byte = [0];
    stream.write_all(b"x").await.is_ok()
        && matches!(tokio::time::timeout(QUIET, stream.read(&mut byte)).await, Ok(Ok(1)))
}

#[tokio::test]
async fn the_proxy_cuts_freezes_delays_refuses_and_restores() {
    let proxy = echo().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut stream).await);

    proxy.freeze();
    assert!(!echoed(&mut stream).await, "nothing passes a frozen proxy");
    proxy.restore().await;
    let mut byte = [0];
    stream.read_exact(&mut byte).await.expect("what was held goes on");
    assert!(echoed(&mut stream).await);

    let started = std::time::Instant::now();
    proxy.delay(Duration::from_millis(60));
    assert!(echoed(&mut stream).await);
    assert!(started.elapsed() >= Duration::from_millis(120), "both ways are delayed");
    proxy.restore().await;

    proxy.cut();
    assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0, "an open connection ends");
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut stream).await, "a new one works");

    proxy.refuse().await;
    assert_eq!(stream.read(&mut byte).await.unwrap_or(0), 0, "an open connection ends");
    assert!(TcpStream::connect(proxy.address()).await.is_err(), "a new one is refused");
    proxy.restore().await;
    let mut stream = TcpStream::connect(proxy.address()).await.unwrap();
    assert!(echoed(&mut stream).await);
}
