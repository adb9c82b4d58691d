//! Many queries at once: a list of them in, their hits out as a file, written while they are found.

use askama::Template;
use axum::extract::multipart::{Multipart, MultipartRejection};
use ocelli_export::hits::{NoQueries, Written, read};
use serde::Serialize;

use super::Frame;
use crate::app::App;
use crate::call::Call;
use crate::failure::WebError;
use crate::reply::Answer;
use crate::session::is_elsewhere;
use crate::shown::{Asked, counted, grouped};
use crate::taken;

#[derive(Template)]
#[template(path = "batch_search.html")]
struct BatchSearch {
    frame: Frame,
    limits: String,
}

/// What may be asked at once, for programs.
#[derive(Serialize)]
struct Twin {
    queries: usize,
    bytes: usize,
    records_of_each: u32,
    formats: [&'static str; 2],
    post: &'static str,
}

/// `GET /search/batch`, `/search/batch.json`
pub(crate) async fn page(call: Call) -> Answer {
    let options = &call.app.options;
    if call.wants_json() {
        return call.json(&Twin {
            queries: options.batch_queries,
            bytes: options.batch_bytes,
            records_of_each: options.batch_hits,
            formats: ["ndjson", "csv"],
            post: "/api/v1/hits",
        });
    }
    let limits = format!(
        "At most {}, {} of each.",
        counted(options.batch_queries as u64, "query", "queries"),
        counted(options.batch_hits.into(), "record", "records")
    );
    call.page(&BatchSearch { frame: call.frame("search"), limits })
}

/// `POST /search/batch`
pub(crate) async fn take(call: Call, parts: Result<Multipart, MultipartRejection>) -> Answer {
    // It changes nothing, but it costs: no other site makes a browser ask it.
    if is_elsewhere(&call.head) {
        return Err(WebError::Foreign);
    }
    let mut parts = parts.map_err(|error| WebError::Bad(error.body_text()))?;
    let (mut list, mut fields) = (Vec::new(), Vec::new());
    let broken = |error: axum::extract::multipart::MultipartError| {
        if error.status() == axum::http::StatusCode::PAYLOAD_TOO_LARGE {
            too_large(&call.app)
        } else {
            WebError::Bad(format!("the form is broken: {}", error.body_text()))
        }
    };
    while let Some(field) = parts.next_field().await.map_err(broken)? {
        let name = field.name().unwrap_or_default().to_owned();
        let bytes = field.bytes().await.map_err(broken)?;
        match name.as_str() {
            "queries" | "file" => {
                list.extend_from_slice(&bytes);
                list.push(b'\n');
            }
            _ if fields.len() < 8 => {
                fields.push((name, String::from_utf8_lossy(&bytes).into_owned()));
            }
            _ => return Err(WebError::Bad("too many fields".to_owned())),
        }
    }
    let asked = Asked::of_pairs(fields);
    taken::hits(&call.app, queries(&call.app, &list)?, &asked)
}

/// The queries of a list.
pub(crate) fn queries(app: &App, list: &[u8]) -> Result<Vec<Written>, WebError> {
    let options = &app.options;
    if list.len() > options.batch_bytes {
        return Err(too_large(app));
    }
    read(list, "the list", &options.query, options.batch_queries)
        .map_err(|error: NoQueries| WebError::Bad(error.to_string()))
}

pub(crate) fn too_large(app: &App) -> WebError {
    let most = grouped(app.options.batch_bytes as u64);
    WebError::TooLarge(format!("a list of queries has at most {most} bytes (web.batch_bytes)"))
}
