//! The page of an error, and its twin: what happened, and what to do.

use askama::Template;
use axum::http::{HeaderValue, header};
use axum::response::{Html, IntoResponse as _, Response};

use super::Frame;
use crate::failure::WebError;
use crate::session::Standing;

#[derive(Template)]
#[template(path = "trouble.html")]
struct Trouble<'a> {
    frame: Frame,
    status: u16,
    what: &'a str,
    hint: &'a str,
    sign_in: bool,
}

/// The answer to a request that has none. Without a look at the catalog: it may be what is away.
pub(crate) fn answer(error: &WebError, as_json: bool) -> Response {
    let (status, what) = (error.status(), error.to_string());
    let mut response = if as_json {
        let body = serde_json::json!({ "error": what, "hint": error.hint() });
        (status, axum::Json(body)).into_response()
    } else {
        let mut frame = Frame::new("", Standing::default());
        frame.refresh = matches!(error, WebError::Catalog(_)).then_some(5);
        let sign_in = matches!(error, WebError::SignIn);
        let page =
            Trouble { frame, status: status.as_u16(), what: &what, hint: error.hint(), sign_in };
        match page.render() {
            Ok(text) => (status, Html(text)).into_response(),
            Err(_) => (status, what).into_response(),
        }
    };
    let headers = response.headers_mut();
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = error.retry_after() {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if matches!(error, WebError::SignIn) {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    response
}
