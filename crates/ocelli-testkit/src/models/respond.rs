//! From a behaviour to an HTTP response; what both protocols share.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::io;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use futures_util::stream;
use serde_json::Value;

use super::Behaviour;
use super::answer::{Asked, Reply, reply};
use super::state::{Open, Received, Shared};

/// The largest request a double reads: an image of 16 MiB in base64.
pub(super) const REQUEST_BYTES: usize = 24 * 1024 * 1024;

/// What differs between the protocols.
pub(super) trait Format {
    /// A completed answer.
    fn answer(&self, reply: &Reply) -> Value;
    /// An error body. `kind` is OpenAI's `type`, `code` its `code`.
    fn error(&self, message: &str, kind: &str, code: &str) -> Value;
}

/// Decodes an image as it came, or says what is wrong with it.
pub(super) fn image(base64: &str) -> Result<Vec<u8>, String> {
    let bytes = STANDARD.decode(base64).map_err(|error| format!("illegal base64 data: {error}"))?;
    let known = bytes.starts_with(&[0xff, 0xd8, 0xff]) || bytes.starts_with(b"\x89PNG\r\n\x1a\n");
    if known { Ok(bytes) } else { Err("Failed to load image or audio file".to_owned()) }
}

pub(super) fn headers(map: &HeaderMap) -> BTreeMap<String, String> {
    let text = |value: &axum::http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into();
    map.iter().map(|(name, value)| (name.as_str().to_owned(), text(value))).collect()
}

pub(super) fn authorized(shared: &Shared, map: &HeaderMap) -> bool {
    let Some(key) = shared.read(|state| state.options.api_key.clone()) else { return true };
    map.get(header::AUTHORIZATION).is_some_and(|value| *value == format!("Bearer {key}"))
}

/// Answers one chat request.
pub(super) async fn chat(
    shared: &Shared,
    format: &impl Format,
    asked: Asked,
    received: Received,
) -> Response {
    let (behaviour, mut open) = shared.arrived(&asked.model, received);
    let known =
        shared.read(|state| state.options.models.iter().any(|m| same(&m.name, &asked.model)));
    let behaviour = if known { behaviour } else { Behaviour::ModelMissing };
    if let Some(response) = refusal(format, &asked, &behaviour) {
        return response;
    }
    let Ok(_slot) = shared.slots.acquire().await else { return StatusCode::GONE.into_response() };
    open.work();
    tokio::time::sleep(shared.read(|state| state.options.latency)).await;
    if behaviour == Behaviour::Hang {
        std::future::pending::<()>().await;
    }
    let body = format.answer(&reply(&asked, &behaviour)).to_string();
    deliver(body, &behaviour, open)
}

/// `gemma3` and `gemma3:latest` are one model.
pub(super) fn same(have: &str, asked: &str) -> bool {
    let full =
        |name: &str| if name.contains(':') { name.to_owned() } else { format!("{name}:latest") };
    full(have) == full(asked)
}

