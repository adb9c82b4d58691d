//! Bytes of a [`SourceUri`], within limits that are enforced while reading.

pub(crate) mod beginning;
pub mod error;
pub(crate) mod file;
mod guard;
mod http;
mod member;
pub(crate) mod post;
mod robots;
mod validators;

use std::io;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use async_recursion::async_recursion;
use bytes::Bytes;
use ocelli_core::object::Object;
use ocelli_core::{Digest, SourceUri};

use crate::limits::FetchLimits;
use crate::objects::{Listing, ObjectError, Objects, Prefix};
use crate::store::Copies;
use error::{FetchError, FetcherError};
pub use http::Answer;
use http::Http;
pub use validators::Validators;

/// Fetches bytes. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Fetcher {
    limits: Arc<FetchLimits>,
    http: Arc<Http>,
    objects: Arc<Objects>,
    store: Option<Copies>,
}

impl Fetcher {
    /// A fetcher with these limits.
    ///
    /// # Errors
    /// [`FetcherError`] when a setting cannot be meant. A machine without TLS certificates is no error here: files can
    /// still be read, and URLs are refused with the reason.
    pub fn new(limits: FetchLimits) -> Result<Self, FetcherError> {
        let http = Arc::new(Http::new(&limits)?);
        // Behind the HTTP client, which chooses how TLS is done in this process.
        let objects = Arc::new(Objects::new(&limits));
        let store = limits.kept.clone().map(|kept| Copies::open(kept, &objects));
        Ok(Self { limits: Arc::new(limits), http, objects, store })
    }

    /// The same with other limits; which hosts may be asked stays as it is.
    pub(crate) fn with_limits(&self, limits: FetchLimits) -> Self {
        Self { limits: Arc::new(limits), ..self.clone() }
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
    #[async_recursion]
    pub async fn fetch(&self, source: &SourceUri) -> Result<Bytes, FetchError> {
        let limit = self.limits.total_timeout;
        tokio::time::timeout(limit, self.dispatch(source)).await.unwrap_or_else(|_| {
            let source_name = source.to_string();
            Err(FetchError::Timeout { source_name, what: "not fetched as a whole", limit })
        })
    }

    /// Asks at one of the addresses that `source` leads to (at first its own) and follows no redirect: for whoever has to ask before each
    /// step. At most `within` this time. With validators a server may say that nothing has changed.
    ///
    /// # Errors
    /// As [`Self::fetch`].
    #[async_recursion]
    pub async fn ask(
        &self,
        source: &SourceUri,
        at: &SourceUri,
        known: &Validators,
        within: Duration,
    ) -> Result<Answer, FetchError> {
        let asking = async {
            if at.is_web() {
                self.http.hop(source, at, known, &self.limits).await
            } else {
                let bytes = self.dispatch(at).await?;
                Ok(Answer::Bytes(bytes, Validators::default()))
            }
        };
        tokio::time::timeout(within, asking).await.unwrap_or_else(|_| {
            let (source_name, limit) = (source.to_string(), self.limits.total_timeout);
            Err(FetchError::Timeout { source_name, what: "not fetched as a whole", limit })
        })
    }

    /// Lists the objects below a prefix of a bucket.
    ///
    /// # Errors
    /// When `prefix` is no address of a bucket, or its bucket may not be read.
    pub fn list(&self, prefix: &SourceUri) -> Result<Listing, FetchError> {
        let object = prefix
            .object()
            .ok_or_else(|| FetchError::NotLocal { source_name: prefix.to_string() })?;
        self.objects.list(&object)
    }

    /// A prefix of a bucket to write below; its slash at the end may be missing.
    ///
    /// # Errors
    /// When the settings do not let its bucket be used.
    pub fn prefix(&self, prefix: &Object) -> Result<Prefix, ObjectError> {
        self.objects.prefix(prefix)
    }

    /// The kept copy of an image; none when there is none. Whoever uses it compares its digest: it may have been damaged since.
    ///
    /// # Errors
    /// When there is one and it cannot be read, or nobody can tell: a bucket that is away has lost nothing.
    #[async_recursion]
    pub async fn kept(&self, digest: &Digest) -> Result<Option<Bytes>, FetchError> {
        let Some(store) = &self.store else { return Ok(None) };
        let limit = self.limits.total_timeout;
        tokio::time::timeout(limit, store.get(digest, self.limits.bytes)).await.unwrap_or_else(
            |_| {
                let source_name = format!("the kept copy of {}", digest.short());
                Err(FetchError::Timeout { source_name, what: "not read as a whole", limit })
            },
        )
    }

    /// Keeps a copy of an image; whether it is new. Nothing happens where nothing is kept.
    ///
    /// # Errors
    /// When the store does not take it.
    #[async_recursion]
    pub async fn keep(&self, digest: Digest, bytes: Bytes) -> io::Result<bool> {
        match &self.store {
            Some(store) => store.put(digest, bytes).await,
            None => Ok(false),
        }
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
            let limits = Arc::clone(&self.limits);
            let reading = tokio::task::spawn_blocking(move || member::read(&member, &limits));
            return reading.await.unwrap_or_else(|error| {
                let source_name = source.to_string();
                Err(FetchError::Io { source_name, error: std::io::Error::other(error) })
            });
        }
        if let Some(object) = source.object() {
            return self.objects.fetch(source, &object, &self.limits).await;
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
