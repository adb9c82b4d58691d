//! Sending to addresses that do everything but take it.

use std::time::{Duration, Instant};

use ocelli_media::{PostError, Poster};

use crate::server::{Play, Server, answer};

/// Short enough for a test, long enough for a busy machine to answer at once.
const PATIENCE: Duration = Duration::from_millis(400);

async fn post(address: &str, timeout: Duration, allow_private: bool) -> Result<(), PostError> {
    let poster = Poster::new(address.parse().unwrap(), timeout, allow_private).unwrap();
    poster.post(&[("webhook-id", "7".to_owned())], "{}".into()).await
}

async fn answered(status: &str, headers: &str) -> Result<(), PostError> {
    let (status, headers) = (status.to_owned(), headers.to_owned());
    let server = Server::start(move |_| answer(&status, &headers, b"")).await;
    let posted = post(server.uri("/hook").as_str(), Duration::from_secs(30), true).await;
    let request = server.requests.lock().unwrap().join("").to_ascii_lowercase();
    assert!(request.starts_with("post /hook http/1.1") && request.contains("webhook-id: 7\r\n"));
    assert_eq!(server.requests.lock().unwrap().len(), 1, "no redirect is followed");
    posted
}

#[tokio::test]
async fn a_success_is_the_only_answer_that_counts() {
    for status in ["200 OK", "204 No Content"] {
        answered(status, "").await.unwrap();
    }
    for (status, number) in [("400 Bad Request", 400), ("410 Gone", 410), ("500 Oh No", 500)] {
        let error = answered(status, "").await.unwrap_err();
        assert!(matches!(error, PostError::Refused { status, .. } if status == number), "{error}");
    }
    let error = answered("429 Too Many", "Retry-After: 7\r\n").await.unwrap_err();
    assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
    for status in ["301 Moved", "302 Found", "307 Temporary", "308 Permanent"] {
        let error = answered(status, "Location: http://169.254.169.254/\r\n").await.unwrap_err();
        assert!(matches!(error, PostError::Redirected { .. }), "{error}");
    }
}

#[tokio::test]
async fn addresses_of_ones_own_network_are_refused_before_anything_is_sent() {
    let server = Server::start(|_| answer("200 OK", "", b"")).await;
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "10.0.0.1"] {
        let error = post(&format!("http://{host}:{port}/"), PATIENCE, false).await.unwrap_err();
        assert!(matches!(error, PostError::PrivateHost { .. }), "{host}: {error}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
    post(server.uri("/").as_str(), Duration::from_secs(30), true).await.unwrap();
}

#[tokio::test]
async fn a_receiver_that_is_away_or_never_ends_is_left_in_time() {
    let nobody = format!("http://127.0.0.1:{}/secret-path", free_port());
    let error = post(&nobody, PATIENCE, true).await.unwrap_err();
    assert!(matches!(error, PostError::Unreachable { .. }), "{error}");
    assert!(!error.to_string().contains("secret-path"), "{error}");
    for play in [
        Play::SayAndHang(Vec::new()),
        Play::SayAndDrip(b"HTTP/1.1 ".to_vec(), Duration::from_millis(20)),
    ] {
        let server = Server::start(move |_| play.clone()).await;
        let started = Instant::now();
        let error = post(server.uri("/").as_str(), PATIENCE, true).await.unwrap_err();
        assert!(!matches!(error, PostError::Refused { .. }), "{error}");
        assert!(started.elapsed() < Duration::from_secs(10), "{:?}", started.elapsed());
    }
    // Of an endless answer to what it took, enough is read to be polite.
    let endless = Server::start(|_| Play::SayAndPour(b"HTTP/1.1 200 OK\r\n\r\n".to_vec())).await;
    post(endless.uri("/").as_str(), Duration::from_secs(30), true).await.unwrap();
}

fn free_port() -> u16 {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}
