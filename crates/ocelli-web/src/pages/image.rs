//! The bytes of images: thumbnail, view, original.
//!
//! Thumbnail and view were encoded here. An original is somebody else's bytes: it is named by what it is and never by what
//! anybody says, may do nothing, and is offered as a file where browsers would not show it.

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse as _, Response};
use ocelli_core::{Digest, ImageFormat};

use crate::app::App;
use crate::assets;
use crate::call::Named;
use crate::failure::WebError;
use crate::pictures::Size;
use crate::reply::{Answer, forever, knows};

/// What an image may do in a browser: nothing.
const SANDBOX: &str = "default-src 'none'; sandbox";

/// `GET /image/DIGEST/thumb|view|original`
pub(crate) async fn image(
    State(app): State<App>,
    Named((digest, kind)): Named<(String, String)>,
    head: HeaderMap,
) -> Answer {
    let digest = super::digest(&digest)?;
    let size = Size::ALL.into_iter().find(|size| size.name() == kind);
    let tag = format!("{}-{kind}", digest.short());
    if size.is_some() && knows(&head, &format!("\"{tag}\"")) {
        return Ok(sandboxed(forever(&head, "image/jpeg", &tag, Body::empty)));
    }
    match (size, kind.as_str()) {
        (Some(size), _) => match app.pictures.get(&digest, size).await {
            Ok(bytes) => Ok(sandboxed(forever(&head, "image/jpeg", &tag, || Body::from(bytes)))),
            Err(WebError::Missing(_)) if wants_image(&head) => Ok(blank()),
            Err(error) => Err(error),
        },
        (None, "original") => original(&app, &digest, &head, &tag).await,
        _ => Err(WebError::Unknown),
    }
}

/// Whether a browser asks for a picture in a page; whoever opens the address reads why there is none.
fn wants_image(head: &HeaderMap) -> bool {
    let accept = head.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    accept.contains("image/") && !accept.contains("text/html")
}

/// What is drawn where an image cannot be shown. Not to be kept: it may come back.
fn blank() -> Response {
    let kind = [(header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml"))];
    let mut response = (StatusCode::NOT_FOUND, kind, assets::BLANK).into_response();
    let cache = HeaderValue::from_static("no-store");
    response.headers_mut().insert(header::CACHE_CONTROL, cache);
    sandboxed(response)
}

async fn original(app: &App, digest: &Digest, head: &HeaderMap, tag: &str) -> Answer {
    let (bytes, format) = app.pictures.original(digest).await?;
    let (kind, shown) = match format {
        ImageFormat::Png => ("image/png", true),
        ImageFormat::Jpeg => ("image/jpeg", true),
        ImageFormat::Webp => ("image/webp", true),
        ImageFormat::Gif => ("image/gif", true),
        ImageFormat::Bmp => ("image/bmp", true),
        _ => ("application/octet-stream", false),
    };
    let mut response = sandboxed(forever(head, kind, tag, || Body::from(bytes)));
    let how = if shown { "inline" } else { "attachment" };
    let name = format!("{how}; filename=\"{}.{}\"", digest.short(), format.name());
    if let Ok(name) = HeaderValue::try_from(name) {
        response.headers_mut().insert(header::CONTENT_DISPOSITION, name);
    }
    Ok(response)
}

fn sandboxed(mut response: Response) -> Response {
    let policy = HeaderValue::from_static(SANDBOX);
    response.headers_mut().insert(header::CONTENT_SECURITY_POLICY, policy);
    response
}
