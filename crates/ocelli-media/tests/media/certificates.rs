//! Hosts whose certificates nobody should believe. One for another name needs one that is believed: `tests/suite/security.rs`.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use ocelli_core::FailureClass;
use ocelli_media::{FetchError, FetchLimits, Fetcher};
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};

/// Serves over TLS with a certificate that vouches for itself; its port, and how many requests it has read.
fn host(last_year: i32) -> (u16, Arc<AtomicUsize>) {
    let mut parameters = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(last_year, 1, 1);
    let key = KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    let key = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let heard = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&heard);
    // Ends with the process of the test.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = StreamOwned::new(connection, stream);
            // A client that refuses the certificate ends the connection here.
            if !matches!(tls.read(&mut [0; 4096]), Ok(1..)) {
                continue;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            let _ = tls.write_all(
                b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 6\r\n\r\npixels",
            );
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (port, heard)
}

#[tokio::test]
async fn a_host_that_nobody_vouches_for_or_whose_certificate_has_expired_is_told_nothing() {
    let limits = FetchLimits { allow_private_hosts: true, ..FetchLimits::default() };
    let fetcher = Fetcher::new(limits).unwrap();
    for (last_year, reason) in [(2099, "UnknownIssuer"), (2020, "certificate expired")] {
        let (port, heard) = host(last_year);
        let source = format!("https://localhost:{port}/a.png").parse().unwrap();
        let error = fetcher.fetch(&source).await.unwrap_err();
        assert!(matches!(error, FetchError::Connect { .. }), "{error}");
        let text = error.to_string();
        assert!(text.contains("cannot connect to localhost") && text.contains(reason), "{text}");
        // Certificates are renewed, mostly a day late.
        assert_eq!(error.class(), FailureClass::Transient);
        assert_eq!(heard.load(Ordering::Relaxed), 0, "not even the address was said");
    }
}
