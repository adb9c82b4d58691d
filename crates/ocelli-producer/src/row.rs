//! What one line of a list says, however the list is written.

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use ocelli_core::{Digest, Meta, SourceUri};

use crate::first_seen::parse_first_seen;
use crate::metadata::MetaLimits;
use crate::source::uri_text;

/// The fields that say something to ocelli itself. All others are metadata.
pub(crate) const KNOWN: [&str; 4] = ["uri", "path", "first_seen", "digest"];

/// Where the bytes of a reference are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Locator {
    File(PathBuf),
    Url(SourceUri),
}

/// What one line of a list says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) locator: Locator,
    pub(crate) first_seen: Option<Timestamp>,
    pub(crate) digest: Option<Digest>,
    pub(crate) meta: Meta,
}

/// A line that is no row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct BadLine {
    pub(crate) number: u64,
    pub(crate) reason: String,
}

/// By what lines are read.
#[derive(Debug, Clone)]
pub(crate) struct Reading {
    /// The folder that relative paths begin at.
    pub(crate) base: PathBuf,
    pub(crate) now: Timestamp,
    pub(crate) meta: MetaLimits,
}

/// The known fields of a line as they stand there.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Fields<'a> {
    pub(crate) uri: Option<&'a [u8]>,
    pub(crate) path: Option<&'a [u8]>,
    pub(crate) first_seen: Option<&'a str>,
    pub(crate) digest: Option<&'a str>,
}

impl Reading {
    /// A line that is a reference and nothing else.
    pub(crate) fn bare(&self, line: &[u8]) -> Result<Row, String> {
        let locator = locate(line, &self.base)?;
        Ok(Row { locator, first_seen: None, digest: None, meta: Meta::default() })
    }

    pub(crate) fn row(
        &self,
        fields: Fields<'_>,
        others: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Row, String> {
        let locator = match (fields.uri, fields.path) {
            (Some(_), Some(_)) => return Err("both uri and path are given; give one".to_owned()),
            (None, None) => return Err("neither uri nor path is given".to_owned()),
            (Some(uri), None) => locate(uri, &self.base)?,
            (None, Some(path)) => locate_path(path, &self.base)?,
        };
        let first_seen = fields
            .first_seen
            .map(|text| parse_first_seen(text, self.now).map_err(|error| error.to_string()))
            .transpose()?;
        let digest = fields
            .digest
            .map(|text| {
                let text = text.trim();
                text.strip_prefix("sha256:")
                    .unwrap_or(text)
                    .parse()
                    .map_err(|error: ocelli_core::ids::IdError| error.to_string())
            })
            .transpose()?;
        Ok(Row { locator, first_seen, digest, meta: self.meta.gather(others)? })
    }
}

/// A reference that is a URI if it begins with a scheme, else a path.
fn locate(bytes: &[u8], base: &Path) -> Result<Locator, String> {
    let Some(text) = uri_text(bytes.trim_ascii()) else { return locate_path(bytes, base) };
    let uri: SourceUri =
        text.parse().map_err(|error: ocelli_core::source::SourceError| error.to_string())?;
    match (uri.url().scheme(), uri.path()) {
        ("file", Some(path)) => Ok(Locator::File(path)),
        ("file", None) => Err(format!("'{uri}' names no file of this machine")),
        _ => Ok(Locator::Url(uri)),
    }
}

fn locate_path(bytes: &[u8], base: &Path) -> Result<Locator, String> {
    if bytes.contains(&0) {
        return Err("the path contains a zero byte".to_owned());
    }
    let path = base.join(OsStr::from_bytes(bytes));
    crate::source::resolve(&path)
        .map(Locator::File)
        .map_err(|error| format!("'{}' cannot be resolved: {error}", crate::source::shown(&path)))
}
