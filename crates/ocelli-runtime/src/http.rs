//! The side door of every process: `/metrics`, `/healthz`, `/readyz`. Plain HTTP, GET and HEAD only, no bodies read.
//!
//! A slow or hostile client can hold at most one of [`CONNECTIONS`] places for [`CONNECTION_LIFE`]; it cannot grow
//! memory. No TLS and no authentication on purpose: it listens on loopback unless told otherwise.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Router;
use axum::extract::State as Extract;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use prometheus::{Encoder, Registry, TextEncoder};
use thiserror::Error;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::connections::{self, Limits};
use crate::{Readiness, Watchdog};

/// Connections served at once: some scrapers and probes, with room to spare; more wait in the kernel's backlog.
pub const CONNECTIONS: usize = 64;
/// The longest life of one connection. Scrapers reconnect; a client that reads a byte a minute does not keep a place.
pub const CONNECTION_LIFE: Duration = Duration::from_secs(300);
/// How long a client may take to send a request's head.
pub const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// Longest request head in bytes.
const HEADER_BYTES: usize = 16 * 1024;

const LIMITS: Limits = Limits {
    connections: CONNECTIONS,
    life: CONNECTION_LIFE,
    long_life: CONNECTION_LIFE,
    is_long: |_| false,
    header_timeout: HEADER_TIMEOUT,
    header_bytes: HEADER_BYTES,
};

/// Why the side door could not be opened.
#[derive(Debug, Error)]
pub enum HttpError {
    /// Another process listens there.
    #[error("cannot listen on {address}: another process already does")]
    InUse {
        /// As in the settings.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
    /// Any other refusal: not an address, not an address of this machine, no permission for the port.
    #[error("cannot listen on {address}")]
    Bind {
        /// As in the settings.
        address: String,
        /// What the operating system said.
        #[source]
        source: io::Error,
    },
}

impl HttpError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::InUse { address, .. } => {
                let port = address.rsplit_once(':').map_or("", |(_, port)| port);
                format!(
                    "set http.listen to another port, or to port 0 for any free one; `ss -ltnp 'sport = :{port}'` \
                     shows who listens on {address}"
                )
            }
            Self::Bind { .. } => {
                "http.listen is ADDRESS:PORT with an address of this machine, for example 127.0.0.1:9100; ports below \
                 1024 need privileges"
                    .to_owned()
            }
        }
    }
}

/// What the side door tells about.
#[derive(Debug, Clone, Default)]
pub struct State {
    /// Served at `/metrics`.
    pub registry: Registry,
    /// Served at `/readyz`.
    pub readiness: Readiness,
    /// Served at `/healthz`.
    pub watchdog: Watchdog,
}

/// A bound, not yet serving side door.
#[derive(Debug)]
pub struct HttpServer {
    listener: TcpListener,
    address: SocketAddr,
}

impl HttpServer {
    /// Listens on `listen` (`address:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(listen: &str) -> Result<Self, HttpError> {
        let refused = |source: io::Error| {
            let address = listen.to_owned();
            if source.kind() == io::ErrorKind::AddrInUse {
                HttpError::InUse { address, source }
            } else {
                HttpError::Bind { address, source }
            }
        };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `shutdown` is cancelled. Pass a token that is cancelled last, so that a draining process can still
    /// be asked how it is.
    pub async fn serve(self, parts: State, shutdown: CancellationToken) {
        connections::serve(self.listener, router(parts), LIMITS, shutdown).await;
    }
}

fn router(parts: State) -> Router {
    Router::new()
        .route("/metrics", get(metrics))
        .route("/healthz", get(healthz))
        .route("/readyz", get(readyz))
        .with_state(parts)
}

async fn metrics(Extract(parts): Extract<State>) -> Response {
    let (encoder, mut text) = (TextEncoder::new(), Vec::new());
    match encoder.encode(&parts.registry.gather(), &mut text) {
        Ok(()) => {
            ([(header::CONTENT_TYPE, encoder.format_type().to_owned())], text).into_response()
        }
        Err(error) => {
            tracing::error!(%error, "cannot encode the metrics");
            (StatusCode::INTERNAL_SERVER_ERROR, "cannot encode the metrics\n").into_response()
        }
    }
}

async fn healthz(Extract(parts): Extract<State>) -> Response {
    match parts.watchdog.stalled() {
        None => "ok\n".into_response(),
        Some(stall) => {
            let (name, seconds, limit) =
                (stall.name, stall.still_for.as_secs(), stall.limit.as_secs());
            let text = format!(
                "{name}: work is due and nothing moved for {seconds} s (limit {limit} s)\n"
            );
            (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
        }
    }
}

async fn readyz(Extract(parts): Extract<State>) -> Response {
    let waiting_for = parts.readiness.waiting_for();
    if waiting_for.is_empty() {
        "ready\n".into_response()
    } else {
        let text = waiting_for.join("\n") + "\n";
        (StatusCode::SERVICE_UNAVAILABLE, text).into_response()
    }
}
