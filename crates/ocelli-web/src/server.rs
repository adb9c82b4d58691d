//! Where the site listens, and what its connections may cost. What is asked is [`crate::app`]'s.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use async_recursion::async_recursion;
use axum::http::Uri;
use thiserror::Error;
use tokio::net::TcpListener;

/// How long a client may take to send a request's head.
pub(crate) const HEADER_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest head in bytes. An address of 64 KiB, which is more than a query may have, is answered in words.
pub(crate) const HEADER_BYTES: usize = 128 * 1024;
/// The longest life of one connection: also of one that is told what changes, whose browser comes back by itself.
pub(crate) const CONNECTION_LIFE: Duration = Duration::from_secs(30 * 60);
/// The longest life of one on which an archive is taken out: of the largest that takes hours.
pub(crate) const EXPORT_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Whether an answer takes as long as its reader and its size make it take.
pub(crate) fn is_stream(uri: &Uri) -> bool {
    matches!(uri.path(), "/api/v1/export" | "/api/v1/hits" | "/search/batch")
}

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
    pub(crate) listener: TcpListener,
    address: SocketAddr,
}

impl Listener {
    /// Listens on `listen` (`address:port`; port 0 takes a free one).
    ///
    /// # Errors
    /// When the address cannot be listened on.
    #[async_recursion]
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
