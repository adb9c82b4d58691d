//! What the user names on the command line, and whether it can be opened at all.
//!
//! [`Source::parse`] looks only at the text (and, for a path, not even at the disk); [`open`] looks at the world, before
//! anything is enqueued, so that a typing error in the third path does not leave a batch half done.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ocelli_core::SourceUri;
use thiserror::Error;

use crate::ProducerOptions;
use crate::again::{Again, Records};
use crate::archive::{Archive, has_archive_ending};
use crate::bucket::Bucket;
use crate::filter::{Filter, Identity};
use crate::lines::Lines;
use crate::manifest::{Format, columns, guess_format};
use crate::table::Table;

/// A place where references come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    /// A file or a folder.
    Path(PathBuf),
    /// One `http:` or `https:` URL, or one object of a bucket.
    Url(SourceUri),
    /// All objects of a bucket, or those below a prefix.
    Bucket(SourceUri),
    /// References on standard input, one per line.
    Stdin,
    /// A file that lists references.
    Manifest(PathBuf),
    /// What failed of the batch with this name or id.
    Failed(String),
    /// The members of an archive, or one of them.
    Archive(PathBuf, Option<Vec<u8>>),
}

/// Why a source cannot be used. Ends the command before anything is enqueued.
#[derive(Debug, Error)]
pub enum SourceError {
    /// An empty argument.
    #[error("a source is empty")]
    Empty,
    /// Not a usable URI.
    #[error("the source '{text}' cannot be used")]
    Uri {
        /// As given.
        text: String,
        /// What is wrong.
        #[source]
        source: ocelli_core::source::SourceError,
    },
    /// Nothing has this name.
    #[error("there is no file or folder '{}'", shown(path))]
    Missing {
        /// As given.
        path: PathBuf,
    },
    /// The system refuses.
    #[error("'{}' cannot be opened", shown(path))]
    Open {
        /// As given.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// A pipe, socket or device.
    #[error("'{}' is neither a file nor a folder", shown(path))]
    Special {
        /// As given.
        path: PathBuf,
    },
    /// ocelli's own files.
    #[error("'{}' is ocelli's own data folder", shown(path))]
    OwnData {
        /// As given.
        path: PathBuf,
    },
    /// A folder where a manifest was expected.
    #[error("the manifest '{}' is a folder", shown(path))]
    ManifestFolder {
        /// As given.
        path: PathBuf,
    },
    /// A CSV file that names no column with references.
    #[error(
        "the manifest '{}' has no column 'uri' or 'path'; its first line is: {found}",
        shown(path)
    )]
    Columns {
        /// As given.
        path: PathBuf,
        /// Beginning of its first line.
        found: String,
    },
    /// A Parquet file that cannot be read, or whose columns say something else.
    #[error("the manifest '{}' cannot be used: {reason}", shown(path))]
    Table {
        /// As given.
        path: PathBuf,
        /// In words.
        reason: String,
    },
    /// Neither tar nor zip.
    #[error("'{}' is no archive that ocelli reads", shown(path))]
    NotAnArchive {
        /// As given.
        path: PathBuf,
    },
    /// A bucket that cannot be listed.
    #[error("the bucket cannot be listed: {reason}")]
    Bucket {
        /// In words.
        reason: String,
    },
    /// No batch has this name.
    #[error("there is no batch '{name}'")]
    NoBatch {
        /// As given.
        name: String,
    },
    /// The catalog does not say which batches there are.
    #[error("the catalog cannot be asked for a batch: {reason}")]
    Batches {
        /// In words.
        reason: String,
    },
    /// A glob that cannot be read.
    #[error("the glob '{glob}' cannot be read")]
    Glob {
        /// As given.
        glob: String,
        /// What is wrong.
        #[source]
        source: Box<ignore::Error>,
    },
    /// Standard input can only be read once.
    #[error("standard input ('-') is named twice")]
    StdinTwice,
}

