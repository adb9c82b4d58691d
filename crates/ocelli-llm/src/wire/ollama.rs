//! Ollama's own interface (`api/types.go` of 0.33). All counts are `omitempty` there and may be missing.

use serde::Deserialize;
use serde_json::{Value, json};

use super::{NoAnswer, clip, error_message};
use crate::completion::{Call, Completion, Finish};
use crate::options::LlmOptions;

/// The constant text goes into the system message, so that the server's prefix cache holds it. `num_ctx` is the same in
/// every request of an analyzer: another value would make Ollama load the model again.
pub(super) fn chat_body(options: &LlmOptions, call: &Call<'_>) -> Value {
    let mut user = json!({"role": "user", "content": plain(call.user)});
    if let Some(picture) = call.picture {
        user["images"] = json!([picture.base64()]);
    }
    let mut messages = Vec::new();
    if !call.system.is_empty() {
        messages.push(json!({"role": "system", "content": plain(call.system)}));
    }
    messages.push(user);
    let mut body = json!({
        "model": options.model,
        "messages": messages,
        "stream": false,
        "options": {
            "num_ctx": options.context_tokens,
            "num_predict": call.max_tokens,
            "temperature": f64::from((call.temperature * 100.0).round()) / 100.0,
        },
    });
    if let Some(keep) = &options.keep_alive {
        // Go reads "10m" as a duration, but a bare number only when it is one in JSON too.
        body["keep_alive"] =
            keep.parse::<i64>().map_or_else(|_| Value::from(keep.as_str()), Value::from);
    }
    if let Some(schema) = options.answer_schema.as_ref().filter(|_| call.picture.is_some()) {
        body["format"] = schema.value().clone();
    }
    if call.think_off || !options.think {
        body["think"] = Value::Bool(false);
    }
    body
}

/// Ollama replaces `[img-0]` in a text by an image: texts of others must not contain it.
fn plain(text: &str) -> String {
    text.replace("[img", "[ img")
}

#[derive(Deserialize)]
struct ChatResponse {
    model: Option<String>,
    message: Option<Message>,
    done: Option<bool>,
    done_reason: Option<String>,
    prompt_eval_count: Option<u64>,
    eval_count: Option<u64>,
    error: Option<Value>,
}

#[derive(Deserialize)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
}

pub(super) fn completion(body: &[u8]) -> Result<Completion, NoAnswer> {
    let response: ChatResponse = serde_json::from_slice(body)
        .map_err(|error| NoAnswer::Garbled(format!("not an Ollama answer: {error}")))?;
    if response.error.is_some() {
        return Err(NoAnswer::Error(error_message(body).message));
    }
    let Some(message) = response.message else {
        return Err(NoAnswer::Garbled("not an Ollama answer: it has no message".to_owned()));
    };
    let reason = response.done_reason.as_deref();
    let finish = match (response.done, reason) {
        (Some(true), Some("stop")) => Finish::Stop,
        (Some(true), Some("length")) => Finish::Length,
        (Some(true), Some(other)) => Finish::Unfinished(format!("done_reason '{}'", clip(other))),
        (Some(true), None) => Finish::Unfinished("no done_reason".to_owned()),
        (_, _) => Finish::Unfinished("done: false".to_owned()),
    };
    Ok(Completion {
        text: message.content.unwrap_or_default(),
        thoughts: message.thinking.is_some_and(|text| !text.trim().is_empty()),
        refusal: None,
        finish,
        model: response.model,
        tokens_in: response.prompt_eval_count,
        tokens_out: response.eval_count,
    })
}

/// `/api/tags`.
#[derive(Deserialize)]
pub(crate) struct Tags {
    #[serde(default)]
    pub(crate) models: Vec<Tag>,
}

/// An installed model.
#[derive(Deserialize)]
pub(crate) struct Tag {
    #[serde(default)]
    pub(crate) name: String,
    #[serde(default)]
    pub(crate) digest: String,
}

/// `/api/show`, as far as it is needed.
#[derive(Deserialize)]
pub(crate) struct Show {
    /// Missing on servers before 0.6.4.
    pub(crate) capabilities: Option<Vec<String>>,
}

/// `/api/ps`.
#[derive(Deserialize)]
pub(crate) struct Running {
    #[serde(default)]
    pub(crate) models: Vec<RunningModel>,
}

/// A loaded model.
#[derive(Deserialize)]
pub(crate) struct RunningModel {
    #[serde(default)]
    pub(crate) name: String,
    /// Bytes in all, and those of them in the memory of a graphics card.
    size: Option<u64>,
    size_vram: Option<u64>,
    /// Of the context it was loaded with, in tokens; older servers do not tell.
    context_length: Option<u64>,
}

