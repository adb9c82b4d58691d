//! Why an export cannot go on.

use std::io;
use std::path::PathBuf;

use ocelli_catalog::CatalogError;
use thiserror::Error;

use crate::objects::ObjectsError;

/// What went wrong.
#[derive(Debug, Error)]
pub enum ExportError {
    /// The catalog did not answer.
    #[error("the archive cannot be read")]
    Catalog(#[from] CatalogError),
    /// A file cannot be written. Whole files stay; the same command goes on behind them.
    #[error(
        "'{}' cannot be written; the files that the manifest lists are whole, and the same command goes on behind them",
        path.display()
    )]
    Write {
        /// Which.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// A bucket does not take it, or cannot be read. Whole files stay; the same command goes on behind them.
    #[error("the bucket cannot be exported to; the files that its manifest lists are whole")]
    Objects(#[source] ObjectsError),
    /// The prefix holds something else.
    #[error("'{prefix}' {reason}; name an empty prefix, or one that holds an export of the same")]
    Prefix {
        /// Which.
        prefix: String,
        /// What.
        reason: String,
    },
    /// Another run exports to the prefix, and has been told of in its manifest since this one began.
    #[error(
        "'{prefix}' is being exported to by another run; let that one go on, or name another prefix"
    )]
    Another {
        /// Which.
        prefix: String,
    },
    /// The stream cannot be written.
    #[error("the stream cannot be written")]
    Stream {
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The folder holds something else.
    #[error("'{}' {reason}; name an empty folder, or one that holds an export of the same", path.display())]
    Folder {
        /// Which.
        path: PathBuf,
        /// What.
        reason: String,
    },
}

impl ExportError {
    /// Whether the disk or the bucket is full.
    #[must_use]
    pub fn is_full(&self) -> bool {
        matches!(self, Self::Objects(error) if error.full)
            || matches!(self, Self::Write { source, .. } | Self::Stream { source }
            if matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded | io::ErrorKind::FileTooLarge))
    }
}