impl SourceError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> &'static str {
        match self {
            Self::Empty => {
                "name a file, a folder, an http(s) URL, s3://bucket/prefix/ (gs:, az:), a manifest, or '-' for standard input"
            }
            Self::Uri { .. } => {
                "use a path, or a URI that begins with http://, https://, s3://, gs://, az:// or file://"
            }
            Self::Missing { .. } => {
                "check the spelling; a relative path begins at the current folder"
            }
            Self::Open { .. } => {
                "check the permissions of the file and of every folder above it (ls -l)"
            }
            Self::Special { .. } => {
                "name a regular file or a folder; '-' reads references from a pipe"
            }
            Self::OwnData { .. } => {
                "name the folder with your images; ocelli's data are not images"
            }
            Self::ManifestFolder { .. } => {
                "name a file, or leave 'manifest:' away to list the folder"
            }
            Self::Columns { .. } => {
                "give the file a first line such as: uri,first_seen,digest (one of uri and path is needed)"
            }
            Self::Table { .. } => {
                "the columns uri, path and digest hold texts, first_seen texts or times in UTC; compression: none, Snappy or gzip"
            }
            Self::NotAnArchive { .. } => {
                "tar, tar.gz and zip are read; unpack others, and name their folder"
            }
            Self::Bucket { .. } => {
                "write s3://bucket/prefix/ (gs:, az:); the settings [objects], or AWS_…, GOOGLE_… or AZURE_… in the environment, say which server and with which key"
            }
            Self::NoBatch { .. } => "'ocelli batch list' names them",
            Self::Batches { .. } => "'ocelli doctor' says what is wrong with it",
            Self::Glob { .. } => "globs are written as in .gitignore: *.png, thumbs/, **/raw/*.tif",
            Self::StdinTwice => "name '-' once",
        }
    }
}

impl Source {
    /// Reads one argument of the command line: a path, `http(s)://…`, `file://…`, `s3://bucket/key`, `s3://bucket/prefix/`, `-`, `manifest:FILE`, `tar:FILE`,
    /// `zip:FILE!MEMBER`, or a file whose name ends in `.ndjson`, `.jsonl`, `.csv`, `.parquet` or `.txt`, which is taken for a manifest, or in
    /// `.tar`, `.tar.gz`, `.tgz` or `.zip`, whose members are taken.
    ///
    /// A path that looks like one of the other forms is written with `./` in front.
    ///
    /// # Errors
    /// [`SourceError::Empty`], [`SourceError::Uri`].
    pub fn parse(argument: &OsStr) -> Result<Self, SourceError> {
        let bytes = argument.as_bytes();
        if bytes.is_empty() {
            return Err(SourceError::Empty);
        }
        if bytes == b"-" {
            return Ok(Self::Stdin);
        }
        if let Some(rest) = bytes.strip_prefix(b"manifest:") {
            return if rest.is_empty() {
                Err(SourceError::Empty)
            } else {
                Ok(Self::Manifest(PathBuf::from(OsStr::from_bytes(rest))))
            };
        }
        if let Some(rest) = bytes.strip_prefix(b"tar:").or_else(|| bytes.strip_prefix(b"zip:")) {
            let mut parts = rest.splitn(2, |byte| *byte == b'!');
            let path = parts.next().unwrap_or_default();
            let member = parts.next().map(<[u8]>::to_vec);
            return if path.is_empty() {
                Err(SourceError::Empty)
            } else {
                Ok(Self::Archive(PathBuf::from(OsStr::from_bytes(path)), member))
            };
        }
        if let Some(text) = uri_text(bytes) {
            let error = |source| SourceError::Uri { text: clip(&text), source };
            let uri: SourceUri = text.parse().map_err(error)?;
            return match (uri.url().scheme(), uri.path()) {
                ("file", Some(path)) => Ok(Self::of_path(path)),
                ("file", None) => Err(error(ocelli_core::source::SourceError::Syntax {
                    text: clip(&text),
                    reason: "it names no file of this machine".to_owned(),
                })),
                _ if uri.object().is_some_and(|object| object.is_prefix()) => Ok(Self::Bucket(uri)),
                _ => Ok(Self::Url(uri)),
            };
        }
        Ok(Self::of_path(PathBuf::from(argument)))
    }

    fn of_path(path: PathBuf) -> Self {
        if Format::of_extension(&path).is_some() {
            Self::Manifest(path)
        } else if has_archive_ending(&path) {
            Self::Archive(path, None)
        } else {
            Self::Path(path)
        }
    }

    /// A short name for people, also the name of a batch that got none.
    #[must_use]
    pub fn name(&self) -> String {
        match self {
            Self::Path(path) | Self::Manifest(path) | Self::Archive(path, _) => {
                path.file_name().map_or_else(|| shown(path), |name| shown(Path::new(name)))
            }
            Self::Url(uri) | Self::Bucket(uri) => clip(uri.as_str()),
            Self::Stdin => "standard input".to_owned(),
            Self::Failed(batch) => format!("what failed of {}", clip(batch)),
        }
    }
}