impl RunningModel {
    /// What about it makes answers come later than they could.
    pub(crate) fn remark(&self, context_tokens: u32) -> Option<String> {
        if let Some(loaded) =
            self.context_length.filter(|loaded| *loaded != u64::from(context_tokens))
        {
            return Some(format!(
                "it is loaded with a context of {loaded} tokens, and these requests ask for {context_tokens}: the server \
                 loads it again for the first one, and for whoever asks for the other"
            ));
        }
        let (size, there) = (self.size?, self.size_vram?);
        (there < size).then(|| {
            let percent = there.saturating_mul(100) / size.max(1);
            format!(
                "only {percent} % of it are in the memory of a graphics card: answers take longer"
            )
        })
    }
}

/// `/api/version`.
#[derive(Deserialize)]
pub(crate) struct Version {
    pub(crate) version: String,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::completion::Picture;

    fn options() -> LlmOptions {
        LlmOptions { model: "gemma3:27b".to_owned(), ..LlmOptions::default() }
    }

    #[test]
    fn a_request_is_what_the_documentation_asks_for() {
        let picture = Picture { mime: "image/jpeg", base64: "AAAA".into() };
        let call = Call {
            system: "constant",
            user: "look at [img-0]",
            picture: Some(&picture),
            temperature: 0.1,
            max_tokens: 4096,
            think_off: false,
        };
        assert_eq!(
            chat_body(&options(), &call),
            json!({
                "model": "gemma3:27b", "stream": false, "keep_alive": "10m", "think": false,
                "messages": [
                    {"role": "system", "content": "constant"},
                    {"role": "user", "content": "look at [ img-0]", "images": ["AAAA"]},
                ],
                "options": {"num_ctx": 8192, "num_predict": 4096, "temperature": 0.1},
            })
        );
        let forever = LlmOptions { keep_alive: Some("-1".to_owned()), think: true, ..options() };
        let body = chat_body(&forever, &call);
        assert_eq!(body["keep_alive"], json!(-1));
        assert!(body.get("think").is_none(), "a model that can think decides itself");
    }

    #[test]
    fn only_done_with_reason_stop_is_a_proper_end() {
        let finish = |rest: &str| {
            let body = format!(r#"{{"message":{{"role":"assistant","content":"x"}}{rest}}}"#);
            completion(body.as_bytes()).unwrap().finish
        };
        assert_eq!(finish(r#","done":true,"done_reason":"stop""#), Finish::Stop);
        assert_eq!(finish(r#","done":true,"done_reason":"length""#), Finish::Length);
        for improper in [
            "",
            r#","done":false"#,
            r#","done":true"#,
            r#","done":false,"done_reason":"stop""#,
            r#","done":true,"done_reason":"load""#,
        ] {
            assert!(matches!(finish(improper), Finish::Unfinished(_)), "{improper}");
        }
    }

    #[test]
    fn a_recorded_answer_is_read_with_its_counts() {
        let body = br#"{"model":"gemma3:27b","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant",
            "content":"hello","thinking":" hm"},"done":true,"done_reason":"stop","total_duration":5,
            "prompt_eval_count":26,"eval_count":298}"#;
        let read = completion(body).unwrap();
        assert_eq!((read.tokens_in, read.tokens_out), (Some(26), Some(298)));
        assert_eq!((read.text.as_str(), read.thoughts), ("hello", true));
        assert_eq!(read.model.as_deref(), Some("gemma3:27b"));
    }

    #[test]
    fn the_documented_list_of_loaded_models_tells_what_slows_answers_down() {
        // docs.ollama.com/api/ps
        let documented = br#"{"models":[{"name":"gemma3","model":"gemma3","size":6591830464,
            "digest":"a2af6cc3eb7fa8be8504abaf9b04e88f17a119ec3f04a3addf55f92841195f5a",
            "details":{"parent_model":"","format":"gguf","family":"gemma3","families":["gemma3"],
            "parameter_size":"4.3B","quantization_level":"Q4_K_M"},
            "expires_at":"2025-10-17T16:47:07.93355-07:00","size_vram":5333539264,"context_length":4096}]}"#;
        let running: Running = serde_json::from_slice(documented).unwrap();
        let model = &running.models[0];
        assert_eq!(model.name, "gemma3");
        let remark = model.remark(4096).unwrap();
        assert!(remark.starts_with("only 80 % of it"), "{remark}");
        assert!(
            model.remark(8192).unwrap().contains("4096 tokens, and these requests ask for 8192")
        );
        // Servers that tell less.
        let less: Running =
            serde_json::from_slice(br#"{"models":[{"name":"x","size":5}]}"#).unwrap();
        assert_eq!(less.models[0].remark(4096), None);
        let none: Running = serde_json::from_slice(b"{}").unwrap();
        assert!(none.models.is_empty());
    }

    #[test]
    fn an_error_with_status_200_is_an_error_and_other_json_is_no_answer() {
        assert_eq!(
            completion(br#"{"error":"an error was encountered"}"#),
            Err(NoAnswer::Error("an error was encountered".to_owned()))
        );
        for body in [&b"<html>"[..], b"{}", b"[]", b"", b"{\"message\":{\"content\":\"\xff\"}}"] {
            assert!(matches!(completion(body), Err(NoAnswer::Garbled(_))));
        }
    }
}
