//! A prefix of a bucket that is written below: objects appear whole or not at all, as every protocol here promises.

use std::fmt;
use std::sync::Arc;

use async_recursion::async_recursion;
use bytes::Bytes;
use futures_util::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use ocelli_core::object::Object;

use super::Store;
use super::upload::Upload;
use super::words::{ObjectError, Trouble};
use crate::fetch::beginning::Beginning;
use crate::fetch::error::FetchError;

/// Names of one page of [`Prefix::names`].
const PAGE: usize = 1000;

/// A prefix of a bucket. Clones share its connections.
#[derive(Clone)]
pub struct Prefix {
    bucket: Arc<dyn Store>,
    prefix: Object,
}

impl fmt::Debug for Prefix {
    /// Without the client, which holds what it signs with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Prefix").field(&self.prefix).finish()
    }
}

impl fmt::Display for Prefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.prefix.fmt(f)
    }
}

impl Prefix {
    /// `prefix` is one, also where its slash is missing.
    pub(super) fn new(bucket: Arc<dyn Store>, prefix: &Object) -> Result<Self, ObjectError> {
        let mut prefix = prefix.clone();
        if !prefix.is_prefix() {
            prefix.key.push('/');
        }
        Path::parse(&prefix.key).map_err(|error| ObjectError::of(&prefix, &error.into()))?;
        Ok(Self { bucket, prefix })
    }

    /// The object of this name.
    fn object(&self, name: &str) -> Object {
        Object { key: format!("{}{name}", self.prefix.key), ..self.prefix.clone() }
    }

    pub(super) fn path(&self, name: &str) -> Result<(Object, Path), ObjectError> {
        let object = self.object(name);
        match Path::parse(&object.key) {
            Ok(path) => Ok((object, path)),
            Err(error) => Err(ObjectError::of(&object, &error.into())),
        }
    }

    pub(super) fn bucket(&self) -> &Arc<dyn Store> {
        &self.bucket
    }

    /// The bytes of an object; none when there is none of this name.
    ///
    /// # Errors
    /// When it is there and cannot be read, or nobody can tell.
    #[async_recursion]
    pub async fn get(&self, name: &str, limit: u64) -> Result<Option<Bytes>, FetchError> {
        let object = self.object(name);
        // Copies and exports are whatever was written there.
        let beginning = Beginning::new(false);
        match super::read(&*self.bucket, &object.to_string(), &object, limit, beginning).await {
            Ok(bytes) => Ok(Some(bytes)),
            Err(FetchError::Object { trouble: Trouble::Missing, .. }) => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// The length of an object; none when there is none of this name.
    ///
    /// # Errors
    /// When nobody can tell.
    #[async_recursion]
    pub async fn size(&self, name: &str) -> Result<Option<u64>, ObjectError> {
        let (object, path) = self.path(name)?;
        match self.bucket.head(&path).await {
            Ok(found) => Ok(Some(found.size)),
            Err(Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(ObjectError::of(&object, &error)),
        }
    }

    /// Writes an object, in place of one that is there.
    ///
    /// # Errors
    /// When the bucket does not take it.
    #[async_recursion]
    pub async fn put(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let (object, path) = self.path(name)?;
        let put = self.bucket.put(&path, PutPayload::from_bytes(bytes)).await;
        put.map(drop).map_err(|error| ObjectError::of(&object, &error))
    }

    /// Writes an object unless there is one of this name.
    ///
    /// # Errors
    /// [`Trouble::Exists`] where there is one, or is being written at this moment; [`Trouble::Unknown`] where the server cannot tell;
    /// or when the bucket does not take it.
    pub(crate) async fn put_new(&self, name: &str, bytes: Bytes) -> Result<(), ObjectError> {
        let (object, path) = self.path(name)?;
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put = self.bucket.put_opts(&path, PutPayload::from_bytes(bytes), options).await;
        put.map(drop).map_err(|error| ObjectError::of(&object, &error))
    }

    /// Removes an object; one that is not there is removed.
    ///
    /// # Errors
    /// When the bucket does not let it be removed.
    #[async_recursion]
    pub async fn remove(&self, name: &str) -> Result<(), ObjectError> {
        let (object, path) = self.path(name)?;
        match self.bucket.delete(&path).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ObjectError::of(&object, &error)),
        }
    }

    /// Names of objects in their order, behind `after`; none at the end.
    ///
    /// # Errors
    /// When the bucket cannot be listed.
    #[async_recursion]
    pub async fn names(&self, after: Option<&str>) -> Result<Vec<String>, ObjectError> {
        let failed = |error: Error| ObjectError::of(&self.prefix, &error);
        let below = Path::parse(&self.prefix.key).map_err(|error| failed(error.into()))?;
        let offset = after.map(|name| self.path(name)).transpose()?.map(|(_, path)| path);
        let mut found = match &offset {
            Some(offset) => self.bucket.list_with_offset(Some(&below), offset),
            None => self.bucket.list(Some(&below)),
        };
        let mut names = Vec::new();
        while names.len() < PAGE {
            let Some(object) = found.next().await else { break };
            let key = object.map_err(failed)?.location;
            // Not every server knows where to begin.
            if offset.as_ref().is_some_and(|offset| key <= *offset) {
                continue;
            }
            let name = key.as_ref().strip_prefix(&self.prefix.key).unwrap_or(key.as_ref());
            names.push(name.to_owned());
        }
        Ok(names)
    }

    /// Begins to write an object whose length is not known, in parts of about `part_bytes`. Nothing of it is there before
    /// [`Upload::finish`].
    ///
    /// # Errors
    /// [`Trouble::Name`].
    pub fn upload(&self, name: &str, part_bytes: usize) -> Result<Upload, ObjectError> {
        Upload::begin(self, name, part_bytes)
    }

    /// Takes away the parts of an upload that a process left behind. One that is not there any more is taken away.
    ///
    /// # Errors
    /// When the server does not let it be done.
    #[async_recursion]
    pub async fn abort(&self, name: &str, id: &str) -> Result<(), ObjectError> {
        let (object, path) = self.path(name)?;
        match self.bucket.abort_multipart(&path, &id.to_owned()).await {
            Ok(()) | Err(Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(ObjectError::of(&object, &error)),
        }
    }
}
