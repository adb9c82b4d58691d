//! Bringing images in: files, addresses, and lists of them. They go the producer's way, within its limits.
//!
//! Files are written as they come, into a folder of their own, and only up to the limits; whether they are images is the
//! producer's to say. A list that names files means those that came along with it.

mod intake;

use askama::Template;
use axum::extract::multipart::{Multipart, MultipartRejection};
use axum::http::header;
use axum::response::IntoResponse as _;
use jiff::Timestamp;
use serde::Serialize;

use super::Frame;
use crate::app::App;
use crate::call::Call;
use crate::failure::WebError;
use crate::hands::Delivery;
use crate::reply::{Answer, see};
use crate::session::FORM_HEADER;
use crate::shown::{bytes, counted, line};

#[derive(Template)]
#[template(path = "bring.html")]
struct BringPage {
    frame: Frame,
    /// Why nothing can be brought in.
    cannot: &'static str,
    most: String,
}

/// What may be brought in, for programs.
#[derive(Serialize)]
struct Twin {
    /// Why nothing can be brought in; nobody, where it can.
    cannot: Option<&'static str>,
    /// Whether the one who asks has shown the token.
    signed_in: bool,
    files: usize,
    bytes: u64,
}

/// `GET /bring`, `/bring.json`
pub(crate) async fn page(call: Call) -> Answer {
    let (options, cannot) = (&call.app.options, call.app.hands.0.cannot_bring());
    if call.wants_json() {
        return call.json(&Twin {
            cannot,
            signed_in: call.app.session.allows(&call.head),
            files: options.upload_files,
            bytes: options.upload_bytes,
        });
    }
    let most = format!(
        "{} and {} at once",
        counted(options.upload_files as u64, "file", "files"),
        bytes(options.upload_bytes)
    );
    let (frame, cannot) = (call.frame("bring"), cannot.unwrap_or_default());
    call.page(&BringPage { frame, cannot, most })
}

/// `POST /bring`, and of programs `/api/v1/batches`.
pub(crate) async fn take(call: Call, parts: Result<Multipart, MultipartRejection>) -> Answer {
    let (app, head) = (&call.app, &call.head);
    let parts = parts.map_err(|error| WebError::Bad(error.body_text()))?;
    // With the header nothing of a foreign request is read at all; without it the first field says it, of a browser that has shown the
    // token: nobody else holds a place for as long as it pleases.
    let is_told = head.contains_key(FORM_HEADER) || head.contains_key(header::AUTHORIZATION);
    if is_told || call.wants_json() || !app.session.allows(head) {
        app.session.allow(head, None)?;
    }
    if let Some(reason) = app.hands.0.cannot_bring() {
        return Err(WebError::Away(reason.to_owned()));
    }
    let _place = app.uploads.try_acquire().map_err(|_| WebError::TooMany)?;
    let limit = app.options.upload_timeout;
    let delivery = tokio::time::timeout(limit, intake::take(app, head, parts))
        .await
        .map_err(|_| WebError::Timeout(limit.as_secs()))??;
    let detail = serde_json::json!({
        "name": delivery.name, "files": delivery.files.len(), "addresses": delivery.urls.len(),
    });
    let folder = delivery.folder.clone();
    let batch = match bring(app, delivery).await {
        Ok(batch) => batch,
        Err(error) => {
            intake::discard(folder).await;
            return Err(error);
        }
    };
    app.catalog.note_deed(Timestamp::now(), "images brought in", None, &detail).await?;
    let href = format!("/batch/{batch}");
    let accept = head.get(header::ACCEPT).and_then(|accept| accept.to_str().ok()).unwrap_or("");
    if call.wants_json() || accept.contains("application/json") {
        let said = serde_json::json!({ "batch": batch, "href": href });
        return Ok(axum::Json(said).into_response());
    }
    Ok(see(&href))
}

async fn bring(app: &App, delivery: Delivery) -> Result<ocelli_core::BatchId, WebError> {
    app.hands.0.bring(delivery).await.map_err(|reason| WebError::Away(line(&reason, 500)))
}
