//! Fetching from hosts that do everything but answer properly.

use std::sync::atomic::Ordering;
use std::time::Duration;

use ocelli_core::{FailureClass, SourceUri};
use ocelli_media::{FetchError, FetchLimits, Fetcher, FetcherError, Manners, Polite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::server::{Play, Server, answer};

/// Short enough for a test, long enough for a busy machine to answer at once.
const PATIENCE: Duration = Duration::from_millis(400);

fn limits() -> FetchLimits {
    FetchLimits {
        bytes: 100_000,
        allow_private_hosts: true,
        // Far away, so that only the bound under test can end a fetch.
        connect_timeout: Duration::from_secs(30),
        read_timeout: Duration::from_secs(30),
        total_timeout: Duration::from_secs(60),
        ..FetchLimits::default()
    }
}

async fn fetch(limits: FetchLimits, source: &SourceUri) -> Result<bytes::Bytes, FetchError> {
    Fetcher::new(limits).unwrap().fetch(source).await
}

#[tokio::test]
async fn a_good_answer_is_given_as_it_was_sent() {
    let server = Server::start(|_| answer("200 OK", "", b"pixels")).await;
    assert_eq!(fetch(limits(), &server.uri("/a.png?x=1#y")).await.unwrap(), "pixels");
    let request = server.requests.lock().unwrap()[0].to_ascii_lowercase();
    assert!(request.starts_with("get /a.png?x=1 http/1.1"), "{request}");
    let agent = format!("user-agent: ocelli/{}\r\n", env!("CARGO_PKG_VERSION"));
    assert!(request.contains(&agent), "{request}");
    assert!(request.contains("accept-encoding: identity"), "{request}");
    assert!(!request.contains("cookie") && !request.contains("referer"), "{request}");
}

#[tokio::test]
async fn an_endless_body_is_left_at_the_limit() {
    let image = b"HTTP/1.1 200 OK\r\n\r\n\x89PNG\r\n\x1a\n";
    let server = Server::start(move |_| Play::SayAndPour(image.to_vec())).await;
    let error = fetch(limits(), &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 100_000, .. }), "{error}");
    assert!(error.to_string().contains("limits.image_bytes"), "{error}");
    assert_eq!(error.class(), FailureClass::Permanent);
}

#[tokio::test]
async fn an_endless_page_is_left_at_its_beginning() {
    let page = b"HTTP/1.1 200 OK\r\n\r\n<!DOCTYPE html><title>Not found</title>";
    let server = Server::start(move |_| Play::SayAndPour(page.to_vec())).await;
    let limits = FetchLimits { bytes: 256 << 20, ..limits() };
    let error = fetch(limits, &server.uri("/a.png")).await.unwrap_err();
    let is_page =
        matches!(&error, FetchError::NotAnImage { looks_like, .. } if looks_like.contains("HTML"));
    assert!(is_page, "{error}");
    assert_eq!(error.class(), FailureClass::Permanent);
    // What is on its way in buffers of the system is not known here.
    let poured = server.poured.load(Ordering::Relaxed);
    assert!(poured < 16_000_000, "{poured} bytes of 256 MiB");
}

#[tokio::test]
async fn nobody_waits_for_the_rest_of_what_is_no_image() {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: 90000\r\n\r\n{}", "x".repeat(8193));
    let server = Server::start(move |_| Play::SayAndHang(head.clone().into_bytes())).await;
    let error = fetch(limits(), &server.uri("/a.png")).await.unwrap_err();
    assert!(matches!(error, FetchError::NotAnImage { looks_like: "plain text", .. }), "{error}");
    // What is no longer than a beginning is read whole, and so is what is wanted whatever it is.
    for (length, limits) in
        [(8192, limits()), (50_000, FetchLimits { images_only: false, ..limits() })]
    {
        let server = Server::start(move |_| answer("200 OK", "", &vec![b'x'; length])).await;
        assert_eq!(fetch(limits, &server.uri("/")).await.unwrap().len(), length);
    }
}

#[tokio::test]
async fn long_rules_of_a_host_are_read_although_they_are_no_image() {
    let rules = format!("# {}\nUser-agent: *\nDisallow: /private/\n", "rules ".repeat(5000));
    let server = Server::start(move |path| match path {
        "/robots.txt" => answer("200 OK", "", rules.as_bytes()),
        _ => answer("200 OK", "", b"pixels"),
    })
    .await;
    let polite = Polite::new(Fetcher::new(limits()).unwrap(), Manners::default());
    let error = polite.fetch(&server.uri("/private/a.png")).await.unwrap_err();
    assert!(matches!(error, FetchError::Disallowed { .. }), "{error}");
    assert_eq!(polite.fetch(&server.uri("/a.png")).await.unwrap(), "pixels");
}

#[tokio::test]
async fn an_announced_length_beyond_the_limit_is_refused_without_reading() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999\r\n\r\n".to_vec();
    let server = Server::start(move |_| Play::SayAndHang(head.clone())).await;
    let error = fetch(limits(), &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { .. }), "{error}");
}

