//! Objects below a prefix of a bucket → references, page by page, in constant memory.
//!
//! The bucket says of each object what it is like, so that one that has not changed need not be fetched again.

use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ocelli_catalog::FileStamp;
use ocelli_core::object::Object;
use ocelli_core::{Digest, SourceUri, chain};
use ocelli_media::{Fetcher, ListedObject, Listing};
use tokio::runtime::Handle;

use crate::ProducerOptions;
use crate::examine::has_image_extension;
use crate::filter::Filter;
use crate::listing::{Listed, Out, Reference};
use crate::source::SourceError;

/// A prefix that can be listed.
pub(crate) struct Bucket {
    prefix: SourceUri,
    listing: Listing,
    first: Option<Result<ListedObject, String>>,
    filter: Filter,
    most_bytes: u64,
    runtime: Handle,
}

impl Bucket {
    /// Asks for the first object, so that a wrong key or name is said before anything is enqueued. Blocks.
    pub(crate) fn open(
        prefix: &SourceUri,
        options: &ProducerOptions,
        runtime: &Handle,
    ) -> Result<Self, SourceError> {
        let failed = |reason: String| SourceError::Bucket { reason };
        let fetcher = Fetcher::new(options.fetch.clone()).map_err(|error| failed(chain(&error)))?;
        let mut listing = fetcher.list(prefix).map_err(|error| failed(chain(&error)))?;
        let first = runtime.block_on(listing.next()).map_err(|error| failed(chain(&error)))?;
        Ok(Self {
            filter: Filter::new(place(prefix.object().as_ref()), options)?,
            prefix: prefix.clone(),
            listing,
            first,
            most_bytes: options.decode.bytes,
            runtime: runtime.clone(),
        })
    }

    /// Lists its objects. Blocks.
    pub(crate) fn list(mut self, out: &Out) -> ControlFlow<()> {
        let Some(first) = self.first.take() else {
            let reason = "there is nothing below it; check the spelling".to_owned();
            return out.problem(self.prefix.to_string(), reason);
        };
        self.object(first, out)?;
        loop {
            match self.runtime.block_on(self.listing.next()) {
                Ok(Some(found)) => self.object(found, out)?,
                Ok(None) => return ControlFlow::Continue(()),
                Err(error) => {
                    let reason = format!("it cannot be listed to its end: {}", chain(&error));
                    return out.problem(self.prefix.to_string(), reason);
                }
            }
        }
    }

    fn object(&self, found: Result<ListedObject, String>, out: &Out) -> ControlFlow<()> {
        let found = match found {
            Ok(found) => found,
            Err(reason) => return out.problem(self.prefix.to_string(), reason),
        };
        let Some(object) = found.source.object() else { return ControlFlow::Continue(()) };
        if !self.filter.reaches(&place(Some(&object)), false) {
            return ControlFlow::Continue(());
        }
        let promises = has_image_extension(Path::new(&object.key));
        let skipped = |why| out.send(Listed::Skipped(PathBuf::from(found.source.to_string()), why));
        if !promises && found.size == 0 {
            return skipped("an empty object");
        }
        if !promises && found.size > self.most_bytes {
            return skipped("its name promises no image, and it is larger than images are read");
        }
        let stamp = stamp(&found);
        let reference = Reference { named: false, stamp, ..Reference::named(found.source) };
        out.send(Listed::Reference(Box::new(reference)))
    }
}

/// Where an object would be if buckets were folders, for globs.
fn place(object: Option<&Object>) -> PathBuf {
    let Some(Object { cloud, bucket, key }) = object else { return PathBuf::from("/") };
    let scheme = cloud.scheme().as_bytes();
    let path = [b"/", scheme, b":/", bucket.as_bytes(), b"/", key.as_bytes()].concat();
    // A trailing slash would be a second name for the same folder.
    Path::new(std::ffi::OsStr::from_bytes(&path)).components().collect()
}

/// What changes when the object does. Its tag is that of its content, so times of any grain are fine.
fn stamp(found: &ListedObject) -> Option<FileStamp> {
    let tag = Digest::of(found.tag.as_ref()?.as_bytes());
    let mut first = [0; 8];
    first.copy_from_slice(&tag.as_bytes()[..8]);
    let inode = u64::from_be_bytes(first);
    Some(FileStamp { size: found.size, modified: found.modified?, changed: 0, inode })
}
