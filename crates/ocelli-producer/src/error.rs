//! Why a run ended early. Troubles of single references are never here: they are problems of the batch.

use std::io;
use std::path::PathBuf;

use ocelli_broker::PublishError;
use ocelli_catalog::CatalogError;
use ocelli_media::FetcherError;
use thiserror::Error;

use crate::source::{SourceError, shown};

/// Why a run ended before its sources did. What was counted as accepted stays accepted; the same command continues.
#[derive(Debug, Error)]
pub enum ProducerError {
    /// A source cannot be used; nothing was enqueued.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// No HTTP client.
    #[error("URLs cannot be fetched")]
    Fetcher(#[from] FetcherError),
    /// The system gives no thread.
    #[error("no thread for listing the sources")]
    Thread(#[source] io::Error),
    /// A defect of ocelli: its thread died.
    #[error(
        "listing the sources ended by a defect of ocelli; run the same command again to continue"
    )]
    Lister,
    /// A defect of ocelli: the counts do not add up.
    #[error(
        "{count} references were lost by a defect of ocelli; run the same command again to enqueue them"
    )]
    Lost {
        /// How many.
        count: u64,
    },
    /// People cancelled the batch.
    #[error("the batch was cancelled while its sources were listed")]
    Cancelled,
    /// The catalog does not answer.
    #[error("the catalog cannot tell which images are known")]
    Lookup(#[source] CatalogError),
    /// The broker does not take a message.
    #[error("cannot publish '{what}'")]
    Publish {
        /// The message's id.
        what: String,
        /// Why.
        #[source]
        source: PublishError,
    },
    /// A folder cannot be watched.
    #[error("the folder '{}' cannot be watched{hint}", shown(path))]
    Watch {
        /// Which.
        path: PathBuf,
        /// The way out, if there is one.
        hint: &'static str,
        /// Why.
        #[source]
        source: notify::Error,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_are_small_enough_to_be_returned_by_value() {
        assert!(size_of::<ProducerError>() <= 128, "{}", size_of::<ProducerError>());
    }
}
