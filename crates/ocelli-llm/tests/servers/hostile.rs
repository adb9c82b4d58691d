//! Bodies, bytes and connections that no well-behaved server sends: a clear outcome each, in bounded memory and time.

use std::time::Duration;

use bytes::Bytes;
use ocelli_core::FailureClass;
use ocelli_llm::{LlmOptions, Protocol};
use ocelli_testkit::models::Behaviour;
use ocelli_worker::Analyzer;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpListener;
use tokio::time::Instant;
use url::Url;

use crate::harness::{BOTH, analyzer, ask, failure, job, job_of, options, reading, server};

#[tokio::test]
async fn broken_answers_are_asked_for_again_and_end_as_transient() {
    for protocol in BOTH {
        for (behaviour, word) in [
            (Behaviour::ServerError, "HTTP 500"),
            (Behaviour::ErrorIn200, "HTTP 200 with an error"),
            (Behaviour::OtherJson, "not a"),
            (Behaviour::InvalidUtf8, "not a"),
            (Behaviour::TruncatedBody, "connection broke"),
            (Behaviour::Break, "connection broke"),
        ] {
            let (class, reason, calls) = failure(protocol, behaviour.clone()).await;
            assert_eq!((class, calls), (FailureClass::Transient, 3), "{behaviour:?}: {reason}");
            assert!(reason.contains(word), "{behaviour:?}: {reason}");
        }
    }
}

#[tokio::test]
async fn an_endless_body_is_cut_at_the_limit() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::HugeBody).await;
        let small = LlmOptions { response_bytes: 300_000, ..options(protocol, &[&server]) };
        let error = analyzer(small).analyze(job(1)).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Transient);
        assert!(error.reason.contains("more than 300000 bytes"), "{}", error.reason);
    }
}

#[tokio::test]
async fn a_server_that_hangs_or_drips_is_left_at_the_deadline() {
    for protocol in BOTH {
        for behaviour in [Behaviour::Hang, Behaviour::SlowBytes(Duration::from_millis(20))] {
            let begun = Instant::now();
            let (class, reason, calls) = failure(protocol, behaviour.clone()).await;
            assert!(begun.elapsed() < Duration::from_secs(5), "{behaviour:?}");
            assert_eq!((class, calls), (FailureClass::Transient, 1), "{behaviour:?}: {reason}");
            assert!(reason.contains("within"), "{reason}");
        }
    }
}

#[tokio::test]
async fn an_image_that_was_sent_away_first_and_had_little_time_left_spends_no_attempt() {
    let busy = || Behaviour::TooMany(vec![("retry-after-ms", "1".to_owned())]);
    for (first_byte, script, class) in [
        (Duration::from_secs(60), vec![busy(), Behaviour::Hang], FailureClass::Outage),
        (Duration::from_secs(60), vec![Behaviour::Hang], FailureClass::Transient),
        (Duration::from_millis(400), vec![busy(), Behaviour::Hang], FailureClass::Transient),
    ] {
        let server = server(Protocol::Ollama, Behaviour::Answer).await;
        let mut options = options(Protocol::Ollama, &[&server]);
        (options.timeouts.first_byte, options.timeouts.total) = (first_byte, first_byte);
        options.patience.outage = Duration::from_secs(60);
        let calls = script.len() as u64;
        server.script(script);
        let mut job = job(1);
        job.deadline = Instant::now() + Duration::from_secs(3);
        let error = analyzer(options).analyze(job).await.unwrap_err();
        let asked = server.stats().calls.values().sum::<u64>();
        assert_eq!((error.class, asked), (class, calls), "{}", error.reason);
    }
}

#[tokio::test]
async fn a_body_that_stops_coming_is_left_after_the_idle_deadline() {
    let (result, _server) =
        ask(Protocol::Ollama, Behaviour::SlowBytes(Duration::from_secs(600))).await;
    let reason = result.unwrap_err().reason;
    assert!(reason.contains("the answer stopped coming within 0."), "{reason}");
}

#[tokio::test]
async fn an_html_page_is_no_model_server_and_spends_no_attempt() {
    for protocol in BOTH {
        let (class, reason, _) = failure(protocol, Behaviour::Html).await;
        assert_eq!(class, FailureClass::Outage);
        assert!(reason.contains("HTML page"), "{reason}");
    }
}

#[tokio::test]
async fn something_that_does_not_speak_http_is_no_model_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let talk = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let _ = stream.write_all(b"220 mail.example.org ESMTP\r\n").await;
        }
    });
    let unused = server(Protocol::Ollama, Behaviour::Answer).await;
    let mut options = options(Protocol::Ollama, &[&unused]);
    options.endpoints[0].url = Url::parse(&format!("http://{address}")).unwrap();
    let analyzer = analyzer(options);
    let reason = analyzer.probe().await.unwrap_err().reason;
    assert!(reason.contains("connection broke"), "{reason}");
    let error = analyzer.analyze(job(1)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage, "{}", error.reason);
    talk.abort();
}

#[tokio::test]
async fn control_characters_never_reach_the_archive() {
    for protocol in BOTH {
        let (result, _server) = ask(protocol, Behaviour::ControlCharacters).await;
        let answer = result.unwrap();
        let text = &reading(&answer).text;
        assert!(text.contains("<script>alert(1)</script>\tend"), "kept as text: {text}");
        assert!(!text.chars().any(|c| c.is_control() && c != '\n' && c != '\t'), "{text:?}");
    }
}

#[tokio::test]
async fn what_is_no_image_never_reaches_a_server() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let analyzer = analyzer(options(Protocol::Ollama, &[&server]));
    for bytes in [&b""[..], b"<html>no</html>", b"\x89PNG\r\n\x1a\n cut"] {
        let error = analyzer.analyze(job_of(Bytes::from_static(bytes))).await.unwrap_err();
        assert_eq!(error.class, FailureClass::Permanent, "{}", error.reason);
    }
    assert_eq!(server.calls(), 0);
}

#[tokio::test]
async fn an_image_or_a_prompt_that_the_server_refuses_fails_at_once() {
    for protocol in BOTH {
        for behaviour in [Behaviour::BadImage, Behaviour::PromptTooLong] {
            let (class, reason, calls) = failure(protocol, behaviour).await;
            assert_eq!((class, calls), (FailureClass::Permanent, 1), "{reason}");
            assert!(reason.contains("HTTP 400"), "{reason}");
        }
    }
}
