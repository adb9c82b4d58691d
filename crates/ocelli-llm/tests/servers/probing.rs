//! Whether an analyzer can work, as which revision, and what to do when it cannot.

use ocelli_core::FailureClass;
use ocelli_llm::{LlmOptions, PromptSource, Protocol};
use ocelli_testkit::models::{Behaviour, Model};
use ocelli_worker::Analyzer;

use crate::harness::{BOTH, analyzer, job, options, server, server_with};

#[tokio::test]
async fn a_missing_model_is_named_with_the_command_that_gets_it() {
    for protocol in BOTH {
        let server = server_with(protocol, |o| o.models = vec!["llava".into()]).await;
        let analyzer = analyzer(options(protocol, &[&server]));
        let reason = analyzer.probe().await.unwrap_err().reason;
        let way_out = match protocol {
            Protocol::Ollama => "run `ollama pull gemma3:27b`",
            Protocol::OpenAi => "it offers: llava",
        };
        assert!(reason.contains("'gemma3:27b' is not there"), "{reason}");
        assert!(reason.contains(way_out), "{reason}");
        server.set_models(vec!["gemma3:27b".into()]);
        analyzer.probe().await.unwrap();
    }
}

#[tokio::test]
async fn a_model_without_eyes_is_refused() {
    for protocol in BOTH {
        let server = server_with(protocol, |o| o.models = vec![Model::blind("gemma3:27b")]).await;
        let reason = analyzer(options(protocol, &[&server])).probe().await.unwrap_err().reason;
        assert!(reason.contains("cannot see images"), "{reason}");
    }
}

#[tokio::test]
async fn a_server_that_is_away_is_named_with_its_address() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Answer).await;
        server.go_down();
        let reason = analyzer(options(protocol, &[&server])).probe().await.unwrap_err().reason;
        assert!(reason.starts_with(server.url().as_str()), "{reason}");
        assert!(reason.contains("cannot connect"), "{reason}");
    }
}

#[tokio::test]
async fn the_other_protocol_is_noticed() {
    let openai = server(Protocol::OpenAi, Behaviour::Answer).await;
    let reason = analyzer(options(Protocol::Ollama, &[&openai])).probe().await.unwrap_err().reason;
    assert!(reason.contains("is its protocol 'openai'?"), "{reason}");
}

#[tokio::test]
async fn the_revision_follows_everything_that_can_change_an_answer_and_nothing_else() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let base = || options(Protocol::Ollama, &[&server]);
    let revision = async |options: LlmOptions| analyzer(options).probe().await.unwrap();
    let first = revision(base()).await;
    assert_eq!(revision(base()).await, first);
    let mut elsewhere = base();
    elsewhere.endpoints.extend(base().endpoints);
    elsewhere.requests_per_minute = Some(1000);
    elsewhere.patience.server_error_retries = 9;
    assert_eq!(revision(elsewhere).await, first);

    let text = PromptSource::Text { name: "x".to_owned(), text: "Look.".to_owned() };
    for changed in [
        LlmOptions { prompt: text, ..base() },
        LlmOptions { longest_side: 640, ..base() },
        LlmOptions { temperatures: vec![0.0], ..base() },
        LlmOptions { language: "German".to_owned(), ..base() },
        LlmOptions { model: "llama3.2-vision".to_owned(), ..base() },
        LlmOptions { encoding: ocelli_media::Encoding::Png, ..base() },
    ] {
        assert_ne!(revision(changed).await, first);
    }
    let newer = Model { digest: "f".repeat(64), ..Model::new("gemma3:27b") };
    server.set_models(vec![newer]);
    assert_ne!(revision(base()).await, first, "the same name, another model");
}

