//! Objects of buckets, over the protocol of Amazon S3.
//!
//! Credentials come from the settings or from the environment (`AWS_…`, as Amazon's own programs read them) and never from a
//! source. What the server says about an error is not shown: it may quote what was signed, and with which key.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::aws::{AmazonS3, AmazonS3Builder};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectMeta, ObjectStore, ObjectStoreExt, RetryConfig,
};
use ocelli_core::object::Object;
use ocelli_core::{FailureClass, SourceUri};

use super::error::FetchError;
use crate::limits::FetchLimits;

const REFUSED: &str = "the server refuses these credentials (settings objects.access_key and objects.secret_key, or AWS_ACCESS_KEY_ID \
     and AWS_SECRET_ACCESS_KEY)";

/// Buckets whose connections are kept: a run reads from few.
const KEPT: usize = 64;

/// Requests that are made again by the client, within this; whoever asked tries again too.
const RETRIES: usize = 2;

/// Times that a listing is taken up again behind the last object that arrived.
const RESUMED: u32 = 5;

/// Who reads which buckets.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct ObjectOptions {
    /// The server (setting `objects.endpoint`); none: Amazon's, or that of the environment.
    pub endpoint: Option<String>,
    /// Its region (setting `objects.region`).
    pub region: Option<String>,
    /// The key and its secret; none: those of the environment.
    pub credentials: Option<(String, String)>,
    /// The only buckets that are read; empty: all that the credentials reach (setting `objects.buckets`).
    pub buckets: Vec<String>,
}

impl fmt::Debug for ObjectOptions {
    /// Without the secret.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ObjectOptions")
            .field("endpoint", &self.endpoint)
            .field("region", &self.region)
            .field("credentials", &self.credentials.as_ref().map(|_| "***"))
            .field("buckets", &self.buckets)
            .finish()
    }
}

/// An object as its bucket lists it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListedObject {
    /// Where it is.
    pub source: SourceUri,
    /// Bytes.
    pub size: u64,
    /// When it was written, in nanoseconds since 1970.
    pub modified: Option<i64>,
    /// What changes when its content does, where the server says that.
    pub tag: Option<String>,
}

/// All buckets.
pub(crate) struct Objects {
    options: ObjectOptions,
    client: ClientOptions,
    retry: RetryConfig,
    buckets: Mutex<HashMap<String, Arc<AmazonS3>>>,
}

impl fmt::Debug for Objects {
    /// Without the clients, which hold what they sign with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("options", &self.options).finish_non_exhaustive()
    }
}

impl Objects {
    pub(crate) fn new(limits: &FetchLimits) -> Self {
        let client = ClientOptions::new()
            .with_connect_timeout(limits.connect_timeout)
            .with_read_timeout(limits.read_timeout)
            .with_timeout(limits.total_timeout);
        let retry = RetryConfig {
            backoff: BackoffConfig::default(),
            max_retries: RETRIES,
            retry_timeout: limits.total_timeout,
        };
        Self { options: limits.objects.clone(), client, retry, buckets: Mutex::default() }
    }

    fn bucket(&self, source: &SourceUri, name: &str) -> Result<Arc<AmazonS3>, FetchError> {
        let failed = |reason: String, class| FetchError::Object {
            source_name: source.to_string(),
            reason,
            class,
        };
        if !self.options.buckets.is_empty() && !self.options.buckets.iter().any(|one| one == name) {
            let reason = "its bucket is not among those of the setting objects.buckets".to_owned();
            return Err(failed(reason, FailureClass::Permanent));
        }
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(bucket) = buckets.get(name) {
            return Ok(Arc::clone(bucket));
        }
        let mut builder =
            AmazonS3Builder::from_env().with_bucket_name(name).with_retry(self.retry.clone());
        let mut client = self.client.clone();
        if let Some(endpoint) = &self.options.endpoint {
            client = client.with_allow_http(endpoint.starts_with("http:"));
            builder = builder.with_endpoint(endpoint.trim_end_matches('/'));
        }
        if let Some(region) = &self.options.region {
            builder = builder.with_region(region);
        }
        if let Some((key, secret)) = &self.options.credentials {
            builder = builder.with_access_key_id(key).with_secret_access_key(secret);
        }
        let built = builder.with_client_options(client).build();
        let built = built.map_err(|error| {
            failed(format!("its bucket cannot be used: {}", in_words(&error)), FailureClass::Outage)
        })?;
        if buckets.len() >= KEPT {
            buckets.clear();
        }
        let bucket = Arc::new(built);
        buckets.insert(name.to_owned(), Arc::clone(&bucket));
        Ok(bucket)
    }

    /// The bytes of an object.
    pub(crate) async fn fetch(
        &self,
        source: &SourceUri,
        object: &Object,
        limit: u64,
    ) -> Result<Bytes, FetchError> {
        let source_name = || source.to_string();
        let failed = |error: Error| failure(source, &error);
        if object.is_prefix() {
            let reason = "it names a prefix; name it as a source of its own to list it".to_owned();
            let class = FailureClass::Permanent;
            return Err(FetchError::Object { source_name: source_name(), reason, class });
        }
        let bucket = self.bucket(source, &object.bucket)?;
        let path = Path::parse(&object.key).map_err(|error| failed(error.into()))?;
        let found = bucket.get(&path).await.map_err(failed)?;
        let too_large = || FetchError::TooLarge { source_name: source_name(), limit };
        let size = found.meta.size;
        if size > limit {
            return Err(too_large());
        }
        let mut bytes = BytesMut::with_capacity(usize::try_from(size).unwrap_or(0));
        let mut body = found.into_stream();
        while let Some(chunk) = body.next().await {
            let chunk = chunk.map_err(failed)?;
            if (bytes.len() + chunk.len()) as u64 > limit {
                return Err(too_large());
            }
            bytes.extend_from_slice(&chunk);
        }
        if (bytes.len() as u64) < size {
            let (received, reason) = (bytes.len() as u64, "it ended early".to_owned());
            return Err(FetchError::Interrupted { source_name: source_name(), received, reason });
        }
        Ok(bytes.freeze())
    }

