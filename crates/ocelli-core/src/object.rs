//! An object of a bucket as a source: `s3://bucket/key`, `gs://bucket/key`, `az://container/key`.
//!
//! The key is percent-encoded whole (RFC 3986), as `of_object` writes it: a key may hold any character of UTF-8. A key that ends with
//! `/`, or is missing, names all objects below it. Who reads it, and with which credentials, is a matter of settings and never of
//! the URI.

use std::fmt;

use url::Url;

use crate::member::{decoded, encoded};

/// The protocol that a bucket is read over; each has its own servers and credentials in the settings.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cloud {
    /// That of Amazon S3, which many servers speak.
    S3,
    /// That of Google Cloud Storage.
    Gs,
    /// That of Azure Blob Storage, whose buckets are called containers.
    Az,
}

impl Cloud {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::S3, Self::Gs, Self::Az];

    /// The scheme of its addresses.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::S3 => "s3",
            Self::Gs => "gs",
            Self::Az => "az",
        }
    }

    /// The protocol of a scheme.
    #[must_use]
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|cloud| cloud.scheme() == scheme)
    }
}

/// Longest key, in bytes: that of Amazon S3.
const MAX_KEY_BYTES: usize = 1024;

/// A bucket, and an object or a prefix in it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Object {
    /// Over which protocol.
    pub cloud: Cloud,
    /// The bucket: 3 to 63 letters, digits, dots, dashes and underscores.
    pub bucket: String,
    /// The key without a slash in front. Empty, or with a slash at its end: a prefix.
    pub key: String,
}

impl Object {
    /// The text of its URI.
    #[must_use]
    pub fn uri(&self) -> String {
        format!("{}://{}/{}", self.cloud.scheme(), self.bucket, encoded(self.key.as_bytes()))
    }

    /// Whether it names all objects below it instead of one.
    #[must_use]
    pub fn is_prefix(&self) -> bool {
        self.key.is_empty() || self.key.ends_with('/')
    }

    /// Reads `s3://bucket/key` and the like; none when that names nothing, or something that a URI cannot name (a part of the key that is `.` or
    /// `..`).
    #[must_use]
    pub fn of_url(url: &Url) -> Option<Self> {
        let cloud = Cloud::of_scheme(url.scheme())?;
        if url.port().is_some() || url.query().is_some() {
            return None;
        }
        let bucket = url.host_str()?;
        let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
        if !(3..=63).contains(&bucket.len()) || !bucket.bytes().all(is_name) {
            return None;
        }
        let key = String::from_utf8(decoded(url.path().strip_prefix('/').unwrap_or_default())?);
        let key = key.ok().filter(|key| key.len() <= MAX_KEY_BYTES)?;
        let is_part = |part: &str| part != "." && part != "..";
        key.split('/').all(is_part).then(|| Self { cloud, bucket: bucket.to_owned(), key })
    }
}

impl fmt::Display for Object {
    /// As people write it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}/{}", self.cloud.scheme(), self.bucket, self.key)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceUri;

    fn object(key: &str) -> Object {
        Object { cloud: Cloud::S3, bucket: "my.bucket-1".to_owned(), key: key.to_owned() }
    }

    #[test]
    fn a_key_of_any_characters_survives_the_way_through_its_uri() {
        for key in ["a/b.png", "ä b+c%41?d#e&f.png", "a//b", "line\nbreak", "2024/", "", "..a/b.."]
        {
            let uri: SourceUri = object(key).uri().parse().unwrap();
            assert_eq!(uri.object(), Some(object(key)), "{uri:?}");
            assert_eq!((uri.path(), uri.member()), (None, None));
            assert!(!uri.to_string().contains('\n'));
        }
        assert_eq!(object("ä b.png").uri(), "s3://my.bucket-1/%C3%A4%20b.png");
        assert!(object("2024/").is_prefix() && object("").is_prefix() && !object("a").is_prefix());
    }

    #[test]
    fn people_may_write_it_as_they_like_where_that_is_clear() {
        let written: SourceUri = "s3://my.bucket-1/a b/ä.png".parse().unwrap();
        assert_eq!(written.object(), Some(object("a b/ä.png")));
        let bucket: SourceUri = "s3://my.bucket-1".parse().unwrap();
        assert_eq!(bucket.object(), Some(object("")));
    }

    #[test]
    fn the_same_key_is_another_object_over_another_protocol() {
        for (cloud, uri) in [(Cloud::Gs, "gs://bucket/a%20b"), (Cloud::Az, "az://bucket/a%20b")] {
            let uri: SourceUri = uri.parse().unwrap();
            let object = Object { cloud, bucket: "bucket".to_owned(), key: "a b".to_owned() };
            assert_eq!((uri.object(), object.uri()), (Some(object), uri.to_string()));
        }
    }

    #[test]
    fn what_names_no_object_is_no_source() {
        let long = format!("s3://bucket/{}", "x".repeat(MAX_KEY_BYTES + 1));
        for text in [
            "s3:bucket/key",
            "s3:///key",
            "s3://b/key",
            "s3://bucket:9000/key",
            "s3://bucket/key?versionId=1",
            "s3://buc ket/key",
            "s3://bucket/%FF",
            "gs://b/key",
            "az://access:secret@bucket/key",
            "s3://access:secret@bucket/key",
            &long,
        ] {
            let error = text.parse::<SourceUri>().unwrap_err();
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(s3|gs|az):(//)?[/a-z!%?&=:@#0-9.]{0,40}") {
            if let Ok(uri) = text.parse::<SourceUri>() {
                let object = uri.object().unwrap();
                let again: SourceUri = object.uri().parse().unwrap();
                proptest::prop_assert_eq!(again.object(), Some(object));
            }
        }
    }
}
