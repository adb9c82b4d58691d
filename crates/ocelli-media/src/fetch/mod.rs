//! Bytes of a [`SourceUri`], within limits that are enforced while reading.

pub mod error;
pub(crate) mod file;
mod guard;
mod http;
mod member;
pub(crate) mod post;
mod robots;

use std::io;
use std::sync::Arc;
use std::time::SystemTime;

use bytes::Bytes;
use ocelli_core::{Digest, SourceUri};

use crate::limits::FetchLimits;
use crate::store::Store;
use error::{FetchError, FetcherError};
use http::Http;

/// Fetches bytes. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Fetcher {
    limits: Arc<FetchLimits>,
    http: Arc<Http>,
    store: Option<Store>,
}

impl Fetcher {
    /// A fetcher with these limits.
    ///
    /// # Errors
    /// [`FetcherError`] when a setting cannot be meant. A machine without TLS certificates is no error here: files can
    /// still be read, and URLs are refused with the reason.
    pub fn new(limits: FetchLimits) -> Result<Self, FetcherError> {
        let http = Arc::new(Http::new(&limits)?);
        let store = limits.kept.clone().map(Store::new);
        Ok(Self { limits: Arc::new(limits), http, store })
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

    /// The kept copy of an image, where there is one. Whoever uses it compares its digest: it may have been damaged since.
    pub async fn kept(&self, digest: &Digest) -> Option<Bytes> {
        let path = self.store.as_ref()?.path(digest);
        let most = self.limits.bytes;
        tokio::task::spawn_blocking(move || file::read(&path, most)).await.ok()?.ok()
    }

    /// Keeps a copy of an image; whether it is new. Nothing happens where nothing is kept.
    ///
    /// # Errors
    /// When the store does not take it.
    pub async fn keep(&self, digest: Digest, bytes: Bytes) -> io::Result<bool> {
        let Some(store) = self.store.clone() else { return Ok(false) };
        let writing = tokio::task::spawn_blocking(move || store.put(&digest, &bytes));
        writing.await.map_err(io::Error::other)?
    }

    /// Removes what processes left in the store that died while they wrote. Blocks.
    ///
    /// # Errors
    /// When the store cannot be read.
    pub fn sweep(&self, now: SystemTime) -> io::Result<u64> {
        self.store.as_ref().map_or(Ok(0), |store| store.sweep(now))
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
