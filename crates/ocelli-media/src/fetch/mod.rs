//! Bytes of a [`SourceUri`], within limits that are enforced while reading.

pub mod error;
pub(crate) mod file;
mod guard;
mod http;
mod member;
mod robots;

use std::sync::Arc;

use bytes::Bytes;
use ocelli_core::SourceUri;

use crate::limits::FetchLimits;
use error::{FetchError, FetcherError};
use http::Http;

/// Fetches bytes. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Fetcher {
    limits: Arc<FetchLimits>,
    http: Arc<Http>,
}

impl Fetcher {
    /// A fetcher with these limits.
    ///
    /// # Errors
    /// [`FetcherError`] when a setting cannot be meant. A machine without TLS certificates is no error here: files can
    /// still be read, and URLs are refused with the reason.
    pub fn new(limits: FetchLimits) -> Result<Self, FetcherError> {
        let http = Arc::new(Http::new(&limits)?);
        Ok(Self { limits: Arc::new(limits), http })
    }

    /// The limits in force.
    #[must_use]
    pub fn limits(&self) -> &FetchLimits {
        &self.limits
    }

    /// The bytes of `source`. Nothing is kept when the future is dropped.
    ///
    /// # Errors
    /// [`FetchError`], whose [`FetchError::class`] says whether trying again may help.
    pub async fn fetch(&self, source: &SourceUri) -> Result<Bytes, FetchError> {
        let limit = self.limits.total_timeout;
        tokio::time::timeout(limit, self.dispatch(source)).await.unwrap_or_else(|_| {
            let source_name = source.to_string();
            Err(FetchError::Timeout { source_name, what: "not fetched as a whole", limit })
        })
    }

    async fn dispatch(&self, source: &SourceUri) -> Result<Bytes, FetchError> {
        if let Some(member) = source.member() {
            let (bytes, archive) = (self.limits.bytes, self.limits.archive_bytes);
            let reading =
                tokio::task::spawn_blocking(move || member::read(&member, bytes, archive));
            return reading.await.unwrap_or_else(|error| {
                let source_name = source.to_string();
                Err(FetchError::Io { source_name, error: std::io::Error::other(error) })
            });
        }
        if source.url().scheme() != "file" {
            return self.http.fetch(source, &self.limits).await;
        }
        let path = source
            .path()
            .ok_or_else(|| FetchError::NotLocal { source_name: source.to_string() })?;
        let max_bytes = self.limits.bytes;
        // A network file system may hang: the total timeout gives up waiting, the thread ends when the system lets it.
        let reading = tokio::task::spawn_blocking(move || file::read(&path, max_bytes));
        reading.await.unwrap_or_else(|error| {
            let source_name = source.to_string();
            Err(FetchError::Io { source_name, error: std::io::Error::other(error) })
        })
    }
}
