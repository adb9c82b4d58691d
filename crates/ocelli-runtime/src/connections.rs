//! Connections of an HTTP server: how many at once, how long each may live, how much of a head is read. What is asked is the
//! router's. Shared by the side door of every program and the web site.
//!
//! A slow or hostile client can hold one of [`Limits::connections`] places for [`Limits::life`]; it cannot grow memory.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use axum::http::Uri;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::worded::Worded;

/// Pause after a failed accept (no file descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// How long answers under way may take when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(2);

/// What connections may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Served at once; more wait in the kernel's backlog.
    pub connections: usize,
    /// The longest life of one. Clients connect again.
    pub life: Duration,
    /// The longest life of one on which something was asked that [`Self::is_long`].
    pub long_life: Duration,
    /// Whether an answer takes as long as it takes.
    pub is_long: fn(&Uri) -> bool,
    /// How long a client may take to send a request's head.
    pub header_timeout: Duration,
    /// The longest head in bytes.
    pub header_bytes: usize,
}

/// Serves until `shutdown` is cancelled, and waits shortly for answers under way. Handlers find the address of the client in
/// [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
) {
    let places = Arc::new(Semaphore::new(limits.connections.max(1)));
    let connections = TaskTracker::new();
    let accept_all = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.accept().await {
                Ok((stream, from)) => {
                    let router = router.clone();
                    let served = connection(stream, from, router, limits, shutdown.clone(), place);
                    connections.spawn(served);
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    };
    tokio::select! {
        () = accept_all => {}
        () = shutdown.cancelled() => {}
    }
    connections.close();
    connections.wait().await;
}

async fn connection(
    stream: TcpStream,
    from: SocketAddr,
    router: Router,
    limits: Limits,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let router = TowerToHyperService::new(router);
    let is_long = Arc::new(AtomicBool::new(false));
    let noted = Arc::clone(&is_long);
    let named = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        if (limits.is_long)(request.uri()) {
            noted.store(true, Ordering::Relaxed);
        }
        request.extensions_mut().insert(ConnectInfo(from));
        router.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(limits.header_timeout)
        .max_buf_size(limits.header_bytes)
        .serve_connection(TokioIo::new(Worded::new(stream)), named);
    let mut served = std::pin::pin!(served);
    let life = async {
        tokio::time::sleep(limits.life).await;
        if is_long.load(Ordering::Relaxed) {
            tokio::time::sleep(limits.long_life.saturating_sub(limits.life)).await;
        }
    };
    tokio::select! {
        // A client that goes away or sends nonsense is its own problem: nothing to log.
        _ = served.as_mut() => return,
        () = life => {}
        () = shutdown.cancelled() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(STOP_GRACE, served).await;
}
