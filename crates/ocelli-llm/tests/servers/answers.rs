//! Good answers are kept whole, bad ones are asked for again, and what stays bad is never kept as clean.

use std::collections::BTreeSet;

use ocelli_core::{FailureClass, Flag};
use ocelli_llm::{LlmOptions, PromptSource, Protocol};
use ocelli_testkit::models::{Behaviour, answer_text};
use ocelli_worker::Analyzer;

use crate::harness::{
    BOTH, SECTIONS, analyzer, ask, failure, flags, job, options, reading, server,
};

#[tokio::test]
async fn a_proper_answer_is_kept_with_its_sections_and_its_origin() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Answer).await;
        let analyzer = analyzer(options(protocol, &[&server]));
        analyzer.probe().await.unwrap();
        let answer = analyzer.analyze(job(1)).await.unwrap();
        let received = server.received();
        let reading = reading(&answer);
        let expected = answer_text("gemma3:27b", analyzer.prompt().system(), &received[0].digest);
        assert_eq!(reading.text, expected);
        let headings: Vec<_> = reading.sections.iter().map(|s| s.heading.as_str()).collect();
        assert_eq!(headings[..6], SECTIONS);
        assert_eq!(headings[6..], ["Disclaimer"]);
        assert_eq!(reading.flags, []);

        let provenance = &answer.provenance;
        let engine = if protocol == Protocol::Ollama { "ollama 0.33.0" } else { "openai" };
        assert_eq!(provenance.engine, engine);
        assert_eq!(provenance.model.as_deref(), Some("gemma3:27b"));
        assert_eq!(provenance.prompt.as_deref(), Some("critical-lenses"));
        assert_eq!(provenance.endpoint.as_deref(), Some(server.url().as_str()));
        assert_eq!(provenance.model_digest.is_some(), protocol == Protocol::Ollama);
        assert!(provenance.tokens_in > Some(300) && provenance.tokens_out > Some(50));
        let steps: Vec<_> = provenance.steps.iter().map(|s| s.name.as_str()).collect();
        assert_eq!(steps, ["prepare", "call-1"]);
    }
}

#[tokio::test]
async fn the_image_comes_last_as_bytes_that_were_encoded_again() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Answer).await;
        let analyzer = analyzer(options(protocol, &[&server]));
        let job = job(1);
        let original = job.image.digest.to_string();
        analyzer.analyze(job).await.unwrap();
        let received = &server.received()[0];
        assert!(received.image.starts_with(&[0xff, 0xd8, 0xff]), "a JPEG, although a PNG came in");
        assert_ne!(received.digest, original);
        let messages = received.body["messages"].as_array().unwrap();
        assert_eq!(messages[0]["role"], "system");
        assert_eq!(messages[0]["content"], analyzer.prompt().system());
        assert_eq!(messages[1]["role"], "user");
        let last = match protocol {
            Protocol::Ollama => messages[1]["images"][0].clone(),
            Protocol::OpenAi => messages[1]["content"][1]["image_url"]["url"].clone(),
        };
        assert_eq!(last, received.digest.as_str());
        assert!(!received.body.to_string().contains("file:"), "never an address");
    }
}

#[tokio::test]
async fn the_prompt_that_asks_for_a_paragraph_gets_one() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let analyzer = analyzer(LlmOptions {
        model: "llama3.2-vision".to_owned(),
        prompt: PromptSource::Named { name: "explain-meme".to_owned(), directory: None },
        required_sections: Vec::new(),
        ..options(Protocol::Ollama, &[&server])
    });
    analyzer.probe().await.unwrap();
    let answer = analyzer.analyze(job(1)).await.unwrap();
    let reading = reading(&answer);
    assert!(reading.text.starts_with("The meme is a humorous image"), "{}", reading.text);
    assert!(reading.sections.is_empty() && reading.flags.is_empty());
}