#[tokio::test]
async fn one_endpoint_that_can_work_is_enough() {
    for protocol in BOTH {
        let away = server(protocol, Behaviour::Answer).await;
        away.go_down();
        let empty = server_with(protocol, |o| o.models = Vec::new()).await;
        let good = server(protocol, Behaviour::Answer).await;
        let analyzer = analyzer(options(protocol, &[&away, &empty, &good]));
        analyzer.probe().await.unwrap();
        for n in 0..6 {
            analyzer.analyze(job(n)).await.unwrap();
        }
        assert_eq!((good.calls(), empty.calls()), (6, 0));
    }
}

#[tokio::test]
async fn an_endpoint_with_another_version_of_the_model_is_set_aside() {
    let first = server(Protocol::Ollama, Behaviour::Answer).await;
    let other = server_with(Protocol::Ollama, |options| {
        options.models = vec![Model { digest: "e".repeat(64), ..Model::new("gemma3:27b") }];
    })
    .await;
    let analyzer = analyzer(options(Protocol::Ollama, &[&first, &other]));
    analyzer.probe().await.unwrap();
    for n in 0..6 {
        analyzer.analyze(job(n)).await.unwrap();
    }
    assert_eq!((first.calls(), other.calls()), (6, 0));
}

#[tokio::test]
async fn a_model_that_was_exchanged_under_way_files_no_answer_under_the_old_revision() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let mut options = options(Protocol::Ollama, &[&server]);
    options.patience.recheck = std::time::Duration::ZERO;
    let analyzer = analyzer(options);
    let old = analyzer.probe().await.unwrap();
    analyzer.analyze(job(1)).await.unwrap();
    server.set_models(vec![Model { digest: "e".repeat(64), ..Model::new("gemma3:27b") }]);
    let error = analyzer.analyze(job(2)).await.unwrap_err();
    assert_eq!(error.class, FailureClass::Outage);
    assert!(error.reason.contains("another version"), "{}", error.reason);
    assert_eq!(server.calls(), 1);
    assert_ne!(analyzer.probe().await.unwrap(), old);
    analyzer.analyze(job(2)).await.unwrap();
}

#[tokio::test]
async fn key_quota_permission_and_model_stop_the_analyzer_until_they_are_put_right() {
    for protocol in BOTH {
        for (behaviour, word) in [
            (Behaviour::Unauthorized, "check the API key"),
            (Behaviour::Forbidden, "HTTP 403"),
            (Behaviour::QuotaExhausted, "quota"),
            (Behaviour::ModelMissing, "not found"),
        ] {
            if behaviour == Behaviour::QuotaExhausted && protocol == Protocol::Ollama {
                // Its errors have no type: a quota looks like any other 429 there.
                continue;
            }
            let server = server(protocol, Behaviour::Answer).await;
            let analyzer = analyzer(options(protocol, &[&server]));
            analyzer.probe().await.unwrap();
            server.set_behaviour(behaviour.clone());
            for n in 0..4 {
                let error = analyzer.analyze(job(n)).await.unwrap_err();
                assert_eq!(error.class, FailureClass::Outage, "{behaviour:?}");
                assert!(error.reason.contains(word), "{behaviour:?}: {}", error.reason);
            }
            assert_eq!(server.calls(), 1, "{behaviour:?}: only the first job asked");
            let reason = analyzer.probe().await.unwrap_err().reason;
            assert!(reason.contains(word), "{behaviour:?}: {reason}");
            server.set_behaviour(Behaviour::Answer);
            analyzer.probe().await.unwrap();
            analyzer.analyze(job(1)).await.unwrap();
        }
    }
}

#[tokio::test]
async fn a_wrong_key_is_noticed_at_the_start() {
    for protocol in BOTH {
        let server = server_with(protocol, |o| o.api_key = Some("right".to_owned())).await;
        let mut options = options(protocol, &[&server]);
        options.endpoints[0].api_key = Some("wrong".into());
        let reason = analyzer(options).probe().await.unwrap_err().reason;
        assert!(reason.contains("check the API key") && !reason.contains("wrong"), "{reason}");
    }
}
