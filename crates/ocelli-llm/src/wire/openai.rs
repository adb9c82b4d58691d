//! OpenAI's chat completions and what compatible servers add to them or leave out.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{NoAnswer, clip, error_message};
use crate::completion::{Call, Completion, Finish};
use crate::options::{LlmOptions, TokenField};

/// Constant text in the system message and the image as the last part: servers with a prefix cache then reuse
/// everything before the image.
pub(super) fn chat_body(options: &LlmOptions, call: &Call<'_>) -> Value {
    let mut content = Vec::new();
    if !call.user.is_empty() {
        content.push(json!({"type": "text", "text": call.user}));
    }
    if let Some(picture) = call.picture {
        let url = format!("data:{};base64,{}", picture.mime, picture.base64());
        content.push(json!({"type": "image_url", "image_url": {"url": url}}));
    }
    let mut messages = Vec::new();
    if !call.system.is_empty() {
        messages.push(json!({"role": "system", "content": call.system}));
    }
    messages.push(json!({"role": "user", "content": content}));
    let mut body = json!({
        "model": options.model,
        "messages": messages,
        "temperature": f64::from((call.temperature * 100.0).round()) / 100.0,
    });
    let field = match options.token_field {
        TokenField::MaxTokens => "max_tokens",
        TokenField::MaxCompletionTokens => "max_completion_tokens",
    };
    body[field] = call.max_tokens.into();
    if let Some(schema) = options.answer_schema.as_ref().filter(|_| call.picture.is_some()) {
        body["response_format"] = json!({"type": "json_schema", "json_schema": {
            "name": schema.name(), "schema": schema.value(), "strict": schema.is_closed(),
        }});
    }
    if call.think_off {
        // vLLM, SGLang and llama.cpp read this. Only sent after thoughts were seen, which OpenAI's own servers never show.
        body["chat_template_kwargs"] = json!({"enable_thinking": false});
    }
    body
}

#[derive(Deserialize)]
struct ChatResponse {
    model: Option<String>,
    choices: Option<Vec<Choice>>,
    usage: Option<Usage>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Choice {
    message: Option<Message>,
    finish_reason: Option<String>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<Value>,
    refusal: Option<String>,
    reasoning_content: Option<String>,
    reasoning: Option<Value>,
}

#[derive(Deserialize)]
struct Usage {
    prompt_tokens: Option<u64>,
    completion_tokens: Option<u64>,
}

pub(super) fn completion(body: &[u8]) -> Result<Completion, NoAnswer> {
    let response: ChatResponse = serde_json::from_slice(body)
        .map_err(|error| NoAnswer::Garbled(format!("not a chat completion: {error}")))?;
    if response.error.as_ref().is_some_and(|error| !error.is_null()) {
        return Err(NoAnswer::Error(error_message(body).message));
    }
    let choice = response.choices.and_then(|choices| choices.into_iter().next());
    let Some((message, finish)) = choice.and_then(|c| Some((c.message?, c.finish_reason))) else {
        return Err(NoAnswer::Garbled("not a chat completion: it has no choice".to_owned()));
    };
    let finish = match finish.as_deref() {
        Some("stop") => Finish::Stop,
        Some("length") => Finish::Length,
        Some("content_filter") => Finish::Filtered,
        Some(other) => Finish::Unfinished(format!("finish_reason '{}'", clip(other))),
        None => Finish::Unfinished("no finish_reason".to_owned()),
    };
    let said = |text: &Option<String>| text.as_ref().is_some_and(|text| !text.trim().is_empty());
    let reasoned = message.reasoning.as_ref().and_then(Value::as_str).map(str::to_owned);
    Ok(Completion {
        text: text(message.content),
        thoughts: said(&message.reasoning_content) || said(&reasoned),
        refusal: message.refusal.filter(|text| !text.trim().is_empty()),
        finish,
        model: response.model,
        tokens_in: response.usage.as_ref().and_then(|usage| usage.prompt_tokens),
        tokens_out: response.usage.as_ref().and_then(|usage| usage.completion_tokens),
    })
}

/// Content is a text, null, or a list of parts.
fn text(content: Option<Value>) -> String {
    match content {
        Some(Value::String(text)) => text,
        Some(Value::Array(parts)) => {
            parts.iter().filter_map(|part| part["text"].as_str()).collect::<Vec<_>>().join("")
        }
        _ => String::new(),
    }
}

/// `/v1/models`.
#[derive(Deserialize)]
pub(crate) struct Models {
    pub(crate) data: Vec<Model>,
    /// What llama.cpp's server adds.
    #[serde(default)]
    pub(crate) models: Vec<Described>,
}

/// An entry of the list.
#[derive(Deserialize)]
pub(crate) struct Model {
    pub(crate) id: String,
    /// What OpenRouter adds.
    pub(crate) architecture: Option<Architecture>,
}

/// What OpenRouter says of a model.
#[derive(Deserialize)]
pub(crate) struct Architecture {
    pub(crate) input_modalities: Option<Vec<String>>,
}

/// What llama.cpp's server says of a model.
#[derive(Deserialize)]
pub(crate) struct Described {
    pub(crate) capabilities: Option<Vec<String>>,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Picture;

