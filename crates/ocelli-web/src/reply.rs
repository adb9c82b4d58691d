//! Answers: pages and JSON with a tag of their content, so that a browser that has them already gets no bytes.

use askama::Template;
use axum::body::Body;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use ocelli_core::Digest;
use serde::Serialize;

use crate::failure::WebError;

/// What a handler answers.
pub(crate) type Answer = Result<Response, WebError>;

/// Whether a page is asked for, or its twin.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// For people.
    Page,
    /// For programs.
    Json,
}

impl Form {
    /// Of what has this address.
    pub(crate) fn of(path: &str) -> Self {
        let is_json = path.ends_with(".json") || path.starts_with("/api/");
        if is_json { Self::Json } else { Self::Page }
    }
}

/// A page.
pub(crate) fn page(head: &HeaderMap, template: &impl Template) -> Answer {
    let text = template.render().map_err(|error| {
        tracing::error!(%error, "a page could not be written");
        WebError::Defect
    })?;
    Ok(tagged(head, "text/html; charset=utf-8", text.into_bytes()))
}

/// The same for programs.
pub(crate) fn json(head: &HeaderMap, value: &impl Serialize) -> Answer {
    let text = serde_json::to_vec(value).map_err(|error| {
        tracing::error!(%error, "an answer could not be written as JSON");
        WebError::Defect
    })?;
    Ok(tagged(head, "application/json", text))
}

/// Any text that may change at any time.
pub(crate) fn tagged(head: &HeaderMap, kind: &'static str, bytes: Vec<u8>) -> Response {
    let tag = format!("\"{}\"", Digest::of(&bytes).short());
    let response = with_tag(head, kind, &tag, || Body::from(bytes));
    let mut response = response.into_response();
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    headers.insert(header::VARY, HeaderValue::from_static("cookie"));
    response
}

/// Bytes that never change under their address.
pub(crate) fn forever(
    head: &HeaderMap,
    kind: &'static str,
    tag: &str,
    body: impl FnOnce() -> Body,
) -> Response {
    let mut response = with_tag(head, kind, &format!("\"{tag}\""), body);
    let cache = HeaderValue::from_static("private, max-age=31536000, immutable");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    response
}

fn with_tag(
    head: &HeaderMap,
    kind: &'static str,
    tag: &str,
    body: impl FnOnce() -> Body,
) -> Response {
    let mut response = if knows(head, tag) {
        StatusCode::NOT_MODIFIED.into_response()
    } else {
        ([(header::CONTENT_TYPE, HeaderValue::from_static(kind))], body()).into_response()
    };
    if let Ok(tag) = HeaderValue::from_str(tag) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

/// Whether `If-None-Match` names this tag (RFC 9110, 13.1.2).
pub(crate) fn knows(head: &HeaderMap, tag: &str) -> bool {
    let lists = head.get_all(header::IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    lists
        .flat_map(|list| list.split(','))
        .map(|one| one.trim().trim_start_matches("W/"))
        .any(|one| one == tag || one == "*")
}

/// Says where a list goes on, for programs that are given a bare list (RFC 8288).
pub(crate) fn with_next(mut response: Response, next: Option<String>) -> Response {
    let link = next.and_then(|next| HeaderValue::try_from(format!("<{next}>; rel=\"next\"")).ok());
    if let Some(link) = link {
        response.headers_mut().insert(header::LINK, link);
    }
    response
}

/// Goes to another page of this site after something was done (303: with GET).
pub(crate) fn see(path: &str) -> Response {
    // Ours, and nothing but a path: never another site.
    let path = if path.starts_with('/') && !path.starts_with("//") && !path.contains('\\') {
        path
    } else {
        "/"
    };
    let mut response = StatusCode::SEE_OTHER.into_response();
    let location = HeaderValue::from_str(path).unwrap_or(HeaderValue::from_static("/"));
    response.headers_mut().insert(header::LOCATION, location);
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_browser_that_has_it_gets_no_bytes() {
        let first = tagged(&HeaderMap::new(), "text/plain", b"x".to_vec());
        assert_eq!(first.status(), StatusCode::OK);
        let tag = first.headers()[header::ETAG].clone();
        let head: HeaderMap = [(header::IF_NONE_MATCH, tag)].into_iter().collect();
        assert_eq!(tagged(&head, "text/plain", b"x".to_vec()).status(), StatusCode::NOT_MODIFIED);
        assert_eq!(tagged(&head, "text/plain", b"y".to_vec()).status(), StatusCode::OK);
    }

    #[test]
    fn nobody_is_sent_to_another_site() {
        for path in ["https://x/", "//x/", "/\\x", "x", "/a\nb"] {
            assert_eq!(see(path).headers()[header::LOCATION], "/", "{path}");
        }
        assert_eq!(see("/fleet?a=b").headers()[header::LOCATION], "/fleet?a=b");
    }
}