/// A source that was found to be there.
pub(crate) enum Opened {
    File(PathBuf),
    Folder(Box<Filter>),
    Url(SourceUri),
    Stdin,
    Manifest { lines: Lines<File>, format: Format, shown: String, base: PathBuf },
    Table { table: Box<Table>, shown: String, base: PathBuf },
    Failed(Again),
    Archive(Box<Archive>),
    Bucket(Box<Bucket>),
}

/// Opens all sources, or none.
pub(crate) fn open(
    sources: &[Source],
    options: &ProducerOptions,
    records: &Records,
) -> Result<Vec<Opened>, SourceError> {
    if sources.iter().filter(|source| **source == Source::Stdin).count() > 1 {
        return Err(SourceError::StdinTwice);
    }
    // A glob that cannot be read is said even when no folder would use it.
    drop(Filter::new(PathBuf::from("/"), options)?);
    sources.iter().map(|source| open_one(source, options, records)).collect()
}

fn open_one(
    source: &Source,
    options: &ProducerOptions,
    records: &Records,
) -> Result<Opened, SourceError> {
    match source {
        Source::Archive(given, only) => {
            let path = resolve(given).map_err(|error| failed(given, error))?;
            let metadata = std::fs::metadata(&path).map_err(|error| failed(given, error))?;
            if metadata.is_dir() {
                return open_one(&Source::Path(given.clone()), options, records);
            }
            if !metadata.is_file() {
                return Err(SourceError::Special { path: given.clone() });
            }
            let archive = Archive::open(given, path, only.clone(), options)?;
            Ok(Opened::Archive(Box::new(archive)))
        }
        Source::Failed(batch) => records.open(batch).map(Opened::Failed),
        Source::Url(uri) => Ok(Opened::Url(uri.clone())),
        Source::Bucket(prefix) => {
            Bucket::open(prefix, options, records.runtime()).map(Box::new).map(Opened::Bucket)
        }
        Source::Stdin => Ok(Opened::Stdin),
        Source::Path(given) => {
            let path = resolve(given).map_err(|error| failed(given, error))?;
            let metadata = std::fs::metadata(&path).map_err(|error| failed(given, error))?;
            if metadata.is_dir() {
                open_folder(given, path, options).map(|filter| Opened::Folder(Box::new(filter)))
            } else if metadata.is_file() {
                File::open(&path).map_err(|error| failed(given, error))?;
                Ok(Opened::File(path))
            } else {
                Err(SourceError::Special { path: given.clone() })
            }
        }
        Source::Manifest(given) => {
            let path = resolve(given).map_err(|error| failed(given, error))?;
            let metadata = std::fs::metadata(&path).map_err(|error| failed(given, error))?;
            if metadata.is_dir() {
                return Err(SourceError::ManifestFolder { path: given.clone() });
            }
            let file = File::open(&path).map_err(|error| failed(given, error))?;
            let mut lines = Lines::new(file);
            let format = Format::of_extension(&path)
                .map_or_else(|| guess_format(&mut lines), Ok)
                .map_err(|error| failed(given, error))?;
            let base = path.parent().unwrap_or(Path::new("/")).to_owned();
            if format == Format::Parquet {
                let wrong = |reason| SourceError::Table { path: given.clone(), reason };
                // Its reader is not made for files that strangers send.
                if options.within.is_some() {
                    return Err(wrong("lists in Parquet are not taken from elsewhere".to_owned()));
                }
                let file = File::open(&path).map_err(|error| failed(given, error))?;
                let table = Table::open(file).map(Box::new).map_err(wrong)?;
                return Ok(Opened::Table { table, shown: shown(given), base });
            }
            if format == Format::Csv {
                columns(&mut lines).map_err(|error| failed(given, error))?.map_err(|found| {
                    SourceError::Columns { path: given.clone(), found: clip(&found) }
                })?;
            }
            Ok(Opened::Manifest { lines, format, shown: shown(given), base })
        }
    }
}