    #[test]
    fn a_request_has_the_constant_text_first_and_the_image_last() {
        let options = LlmOptions { model: "m".to_owned(), ..LlmOptions::default() };
        let picture = Picture { mime: "image/png", base64: "AAAA".into() };
        let call = Call {
            system: "constant",
            user: "look",
            picture: Some(&picture),
            temperature: 0.3,
            max_tokens: 100,
            think_off: false,
        };
        assert_eq!(
            chat_body(&options, &call),
            json!({"model": "m", "temperature": 0.3, "max_tokens": 100, "messages": [
                {"role": "system", "content": "constant"},
                {"role": "user", "content": [
                    {"type": "text", "text": "look"},
                    {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA"}},
                ]},
            ]})
        );
        let newer = LlmOptions { token_field: TokenField::MaxCompletionTokens, ..options };
        let body = chat_body(&newer, &call);
        assert_eq!(body["max_completion_tokens"], json!(100));
        assert!(body.get("max_tokens").is_none());
    }

    #[test]
    fn only_finish_reason_stop_is_a_proper_end() {
        let finish = |reason: &str| {
            let body = format!(
                r#"{{"choices":[{{"message":{{"content":"x"}},"finish_reason":{reason}}}]}}"#
            );
            completion(body.as_bytes()).unwrap().finish
        };
        assert_eq!(finish(r#""stop""#), Finish::Stop);
        assert_eq!(finish(r#""length""#), Finish::Length);
        assert_eq!(finish(r#""content_filter""#), Finish::Filtered);
        assert!(matches!(finish("null"), Finish::Unfinished(_)));
        assert!(matches!(finish(r#""tool_calls""#), Finish::Unfinished(_)));
    }

    #[test]
    fn content_may_be_missing_or_come_in_parts() {
        let text = |content: &str| {
            let body = format!(
                r#"{{"model":"m","choices":[{{"message":{{"content":{content},"reasoning_content":"hm"}},"finish_reason":"stop"}}],
                    "usage":{{"prompt_tokens":59,"completion_tokens":12,"total_tokens":71}}}}"#
            );
            completion(body.as_bytes()).unwrap()
        };
        assert_eq!(text("null").text, "");
        assert!(text("null").thoughts);
        assert_eq!(text(r#"[{"type":"text","text":"a"},{"type":"text","text":"b"}]"#).text, "ab");
        assert_eq!((text("\"x\"").tokens_in, text("\"x\"").tokens_out), (Some(59), Some(12)));
    }

    #[test]
    fn an_error_with_status_200_is_an_error_and_other_json_is_no_answer() {
        let body = br#"{"error":{"message":"upstream failed","code":502}}"#;
        assert_eq!(completion(body), Err(NoAnswer::Error("upstream failed".to_owned())));
        for body in [&b"<html>"[..], b"{}", br#"{"choices":[]}"#, b"null"] {
            assert!(matches!(completion(body), Err(NoAnswer::Garbled(_))));
        }
    }
}
