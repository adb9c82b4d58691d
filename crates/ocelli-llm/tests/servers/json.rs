//! Answers in JSON of a given form.

use ocelli_core::FailureClass;
use ocelli_llm::{AnswerSchema, LlmOptions, Protocol};
use ocelli_testkit::models::{Behaviour, ModelServer};
use ocelli_worker::Analyzer;
use serde_json::json;

use crate::harness::{BOTH, analyzer, job, options, reading, server};

const GOOD: &str = r#"{"title": "Cat", "funny": 3}"#;

fn with_schema(protocol: Protocol, server: &ModelServer) -> LlmOptions {
    let text = r#"{"type": "object", "required": ["title", "funny"], "additionalProperties": false,
        "properties": {"title": {"type": "string"}, "funny": {"type": "integer"}}}"#;
    LlmOptions {
        answer_schema: Some(AnswerSchema::parse("meme", "meme.json", text).unwrap()),
        required_sections: Vec::new(),
        ..options(protocol, &[server])
    }
}

#[tokio::test]
async fn the_schema_is_sent_and_an_answer_of_its_form_is_kept_as_it_is() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Text(GOOD.to_owned())).await;
        let options = with_schema(protocol, &server);
        let schema = options.answer_schema.as_ref().unwrap().value().clone();
        let answer = analyzer(options).analyze(job(1)).await.unwrap();
        assert_eq!(reading(&answer).text, GOOD);
        assert!(reading(&answer).sections.is_empty() && reading(&answer).flags.is_empty());
        let body = &server.received()[0].body;
        match protocol {
            Protocol::Ollama => assert_eq!(body["format"], schema),
            Protocol::OpenAi => assert_eq!(
                body["response_format"],
                json!({"type": "json_schema",
                       "json_schema": {"name": "meme", "strict": true, "schema": schema}})
            ),
        }
    }
}

#[tokio::test]
async fn an_answer_of_another_form_is_asked_for_again() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Text(GOOD.to_owned())).await;
        server.script([
            Behaviour::Text("The meme shows a cat.".to_owned()),
            Behaviour::Text(r#"{"title": "Cat"}"#.to_owned()),
        ]);
        let answer = analyzer(with_schema(protocol, &server)).analyze(job(1)).await.unwrap();
        assert_eq!((reading(&answer).text.as_str(), server.calls()), (GOOD, 3));
        let steps: Vec<_> = answer.provenance.steps.iter().map(|s| s.reason.as_str()).collect();
        assert!(steps[1].contains("not JSON") && steps[2].contains("funny"), "{steps:?}");
    }
}

#[tokio::test]
async fn json_that_stays_of_another_form_is_a_failure_of_quality() {
    for protocol in BOTH {
        let server = server(protocol, Behaviour::Answer).await;
        let error = analyzer(with_schema(protocol, &server)).analyze(job(1)).await.unwrap_err();
        assert_eq!((error.class, server.calls()), (FailureClass::Quality, 3));
        assert!(error.reason.contains("not as its schema asks"), "{}", error.reason);
    }
}

#[tokio::test]
async fn the_schema_is_part_of_the_revision() {
    let server = server(Protocol::Ollama, Behaviour::Answer).await;
    let base =
        LlmOptions { required_sections: Vec::new(), ..options(Protocol::Ollama, &[&server]) };
    let with = with_schema(Protocol::Ollama, &server);
    let (base, with) = (analyzer(base).probe().await, analyzer(with).probe().await);
    assert_ne!(base.unwrap(), with.unwrap());
}
