//! Hosts whose certificates nobody should believe. One for another name needs one that is believed: `tests/suite/security.rs`.

use ocelli_core::FailureClass;
use ocelli_media::{FetchError, FetchLimits, Fetcher};
use ocelli_testkit::tls::{Certificate, EXPIRED, TlsServer, VALID};

/// What a host would say to whoever believed it.
const PIXELS: &[u8] = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\npixels";

#[tokio::test]
async fn a_host_that_nobody_vouches_for_or_whose_certificate_has_expired_is_told_nothing() {
    let limits = FetchLimits { allow_private_hosts: true, ..FetchLimits::default() };
    let fetcher = Fetcher::new(limits).unwrap();
    for (until_year, reason) in [(VALID, "UnknownIssuer"), (EXPIRED, "certificate expired")] {
        let host = TlsServer::start(&Certificate::new("localhost", until_year), PIXELS.to_vec());
        let port = host.address().port();
        let source = format!("https://localhost:{port}/a.png").parse().unwrap();
        let error = fetcher.fetch(&source).await.unwrap_err();
        assert!(matches!(error, FetchError::Connect { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("cannot connect to localhost") && text.contains(reason), "{text}");
        // Certificates are renewed, mostly a day late.
        assert_eq!(error.class(), FailureClass::Transient);
        assert_eq!(host.heard(), 0, "not even the address was said");
    }
}
