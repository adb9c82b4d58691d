//! Where bytes were found.

use std::fmt;
use std::path::{Path, PathBuf};
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use thiserror::Error;
use url::Url;

use crate::member::{ArchiveKind, Member};
use crate::object::{Cloud, Object};

/// Longest URI that is kept; longer ones are refused by name.
pub const MAX_URI_BYTES: usize = 8 * 1024;

/// A `file:`, `http:` or `https:` URI, or that of an [`Object`] of a bucket or a [`Member`] of an archive. File names that are not UTF-8 survive, percent-encoded (RFC 8089, RFC 3986).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SourceUri(Url);

/// Why a text or path is not a [`SourceUri`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum SourceError {
    /// Not an absolute URI.
    #[error("'{text}' is not a URI: {reason}")]
    Syntax {
        /// Beginning of the text.
        text: String,
        /// What the parser said.
        reason: String,
    },
    /// A scheme nobody reads.
    #[error("'{0}:' sources are not supported; use file:, http:, https:, s3:, gs: or az:")]
    Scheme(String),
    /// Not the URI of a member of an archive, as ocelli writes it.
    #[error("'{0}' names no member of an archive; name the archive as a source of its own")]
    Member(String),
    /// Not the URI of an object.
    #[error(
        "'{0}' names no object of a bucket; write s3://bucket/key (or gs:, az:), with what is special in a key as %XX"
    )]
    Object(String),
    /// Longer than [`MAX_URI_BYTES`].
    #[error("the URI has {0} bytes; at most {MAX_URI_BYTES} are kept")]
    TooLong(usize),
    /// A relative path.
    #[error("the path '{0}' is not absolute")]
    Relative(PathBuf),
    /// A user name or password would be stored and shown.
    #[error("the URI carries a user name or password; give credentials in the settings instead")]
    Credentials,
}

impl SourceUri {
    /// The `file:` URI of an absolute path.
    ///
    /// # Errors
    /// [`SourceError::Relative`] or [`SourceError::TooLong`].
    pub fn from_path(path: &Path) -> Result<Self, SourceError> {
        let url = Url::from_file_path(path).map_err(|()| SourceError::Relative(path.to_owned()))?;
        Self::from_url(url)
    }

    /// Whether it is an address of the web.
    #[must_use]
    pub fn is_web(&self) -> bool {
        matches!(self.0.scheme(), "http" | "https")
    }

    /// Checks scheme, length and credentials. The fragment is dropped: it never reaches a server.
    ///
    /// # Errors
    /// [`SourceError`].
    pub fn from_url(mut url: Url) -> Result<Self, SourceError> {
        url.set_fragment(None);
        if !url.username().is_empty() || url.password().is_some() {
            return Err(SourceError::Credentials);
        }
        match url.scheme() {
            "file" | "http" | "https" => {}
            scheme if Cloud::of_scheme(scheme).is_some() => {
                // Written in one way, so that one object is one source.
                let object = Object::of_url(&url).and_then(|object| Url::parse(&object.uri()).ok());
                url = object
                    .filter(|written| Object::of_url(written) == Object::of_url(&url))
                    .ok_or_else(|| SourceError::Object(url.as_str().chars().take(80).collect()))?;
            }
            scheme if ArchiveKind::of_scheme(scheme).is_some() => {
                if Member::of_url(&url).is_none() {
                    return Err(SourceError::Member(url.as_str().chars().take(80).collect()));
                }
            }
            other => return Err(SourceError::Scheme(other.to_owned())),
        }
        let length = url.as_str().len();
        if length > MAX_URI_BYTES { Err(SourceError::TooLong(length)) } else { Ok(Self(url)) }
    }

    /// The URI.
    #[must_use]
    pub fn url(&self) -> &Url {
        &self.0
    }

    /// The URI as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        self.0.as_str()
    }

    /// The path of a `file:` URI.
    #[must_use]
    pub fn path(&self) -> Option<PathBuf> {
        (self.0.scheme() == "file").then(|| self.0.to_file_path().ok()).flatten()
    }

    /// The URI of a member of an archive.
    ///
    /// # Errors
    /// [`SourceError::Relative`] or [`SourceError::TooLong`].
    pub fn of_member(member: &Member) -> Result<Self, SourceError> {
        let uri = member.uri().ok_or_else(|| SourceError::Relative(member.archive.clone()))?;
        uri.parse()
    }

    /// The URI of an object of a bucket.
    ///
    /// # Errors
    /// [`SourceError::Object`] or [`SourceError::TooLong`].
    pub fn of_object(object: &Object) -> Result<Self, SourceError> {
        let uri: Self = object.uri().parse()?;
        if uri.object().as_ref() == Some(object) {
            Ok(uri)
        } else {
            Err(SourceError::Object(object.to_string().chars().take(80).collect()))
        }
    }

    /// The object of a bucket, or the prefix, that it names.
    #[must_use]
    pub fn object(&self) -> Option<Object> {
        Object::of_url(&self.0)
    }

    /// The member of an archive that it names.
    #[must_use]
    pub fn member(&self) -> Option<Member> {
        Member::of_url(&self.0)
    }
}

impl fmt::Display for SourceUri {
    /// Paths as people write them, other sources as URIs; control characters replaced.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = match self.path() {
            Some(path) => path.to_string_lossy().into_owned(),
            None => self.member().map_or_else(|| self.0.as_str().to_owned(), |one| one.to_string()),
        };
        f.pad(&text.replace(|c: char| c.is_control(), "\u{fffd}"))
    }
}

impl FromStr for SourceUri {
    type Err = SourceError;
    fn from_str(text: &str) -> Result<Self, SourceError> {
        if text.len() > MAX_URI_BYTES {
            return Err(SourceError::TooLong(text.len()));
        }
        let url = Url::parse(text).map_err(|error| SourceError::Syntax {
            text: text.chars().filter(|c| !c.is_control()).take(80).collect(),
            reason: error.to_string(),
        })?;
        Self::from_url(url)
    }
}

impl Serialize for SourceUri {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

impl<'de> Deserialize<'de> for SourceUri {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <std::borrow::Cow<'de, str>>::deserialize(deserializer)?.parse().map_err(de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    #[test]
    fn a_file_name_that_is_not_utf8_survives_the_round_trip() {
        let path = Path::new(OsStr::from_bytes(b"/tmp/a\xff b\n%.png"));
        let uri = SourceUri::from_path(path).unwrap();
        assert_eq!(uri.path().unwrap(), path);
        assert_eq!(uri.as_str().parse::<SourceUri>().unwrap(), uri);
        assert!(!uri.to_string().contains('\n'));
    }

    #[test]
    fn other_schemes_credentials_and_relative_paths_are_refused() {
        assert!(matches!("ftp://a/b".parse::<SourceUri>(), Err(SourceError::Scheme(_))));
        assert!(matches!("http://u:p@a/b".parse::<SourceUri>(), Err(SourceError::Credentials)));
        assert!(matches!("b.png".parse::<SourceUri>(), Err(SourceError::Syntax { .. })));
        assert!(matches!(SourceUri::from_path(Path::new("b")), Err(SourceError::Relative(_))));
        let long = format!("http://a/{}", "x".repeat(MAX_URI_BYTES));
        assert!(matches!(long.parse::<SourceUri>(), Err(SourceError::TooLong(_))));
    }
}