#[tokio::test]
async fn a_loop_is_left_by_a_higher_temperature() {
    for protocol in BOTH {
        let (result, server) = ask(protocol, Behaviour::RepeatsBelow(0.25)).await;
        let answer = result.unwrap();
        assert_eq!(reading(&answer).flags, []);
        assert_eq!(server.calls(), 2);
        let steps: Vec<_> =
            answer.provenance.steps.iter().map(|s| (s.name.as_str(), s.reason.as_str())).collect();
        assert_eq!(steps[1].0, "call-1");
        assert!(steps[1].1.contains("a loop"), "{steps:?}");
        assert!(
            steps[2].1.contains("a loop") && steps[2].1.ends_with("temperature 0.3"),
            "{steps:?}"
        );
    }
}

#[tokio::test]
async fn a_loop_that_stays_is_a_failure_of_quality_after_three_calls() {
    for protocol in BOTH {
        let (class, reason, calls) = failure(protocol, Behaviour::Repeats).await;
        assert_eq!((class, calls), (FailureClass::Quality, 3), "{reason}");
        assert!(reason.contains("was a loop"), "{reason}");
    }
}

#[tokio::test]
async fn a_cut_answer_gets_a_larger_budget_once_and_is_flagged_when_it_stays_cut() {
    for protocol in BOTH {
        assert_eq!(flags(protocol, Behaviour::CutOffBelow(5000)).await, (vec![], 2));
        let (flags, calls) = flags(protocol, Behaviour::CutOff).await;
        assert!(flags.contains(&Flag::Truncated), "{flags:?}");
        assert_eq!(calls, 2);
    }
}

#[tokio::test]
async fn thinking_is_switched_off_when_it_left_no_answer() {
    let server = server(Protocol::Ollama, Behaviour::ThinksUnlessTold).await;
    let thinking = LlmOptions { think: true, ..options(Protocol::Ollama, &[&server]) };
    let answer = analyzer(thinking).analyze(job(1)).await.unwrap();
    assert_eq!((reading(&answer).flags.len(), server.calls()), (0, 2));

    let (flags, calls) = flags(Protocol::OpenAi, Behaviour::ThinksUnlessTold).await;
    assert_eq!((flags, calls), (vec![], 2));
}

#[tokio::test]
async fn an_empty_and_an_unfinished_answer_are_failures_of_quality() {
    for protocol in BOTH {
        for behaviour in [Behaviour::Empty, Behaviour::NotFinished] {
            let (class, reason, calls) = failure(protocol, behaviour.clone()).await;
            assert_eq!((class, calls), (FailureClass::Quality, 3), "{behaviour:?} {reason}");
        }
    }
}

#[tokio::test]
async fn a_refusal_is_kept_flagged_and_not_asked_again() {
    for protocol in BOTH {
        assert_eq!(flags(protocol, Behaviour::Refuses).await, (vec![Flag::Refused], 1));
    }
}

#[tokio::test]
async fn missing_sections_are_asked_for_again_and_then_flagged() {
    for protocol in BOTH {
        assert_eq!(
            flags(protocol, Behaviour::MissingSections).await,
            (vec![Flag::MissingSections], 3)
        );
    }
}

#[tokio::test]
async fn a_preamble_and_another_model_are_flagged_without_another_call() {
    for protocol in BOTH {
        assert_eq!(flags(protocol, Behaviour::Preamble).await, (vec![Flag::Preamble], 1));
        assert_eq!(flags(protocol, Behaviour::OtherModel).await, (vec![Flag::OtherModel], 1));
    }
}

#[tokio::test]
async fn the_best_of_several_bad_answers_is_kept() {
    let server = server(Protocol::Ollama, Behaviour::Empty).await;
    server.script([Behaviour::Repeats, Behaviour::MissingSections, Behaviour::Empty]);
    let answer = analyzer(options(Protocol::Ollama, &[&server])).analyze(job(1)).await.unwrap();
    assert_eq!(reading(&answer).flags, [Flag::MissingSections]);
    assert_eq!(reading(&answer).sections.len(), 3);
    assert_eq!(server.calls(), 3);
}

#[tokio::test]
async fn the_same_image_is_sent_as_the_same_bytes_each_time() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let analyzer = analyzer(options(Protocol::Ollama, &[&server]));
    for number in [1, 1, 2] {
        analyzer.analyze(job(number)).await.unwrap();
    }
    let digests: BTreeSet<_> = server.received().into_iter().map(|r| r.digest).collect();
    assert_eq!((digests.len(), server.calls()), (2, 3));
}
