//! Answers in the documented formats of the servers that this analyzer is made for, over real HTTP: each is looked at, asked,
//! and understood. Where a format is from stands in each file. llama-cpp-python's server is run for real instead
//! (`tests/real_server.rs`); Ollama, vLLM, llama.cpp's own server, LM Studio, SGLang and OpenRouter are not run here.

use ocelli_llm::{EndpointOptions, LlmOptions, PromptSource, Protocol};
use ocelli_worker::Analyzer;
use serde_json::Value;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{TcpListener, TcpStream};
use url::Url;

use crate::harness::{analyzer, job, options, reading};

const RECORDED: [(&str, Protocol, &str); 6] = [
    ("Ollama", Protocol::Ollama, include_str!("recorded/ollama.json")),
    ("vLLM", Protocol::OpenAi, include_str!("recorded/vllm.json")),
    ("llama.cpp", Protocol::OpenAi, include_str!("recorded/llama-cpp.json")),
    ("LM Studio", Protocol::OpenAi, include_str!("recorded/lm-studio.json")),
    ("SGLang", Protocol::OpenAi, include_str!("recorded/sglang.json")),
    ("OpenRouter", Protocol::OpenAi, include_str!("recorded/openrouter.json")),
];

/// Answers `METHOD /path` with what was recorded for it, and everything else with 404. Ends with the test.
async fn play(recorded: Value) -> Url {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let recorded = recorded.clone();
            tokio::spawn(async move { drop(serve(stream, &recorded).await) });
        }
    });
    format!("http://{address}").parse().unwrap()
}

async fn serve(stream: TcpStream, recorded: &Value) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    loop {
        let (mut first, mut length) = (String::new(), 0);
        if stream.read_line(&mut first).await? == 0 {
            return Ok(());
        }
        loop {
            let mut line = String::new();
            stream.read_line(&mut line).await?;
            let Some((name, value)) = line.split_once(':') else { break };
            if name.eq_ignore_ascii_case("content-length") {
                length = value.trim().parse().unwrap();
            }
        }
        stream.read_exact(&mut vec![0; length]).await?;
        let asked = first.trim_end().trim_end_matches(" HTTP/1.1");
        let body = recorded[asked].to_string();
        let status = if recorded[asked].is_null() { "404 Not Found" } else { "200 OK" };
        let answer = format!(
            "HTTP/1.1 {status}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

#[tokio::test]
async fn the_documented_formats_of_six_servers_are_understood() {
    for (server, protocol, recorded) in RECORDED {
        let recorded: Value = serde_json::from_str(recorded).unwrap();
        let (model, expected) = (recorded["model"].as_str().unwrap(), &recorded["expected"]);
        let url = play(recorded.clone()).await;
        let analyzer = analyzer(LlmOptions {
            model: model.to_owned(),
            prompt: PromptSource::Named { name: "explain-meme".to_owned(), directory: None },
            required_sections: Vec::new(),
            endpoints: vec![EndpointOptions::new(url)],
            ..options(protocol, &[])
        });
        let revision = analyzer.probe().await;
        assert!(revision.is_ok(), "{server}: {revision:?}");
        let answer = analyzer.analyze(job(1)).await.unwrap();
        let (reading, how) = (reading(&answer), &answer.provenance);
        assert_eq!(reading.text, expected["text"], "{server}");
        assert!(reading.flags.is_empty(), "{server}: {:?}", reading.flags);
        assert_eq!(how.engine, expected["engine"].as_str().unwrap(), "{server}");
        assert_eq!(how.model_digest.as_deref(), expected["digest"].as_str(), "{server}");
        let tokens = [how.tokens_in, how.tokens_out];
        let told = [&expected["tokens"][0], &expected["tokens"][1]].map(Value::as_u64);
        assert_eq!(tokens, told, "{server}");
    }
}

#[tokio::test]
async fn a_model_that_the_documented_lists_do_not_have_or_that_cannot_see_is_refused() {
    for (server, protocol, recorded) in RECORDED {
        let mut recorded: Value = serde_json::from_str(recorded).unwrap();
        let model = recorded["model"].as_str().unwrap().to_owned();
        let mut reasons = Vec::new();
        // As each of those that tell says it of a model without eyes.
        recorded["POST /api/show"]["capabilities"] = serde_json::json!(["completion"]);
        let list = &mut recorded["GET /v1/models"];
        if !list["models"].is_null() {
            list["models"][0]["capabilities"] = serde_json::json!(["completion"]);
        }
        if !list["data"][0]["architecture"].is_null() {
            list["data"][0]["architecture"]["input_modalities"] = serde_json::json!(["text"]);
        }
        let tells = matches!(server, "Ollama" | "llama.cpp" | "OpenRouter");
        let url = play(recorded).await;
        for model in [model, "no-such-model".to_owned()] {
            let endpoints = vec![EndpointOptions::new(url.clone())];
            let options = LlmOptions { model, endpoints, ..options(protocol, &[]) };
            reasons.push(analyzer(options).probe().await.err().map(|away| away.reason));
        }
        let blind = reasons[0].as_deref().is_some_and(|why| why.contains("cannot see images"));
        assert_eq!(blind, tells, "{server}: {reasons:?}");
        let missing = reasons[1].as_deref().unwrap_or_default();
        assert!(missing.contains("'no-such-model' is not there"), "{server}: {missing}");
    }
}
