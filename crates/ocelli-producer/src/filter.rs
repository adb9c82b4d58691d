//! Which entries below a folder count: hidden names, globs, ocelli's own data.

use std::fs::{self, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use ignore::overrides::{Override, OverrideBuilder};

use crate::ProducerOptions;
use crate::source::SourceError;

/// A file or folder, whatever its name (device and inode).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Identity(u64, u64);

impl Identity {
    pub(crate) fn of(path: &Path) -> io::Result<Self> {
        fs::metadata(path).map(|metadata| Self::from(&metadata))
    }
}

impl From<&Metadata> for Identity {
    fn from(metadata: &Metadata) -> Self {
        Self(metadata.dev(), metadata.ino())
    }
}

/// Which entries below a folder count.
#[derive(Debug, Clone)]
pub(crate) struct Filter {
    root: PathBuf,
    globs: Override,
    hidden: bool,
    follow_links: bool,
    excluded: Vec<PathBuf>,
}

impl Filter {
    pub(crate) fn new(root: PathBuf, options: &ProducerOptions) -> Result<Self, SourceError> {
        let mut builder = OverrideBuilder::new(&root);
        // In the crate's syntax a leading '!' turns a glob into an exclusion.
        let escaped =
            |glob: &String| if glob.starts_with('!') { format!("\\{glob}") } else { glob.clone() };
        let globs = options.include.iter().map(|glob| (glob, escaped(glob)));
        let globs = globs.chain(options.exclude.iter().map(|glob| (glob, format!("!{glob}"))));
        for (given, glob) in globs {
            builder.add(&glob).map_err(|source| SourceError::Glob {
                glob: given.clone(),
                source: Box::new(source),
            })?;
        }
        let globs = builder.build().map_err(|source| SourceError::Glob {
            glob: [&options.include[..], &options.exclude[..]].concat().join(", "),
            source: Box::new(source),
        })?;
        Ok(Self {
            root,
            globs,
            hidden: options.hidden,
            follow_links: options.follow_links,
            excluded: options.exclude_dirs.clone(),
        })
    }

    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    pub(crate) fn follows_links(&self) -> bool {
        self.follow_links
    }

    /// Whether this is one of ocelli's own folders. Looked up each time: they may be made while the walk goes on.
    pub(crate) fn is_excluded(&self, identity: Identity) -> bool {
        self.excluded.iter().any(|path| Identity::of(path).is_ok_and(|other| other == identity))
    }

    /// Whether names and globs let an entry pass.
    pub(crate) fn admits(&self, path: &Path, is_dir: bool) -> bool {
        let is_hidden = path.file_name().is_some_and(|name| name.as_bytes().starts_with(b"."));
        (self.hidden || !is_hidden) && !self.globs.matched(path, is_dir).is_ignore()
    }

    /// Whether the walk would come to this entry below the root: no part of its path is left out.
    pub(crate) fn reaches(&self, path: &Path, is_dir: bool) -> bool {
        let Ok(below) = path.strip_prefix(&self.root) else { return false };
        let mut at = self.root.clone();
        let mut parts = below.components().peekable();
        while let Some(part) = parts.next() {
            at.push(part);
            let is_last = parts.peek().is_none();
            if !self.admits(&at, is_dir || !is_last) {
                return false;
            }
            if !is_last && Identity::of(&at).is_ok_and(|identity| self.is_excluded(identity)) {
                return false;
            }
        }
        true
    }
}