/// The behaviours that need no model, answered at once.
fn refusal(format: &impl Format, asked: &Asked, behaviour: &Behaviour) -> Option<Response> {
    let error = |status: StatusCode, message: &str, kind: &str, code: &str| {
        json(status, format.error(message, kind, code).to_string())
    };
    let response = match behaviour {
        Behaviour::ModelMissing => {
            let message = format!("model '{}' not found", asked.model);
            error(StatusCode::NOT_FOUND, &message, "invalid_request_error", "model_not_found")
        }
        Behaviour::Unauthorized => error(
            StatusCode::UNAUTHORIZED,
            "Invalid API Key",
            "authentication_error",
            "invalid_api_key",
        ),
        Behaviour::Forbidden => {
            error(StatusCode::FORBIDDEN, "Not allowed here", "permission_error", "forbidden")
        }
        Behaviour::QuotaExhausted => error(
            StatusCode::TOO_MANY_REQUESTS,
            "You exceeded your current quota",
            "insufficient_quota",
            "insufficient_quota",
        ),
        Behaviour::TooMany(headers) => {
            let mut response =
                error(StatusCode::TOO_MANY_REQUESTS, "Slow down", "rate_limit_error", "rate_limit");
            for (name, value) in headers {
                let value = value.parse().expect("a header value");
                response.headers_mut().insert(*name, value);
            }
            response
        }
        Behaviour::ServerError => error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "runner process no longer running",
            "server_error",
            "500",
        ),
        Behaviour::BadGateway => (
            StatusCode::BAD_GATEWAY,
            [(header::CONTENT_TYPE, "text/html")],
            "<html><h1>502 Bad Gateway</h1></html>",
        )
            .into_response(),
        Behaviour::Loading => {
            error(StatusCode::SERVICE_UNAVAILABLE, "Loading model", "unavailable_error", "503")
        }
        Behaviour::BadImage => error(
            StatusCode::BAD_REQUEST,
            "Failed to load image or audio file",
            "invalid_request_error",
            "400",
        ),
        Behaviour::PromptTooLong => error(
            StatusCode::BAD_REQUEST,
            "the request exceeds the available context size",
            "exceed_context_size_error",
            "400",
        ),
        Behaviour::Html => (
            StatusCode::OK,
            [(header::CONTENT_TYPE, "text/html")],
            "<!doctype html><title>Sign in</title><p>Please sign in to this network.",
        )
            .into_response(),
        Behaviour::ErrorIn200 => error(
            StatusCode::OK,
            "an error was encountered while running the model",
            "server_error",
            "500",
        ),
        Behaviour::OtherJson => json(StatusCode::OK, r#"{"hello":["world"]}"#.to_owned()),
        Behaviour::Break => cut_after(Vec::new(), 1),
        _ => return None,
    };
    Some(response)
}

/// Writes a finished answer, or spoils the writing.
fn deliver(body: String, behaviour: &Behaviour, open: Open) -> Response {
    let body = body.into_bytes();
    match behaviour {
        Behaviour::TruncatedBody => {
            let total = body.len();
            cut_after(body[..total / 2].to_vec(), total)
        }
        Behaviour::InvalidUtf8 => {
            let mut body = body;
            let middle = body.len() / 2;
            body[middle] = 0xff;
            raw(Body::from(body))
        }
        Behaviour::SlowBytes(pause) => {
            let pause = *pause;
            let bytes =
                stream::unfold((body.into_iter(), open), move |(mut rest, open)| async move {
                    let byte = rest.next()?;
                    tokio::time::sleep(pause).await;
                    Some((Ok::<_, Infallible>(Bytes::from(vec![byte])), (rest, open)))
                });
            raw(Body::from_stream(bytes))
        }
        Behaviour::HugeBody => {
            let chunk = Bytes::from(vec![b' '; 64 * 1024]);
            let endless = stream::unfold((chunk, open), |(chunk, open)| async move {
                Some((Ok::<_, Infallible>(chunk.clone()), (chunk, open)))
            });
            raw(Body::from_stream(endless))
        }
        _ => {
            open.answered();
            raw(Body::from(body))
        }
    }
}

fn raw(body: Body) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], body).into_response()
}

pub(super) fn json(status: StatusCode, body: String) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], body).into_response()
}

/// Promises `total` bytes, sends these and cuts the connection.
fn cut_after(sent: Vec<u8>, total: usize) -> Response {
    let parts = stream::unfold(Some(sent), |sent| async move {
        let sent = sent?;
        if sent.is_empty() {
            return Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None));
        }
        // Let what was sent leave before the connection is cut.
        Some((Ok(Bytes::from(sent)), Some(Vec::new())))
    });
    let paced = futures_util::StreamExt::then(parts, |part| async move {
        tokio::time::sleep(Duration::from_millis(5)).await;
        part
    });
    let mut response = raw(Body::from_stream(paced));
    response.headers_mut().insert(header::CONTENT_LENGTH, total.into());
    response
}
