//! Copies of images under their digest: written once, verified, whole or not there.
//!
//! The same layout in a folder and in a bucket: `ab/cdef…`, the digest cut after two digits. So a folder can be carried into a bucket, and
//! back, by any program that copies files.

mod bucket;
mod folder;

use std::path::PathBuf;
use std::time::SystemTime;

use bytes::Bytes;
use ocelli_core::Digest;
use ocelli_core::object::Object;

use crate::fetch::error::FetchError;
use crate::objects::Objects;
pub use folder::Store;

/// Where copies of images are kept (setting `data.kept`).
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kept {
    /// In a folder.
    Folder(PathBuf),
    /// Below a prefix of a bucket, which machines share.
    Bucket(Object),
}

impl From<PathBuf> for Kept {
    fn from(folder: PathBuf) -> Self {
        Self::Folder(folder)
    }
}

/// Either store, opened.
#[derive(Debug, Clone)]
pub(crate) enum Copies {
    Folder(Store),
    Bucket(bucket::Copies),
}

impl Copies {
    pub(crate) fn open(kept: Kept, objects: &Objects) -> Self {
        match kept {
            Kept::Folder(folder) => Self::Folder(Store::new(folder)),
            Kept::Bucket(prefix) => Self::Bucket(bucket::Copies::open(objects, &prefix)),
        }
    }

    /// The copy of an image; none when there is none.
    pub(crate) async fn get(
        &self,
        digest: &Digest,
        most: u64,
    ) -> Result<Option<Bytes>, FetchError> {
        match self {
            Self::Folder(store) => {
                let path = store.path(digest);
                let source_name = path.display().to_string();
                let reading =
                    tokio::task::spawn_blocking(move || crate::fetch::file::read(&path, most));
                match reading.await {
                    Ok(Ok(bytes)) => Ok(Some(bytes)),
                    Ok(Err(FetchError::Gone { .. })) => Ok(None),
                    Ok(Err(error)) => Err(error),
                    Err(error) => {
                        Err(FetchError::Io { source_name, error: std::io::Error::other(error) })
                    }
                }
            }
            Self::Bucket(copies) => copies.get(digest, most).await,
        }
    }

    /// Keeps an image; whether it is new.
    pub(crate) async fn put(&self, digest: Digest, bytes: Bytes) -> std::io::Result<bool> {
        match self {
            Self::Folder(store) => {
                let store = store.clone();
                let writing = tokio::task::spawn_blocking(move || store.put(&digest, &bytes));
                writing.await.map_err(std::io::Error::other)?
            }
            Self::Bucket(copies) => copies.put(digest, bytes).await,
        }
    }

    /// Removes what processes left behind that died while they wrote: in a folder alone, an object is there or not.
    pub(crate) fn sweep(&self, now: SystemTime) -> std::io::Result<u64> {
        match self {
            Self::Folder(store) => store.sweep(now),
            Self::Bucket(_) => Ok(0),
        }
    }
}
