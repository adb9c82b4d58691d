//! What a failed request means. Decided from status and body, never guessed from the text of an error.

use std::time::Duration;

use reqwest::StatusCode;

use crate::wire::{ErrorBody, NoAnswer, clip, error_message};

/// A request without an answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct CallError {
    pub(crate) kind: Kind,
    /// In words; names no endpoint and holds no secret.
    pub(crate) reason: String,
    /// What the server asked for.
    pub(crate) retry_after: Option<Duration>,
}

/// What follows from it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Nothing listens there, the name is unknown, or TLS fails: the endpoint is away.
    Unreachable,
    /// Something answers, but no model server: a proxy, a login page.
    Stranger,
    /// Come back later.
    Busy(Busy),
    /// Key, permission, quota or model: nothing will work until a person acts.
    Configuration,
    /// The server failed: it may be the image.
    Server,
    /// The connection broke in the middle: it may be the image.
    Broke,
    /// Status 200 and a body that is cut, broken or without end.
    Garbled,
    /// Connected, and silent beyond a deadline.
    Silent,
    /// 4xx about the request as a whole: it may be every request.
    Request,
    /// 4xx about this image or its prompt.
    Image,
}

/// Why a server wants to be asked later, which decides for how long when it does not say so itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Busy {
    /// A limit on requests or tokens is reached: 429 and its likes.
    Rate,
    /// It has too much to do: 503.
    Overload,
    /// It, or what is behind a proxy, is not there yet: 502, and 503 while a model is loaded. Says nothing about how much
    /// it can do at once.
    Loading,
}

impl CallError {
    pub(crate) fn new(kind: Kind, reason: impl Into<String>) -> Self {
        Self { kind, reason: reason.into(), retry_after: None }
    }

    /// From a status that is not 200.
    pub(crate) fn from_status(
        status: StatusCode,
        body: &[u8],
        retry_after: Option<Duration>,
    ) -> Self {
        let error = error_message(body);
        let kind = kind_of(status, &error);
        let hint = match status.as_u16() {
            401 => " (check the API key)",
            403 => " (the API key may not do this)",
            402 => " (the account has no credit)",
            429 if kind == Kind::Configuration => " (the quota is used up)",
            300..=399 => " (the address redirects: enter its target)",
            _ => "",
        };
        let reason = format!("HTTP {}: {}{hint}", status.as_u16(), error.message);
        Self { kind, reason, retry_after }
    }

    /// From a body with status 200 that is no answer.
    pub(crate) fn from_no_answer(no_answer: NoAnswer, html: bool) -> Self {
        match no_answer {
            NoAnswer::Error(message) => {
                Self::new(Kind::Server, format!("HTTP 200 with an error: {message}"))
            }
            NoAnswer::Garbled(_) if html => Self::new(
                Kind::Stranger,
                "an HTML page instead of an answer: this address is not a model server's",
            ),
            NoAnswer::Garbled(reason) => Self::new(Kind::Garbled, clip(&reason)),
        }
    }
}

fn kind_of(status: StatusCode, error: &ErrorBody) -> Kind {
    let says = |words: &[&str]| {
        let message = error.message.to_lowercase();
        words.iter().any(|word| message.contains(word))
    };
    let coded = |word: &str| error.kind == word || error.code == word;
    match status.as_u16() {
        401..=404 => Kind::Configuration,
        429 if coded("insufficient_quota") || coded("billing_hard_limit_reached") => {
            Kind::Configuration
        }
        // OpenAI's and its likes', and Ollama's cloud: a session, an hour or a week is used up.
        429 if says(&["exceeded your current quota", "usage limit"]) => Kind::Configuration,
        503 if says(&["loading"]) => Kind::Busy(Busy::Loading),
        502 => Kind::Busy(Busy::Loading),
        503 => Kind::Busy(Busy::Overload),
        408 | 425 | 429 | 529 => Kind::Busy(Busy::Rate),
        // The model is named in 400 by servers that hold exactly one.
        400 | 422 if coded("model_not_found") || says(&["pinned to", "does not support image"]) => {
            Kind::Configuration
        }
        413 => Kind::Image,
        400 | 422
            if coded("exceed_context_size_error")
                || coded("context_length_exceeded")
                || coded("image_parse_error")
                || says(&["image", "context size", "context length", "base64"]) =>
        {
            Kind::Image
        }
        // llama-cpp-python's server answers so; asking again would only repeat it.
        500 if says(&["exceeds n_ctx", "exceed context window", "bitmap from image bytes"]) => {
            Kind::Image
        }
        300..=399 => Kind::Stranger,
        400..=499 => Kind::Request,
        _ => Kind::Server,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(status: u16, body: &str) -> Kind {
        let status = StatusCode::from_u16(status).unwrap();
        CallError::from_status(status, body.as_bytes(), None).kind
    }

    #[test]
    fn each_status_means_one_thing() {
        let rate = Kind::Busy(Busy::Rate);
        let cases = [
            (401, r#"{"error":"unauthorized"}"#, Kind::Configuration),
            (403, "", Kind::Configuration),
            (404, r#"{"error":"model 'x' not found"}"#, Kind::Configuration),
            (429, r#"{"error":{"message":"slow down","type":"rate_limit"}}"#, rate),
            (429, r#"{"error":{"message":"m","type":"insufficient_quota"}}"#, Kind::Configuration),
            (429, r#"{"error":{"message":"m","code":"insufficient_quota"}}"#, Kind::Configuration),
            (
                429,
                r#"{"error":"you (ada) have reached your session usage limit, upgrade for higher limits: https://ollama.com/upgrade"}"#,
                Kind::Configuration,
            ),
            (
                429,
                r#"{"error":"you've reached your hourly usage limit, please wait or upgrade to continue"}"#,
                Kind::Configuration,
            ),
            (
                429,
                r#"{"error":{"message":"You exceeded your current quota, please check your plan"}}"#,
                Kind::Configuration,
            ),
            (429, r#"{"error":"too many concurrent requests"}"#, rate),
            (
                402,
                r#"{"error":{"message":"Insufficient credits","code":402}}"#,
                Kind::Configuration,
            ),
            (
                503,
                r#"{"error":"server busy, please try again. maximum pending requests exceeded"}"#,
                Kind::Busy(Busy::Overload),
            ),
            (503, r#"{"error":{"message":"Loading model"}}"#, Kind::Busy(Busy::Loading)),
            (502, "<html>", Kind::Busy(Busy::Loading)),
            (500, "Internal Server Error", Kind::Server),
            (504, "", Kind::Server),
            (500, r#"{"error":{"message":"Prompt exceeds n_ctx: 5000 > 4096"}}"#, Kind::Image),
            (400, r#"{"detail":"Server is pinned to y"}"#, Kind::Configuration),
            (400, r#"{"error":{"message":"Failed to load image or audio file"}}"#, Kind::Image),
            (400, r#"{"error":{"message":"m","type":"exceed_context_size_error"}}"#, Kind::Image),
            (400, r#"{"error":{"message":"Unsupported parameter: 'max_tokens'"}}"#, Kind::Request),
            (302, "", Kind::Stranger),
            (418, "", Kind::Request),
        ];
        for (status, body, expected) in cases {
            assert_eq!(kind(status, body), expected, "{status} {body}");
        }
    }
}
