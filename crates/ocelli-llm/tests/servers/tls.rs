//! Certificates that match, and certificates that do not.

use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};

use ocelli_core::FailureClass;
use ocelli_llm::{LlmAnalyzer, LlmMetrics, LlmOptions, Preparation, Protocol};
use ocelli_testkit::models::Behaviour;
use ocelli_testkit::tls::{Certificate, EXPIRED, TlsServer, VALID};
use ocelli_worker::Analyzer;
use url::Url;

use crate::harness::{analyzer, job, options, server};

/// Answers every request over TLS as a server without models does.
fn without_models(certificate: &Certificate) -> SocketAddr {
    let body = r#"{"object":"list","data":[]}"#;
    let answer = format!(
        "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\nconnection: close\r\n\
         content-length: {}\r\n\r\n{body}",
        body.len()
    );
    TlsServer::start(certificate, answer.into_bytes()).address()
}

/// An analyzer that asks the server there and believes this certificate, besides those of the system.
async fn asked(address: SocketAddr, trusted: Option<&Certificate>) -> LlmAnalyzer {
    let unused = server(Protocol::OpenAi, Behaviour::Answer).await;
    let mut options = options(Protocol::OpenAi, &[&unused]);
    let port = address.port();
    options.endpoints[0].url = Url::parse(&format!("https://localhost:{port}")).unwrap();
    options.endpoints[0].authorities = trusted.map(|certificate| certificate.pem().into_bytes());
    analyzer(options)
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_stops_the_analyzer_before_anything_is_sent() {
    let address = without_models(&Certificate::new("localhost", VALID));
    let analyzer = asked(address, None).await;
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("cannot connect") && reason.contains("certificate"), "{reason}");
    let error = analyzer.analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
}

#[tokio::test]
async fn a_certificate_for_another_name_is_refused_although_its_authority_is_trusted() {
    let certificate = Certificate::new("gpu.example", VALID);
    let analyzer = asked(without_models(&certificate), Some(&certificate)).await;
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("certificate not valid for name \"localhost\""), "{reason}");
}

#[tokio::test]
async fn a_certificate_that_has_expired_is_refused_although_its_authority_is_trusted() {
    let certificate = Certificate::new("localhost", EXPIRED);
    let analyzer = asked(without_models(&certificate), Some(&certificate)).await;
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("cannot connect") && reason.contains("expired"), "{reason}");
    let error = analyzer.analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
}

#[tokio::test]
async fn the_certificate_of_a_private_authority_is_accepted_when_it_is_named() {
    let certificate = Certificate::new("localhost", VALID);
    let analyzer = asked(without_models(&certificate), Some(&certificate)).await;
    let reason = analyzer.probe().await.unwrap_err().reason;
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
