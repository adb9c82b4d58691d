//! What goes over the wire. These types never leave this module: the rest of the crate knows [`Call`] and
//! [`Completion`].

pub(crate) mod ollama;
pub(crate) mod openai;

use bytes::Bytes;
use reqwest::header::{HeaderMap, HeaderName, HeaderValue};

use crate::completion::{Call, Completion, Picture};
use crate::options::{LlmOptions, Protocol};

/// Headers in a body that are looked at.
const MOST_HEADERS: usize = 100;

/// A body with status 200 that is no answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum NoAnswer {
    /// The server says that it failed.
    Error(String),
    /// Not JSON, or JSON of another form.
    Garbled(String),
}

/// Path below the endpoint's address that takes a chat.
pub(crate) const fn chat_path(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Ollama => "api/chat",
        Protocol::OpenAi => "v1/chat/completions",
    }
}

/// A chat request.
#[derive(Debug, Clone)]
pub(crate) struct ChatBody {
    pub(crate) bytes: Bytes,
    /// The part of the above that is the image. Whoever keeps this instead of the picture it was made from keeps one copy
    /// of it in memory and not two.
    pub(crate) image: Bytes,
}

/// The body of a chat request. The image, which is nearly all of it, is copied once.
pub(crate) fn chat_body(options: &LlmOptions, call: &Call<'_>) -> ChatBody {
    // Nobody can have put it into a prompt or a file name.
    let mark = format!("{:032x}", rand::random::<u128>());
    let marked = call
        .picture
        .map(|picture| Picture { mime: picture.mime, base64: Bytes::from(mark.clone()) });
    let json = json_body(options, &Call { picture: marked.as_ref(), ..call.clone() }).to_string();
    let image: &[u8] = call.picture.map_or(&[], |picture| &picture.base64);
    let Some((before, after)) = json.split_once(&mark) else {
        return ChatBody { bytes: json.into(), image: Bytes::new() };
    };
    let bytes = Bytes::from([before.as_bytes(), image, after.as_bytes()].concat());
    let image = bytes.slice(before.len()..before.len() + image.len());
    ChatBody { bytes, image }
}

fn json_body(options: &LlmOptions, call: &Call<'_>) -> serde_json::Value {
    let mut body = match options.protocol {
        Protocol::Ollama => ollama::chat_body(options, call),
        Protocol::OpenAi => openai::chat_body(options, call),
    };
    if let serde_json::Value::Object(fields) = &mut body {
        for (name, value) in &options.extra {
            fields.insert(name.clone(), value.clone());
        }
    }
    body
}

/// Reads the body of a chat response.
pub(crate) fn completion(protocol: Protocol, body: &[u8]) -> Result<Completion, NoAnswer> {
    match protocol {
        Protocol::Ollama => ollama::completion(body),
        Protocol::OpenAi => openai::completion(body),
    }
}

/// The message of an error body in any of the forms that servers use, or the beginning of the body.
pub(crate) fn error_message(body: &[u8]) -> ErrorBody {
    let Ok(value) = serde_json::from_slice::<serde_json::Value>(body) else {
        return ErrorBody { message: clip(&String::from_utf8_lossy(body)), ..ErrorBody::default() };
    };
    let error = &value["error"];
    let text = |value: &serde_json::Value| match value {
        serde_json::Value::String(text) => Some(clip(text)),
        serde_json::Value::Number(number) => Some(number.to_string()),
        _ => None,
    };
    ErrorBody {
        message: text(error)
            .or_else(|| text(&error["message"]))
            .or_else(|| text(&value["message"]))
            .or_else(|| text(&value["detail"]))
            .unwrap_or_else(|| clip(&value.to_string())),
        kind: text(&error["type"]).unwrap_or_default(),
        code: text(&error["code"]).unwrap_or_default(),
    }
}

/// What an error body says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct ErrorBody {
    pub(crate) message: String,
    pub(crate) kind: String,
    pub(crate) code: String,
}

/// Headers of the provider behind it, which OpenRouter puts into the body of an error (`error.metadata.headers`).
pub(crate) fn headers_in(body: &[u8]) -> HeaderMap {
    let value: serde_json::Value = serde_json::from_slice(body).unwrap_or_default();
    let told = value["error"]["metadata"]["headers"].as_object();
    let header = |(name, value): (&String, &serde_json::Value)| {
        let name = HeaderName::from_bytes(name.as_bytes()).ok()?;
        Some((name, HeaderValue::from_str(value.as_str()?).ok()?))
    };
    told.into_iter().flatten().take(MOST_HEADERS).filter_map(header).collect()
}

/// Foreign text in messages: one line, short.
pub(crate) fn clip(text: &str) -> String {
    const SHOWN: usize = 200;
    let mut line: String = text
        .split_whitespace()
        .collect::<Vec<_>>()
        .join(" ")
        .chars()
        .filter(|c| !c.is_control())
        .collect();
    if let Some((end, _)) = line.char_indices().nth(SHOWN) {
        line.truncate(end);
        line.push('…');
    }
    line
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_holds_its_image_once_and_the_next_body_can_be_made_from_it() {
        for protocol in [Protocol::Ollama, Protocol::OpenAi] {
            let options = LlmOptions { protocol, ..LlmOptions::default() };
            let picture = Picture { mime: "image/png", base64: "QUJD".into() };
            let call = Call {
                system: "",
                user: "look",
                picture: Some(&picture),
                temperature: 0.0,
                max_tokens: 9,
                think_off: false,
            };
            let first = chat_body(&options, &call);
            assert_eq!(first.image, picture.base64);
            let json: serde_json::Value = serde_json::from_slice(&first.bytes).unwrap();
            assert_eq!(json, json_body(&options, &call));
            let picture = Picture { base64: first.image, ..picture };
            let second = chat_body(&options, &Call { picture: Some(&picture), ..call });
            assert_eq!(second.bytes, first.bytes);
        }
    }

    #[test]
    fn what_a_provider_behind_a_router_says_is_found_in_the_body() {
        let body = br#"{"error":{"message":"Rate limit exceeded: free-models-per-min. ","code":429,"metadata":
            {"headers":{"X-RateLimit-Limit":"20","X-RateLimit-Remaining":"0","X-RateLimit-Reset":"1741305600000",
            "no header":"x","odd":7},"provider_name":null}},"user_id":"user_1"}"#;
        let headers = headers_in(body);
        assert_eq!(headers["x-ratelimit-reset"], "1741305600000");
        assert_eq!(headers.len(), 3);
        for body in [&b"{}"[..], b"<html>", br#"{"error":{"metadata":{"headers":[1]}}}"#] {
            assert!(headers_in(body).is_empty());
        }
    }

    #[test]
    fn error_bodies_of_all_known_servers_are_understood() {
        let cases: [(&[u8], &str, &str); 6] = [
            (br#"{"error":"model 'x' not found"}"#, "model 'x' not found", ""),
            (
                br#"{"error":{"message":"Loading model","type":"unavailable_error","code":503}}"#,
                "Loading model",
                "503",
            ),
            (br#"{"detail":"Server is pinned to y"}"#, "Server is pinned to y", ""),
            (br#"{"object":"error","message":"no such model"}"#, "no such model", ""),
            (b"Internal Server\nError", "Internal Server Error", ""),
            (b"\xff\x00bad", "\u{fffd}bad", ""),
        ];
        for (body, message, code) in cases {
            let error = error_message(body);
            assert_eq!((error.message.as_str(), error.code.as_str()), (message, code));
        }
        assert!(error_message(&[b'x'; 10_000]).message.chars().count() <= 201);
    }
}
