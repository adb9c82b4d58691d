//! Answers that are made while they are read, in memory that does not grow with them: exports, and hits of many queries.
//!
//! Whoever reads slowly holds one of a few places, and gives it back when nothing was taken for a while. An answer that ends before
//! its end breaks the connection off: no client takes half an archive for a whole one.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use axum::body::{Body, Bytes};
use axum::http::{HeaderValue, header};
use axum::response::{IntoResponse as _, Response};
use futures_util::{Stream, StreamExt as _, stream};
use ocelli_core::chain;
use ocelli_export::ExportError;
use tokio::sync::mpsc::error::SendTimeoutError;
use tokio::sync::{OwnedSemaphorePermit, mpsc};

use crate::app::App;
use crate::failure::WebError;

/// Bytes that are handed over at once: what a slow reader makes wait for is not in memory twice.
const PART: usize = 64 * 1024;

/// A place among those who take an archive out.
pub(crate) struct Place(#[expect(dead_code, reason = "it is held")] OwnedSemaphorePermit);

/// A place, when one is free.
///
/// # Errors
/// [`WebError::Away`].
pub(crate) fn place(app: &App) -> Result<Place, WebError> {
    let free = Arc::clone(&app.streams).try_acquire_owned();
    free.map(Place).map_err(|_| {
        WebError::Away(
            "as many exports as are allowed at once are under way (web.exports)".to_owned(),
        )
    })
}

/// What travels to the body: a piece, an error, or the end. Where none of these came, the maker is gone.
type Sent = Option<Result<Bytes, io::Error>>;

/// An answer of these pieces, as a file of this name.
pub(crate) fn answer(
    app: &App,
    place: Place,
    (kind, name): (&'static str, &str),
    pieces: impl Stream<Item = Result<Vec<u8>, ExportError>> + Send + 'static,
) -> Response {
    // One piece lies ready while the one before is being sent.
    let (sender, receiver) = mpsc::channel::<Sent>(1);
    tokio::spawn(make(Arc::clone(app), place, sender, pieces));
    let body = stream::unfold(Some(receiver), |receiver| async {
        let mut receiver = receiver?;
        match receiver.recv().await {
            Some(None) => None,
            Some(Some(Ok(piece))) => Some((Ok(piece), Some(receiver))),
            Some(Some(Err(error))) => Some((Err(error), None)),
            None => Some((Err(io::Error::other("it was given up")), None)),
        }
    });
    let mut response = Body::from_stream(body).into_response();
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(kind));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Ok(name) = HeaderValue::try_from(format!("attachment; filename=\"{name}\"")) {
        headers.insert(header::CONTENT_DISPOSITION, name);
    }
    response
}

/// Makes the pieces as they are taken. Ends with the client, the site, or a client that takes nothing.
async fn make(
    app: App,
    _place: Place,
    sender: mpsc::Sender<Sent>,
    pieces: impl Stream<Item = Result<Vec<u8>, ExportError>> + Send,
) {
    let mut pieces = pin!(pieces);
    let stall = app.options.export_stall;
    loop {
        let piece = tokio::select! {
            () = sender.closed() => return,
            () = app.shutdown.cancelled() => return,
            piece = pieces.next() => piece,
        };
        let mut rest: Bytes = match piece {
            Some(Ok(piece)) => piece.into(),
            Some(Err(error)) => {
                tracing::warn!("an export was broken off: {}", chain(&error));
                let error = io::Error::other("the archive cannot be read");
                drop(sender.send_timeout(Some(Err(error)), stall).await);
                return;
            }
            None => {
                drop(sender.send_timeout(None, stall).await);
                return;
            }
        };
        while !rest.is_empty() {
            let part = rest.split_to(rest.len().min(PART));
            match sender.send_timeout(Some(Ok(part)), stall).await {
                Ok(()) => {}
                Err(SendTimeoutError::Closed(_)) => return,
                Err(SendTimeoutError::Timeout(_)) => {
                    tracing::info!("an export was given up: its reader took nothing");
                    return;
                }
            }
        }
    }
}
