//! Connections: how many at once, how long they may live, how much of a head is read. What is asked is [`crate::app`]'s.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use thiserror::Error;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::app::{self, Parts};

/// How long a client may take to send a request's head.
const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head in bytes. An address of 64 KiB, which is more than a query may have, is answered in words.
const HEADER_BYTES: usize = 128 * 1024;
/// The longest life of one connection: also of one that is told what changes, whose browser comes back by itself.
const CONNECTION_LIFE: Duration = Duration::from_secs(30 * 60);
/// How long answers under way may take when the process stops.
const STOP_GRACE: Duration = Duration::from_secs(2);
/// Pause after a failed accept (no file descriptors left), so that it does not spin.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Why the site cannot be served.
#[derive(Debug, Error)]
#[error("the archive cannot be served at {address}")]
pub struct ListenError {
    /// As in the settings.
    pub address: String,
    /// What the operating system said.
    #[source]
    pub source: io::Error,
}

impl ListenError {
    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        "set web.listen to ADDRESS:PORT with an address of this machine and a free port (port 0 takes any), or to \"off\""
    }
}

/// A bound, not yet serving listener.
#[derive(Debug)]
pub struct Listener {
    listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `listen` (`address:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    pub async fn bind(listen: &str) -> Result<Self, ListenError> {
        let refused = |source| ListenError { address: listen.to_owned(), source };
        let listener = TcpListener::bind(listen).await.map_err(refused)?;
        let address = listener.local_addr().map_err(refused)?;
        Ok(Self { listener, address })
    }

    /// Where it listens, with the real port.
    #[must_use]
    pub const fn address(&self) -> SocketAddr {
        self.address
    }
}

/// Serves the site until `shutdown` is cancelled, and waits for answers under way.
pub async fn serve(listener: Listener, parts: Parts, shutdown: CancellationToken) {
    let places = Arc::new(Semaphore::new(parts.options.connections.max(1)));
    let app = app::router(parts, listener.address, &shutdown);
    let connections = TaskTracker::new();
    let accept_all = async {
        loop {
            let Ok(place) = Arc::clone(&places).acquire_owned().await else { return };
            match listener.listener.accept().await {
                Ok((stream, from)) => {
                    let app = app.clone();
                    connections.spawn(connection(stream, from, app, shutdown.clone(), place));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection on {}", listener.address);
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
    app: Router,
    shutdown: CancellationToken,
    _place: OwnedSemaphorePermit,
) {
    // Small answers are sent at once.
    let _ = stream.set_nodelay(true);
    let app = TowerToHyperService::new(app);
    let named = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(from));
        app.call(request)
    });
    let served = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEADER_TIMEOUT)
        .max_buf_size(HEADER_BYTES)
        .serve_connection(TokioIo::new(stream), named);
    let mut served = std::pin::pin!(served);
    tokio::select! {
        // A client that goes away or sends nonsense is its own problem: nothing to log.
        _ = served.as_mut() => return,
        () = tokio::time::sleep(CONNECTION_LIFE) => {}
        () = shutdown.cancelled() => {}
    }
    served.as_mut().graceful_shutdown();
    let _ = tokio::time::timeout(STOP_GRACE, served).await;
}
