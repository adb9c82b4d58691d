//! OpenAI's chat completions, written from its reference and from what llama.cpp's server answers.

use axum::Router;
use axum::body::Bytes;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Value, json};

use super::answer::{Asked, Finish, Reply};
use super::respond::{self, Format};
use super::state::{Received, Shared};

pub(super) fn routes(shared: Shared) -> Router {
    Router::new()
        .route("/v1/models", get(models))
        .route("/v1/chat/completions", post(chat))
        .layer(DefaultBodyLimit::max(respond::REQUEST_BYTES))
        .with_state(shared)
}

struct OpenAi;

impl Format for OpenAi {
    fn answer(&self, reply: &Reply) -> Value {
        let finish = match reply.finish {
            Finish::Stop => json!("stop"),
            Finish::Length => json!("length"),
            Finish::NotDone => Value::Null,
        };
        let mut message = json!({"role": "assistant", "content": reply.text});
        if !reply.thoughts.is_empty() {
            message["reasoning_content"] = reply.thoughts.as_str().into();
            message["content"] = Value::Null;
        }
        json!({
            "id": "chatcmpl-double", "object": "chat.completion", "created": 1_780_000_000,
            "model": reply.model,
            "choices": [{"index": 0, "message": message, "finish_reason": finish}],
            "usage": {"prompt_tokens": reply.tokens_in, "completion_tokens": reply.tokens_out,
                      "total_tokens": reply.tokens_in + reply.tokens_out},
        })
    }

    fn error(&self, message: &str, kind: &str, code: &str) -> Value {
        json!({"error": {"message": message, "type": kind, "code": code, "param": null}})
    }
}

fn unauthorized() -> Response {
    let error = OpenAi.error("Invalid API Key", "authentication_error", "invalid_api_key");
    respond::json(StatusCode::UNAUTHORIZED, error.to_string())
}

async fn models(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    shared.small_request();
    if !respond::authorized(&shared, &headers) {
        return unauthorized();
    }
    let models = shared.read(|state| state.options.models.clone());
    let data: Vec<_> = models
        .iter()
        .map(|model| {
            let inputs = if model.vision { json!(["text", "image"]) } else { json!(["text"]) };
            json!({"id": model.name, "object": "model", "created": 1_780_000_000, "owned_by": "double",
                   "architecture": {"input_modalities": inputs}})
        })
        .collect();
    axum::Json(json!({"object": "list", "data": data})).into_response()
}

async fn chat(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let bad = |message: &str| {
        let error = OpenAi.error(message, "invalid_request_error", "400");
        respond::json(StatusCode::BAD_REQUEST, error.to_string())
    };
    if !respond::authorized(&shared, &headers) {
        return unauthorized();
    }
    let Ok(mut body) = serde_json::from_slice::<Value>(&body) else { return bad("invalid JSON") };
    let mut prompt = String::new();
    let mut bytes = Vec::new();
    for message in body["messages"].as_array_mut().into_iter().flatten() {
        if let Some(text) = message["content"].as_str() {
            prompt.push_str(text);
            prompt.push('\n');
            continue;
        }
        for part in message["content"].as_array_mut().into_iter().flatten() {
            if part["type"] == "text" {
                prompt.push_str(part["text"].as_str().unwrap_or_default());
                prompt.push('\n');
                continue;
            }
            let url = part["image_url"]["url"].as_str().unwrap_or_default();
            let Some((_, base64)) =
                url.strip_prefix("data:").and_then(|u| u.split_once(";base64,"))
            else {
                return bad("only data URLs are read here");
            };
            match respond::image(base64) {
                Ok(decoded) => bytes = decoded,
                Err(error) => return bad(&error),
            }
            part["image_url"]["url"] = ocelli_core::Digest::of(&bytes).to_string().into();
        }
    }
    let digest = ocelli_core::Digest::of(&bytes).to_string();
    let budget = body["max_tokens"].as_u64().or(body["max_completion_tokens"].as_u64());
    let asked = Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        prompt,
        digest: digest.clone(),
        temperature: body["temperature"].as_f64().unwrap_or(1.0),
        budget: budget.unwrap_or(u64::MAX),
        thinking_off: body["chat_template_kwargs"]["enable_thinking"] == Value::Bool(false),
    };
    let received = Received { body, image: bytes, digest, headers: respond::headers(&headers) };
    respond::chat(&shared, &OpenAi, asked, received).await
}
