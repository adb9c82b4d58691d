//! A member of an archive as a source: which file, which member, and where its bytes are in there.
//!
//! As a URI: `tar:file:///pictures/a.tar!b/c.png?at=1536&size=2048`. What stands before the `!` is the URI of the archive; the
//! member's name is percent-encoded whole (RFC 3986), so that `../` in it is only a name. The numbers let a reader go to the bytes
//! at once, however large the archive is. A `tar:` and a stored member of a `zip:` are a range of the file; a deflated member of a
//! `zip:` is such a range to be inflated (RFC 1951); `targz:` counts within the stream that is packed (RFC 1952), so everything
//! before it must be unpacked.

use std::fmt;
use std::os::unix::ffi::OsStrExt;
use std::path::PathBuf;

use url::Url;

/// How members lie in an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ArchiveKind {
    /// POSIX tar, GNU tar, WebDataset shards.
    Tar,
    /// The same, packed with gzip as a whole.
    TarGz,
    /// Zip and zip64.
    Zip,
}

impl ArchiveKind {
    /// All.
    pub const ALL: [Self; 3] = [Self::Tar, Self::TarGz, Self::Zip];

    /// The scheme of its members' URIs.
    #[must_use]
    pub const fn scheme(self) -> &'static str {
        match self {
            Self::Tar => "tar",
            Self::TarGz => "targz",
            Self::Zip => "zip",
        }
    }

    /// The inverse of [`ArchiveKind::scheme`].
    #[must_use]
    pub fn of_scheme(scheme: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.scheme() == scheme)
    }
}

/// A member of an archive, and where its bytes are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Member {
    /// How it lies there.
    pub kind: ArchiveKind,
    /// The archive, an absolute path.
    pub archive: PathBuf,
    /// Its name, as the archive has it: any bytes.
    pub name: Vec<u8>,
    /// Where its first byte is.
    pub at: u64,
    /// How many bytes it has.
    pub size: u64,
    /// How many it has in the archive, when it is deflated there.
    pub deflated: Option<u64>,
}

impl Member {
    /// The text of its URI; `None` when the path of the archive is not absolute.
    #[must_use]
    pub fn uri(&self) -> Option<String> {
        let archive = Url::from_file_path(&self.archive).ok()?;
        let archive = archive.as_str().replace('!', "%21");
        let (at, size) = (self.at, self.size);
        let name = encoded(&self.name);
        let mut uri = format!("{}:{archive}!{name}?at={at}&size={size}", self.kind.scheme());
        if let Some(deflated) = self.deflated {
            uri.push_str(&format!("&deflated={deflated}"));
        }
        Some(uri)
    }

    /// Reads what [`Member::uri`] writes, and nothing else.
    #[must_use]
    pub fn of_url(url: &Url) -> Option<Self> {
        let kind = ArchiveKind::of_scheme(url.scheme())?;
        let (archive, name) = url.path().split_once('!')?;
        let archive = Url::parse(archive).ok().filter(|url| url.scheme() == "file")?;
        let (mut at, mut size, mut deflated) = (None, None, None);
        for pair in url.query()?.split('&') {
            let (key, value) = pair.split_once('=')?;
            let slot = match key {
                "at" => &mut at,
                "size" => &mut size,
                "deflated" => &mut deflated,
                _ => return None,
            };
            *slot = Some(value.parse::<u64>().ok()?);
        }
        let archive = archive.to_file_path().ok()?;
        let member = Self { kind, archive, name: decoded(name)?, at: at?, size: size?, deflated };
        (member.uri().as_deref() == Some(url.as_str())).then_some(member)
    }
}

impl fmt::Display for Member {
    /// `archive!name`, for people.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let archive = String::from_utf8_lossy(self.archive.as_os_str().as_bytes());
        write!(f, "{archive}!{}", String::from_utf8_lossy(&self.name))
    }
}

/// Everything but letters, digits and `-._~/` as `%XX`.
pub(crate) fn encoded(name: &[u8]) -> String {
    let mut text = String::with_capacity(name.len());
    for byte in name {
        if byte.is_ascii_alphanumeric() || b"-._~/".contains(byte) {
            text.push(char::from(*byte));
        } else {
            text.push_str(&format!("%{byte:02X}"));
        }
    }
    text
}

pub(crate) fn decoded(text: &str) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first == b'%' {
            let digits = std::str::from_utf8(rest.get(..2)?).ok()?;
            bytes.push(u8::from_str_radix(digits, 16).ok()?);
            rest = &rest[2..];
        } else {
            bytes.push(*first);
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::SourceUri;

    fn member(archive: &str, name: &[u8]) -> Member {
        Member {
            kind: ArchiveKind::Tar,
            archive: archive.into(),
            name: name.to_vec(),
            at: 1536,
            size: 7,
            deflated: None,
        }
    }

    #[test]
    fn a_member_of_any_name_survives_the_way_through_its_uri() {
        for name in [
            &b"b/c.png"[..],
            b"../../etc/passwd",
            b"/absolute",
            b"./a//b/.",
            b"a!b?c#d&e=f%41 g",
            b" \xff\n\0 ",
            b"",
        ] {
            for archive in ["/a.tar", "/what!/is ?#%this.tar"] {
                let deflated =
                    Member { kind: ArchiveKind::Zip, deflated: Some(3), ..member(archive, name) };
                for one in [member(archive, name), deflated] {
                    let uri: SourceUri = one.uri().unwrap().parse().unwrap();
                    assert_eq!(uri.member().as_ref(), Some(&one), "{uri:?}");
                    assert_eq!(uri.path(), None);
                }
            }
        }
        assert_eq!(
            member("/p/a.tar", b"b/c.png").uri().unwrap(),
            "tar:file:///p/a.tar!b/c.png?at=1536&size=7"
        );
        assert_eq!(member("/p/a.tar", b"b/c.png").to_string(), "/p/a.tar!b/c.png");
    }

    #[test]
    fn what_is_not_written_like_that_is_no_source() {
        for text in [
            "tar:/a.tar!b",
            "tar:file:///a.tar!b",
            "tar:file:///a.tar?at=1&size=2",
            "tar:file:///a.tar!b?at=1",
            "tar:file:///a.tar!b?at=1&size=-2",
            "tar:file:///a.tar!b?at=1&size=2&more=3",
            "tar:file:///a.tar!b c?at=1&size=2",
            "tar:http://h/a.tar!b?at=1&size=2",
            "zip:file://host/a.zip!b?at=1&size=2",
            "zip:a.zip!b?at=1&size=2",
        ] {
            assert!(text.parse::<SourceUri>().is_err(), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in "(tar|zip|targz):(file:)?[/a-z!%?&=0-9.]{0,40}") {
            drop(text.parse::<SourceUri>());
        }
    }
}
