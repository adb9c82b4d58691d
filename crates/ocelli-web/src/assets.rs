//! Style, scripts and icon, embedded. Their addresses carry a tag of their content, so browsers keep them for ever.
//!
//! They are sent compressed, a third of their size. Pages are not: what a page says for whoever is signed in stands beside what
//! anybody can put into its address, and lengths of compressed pages would tell the one by the other.

use std::io::Write as _;
use std::sync::LazyLock;

use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
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

/// All of them as gzip (RFC 1952), in the same order; made once.
static PACKED: LazyLock<Vec<Bytes>> = LazyLock::new(|| {
    let pack = |asset: &Asset| -> Bytes {
        let mut packed = GzEncoder::new(Vec::new(), Compression::best());
        let written = packed.write_all(asset.text.as_bytes()).and_then(|()| packed.finish());
        // Nothing is written but memory.
        written.unwrap_or_default().into()
    };
    ASSETS.iter().map(pack).collect()
});

/// Whether a browser takes gzip (RFC 9110, 12.5.3): all of them do.
fn takes_gzip(head: &HeaderMap) -> bool {
    let lists =
        head.get_all(header::ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    lists.flat_map(|list| list.split(',')).any(|coding| {
        let mut parts = coding.split(';').map(str::trim);
        let named = parts.next().is_some_and(|name| name.eq_ignore_ascii_case("gzip"));
        named && !parts.any(|part| matches!(part, "q=0" | "q=0.0" | "q=0.00" | "q=0.000"))
    })
}

/// The address of an embedded file.
pub(crate) fn at(name: &str) -> String {
    format!("/assets/{}/{name}", *TAG)
}

/// One of them. An old tag gets the new file, not to be kept.
pub(crate) async fn asset(Path((tag, name)): Path<(String, String)>, head: HeaderMap) -> Answer {
    let place = ASSETS.iter().position(|asset| asset.name == name).ok_or(WebError::Unknown)?;
    let asset = &ASSETS[place];
    if tag != *TAG {
        return Ok(crate::reply::tagged(&head, asset.kind, asset.text.into()));
    }
    let packed = PACKED.get(place).filter(|packed| takes_gzip(&head) && !packed.is_empty());
    let mut response = match packed {
        Some(packed) => {
            forever(&head, asset.kind, &format!("{}-gzip", *TAG), || Body::from(packed.clone()))
        }
        None => forever(&head, asset.kind, &TAG, || Body::from(asset.text)),
    };
    let headers = response.headers_mut();
    headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
    if packed.is_some() {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    Ok(response)
}

/// An archive of other people's images is nothing for search engines.
pub(crate) async fn robots() -> Response {
    "User-agent: *\nDisallow: /\n".into_response()
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;

    use super::*;

    #[test]
    fn what_is_packed_is_the_file_and_only_sent_to_whoever_takes_it() {
        for (asset, packed) in ASSETS.iter().zip(PACKED.iter()) {
            let mut text = String::new();
            flate2::read::GzDecoder::new(&**packed).read_to_string(&mut text).unwrap();
            assert_eq!(text, asset.text, "{}", asset.name);
        }
        for (said, takes) in [
            ("gzip, deflate, br, zstd", true),
            ("br;q=1.0, GZIP ; q=0.8", true),
            ("identity", false),
            ("gzip;q=0", false),
            ("*", false),
        ] {
            let head: HeaderMap =
                [(header::ACCEPT_ENCODING, HeaderValue::from_static(said))].into_iter().collect();
            assert_eq!(takes_gzip(&head), takes, "{said}");
        }
        assert!(!takes_gzip(&HeaderMap::new()));
    }

    #[test]
    fn what_a_browser_loads_before_it_shows_anything_stays_small() {
        let packed: usize = PACKED.iter().map(Bytes::len).sum();
        assert!(packed < 40_000, "{packed} bytes");
    }
}