#[tokio::test]
async fn a_server_that_accepts_and_says_nothing_is_left_after_the_read_timeout() {
    let server = Server::start(|_| Play::SayAndHang(Vec::new())).await;
    let limits = FetchLimits { read_timeout: PATIENCE, ..limits() };
    let error = fetch(limits, &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { limit: PATIENCE, .. }), "{error}");
    assert_eq!(error.class(), FailureClass::Transient);
}

#[tokio::test]
async fn a_body_that_stops_coming_is_left_after_the_read_timeout() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc".to_vec();
    let server = Server::start(move |_| Play::SayAndHang(head.clone())).await;
    let limits = FetchLimits { read_timeout: PATIENCE, ..limits() };
    let error = fetch(limits, &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { limit: PATIENCE, .. }), "{error}");
}

#[tokio::test]
async fn a_slow_loris_is_left_after_the_total_timeout() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n".to_vec();
    let drip = move |_: &str| Play::SayAndDrip(head.clone(), PATIENCE / 20);
    let server = Server::start(drip).await;
    let limits = FetchLimits { total_timeout: PATIENCE, ..limits() };
    let error = fetch(limits, &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Timeout { limit: PATIENCE, .. }), "{error}");
    assert!(error.to_string().contains("not fetched as a whole within 400ms"), "{error}");
}

