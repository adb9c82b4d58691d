//! Where a private server puts its files: the system's temporary folder, or one that a test names, such as a small disk.

use std::path::PathBuf;

use tempfile::TempDir;

use super::StartError;

/// A folder in which servers make their own ones.
#[derive(Debug, Clone)]
pub struct Place(PathBuf);

impl Place {
    /// The system's temporary folder.
    #[must_use]
    pub fn temporary() -> Self {
        Self(std::env::temp_dir())
    }

    /// This folder, which is there.
    #[must_use]
    pub fn at(folder: impl Into<PathBuf>) -> Self {
        Self(folder.into())
    }

    /// A new folder in it, removed when dropped.
    pub(super) fn folder(&self, prefix: &str) -> Result<TempDir, StartError> {
        tempfile::Builder::new()
            .prefix(prefix)
            .tempdir_in(&self.0)
            .map_err(|source| StartError::Prepare { path: self.0.clone(), source })
    }
}
