//! Style, scripts and icon, embedded. Their addresses carry a tag of their content, so browsers keep them for ever.

use std::sync::LazyLock;

use axum::body::Body;
use axum::extract::Path;
use axum::http::HeaderMap;
use axum::response::{IntoResponse as _, Response};
use ocelli_core::Digest;

use crate::failure::WebError;
use crate::reply::{Answer, forever};

/// What is drawn where an image cannot be shown.
pub(crate) const BLANK: &str = include_str!("../assets/gone.svg");

/// An embedded file.
struct Asset {
    name: &'static str,
    kind: &'static str,
    text: &'static str,
}

static ASSETS: [Asset; 5] = [
    Asset {
        name: "ocelli.css",
        kind: "text/css; charset=utf-8",
        text: include_str!("../assets/ocelli.css"),
    },
    Asset {
        name: "ocelli.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../assets/ocelli.js"),
    },
    Asset {
        name: "htmx.js",
        kind: "text/javascript; charset=utf-8",
        text: include_str!("../assets/htmx-2.0.11.min.js"),
    },
    Asset { name: "gone.svg", kind: "image/svg+xml", text: BLANK },
    Asset { name: "icon.svg", kind: "image/svg+xml", text: include_str!("../assets/icon.svg") },
];

/// One tag for all: they belong together.
static TAG: LazyLock<String> = LazyLock::new(|| {
    let all: Vec<&str> = ASSETS.iter().map(|asset| asset.text).collect();
    Digest::of(all.concat().as_bytes()).short()
});

/// The address of an embedded file.
pub(crate) fn at(name: &str) -> String {
    format!("/assets/{}/{name}", *TAG)
}

/// One of them. An old tag gets the new file, not to be kept.
pub(crate) async fn asset(Path((tag, name)): Path<(String, String)>, head: HeaderMap) -> Answer {
    let asset = ASSETS.iter().find(|asset| asset.name == name).ok_or(WebError::Unknown)?;
    if tag != *TAG {
        return Ok(crate::reply::tagged(&head, asset.kind, asset.text.into()));
    }
    Ok(forever(&head, asset.kind, &TAG, || Body::from(asset.text)))
}

/// An archive of other people's images is nothing for search engines.
pub(crate) async fn robots() -> Response {
    "User-agent: *\nDisallow: /\n".into_response()
}