    /// The objects below a prefix, page by page, in the order of their keys. A listing that breaks off is taken up again behind the last
    /// one that arrived.
    pub(crate) fn list(&self, source: &SourceUri, prefix: &Object) -> Result<Listing, FetchError> {
        let bucket = self.bucket(source, &prefix.bucket)?;
        let below = Path::parse(&prefix.key).map_err(|error| failure(source, &error.into()))?;
        let found = bucket.list(Some(&below));
        Ok(Listing {
            source: source.clone(),
            name: prefix.bucket.clone(),
            bucket,
            below,
            found,
            last: None,
            resumed: 0,
        })
    }
}

/// A listing that goes on.
pub struct Listing {
    source: SourceUri,
    name: String,
    bucket: Arc<AmazonS3>,
    below: Path,
    found: BoxStream<'static, Result<ObjectMeta, Error>>,
    last: Option<Path>,
    resumed: u32,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("source", &self.source).field("last", &self.last).finish()
    }
}

impl Listing {
    /// The next object. The inner error is that of one object, which cannot be named; the listing goes on behind it.
    ///
    /// # Errors
    /// When the bucket cannot be listed, or not to its end.
    pub async fn next(&mut self) -> Result<Option<Result<ListedObject, String>>, FetchError> {
        loop {
            match self.found.next().await {
                None => return Ok(None),
                Some(Ok(found)) => {
                    self.resumed = 0;
                    self.last = Some(found.location.clone());
                    return Ok(Some(self.listed(found)));
                }
                Some(Err(error)) => {
                    let failure = failure(&self.source, &error);
                    let may_pass =
                        failure.class() == FailureClass::Transient && !is_refused(&error);
                    if !may_pass || self.resumed >= RESUMED {
                        return Err(failure);
                    }
                    self.resumed += 1;
                    let wait = std::time::Duration::from_millis(100 << self.resumed);
                    tokio::time::sleep(wait).await;
                    self.found = match &self.last {
                        Some(last) => self.bucket.list_with_offset(Some(&self.below), last),
                        None => self.bucket.list(Some(&self.below)),
                    };
                }
            }
        }
    }

    fn listed(&self, found: ObjectMeta) -> Result<ListedObject, String> {
        let key = found.location.as_ref().to_owned();
        let object = Object { bucket: self.name.clone(), key };
        let source = SourceUri::of_object(&object).map_err(|error| error.to_string())?;
        Ok(ListedObject {
            source,
            size: found.size,
            modified: found.last_modified.timestamp_nanos_opt(),
            tag: found.e_tag,
        })
    }
}

fn failure(source: &SourceUri, error: &Error) -> FetchError {
    let class = match error {
        Error::InvalidPath { .. } | Error::NotSupported { .. } => FailureClass::Permanent,
        error if is_missing(error) => FailureClass::Permanent,
        // Credentials are renewed, and permissions given; whoever asks for long enough ends all the same.
        _ => FailureClass::Transient,
    };
    let reason = in_words(error);
    FetchError::Object { source_name: source.to_string(), reason, class }
}

/// What happened, without what the server wrote: that may quote the key and what was signed with it.
fn in_words(error: &Error) -> String {
    if is_missing(error) {
        return "there is no such bucket or object (any more)".to_owned();
    }
    if is_refused(error) {
        return REFUSED.to_owned();
    }
    if let Error::InvalidPath { .. } = error {
        return "a name in it has an empty part, '.', '..' or a control character, which is not read"
            .to_owned();
    }
    said(error)
}

fn is_missing(error: &Error) -> bool {
    matches!(error, Error::NotFound { .. }) || said(error).contains("404 Not Found")
}

fn is_refused(error: &Error) -> bool {
    matches!(error, Error::PermissionDenied { .. } | Error::Unauthenticated { .. })
        || ["403 Forbidden", "401 Unauthorized"].iter().any(|status| said(error).contains(status))
}

/// The innermost error without the body of an answer, which is XML. Listings have no other kinds of errors than by their status, and
/// only the text tells that.
fn said(error: &Error) -> String {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    let text = innermost.to_string();
    let said = text.split(['<', '\n']).next().unwrap_or_default();
    crate::decode::error::clip(said.trim_end_matches([' ', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_that_are_logged_show_no_secret() {
        let options = ObjectOptions {
            credentials: Some(("AKIA-public".to_owned(), "very-secret".to_owned())),
            ..ObjectOptions::default()
        };
        assert!(!format!("{options:?}").contains("very-secret"));
    }

    #[test]
    fn what_a_server_wrote_is_not_shown() {
        let body = "Server returned error response: <Error><AWSAccessKeyId>AKIA-public</AWSAccessKeyId></Error>";
        let error = Error::Generic { store: "S3", source: body.into() };
        assert_eq!(in_words(&error), "Server returned error response");
    }
}
