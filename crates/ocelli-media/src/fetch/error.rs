//! Why a source gave no bytes.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use ocelli_core::FailureClass;
use thiserror::Error;

use crate::objects::Trouble;

/// Why no [`crate::Fetcher`] could be made.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetcherError {
    /// A host pattern that matches nothing.
    #[error("'{pattern}' in the list of allowed hosts is not a host: {reason}")]
    Pattern {
        /// As configured.
        pattern: String,
        /// In words.
        reason: &'static str,
    },
}

/// Why a source gave no bytes. Each text names the source and can be understood alone.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FetchError {
    /// The file is not there.
    #[error("{source_name}: the file does not exist (any more)")]
    Gone {
        /// As people write it.
        source_name: String,
    },
    /// The operating system says no.
    #[error("{source_name}: no permission to read the file")]
    Denied {
        /// As people write it.
        source_name: String,
    },
    /// A folder, pipe, device or socket.
    #[error("{source_name}: not a regular file but {kind}")]
    NotAFile {
        /// As people write it.
        source_name: String,
        /// With its article.
        kind: &'static str,
    },
    /// A `file:` URI that is no local path.
    #[error("{source_name}: not a path on this machine")]
    NotLocal {
        /// As people write it.
        source_name: String,
    },
    /// Reading the file failed.
    #[error("{source_name}: cannot read the file: {error}")]
    Io {
        /// As people write it.
        source_name: String,
        /// The operating system's word.
        error: io::Error,
    },
    /// A member of an archive that is not where or what its source says.
    #[error("{source_name}: {reason}; produce the archive again if it was changed")]
    Member {
        /// As people write it.
        source_name: String,
        /// In words.
        reason: String,
    },
    /// An object of a bucket that cannot be read.
    #[error("{source_name}: {reason}")]
    Object {
        /// As people write it.
        source_name: String,
        /// In words, without what the server wrote.
        reason: String,
        /// Of which kind.
        trouble: Trouble,
    },
    /// More bytes than allowed. Reading stopped there.
    #[error("{source_name}: larger than {limit} bytes (setting limits.image_bytes)")]
    TooLarge {
        /// As people write it.
        source_name: String,
        /// As configured.
        limit: u64,
    },
    /// Something else, and more of it than its beginning. Reading stopped there.
    #[error(
        "{source_name}: not an image: it looks like {looks_like}, and only its beginning was read; name the image itself"
    )]
    NotAnImage {
        /// As people write it.
        source_name: String,
        /// With its article.
        looks_like: &'static str,
    },
    /// The host is not on the public internet.
    #[error(
        "{source_name}: refused, because {host} has the address {address}, which is not public (settings \
         limits.allow_private_hosts and limits.allowed_hosts)"
    )]
    PrivateHost {
        /// As people write it.
        source_name: String,
        /// The name asked for, which may be that of a redirect.
        host: String,
        /// The first of its addresses.
        address: IpAddr,
    },
    /// The redirects do not end.
    #[error("{source_name}: more than {limit} redirects")]
    Redirects {
        /// As people write it.
        source_name: String,
        /// As configured.
        limit: u32,
    },
    /// A redirect to nowhere, or to where nobody may be sent.
    #[error("{source_name}: bad redirect to '{target}': {reason}")]
    BadRedirect {
        /// As people write it.
        source_name: String,
        /// As the server wrote it, shortened.
        target: String,
        /// In words.
        reason: String,
    },
    /// The server answered, but not with the image.
    #[error("{source_name}: the server answered {status}{words}", words = in_words(*.status))]
    Status {
        /// As people write it.
        source_name: String,
        /// HTTP status code.
        status: u16,
        /// How long the server asks to be left alone.
        retry_after: Option<Duration>,
    },
    /// The server does not want its image to be used.
    #[error(
        "{source_name}: its server does not let it be used (X-Robots-Tag: {directive}; setting producer.obey_robots)"
    )]
    Unwanted {
        /// As people write it.
        source_name: String,
        /// What the server said.
        directive: &'static str,
    },
    /// The rules of the host say no.
    #[error(
        "{source_name}: the robots.txt of its host does not allow it (setting producer.obey_robots)"
    )]
    Disallowed {
        /// As people write it.
        source_name: String,
    },
    /// The rules of the host cannot be read, and without them nothing is fetched there.
    #[error("{source_name}: it is not known whether its host allows it: {reason}")]
    RulesUnknown {
        /// As people write it.
        source_name: String,
        /// In words.
        reason: String,
    },
    /// The host took no connection a moment ago.
    #[error(
        "{source_name}: {host} took no connection a moment ago ({reason}), and is left alone for a while (setting \
         producer.host_away)"
    )]
    Away {
        /// As people write it.
        source_name: String,
        /// Its name.
        host: String,
        /// In words.
        reason: String,
    },
    /// The body is compressed although nobody asked for that.
    #[error("{source_name}: the server sent it compressed ({encoding}) without being asked")]
    Compressed {
        /// As people write it.
        source_name: String,
        /// `Content-Encoding`.
        encoding: &'static str,
    },
    /// No connection: name, network, TLS.
    #[error("{source_name}: cannot connect to {host}: {reason}")]
    Connect {
        /// As people write it.
        source_name: String,
        /// The name asked for, which may be that of a redirect.
        host: String,
        /// In words.
        reason: String,
    },
    /// No TLS is possible on this machine.
    #[error("{source_name}: no HTTP client could be set up on this machine: {reason}")]
    NoClient {
        /// As people write it.
        source_name: String,
        /// In words.
        reason: String,
    },
    /// Too slow.
    #[error("{source_name}: {what} within {limit:?}")]
    Timeout {
        /// As people write it.
        source_name: String,
        /// What did not happen.
        what: &'static str,
        /// As configured.
        limit: Duration,
    },
    /// The answer broke off or is no HTTP.
    #[error("{source_name}: the answer broke off after {received} bytes: {reason}")]
    Interrupted {
        /// As people write it.
        source_name: String,
        /// Of the body.
        received: u64,
        /// In words.
        reason: String,
    },
}

