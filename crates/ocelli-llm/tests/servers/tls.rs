//! Certificates that match, and certificates that do not.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::{Duration, Instant};

use ocelli_core::FailureClass;
use ocelli_llm::{LlmAnalyzer, LlmMetrics, LlmOptions, Preparation, Protocol};
use ocelli_testkit::models::Behaviour;
use ocelli_worker::Analyzer;
use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::pki_types::PrivateKeyDer;
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use url::Url;

use crate::harness::{analyzer, job, options, server};

/// Answers every request over TLS as a server without models does; its certificate is for `name`.
fn tls_server(name: &str) -> (SocketAddr, String) {
    tls_server_until(name, 2099)
}

/// The same, with a certificate that ends with the beginning of a year.
fn tls_server_until(name: &str, year: i32) -> (SocketAddr, String) {
    let mut parameters = CertificateParams::new(vec![name.to_owned()]).unwrap();
    parameters.not_after = date_time_ymd(year, 1, 1);
    let signing_key = KeyPair::generate().unwrap();
    let cert = parameters.self_signed(&signing_key).unwrap();
    let key = PrivateKeyDer::try_from(signing_key.serialize_der()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .unwrap();
    let config = Arc::new(config);
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    // Ends with the process of the test.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let connection = ServerConnection::new(Arc::clone(&config)).unwrap();
            let mut tls = StreamOwned::new(connection, stream);
            // A client that refuses the certificate ends the connection here.
            if !matches!(tls.read(&mut [0; 4096]), Ok(1..)) {
                continue;
            }
            let body = r#"{"object":"list","data":[]}"#;
            let _ = write!(
                tls,
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
                 content-length: {}\r\n\r\n{body}",
                body.len()
            );
            tls.conn.send_close_notify();
            let _ = tls.flush();
        }
    });
    (address, cert.pem())
}

async fn asked(address: SocketAddr, authorities: Option<String>) -> LlmAnalyzer {
    let unused = server(Protocol::OpenAi, Behaviour::Answer).await;
    let mut options = options(Protocol::OpenAi, &[&unused]);
    let port = address.port();
    options.endpoints[0].url = Url::parse(&format!("https://localhost:{port}")).unwrap();
    options.endpoints[0].authorities = authorities.map(String::into_bytes);
    analyzer(options)
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_stops_the_analyzer_before_anything_is_sent() {
    let (address, _) = tls_server("localhost");
    let analyzer = asked(address, None).await;
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("cannot connect") && reason.contains("certificate"), "{reason}");
    let error = analyzer.analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_although_its_authority_is_trusted() {
    let (address, authority) = tls_server("gpu.example");
    let reason = asked(address, Some(authority)).await.probe().await.unwrap_err().reason;
    assert!(reason.contains("certificate not valid for name \"localhost\""), "{reason}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_although_its_authority_is_trusted() {
    let (address, authority) = tls_server_until("localhost", 2020);
    let analyzer = asked(address, Some(authority)).await;
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("cannot connect") && reason.contains("expired"), "{reason}");
    let error = analyzer.analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
}

#[tokio::test]
async fn the_certificate_of_a_private_authority_is_accepted_when_it_is_named() {
    let (address, authority) = tls_server("localhost");
    let reason = asked(address, Some(authority)).await.probe().await.unwrap_err().reason;
    assert!(reason.contains("'gemma3:27b' is not there; it offers: none"), "{reason}");
}

#[tokio::test]
async fn a_server_that_never_answers_the_handshake_is_left_at_the_deadline_of_connecting() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let analyzer = asked(listener.local_addr().unwrap(), None).await;
    // The system accepts the connection; nobody reads from it.
    let begun = Instant::now();
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("cannot connect"), "{reason}");
    let error = analyzer.analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
    assert!(begun.elapsed() < Duration::from_secs(5), "{:?}", begun.elapsed());
}

#[tokio::test]
async fn certificates_that_are_none_are_named_at_the_start() {
    let unused = server(Protocol::OpenAi, Behaviour::Answer).await;
    for pem in ["", "no certificate", "-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----"] {
        let mut options: LlmOptions = options(Protocol::OpenAi, &[&unused]);
        options.endpoints[0].authorities = Some(pem.as_bytes().to_vec());
        let built = LlmAnalyzer::new(options, Preparation::default(), &LlmMetrics::default());
        let error = built.unwrap_err();
        let source = std::error::Error::source(&error).map(ToString::to_string);
        let text = format!("{error} {}", source.unwrap_or_default());
        assert!(text.contains("are not PEM"), "{pem}: {text}");
    }
}