#[tokio::test]
async fn a_body_that_breaks_off_is_never_taken_for_the_whole() {
    for head in [
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
    ] {
        let server = Server::start(move |_| Play::Say(head.into())).await;
        let error = fetch(limits(), &server.uri("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::Interrupted { received: 0..=3, .. }), "{error}");
        assert_eq!(error.class(), FailureClass::Transient);
    }
}

#[tokio::test]
async fn what_is_no_http_at_all_is_an_interrupted_answer() {
    let server = Server::start(|_| Play::Say(b"SSH-2.0-OpenSSH_9.2\r\n".to_vec())).await;
    let error = fetch(limits(), &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Interrupted { received: 0, .. }), "{error}");
}

#[tokio::test]
async fn a_longer_body_than_announced_ends_at_the_announced_length() {
    let head = b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcdef".to_vec();
    let server = Server::start(move |_| Play::Say(head.clone())).await;
    assert_eq!(fetch(limits(), &server.uri("/")).await.unwrap(), "abc");
}

#[tokio::test]
async fn redirects_are_followed_a_few_times_and_loops_are_not() {
    let server = Server::start(|path| match path {
        "/0" => answer("301 Moved", "Location: 1\r\n", b""),
        "/1" => answer("307 Moved", "Location: /found\r\n", b""),
        "/found" => answer("200 OK", "", b"here"),
        _ => answer("302 Found", "Location: /loop\r\n", b""),
    })
    .await;
    assert_eq!(fetch(limits(), &server.uri("/0")).await.unwrap(), "here");
    let error = fetch(limits(), &server.uri("/loop")).await.unwrap_err();
    assert!(matches!(error, FetchError::Redirects { limit: 5, .. }), "{error}");
    let asked = server.requests.lock().unwrap().len();
    assert_eq!(asked, 3 + 6, "the first address and five redirects");
}

#[tokio::test]
async fn a_redirect_out_of_http_is_refused() {
    for target in ["file:///etc/passwd", "ftp://a/b", "http://u:p@a/", "http://", "", "data:,x"] {
        let server =
            Server::start(move |_| answer("302 Found", &format!("Location: {target}\r\n"), b""))
                .await;
        let error = fetch(limits(), &server.uri("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::BadRedirect { .. }), "{target}: {error}");
        assert_eq!(error.class(), FailureClass::Permanent);
    }
}

#[tokio::test]
async fn private_hosts_are_refused_by_address_and_by_name_before_any_connection() {
    let server = Server::start(|_| answer("200 OK", "", b"secret")).await;
    let guarded = FetchLimits { allow_private_hosts: false, ..limits() };
    let port = server.address.port();
    for host in ["127.0.0.1", "localhost", "[::ffff:127.0.0.1]", "2130706433", "0.0.0.0"] {
        let source = format!("http://{host}:{port}/").parse().unwrap();
        let error = fetch(guarded.clone(), &source).await.unwrap_err();
        assert!(matches!(error, FetchError::PrivateHost { .. }), "{host}: {error}");
        assert_eq!(error.class(), FailureClass::Permanent);
        assert!(error.to_string().contains("allow_private_hosts"), "{error}");
    }
    assert!(server.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_redirect_from_an_allowed_host_to_another_private_one_is_refused() {
    let secret = Server::start(|_| answer("200 OK", "", b"secret")).await;
    for host in ["127.0.0.1", "localhost"] {
        let target = format!("Location: http://{host}:{}/\r\n", secret.address.port());
        let server = Server::start(move |_| answer("302 Found", &target, b"")).await;
        let limits = FetchLimits {
            allow_private_hosts: false,
            allowed_hosts: vec![server.address.to_string()],
            ..limits()
        };
        let error = fetch(limits, &server.uri("/")).await.unwrap_err();
        assert!(matches!(error, FetchError::PrivateHost { .. }), "{error}");
        assert_eq!(server.requests.lock().unwrap().len(), 1);
    }
    assert!(secret.requests.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_allowed_private_host_is_asked() {
    let server = Server::start(|_| answer("200 OK", "", b"mine")).await;
    let limits = FetchLimits {
        allow_private_hosts: false,
        allowed_hosts: vec!["localhost".to_owned()],
        ..limits()
    };
    let source = format!("http://localhost:{}/", server.address.port()).parse().unwrap();
    assert_eq!(fetch(limits, &source).await.unwrap(), "mine");
}

#[tokio::test]
async fn a_compressed_body_is_refused_and_never_inflated() {
    let server =
        Server::start(|_| answer("200 OK", "Content-Encoding: gzip\r\n", b"\x1f\x8b\x08\0bomb"))
            .await;
    let error = fetch(limits(), &server.uri("/")).await.unwrap_err();
    assert!(matches!(error, FetchError::Compressed { encoding: "gzip", .. }), "{error}");
}

#[tokio::test]
async fn each_status_has_its_class() {
    for (status, class) in [
        ("204 No Content", FailureClass::Permanent),
        ("401 Unauthorized", FailureClass::Permanent),
        ("403 Forbidden", FailureClass::Permanent),
        ("404 Not Found", FailureClass::Permanent),
        ("408 Request Timeout", FailureClass::Transient),
        ("410 Gone", FailureClass::Permanent),
        ("418 I'm a teapot", FailureClass::Permanent),
        ("429 Too Many Requests", FailureClass::Transient),
        ("500 Internal Server Error", FailureClass::Transient),
        ("503 Service Unavailable", FailureClass::Transient),
        ("304 Not Modified", FailureClass::Permanent),
    ] {
        let server = Server::start(move |_| answer(status, "Retry-After: 7\r\n", b"")).await;
        let source = server.uri("/cat.png");
        let error = fetch(limits(), &source).await.unwrap_err();
        assert_eq!(error.class(), class, "{error}");
        assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        let text = error.to_string();
        assert!(text.starts_with(source.as_str()) && text.contains(&status[..3]), "{text}");
    }
}

#[tokio::test]
async fn a_host_that_is_not_there_may_come_back() {
    // Bound and given up, so that nobody listens.
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    drop(listener);
    let source = format!("http://{address}/a.png").parse().unwrap();
    let error = fetch(limits(), &source).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    assert!(error.to_string().contains("refused"), "{error}");
    assert_eq!(error.class(), FailureClass::Transient);
    let source = "http://no-such-host.invalid/".parse().unwrap();
    let error = fetch(limits(), &source).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
}

#[tokio::test]
async fn a_server_without_tls_behind_https_is_a_failed_connection() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let source = format!("https://{}/", listener.local_addr().unwrap()).parse().unwrap();
    let server = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        stream.write_all(b"HTTP/1.1 400 Bad Request\r\n\r\n").await.unwrap();
        // Kept open until the other side has gone.
        let _ = stream.read_to_end(&mut Vec::new()).await;
    });
    let error = fetch(limits(), &source).await.unwrap_err();
    assert!(matches!(error, FetchError::Connect { .. }), "{error}");
    assert_eq!(error.class(), FailureClass::Transient);
    server.await.unwrap();
}

#[tokio::test]
async fn files_come_through_the_same_door() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("a b.png");
    std::fs::write(&path, b"pixels").unwrap();
    let source = SourceUri::from_path(&path).unwrap();
    assert_eq!(fetch(limits(), &source).await.unwrap(), "pixels");
    let small = FetchLimits { bytes: 5, ..limits() };
    let error = fetch(small, &source).await.unwrap_err();
    assert!(matches!(error, FetchError::TooLarge { limit: 5, .. }), "{error}");
    std::fs::remove_file(&path).unwrap();
    let error = fetch(limits(), &source).await.unwrap_err();
    assert!(matches!(error, FetchError::Gone { .. }), "{error}");
    let elsewhere = "file://fileserver/share/a.png".parse().unwrap();
    let error = fetch(limits(), &elsewhere).await.unwrap_err();
    assert!(matches!(error, FetchError::NotLocal { .. }), "{error}");
}

#[test]
fn a_host_pattern_that_cannot_be_meant_is_an_error_at_the_start() {
    let limits = FetchLimits { allowed_hosts: vec!["http://a/".to_owned()], ..limits() };
    let error = Fetcher::new(limits).unwrap_err();
    assert!(matches!(error, FetcherError::Pattern { .. }), "{error}");
}
