//! What went wrong with a bucket, in our words: what a server writes may quote the key and what was signed with it.

use object_store::Error;
use ocelli_core::FailureClass;
use ocelli_core::object::{Cloud, Object};
use thiserror::Error as ThisError;

use crate::fetch::error::FetchError;

/// The kind of trouble with a bucket, for whoever decides by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Trouble {
    /// There is no such object, or no such bucket where the server does not tell them apart.
    Missing,
    /// There is no such bucket.
    NoBucket,
    /// The server refuses the credentials, or they cannot be used at all.
    Refused,
    /// The settings do not let this bucket be used.
    Closed,
    /// It takes nothing more.
    Full,
    /// It is there already.
    Exists,
    /// The server does not know what was asked for.
    Unknown,
    /// A name that cannot be.
    Name,
    /// Anything else: networks, timeouts, servers with problems.
    Passing,
}

/// Why something could not be done with a bucket.
#[derive(Debug, ThisError)]
#[error("{name}: {reason}")]
pub struct ObjectError {
    /// The bucket, prefix or object.
    pub name: String,
    /// In words, without what the server wrote.
    pub reason: String,
    /// Of which kind.
    pub trouble: Trouble,
}

impl ObjectError {
    pub(crate) fn of(object: &Object, error: &Error) -> Self {
        let trouble = trouble(error);
        let reason = in_words(object.cloud, trouble, error);
        Self::new(object, trouble, reason)
    }

    pub(crate) fn new(object: &Object, trouble: Trouble, reason: impl Into<String>) -> Self {
        let name = object.to_string().replace(|c: char| c.is_control(), "\u{fffd}");
        Self { name, reason: reason.into(), trouble }
    }
}

impl Trouble {
    /// Whether trying again may help.
    #[must_use]
    pub const fn class(self) -> FailureClass {
        match self {
            Self::Missing | Self::NoBucket | Self::Closed | Self::Name | Self::Exists => {
                FailureClass::Permanent
            }
            // Credentials are renewed, permissions given and disks emptied; whoever asks for long enough ends all the same.
            Self::Refused | Self::Full | Self::Unknown | Self::Passing => FailureClass::Transient,
        }
    }
}

impl From<ObjectError> for FetchError {
    fn from(error: ObjectError) -> Self {
        Self::Object { source_name: error.name, reason: error.reason, trouble: error.trouble }
    }
}

fn trouble(error: &Error) -> Trouble {
    let says = |status: &str| said(error).contains(status);
    match error {
        Error::InvalidPath { .. } => Trouble::Name,
        Error::NotSupported { .. } | Error::NotImplemented { .. } => Trouble::Unknown,
        _ if is_full(error) => Trouble::Full,
        _ if names_no_bucket(error) => Trouble::NoBucket,
        Error::NotFound { .. } => Trouble::Missing,
        Error::AlreadyExists { .. } | Error::Precondition { .. } => Trouble::Exists,
        Error::PermissionDenied { .. } | Error::Unauthenticated { .. } => Trouble::Refused,
        // Listings have no other kinds of errors than by their status, and only the text tells that.
        _ if says("404 Not Found") => Trouble::Missing,
        _ if says("403 Forbidden") || says("401 Unauthorized") => Trouble::Refused,
        _ if says("501 Not Implemented") => Trouble::Unknown,
        _ => Trouble::Passing,
    }
}

/// Full disks and used-up quotas have no status of their own at most servers: MinIO and Ceph name them in the body.
fn is_full(error: &Error) -> bool {
    let text = innermost(error).to_string();
    ["507 Insufficient Storage", "StorageFull", "QuotaExceeded"]
        .iter()
        .any(|one| text.contains(one))
}

/// The status is that of an object that is not there; the body tells them apart.
fn names_no_bucket(error: &Error) -> bool {
    let text = innermost(error).to_string();
    ["NoSuchBucket", "ContainerNotFound"].iter().any(|code| text.contains(code))
}

const fn refused(cloud: Cloud) -> &'static str {
    match cloud {
        Cloud::S3 => {
            "the server refuses these credentials (settings objects.access_key and objects.secret_key, or AWS_ACCESS_KEY_ID and \
             AWS_SECRET_ACCESS_KEY)"
        }
        Cloud::Gs => {
            "the server refuses these credentials (setting objects.gs_key_file, or GOOGLE_APPLICATION_CREDENTIALS)"
        }
        Cloud::Az => {
            "the server refuses these credentials (settings objects.az_account and objects.az_key_file, or \
             AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY)"
        }
    }
}

fn in_words(cloud: Cloud, trouble: Trouble, error: &Error) -> String {
    match trouble {
        Trouble::Missing => "there is no such bucket or object (any more)".to_owned(),
        Trouble::NoBucket => "there is no such bucket".to_owned(),
        Trouble::Refused => refused(cloud).to_owned(),
        Trouble::Full => {
            "it is full, or its quota is used up; make room, or use another one".to_owned()
        }
        Trouble::Exists => "there is another object under this name".to_owned(),
        Trouble::Name => {
            "a name in it has an empty part, '.', '..' or a control character, which is not read"
                .to_owned()
        }
        Trouble::Closed | Trouble::Unknown | Trouble::Passing => said(error),
    }
}

/// Why no client could be made, without what is in the settings: an error about a key may quote it.
pub(crate) fn unusable(object: &Object, error: &Error) -> ObjectError {
    let reason = match object.cloud {
        Cloud::S3 => format!("its bucket cannot be used: {}", said(error)),
        Cloud::Gs => {
            "the key of its service account cannot be read (setting objects.gs_key_file, or \
             GOOGLE_APPLICATION_CREDENTIALS)"
                .to_owned()
        }
        Cloud::Az => {
            "its account is not named, or its key cannot be read (settings objects.az_account and \
             objects.az_key_file, or AZURE_STORAGE_ACCOUNT_NAME and AZURE_STORAGE_ACCOUNT_KEY)"
                .to_owned()
        }
    };
    ObjectError::new(object, Trouble::Refused, reason)
}

fn innermost(error: &Error) -> &dyn std::error::Error {
    let mut innermost: &dyn std::error::Error = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost
}

/// The innermost error without the body of an answer, which is XML or JSON.
fn said(error: &Error) -> String {
    let text = innermost(error).to_string();
    let said = text.split(['<', '{', '\n']).next().unwrap_or_default();
    crate::decode::error::clip(said.trim_end_matches([' ', ':']))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn object() -> Object {
        Object { cloud: Cloud::S3, bucket: "bucket".to_owned(), key: "a/b".to_owned() }
    }

    #[test]
    fn what_a_server_wrote_is_not_shown() {
        let body = "Server returned error response: <Error><AWSAccessKeyId>AKIA-public</AWSAccessKeyId></Error>";
        let error = Error::Generic { store: "S3", source: body.into() };
        let error = ObjectError::of(&object(), &error);
        assert_eq!(error.to_string(), "s3://bucket/a/b: Server returned error response");
    }

    #[test]
    fn a_full_bucket_is_told_from_a_key_that_is_refused() {
        for (text, expected) in [
            ("Server returned non-2xx status code: 507 Insufficient Storage: ", Trouble::Full),
            (
                "status code: 403 Forbidden: <Error><Code>QuotaExceeded</Code></Error>",
                Trouble::Full,
            ),
            (
                "status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>",
                Trouble::Refused,
            ),
            ("status code: 503 Service Unavailable: ", Trouble::Passing),
        ] {
            let error = Error::Generic { store: "S3", source: text.into() };
            assert_eq!(ObjectError::of(&object(), &error).trouble, expected, "{text}");
        }
    }
}
