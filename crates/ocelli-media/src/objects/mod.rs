//! Objects of buckets, over the protocols of Amazon S3, Google Cloud Storage and Azure Blob Storage.
//!
//! Credentials come from the settings or from the environment, as each cloud's own programs read it, and never from a source. What
//! the server says about an error is not shown (`words`).

mod listing;
mod options;
mod prefix;
mod upload;
mod words;

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt;
use object_store::aws::{AmazonS3Builder, AwsCredential};
use object_store::azure::{AzureAccessKey, AzureCredential, MicrosoftAzureBuilder};
use object_store::gcp::GoogleCloudStorageBuilder;
use object_store::multipart::MultipartStore;
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, ObjectStore, ObjectStoreExt, RetryConfig,
    StaticCredentialProvider,
};
use ocelli_core::SourceUri;
use ocelli_core::object::{Cloud, Object};

use crate::fetch::beginning::Beginning;
use crate::fetch::error::FetchError;
use crate::limits::FetchLimits;
pub use listing::{ListedObject, Listing};
pub use options::ObjectOptions;
pub use prefix::Prefix;
pub use upload::Upload;
pub use words::{ObjectError, Trouble};

/// Buckets whose connections are kept: a run reads from few.
const KEPT: usize = 64;

/// Requests that are made again by the client, within this; whoever asked tries again too.
const RETRIES: usize = 2;

/// The same for what is written: whoever writes an export is asked for again by people only.
const WRITE_RETRIES: usize = 4;

/// One request that writes, with all its tries. The limits of fetching are about what a stranger sends: silence of the server is the rule
/// while a part of megabytes goes out over a slow line.
const WRITING: Duration = Duration::from_secs(15 * 60);

/// A bucket of any cloud.
pub(crate) trait Store: ObjectStore + MultipartStore {}

impl<T: ObjectStore + MultipartStore> Store for T {}

/// What a bucket is used for, which decides how long a request is tried.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Use {
    Read,
    Write,
}

type Buckets = HashMap<(Cloud, String, Use), Arc<dyn Store>>;

/// All buckets.
pub(crate) struct Objects {
    options: ObjectOptions,
    client: ClientOptions,
    retry: RetryConfig,
    buckets: Mutex<Buckets>,
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

    /// The bucket of `object`, if it may be used.
    fn bucket(&self, object: &Object, to: Use) -> Result<Arc<dyn Store>, ObjectError> {
        if !self.options.allow(object) {
            let reason = "its bucket is not among those of the setting objects.buckets";
            return Err(ObjectError::new(object, Trouble::Closed, reason));
        }
        self.any_bucket(object, to)
    }

    fn any_bucket(&self, object: &Object, to: Use) -> Result<Arc<dyn Store>, ObjectError> {
        let mut buckets = self.buckets.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (object.cloud, object.bucket.clone(), to);
        if let Some(bucket) = buckets.get(&key) {
            return Ok(Arc::clone(bucket));
        }
        let bucket = self.connect(object, to).map_err(|error| words::unusable(object, &error))?;
        if buckets.len() >= KEPT {
            buckets.clear();
        }
        buckets.insert(key, Arc::clone(&bucket));
        Ok(bucket)
    }

