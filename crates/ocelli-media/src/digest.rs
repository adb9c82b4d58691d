//! Reading a local file once, for its bytes and its digest. Used by producers, on a blocking thread.

use std::path::Path;

use bytes::Bytes;
use ocelli_core::Digest;

use crate::fetch::error::FetchError;
use crate::fetch::file;

/// Reads a regular file of at most `max_bytes` and computes its digest. Blocks.
///
/// # Errors
/// [`FetchError`]; no variant that concerns hosts.
pub fn read_file(path: &Path, max_bytes: u64) -> Result<(Bytes, Digest), FetchError> {
    let bytes = file::read(path, max_bytes)?;
    let digest = Digest::of(&bytes);
    Ok((bytes, digest))
}
