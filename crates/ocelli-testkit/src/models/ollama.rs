//! Ollama's wire format, written from its `api/types.go` and `server/routes.go` (0.33).

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
        .route("/", get(async || "Ollama is running"))
        .route("/api/version", get(version))
        .route("/api/tags", get(tags))
        .route("/api/ps", get(tags))
        .route("/api/show", post(show))
        .route("/api/chat", post(chat))
        .layer(DefaultBodyLimit::max(respond::REQUEST_BYTES))
        .with_state(shared)
}

struct Ollama;

impl Format for Ollama {
    fn answer(&self, reply: &Reply) -> Value {
        let mut message = json!({"role": "assistant", "content": reply.text});
        if !reply.thoughts.is_empty() {
            message["thinking"] = reply.thoughts.as_str().into();
        }
        let mut body = json!({
            "model": reply.model,
            "created_at": "2026-11-23T12:00:00.000000000Z",
            "message": message,
            "done": reply.finish != Finish::NotDone,
        });
        if reply.finish != Finish::NotDone {
            let reason = if reply.finish == Finish::Stop { "stop" } else { "length" };
            body["done_reason"] = reason.into();
            body["total_duration"] = 1_250_000_000_u64.into();
            body["load_duration"] = 50_000_000_u64.into();
            body["prompt_eval_count"] = reply.tokens_in.into();
            body["prompt_eval_duration"] = 200_000_000_u64.into();
            body["eval_count"] = reply.tokens_out.into();
            body["eval_duration"] = 1_000_000_000_u64.into();
        }
        body
    }

    fn error(&self, message: &str, _kind: &str, _code: &str) -> Value {
        json!({ "error": message })
    }
}

fn unauthorized() -> Response {
    respond::json(StatusCode::UNAUTHORIZED, json!({"error": "unauthorized"}).to_string())
}

async fn version(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    shared.small_request();
    if !respond::authorized(&shared, &headers) {
        return unauthorized();
    }
    axum::Json(json!({"version": "0.33.0"})).into_response()
}

async fn tags(State(shared): State<Shared>, headers: HeaderMap) -> Response {
    shared.small_request();
    if !respond::authorized(&shared, &headers) {
        return unauthorized();
    }
    let models = shared.read(|state| state.options.models.clone());
    let models: Vec<_> = models
        .iter()
        .map(|model| {
            json!({"name": model.name, "model": model.name, "digest": model.digest, "size": 1,
                   "modified_at": "2026-01-01T00:00:00Z", "details": {"family": "double"}})
        })
        .collect();
    axum::Json(json!({ "models": models })).into_response()
}

async fn show(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    shared.small_request();
    if !respond::authorized(&shared, &headers) {
        return unauthorized();
    }
    let body: Value = serde_json::from_slice(&body).unwrap_or_default();
    let asked = body["model"].as_str().unwrap_or_default();
    let models = shared.read(|state| state.options.models.clone());
    match models.iter().find(|model| respond::same(&model.name, asked)) {
        None => {
            let error = json!({"error": format!("model '{asked}' not found")});
            respond::json(StatusCode::NOT_FOUND, error.to_string())
        }
        Some(model) => {
            let capabilities =
                if model.vision { json!(["completion", "vision"]) } else { json!(["completion"]) };
            axum::Json(json!({"details": {"family": "double", "families": ["double"]},
                "model_info": {"double.context_length": 131_072}, "capabilities": capabilities}))
            .into_response()
        }
    }
}

async fn chat(State(shared): State<Shared>, headers: HeaderMap, body: Bytes) -> Response {
    let bad = |message: &str| {
        respond::json(StatusCode::BAD_REQUEST, json!({"error": message}).to_string())
    };
    if !respond::authorized(&shared, &headers) {
        return unauthorized();
    }
    let Ok(mut body) = serde_json::from_slice::<Value>(&body) else { return bad("invalid JSON") };
    if body["stream"] != Value::Bool(false) {
        return bad("this double answers in one piece only: stream must be false");
    }
    let mut prompt = String::new();
    let mut bytes = Vec::new();
    for message in body["messages"].as_array_mut().into_iter().flatten() {
        prompt.push_str(message["content"].as_str().unwrap_or_default());
        prompt.push('\n');
        for image in message["images"].as_array_mut().into_iter().flatten() {
            match respond::image(image.as_str().unwrap_or_default()) {
                Ok(decoded) => bytes = decoded,
                Err(error) => return bad(&error),
            }
            *image = ocelli_core::Digest::of(&bytes).to_string().into();
        }
    }
    let digest = ocelli_core::Digest::of(&bytes).to_string();
    let options = &body["options"];
    let asked = Asked {
        model: body["model"].as_str().unwrap_or_default().to_owned(),
        prompt,
        digest: digest.clone(),
        temperature: options["temperature"].as_f64().unwrap_or(0.8),
        budget: options["num_predict"].as_u64().unwrap_or(u64::MAX),
        thinking_off: body["think"] == Value::Bool(false),
    };
    let received = Received { body, image: bytes, digest, headers: respond::headers(&headers) };
    respond::chat(&shared, &Ollama, asked, received).await
}