impl FetchError {
    /// Whether trying again may help.
    #[must_use]
    pub fn class(&self) -> FailureClass {
        match self {
            Self::Gone { .. }
            | Self::Denied { .. }
            | Self::NotAFile { .. }
            | Self::NotLocal { .. }
            | Self::Member { .. }
            | Self::TooLarge { .. }
            | Self::NotAnImage { .. }
            | Self::PrivateHost { .. }
            | Self::Redirects { .. }
            | Self::BadRedirect { .. }
            | Self::Unwanted { .. }
            | Self::Disallowed { .. }
            | Self::Compressed { .. } => FailureClass::Permanent,
            Self::Status { status, .. } => match status {
                // Accepted, request timeout, too early, too many requests, and whatever ails the server itself.
                202 | 408 | 425 | 429 | 500..=599 => FailureClass::Transient,
                _ => FailureClass::Permanent,
            },
            Self::Object { trouble, .. } => trouble.class(),
            Self::Io { error, .. } => match error.kind() {
                io::ErrorKind::InvalidInput
                | io::ErrorKind::InvalidFilename
                | io::ErrorKind::IsADirectory => FailureClass::Permanent,
                _ => FailureClass::Transient,
            },
            // One host that cannot be reached is that host's matter, not an outage of what analyzers depend on: attempts
            // are spent, so that an image on a host that is gone for good comes to an end.
            Self::Connect { .. }
            | Self::Timeout { .. }
            | Self::Interrupted { .. }
            | Self::Away { .. }
            | Self::RulesUnknown { .. } => FailureClass::Transient,
            // Nothing is wrong with the image: this machine lacks certificates.
            Self::NoClient { .. } => FailureClass::Outage,
        }
    }

    /// Whether the host could not be reached at all.
    #[must_use]
    pub fn is_no_connection(&self) -> bool {
        match self {
            Self::Connect { .. } => true,
            Self::Timeout { what, .. } => *what == NO_CONNECTION,
            _ => false,
        }
    }

    /// How long the server asks to be left alone (`Retry-After`).
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Status { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

/// What did not happen when no connection came about in time.
pub(super) const NO_CONNECTION: &str = "no connection to the server";

/// The common ones, for people who do not know the numbers.
fn in_words(status: u16) -> &'static str {
    match status {
        401 => " (it wants credentials)",
        403 => " (forbidden)",
        404 => " (not found)",
        408 => " (request timeout)",
        410 => " (gone)",
        429 => " (too many requests)",
        451 => " (unavailable for legal reasons)",
        500..=599 => " (the server has a problem)",
        _ => "",
    }
}