/// The filter of a folder that can be listed and is not ocelli's own.
pub(crate) fn open_folder(
    given: &Path,
    path: PathBuf,
    options: &ProducerOptions,
) -> Result<Filter, SourceError> {
    std::fs::read_dir(&path).map_err(|error| failed(given, error))?;
    let filter = Filter::new(path, options)?;
    let identity = Identity::of(filter.root()).map_err(|error| failed(given, error))?;
    if filter.is_excluded(identity) {
        return Err(SourceError::OwnData { path: given.to_owned() });
    }
    Ok(filter)
}

/// The absolute path under which ocelli remembers `path`: links are kept, `.` goes, and where there is a `..` the
/// system resolves it, because a URI would drop it together with whatever link stands before it.
///
/// # Errors
/// When there is no current folder, or a path with `..` does not exist.
pub fn resolve(path: &Path) -> io::Result<PathBuf> {
    if path.components().any(|part| part == std::path::Component::ParentDir) {
        path.canonicalize()
    } else {
        let absolute = std::path::absolute(path)?;
        // A trailing slash would be a second name for the same folder.
        Ok(absolute.components().collect())
    }
}

fn failed(path: &Path, error: io::Error) -> SourceError {
    let path = path.to_owned();
    match error.kind() {
        io::ErrorKind::NotFound => SourceError::Missing { path },
        _ => SourceError::Open { path, source: error },
    }
}

/// The text of a reference that begins with a scheme and `//`; `None` for a path.
pub(crate) fn uri_text(bytes: &[u8]) -> Option<String> {
    let at = bytes.windows(3).position(|window| window == b"://")?;
    let scheme = &bytes[..at];
    let is_scheme = scheme.first().is_some_and(u8::is_ascii_alphabetic)
        && scheme.iter().all(|byte| byte.is_ascii_alphanumeric() || b"+-.".contains(byte));
    is_scheme.then(|| String::from_utf8_lossy(bytes).into_owned())
}

/// A path for people: lossy, without control characters, of bounded length.
pub(crate) fn shown(path: &Path) -> String {
    clip(&path.to_string_lossy())
}

/// Longest text that goes into a message about hostile input: the longest path of Linux fits.
const MAX_SHOWN: usize = 4096;

pub(crate) fn clip(text: &str) -> String {
    text.chars().take(MAX_SHOWN).map(|c| if c.is_control() { '\u{fffd}' } else { c }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Source, SourceError> {
        Source::parse(OsStr::new(text))
    }

    #[test]
    fn arguments_are_told_apart_by_their_text() {
        assert_eq!(parse("samples").unwrap(), Source::Path("samples".into()));
        assert_eq!(parse("-").unwrap(), Source::Stdin);
        assert_eq!(parse("./-").unwrap(), Source::Path("./-".into()));
        assert_eq!(parse("manifest:list").unwrap(), Source::Manifest("list".into()));
        for name in ["a.ndjson", "a.jsonl", "a.CSV", "a.txt"] {
            assert_eq!(parse(name).unwrap(), Source::Manifest(name.into()));
        }
        assert!(matches!(parse("https://example.org/a.png").unwrap(), Source::Url(_)));
        assert_eq!(parse("file:///a%20b.png").unwrap(), Source::Path("/a b.png".into()));
        assert!(matches!(parse("s3://bucket/a.png").unwrap(), Source::Url(_)));
        for prefix in ["s3://bucket", "s3://bucket/", "gs://bucket/2024/", "az://bucket/2024/"] {
            assert!(matches!(parse(prefix).unwrap(), Source::Bucket(_)));
        }
        let raw = OsStr::from_bytes(b"a\xff://b");
        assert_eq!(Source::parse(raw).unwrap(), Source::Path(raw.into()));
    }

    #[test]
    fn what_nobody_reads_is_named_with_the_way_out() {
        for text in [
            "",
            "manifest:",
            "ftp://host/a.png",
            "s3://b/key",
            "https://u:p@host/a.png",
            "http://",
            "file://h/a",
        ] {
            let error = parse(text).unwrap_err();
            assert!(!error.hint().is_empty(), "{error}");
        }
    }

    #[test]
    fn a_path_is_remembered_without_dots_and_trailing_slashes() {
        let folder = tempfile::tempdir().unwrap();
        let folder = folder.path().canonicalize().unwrap();
        std::fs::create_dir(folder.join("a")).unwrap();
        for other in ["a/", "a/.", "./a//", "a/../a"] {
            assert_eq!(resolve(&folder.join(other)).unwrap(), folder.join("a"), "{other}");
        }
    }
}
