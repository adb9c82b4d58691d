//! The objects below a prefix, page by page.

use std::fmt;
use std::sync::Arc;

use async_recursion::async_recursion;
use futures_util::StreamExt;
use futures_util::stream::BoxStream;
use object_store::path::Path;
use object_store::{Error, ObjectMeta};
use ocelli_core::SourceUri;
use ocelli_core::object::Object;

use super::Store;
use super::words::{ObjectError, Trouble};
use crate::fetch::error::FetchError;

/// Times that a listing is taken up again behind the last object that arrived.
const RESUMED: u32 = 5;

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

/// A listing that goes on.
pub struct Listing {
    prefix: Object,
    bucket: Arc<dyn Store>,
    below: Path,
    found: BoxStream<'static, Result<ObjectMeta, Error>>,
    last: Option<Path>,
    /// Where it was taken up again.
    behind: Option<Path>,
    resumed: u32,
}

impl fmt::Debug for Listing {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Listing").field("prefix", &self.prefix).field("last", &self.last).finish()
    }
}

impl Listing {
    pub(super) fn begin(bucket: Arc<dyn Store>, prefix: &Object) -> Result<Self, ObjectError> {
        let below =
            Path::parse(&prefix.key).map_err(|error| ObjectError::of(prefix, &error.into()))?;
        let found = bucket.list(Some(&below));
        Ok(Self {
            prefix: prefix.clone(),
            bucket,
            below,
            found,
            last: None,
            behind: None,
            resumed: 0,
        })
    }

    /// The next object. The inner error is that of one object, which cannot be named; the listing goes on behind it.
    ///
    /// # Errors
    /// When the bucket cannot be listed, or not to its end.
    #[async_recursion]
    pub async fn next(&mut self) -> Result<Option<Result<ListedObject, String>>, FetchError> {
        loop {
            match self.found.next().await {
                None => return Ok(None),
                // Not every server knows where to begin.
                Some(Ok(found)) if self.behind.as_ref().is_some_and(|at| found.location <= *at) => {
                }
                Some(Ok(found)) => {
                    self.resumed = 0;
                    self.last = Some(found.location.clone());
                    return Ok(Some(self.listed(found)));
                }
                Some(Err(error)) => {
                    let failure = ObjectError::of(&self.prefix, &error);
                    if failure.trouble != Trouble::Passing || self.resumed >= RESUMED {
                        return Err(failure.into());
                    }
                    self.resumed += 1;
                    let wait = std::time::Duration::from_millis(100 << self.resumed);
                    tokio::time::sleep(wait).await;
                    self.behind.clone_from(&self.last);
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
        let object = Object { key, ..self.prefix.clone() };
        let source = SourceUri::of_object(&object).map_err(|error| error.to_string())?;
        Ok(ListedObject {
            source,
            size: found.size,
            modified: found.last_modified.timestamp_nanos_opt(),
            tag: found.e_tag,
        })
    }
}
