//! Copies below a prefix of a bucket. Producers on several machines may write the same image at once: the first one wins, and all
//! write the same bytes.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use bytes::Bytes;
use ocelli_core::Digest;
use ocelli_core::object::Object;

use crate::fetch::error::FetchError;
use crate::objects::{ObjectError, Objects, Prefix, Trouble};

/// How often a copy is written again that another producer was writing, and that was not there afterwards.
const ATTEMPTS: u32 = 3;

/// A bucket of images. A prefix that cannot be used says so to whoever reads or writes: settings are no reason not to start.
#[derive(Debug, Clone)]
pub(crate) struct Copies {
    prefix: Result<Prefix, Arc<ObjectError>>,
    /// Whether the server has said that it cannot write on condition.
    plain: Arc<AtomicBool>,
}

impl Copies {
    pub(crate) fn open(objects: &Objects, prefix: &Object) -> Self {
        Self { prefix: objects.own_prefix(prefix).map_err(Arc::new), plain: Arc::default() }
    }

    fn prefix(&self) -> Result<&Prefix, ObjectError> {
        self.prefix.as_ref().map_err(|error| ObjectError {
            name: error.name.clone(),
            reason: error.reason.clone(),
            trouble: error.trouble,
        })
    }

    pub(crate) async fn get(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, FetchError> {
        self.prefix()?.get(&name(digest), most).await
    }

    pub(crate) async fn put(&self, digest: Digest, bytes: Bytes) -> io::Result<bool> {
        let (bytes, found) = tokio::task::spawn_blocking(move || {
            let found = Digest::of(&bytes);
            (bytes, found)
        })
        .await
        .map_err(io::Error::other)?;
        if found != digest {
            let reason = "the bytes are not those of this digest";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        self.write(&name(&digest), bytes).await.map_err(|error| {
            let kind = match error.trouble {
                Trouble::Full => io::ErrorKind::StorageFull,
                Trouble::Refused | Trouble::Closed => io::ErrorKind::PermissionDenied,
                Trouble::Missing => io::ErrorKind::NotFound,
                _ => io::ErrorKind::Other,
            };
            io::Error::new(kind, error)
        })
    }

    /// The bucket itself checks the SHA-256 that the request is signed with, or the connection is encrypted; either way an object is whole.
    async fn write(&self, name: &str, bytes: Bytes) -> Result<bool, ObjectError> {
        let prefix = self.prefix()?;
        for _ in 0..ATTEMPTS {
            match prefix.size(name).await? {
                Some(size) if size == bytes.len() as u64 => return Ok(false),
                // One of another length was damaged after it had its name.
                Some(_) => break,
                None if self.plain.load(Ordering::Relaxed) => break,
                None => {}
            }
            match prefix.put_new(name, bytes.clone()).await {
                Ok(()) => return Ok(true),
                // Another producer has written it, or is about to: look again.
                Err(error) if error.trouble == Trouble::Exists => {}
                Err(error) if error.trouble == Trouble::Unknown => {
                    self.plain.store(true, Ordering::Relaxed);
                }
                Err(error) => return Err(error),
            }
        }
        prefix.put(name, bytes).await.map(|()| true)
    }
}

/// The name of a copy below its prefix, as it is below a folder.
fn name(digest: &Digest) -> String {
    let name = digest.to_string();
    let (shard, rest) = name.split_at(2);
    format!("{shard}/{rest}")
}