    fn connect(&self, object: &Object, to: Use) -> Result<Arc<dyn Store>, Error> {
        let options = &self.options;
        let endpoint = match object.cloud {
            Cloud::S3 => &options.endpoint,
            Cloud::Gs => &options.gs_endpoint,
            Cloud::Az => &options.az_endpoint,
        };
        let endpoint = endpoint.as_ref().map(|text| text.trim_end_matches('/').to_owned());
        let mut client = self.client.clone();
        if let Some(endpoint) = &endpoint {
            client = client.with_allow_http(endpoint.starts_with("http:"));
        }
        let mut retry = self.retry.clone();
        if to == Use::Write {
            client = client.with_read_timeout_disabled().with_timeout(WRITING);
            retry.max_retries = WRITE_RETRIES;
            retry.retry_timeout = WRITING;
        }
        let name = object.bucket.as_str();
        Ok(match object.cloud {
            Cloud::S3 => {
                let mut builder = AmazonS3Builder::from_env().with_bucket_name(name);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if let Some(region) = &options.region {
                    builder = builder.with_region(region);
                }
                if let Some((key, secret)) = &options.credentials {
                    // The environment may have a token beside keys of its own, which would be sent along with these.
                    let credential = AwsCredential {
                        key_id: key.clone(),
                        secret_key: secret.clone(),
                        token: None,
                    };
                    builder = builder
                        .with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
                }
                Arc::new(builder.with_retry(retry).with_client_options(client).build()?)
            }
            Cloud::Gs => {
                let mut builder = match &options.gs_key {
                    // Of the environment only what is not about credentials could count beside it.
                    Some(key) => GoogleCloudStorageBuilder::new().with_service_account_key(key),
                    None => GoogleCloudStorageBuilder::from_env(),
                };
                if let Some(endpoint) = endpoint {
                    builder = builder.with_base_url(&endpoint);
                }
                let builder = builder.with_bucket_name(name).with_retry(retry);
                Arc::new(builder.with_client_options(client).build()?)
            }
            Cloud::Az => {
                let mut builder = MicrosoftAzureBuilder::from_env().with_container_name(name);
                if let Some(endpoint) = endpoint {
                    builder = builder.with_endpoint(endpoint);
                }
                if let Some(account) = &options.az_account {
                    builder = builder.with_account(account);
                }
                if let Some(key) = &options.az_key {
                    // As above: a token of the environment would be used instead of it. An emulator takes the key alone.
                    let credential = AzureCredential::AccessKey(AzureAccessKey::try_new(key)?);
                    builder = builder
                        .with_access_key(key)
                        .with_credentials(Arc::new(StaticCredentialProvider::new(credential)));
                }
                Arc::new(builder.with_retry(retry).with_client_options(client).build()?)
            }
        })
    }

    /// The bytes of an object.
    pub(crate) async fn fetch(
        &self,
        source: &SourceUri,
        object: &Object,
        limits: &FetchLimits,
    ) -> Result<Bytes, FetchError> {
        if object.is_prefix() {
            let reason = "it names a prefix; name it as a source of its own to list it";
            return Err(ObjectError::new(object, Trouble::Name, reason).into());
        }
        let bucket = self.bucket(object, Use::Read)?;
        let beginning = Beginning::new(limits.images_only);
        read(&*bucket, &source.to_string(), object, limits.bytes, beginning).await
    }

    /// The objects below a prefix, page by page, in the order of their keys. A listing that breaks off is taken up again behind the last
    /// one that arrived.
    pub(crate) fn list(&self, prefix: &Object) -> Result<Listing, FetchError> {
        Ok(Listing::begin(self.bucket(prefix, Use::Read)?, prefix)?)
    }

    /// A prefix to write below, if the settings let its bucket be used.
    pub(crate) fn prefix(&self, prefix: &Object) -> Result<Prefix, ObjectError> {
        written(prefix)?;
        Prefix::new(self.bucket(prefix, Use::Write)?, prefix)
    }

    /// A prefix that a setting names, which need not be among the buckets that sources may name. Whoever reads there bounds it.
    pub(crate) fn own_prefix(&self, prefix: &Object) -> Result<Prefix, ObjectError> {
        written(prefix)?;
        Prefix::new(self.any_bucket(prefix, Use::Write)?, prefix)
    }
}

/// What no test has written is not written (decision 0047).
fn written(prefix: &Object) -> Result<(), ObjectError> {
    if prefix.cloud != Cloud::Gs {
        return Ok(());
    }
    let reason = "buckets of gs: are only read; name one of s3: or az:, or a folder";
    Err(ObjectError::new(prefix, Trouble::Closed, reason))
}

/// The bytes of an object, within a limit that is enforced while reading.
async fn read(
    bucket: &dyn Store,
    source_name: &str,
    object: &Object,
    limit: u64,
    mut beginning: Beginning,
) -> Result<Bytes, FetchError> {
    let failed = |error: Error| FetchError::from(ObjectError::of(object, &error));
    let path = Path::parse(&object.key).map_err(|error| failed(error.into()))?;
    let found = bucket.get(&path).await.map_err(failed)?;
    let too_large = || FetchError::TooLarge { source_name: source_name.to_owned(), limit };
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
        if let Some(looks_like) = beginning.no_image(&bytes) {
            let source_name = source_name.to_owned();
            return Err(FetchError::NotAnImage { source_name, looks_like });
        }
    }
    if (bytes.len() as u64) < size {
        let (received, reason) = (bytes.len() as u64, "it ended early".to_owned());
        let source_name = source_name.to_owned();
        return Err(FetchError::Interrupted { source_name, received, reason });
    }
    Ok(bytes.freeze())
}
