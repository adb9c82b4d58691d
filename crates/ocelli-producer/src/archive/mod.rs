//! Archives → references, one for each member, read from the beginning to the end in constant memory.
//!
//! Nothing is unpacked to disk, and names inside are only names. A reference says where in the archive its bytes are, so that a
//! worker goes there at once. A tar.gz has no such place: its members are read while it is listed, and each worker unpacks
//! everything before its member again. Such an archive is for small ones.
//!
//! Every member ends visibly: as a reference, or with a reason. Folders inside are no references.

mod bounds;
mod tar;
mod zip;

use std::fs::File;
use std::io::Read;
use std::ops::ControlFlow;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use ocelli_core::SourceUri;
use ocelli_core::member::{ArchiveKind, Member};

use crate::ProducerOptions;
use crate::filter::Filter;
use crate::held::Held;
use crate::listing::{Listed, Out, Reference};
use crate::source::{SourceError, shown};

/// Endings of names that are taken for archives when they are named.
const ENDINGS: [&[u8]; 4] = [b".tar", b".tar.gz", b".tgz", b".zip"];

/// Whether a file of this name is taken for an archive when somebody names it.
pub(crate) fn has_archive_ending(path: &Path) -> bool {
    let name = path.as_os_str().as_bytes().to_ascii_lowercase();
    ENDINGS.iter().any(|ending| name.ends_with(ending))
}

/// A file that looks like an archive.
pub(crate) struct Archive {
    path: PathBuf,
    kind: ArchiveKind,
    /// Only the member of this name.
    only: Option<Vec<u8>>,
    filter: Filter,
    members: u64,
    member_bytes: u64,
    unpacked_bytes: u64,
}

impl Archive {
    /// Looks at the beginning of the file.
    pub(crate) fn open(
        given: &Path,
        path: PathBuf,
        only: Option<Vec<u8>>,
        options: &ProducerOptions,
    ) -> Result<Self, SourceError> {
        let failed = |source| SourceError::Open { path: given.to_owned(), source };
        let mut beginning = Vec::with_capacity(512);
        let file = File::open(&path).map_err(failed)?;
        file.take(512).read_to_end(&mut beginning).map_err(failed)?;
        let kind = kind(&beginning, &path)
            .ok_or_else(|| SourceError::NotAnArchive { path: given.to_owned() })?;
        Ok(Self {
            filter: Filter::new(path.clone(), options)?,
            path,
            kind,
            only,
            members: options.archive_members,
            member_bytes: options.decode.bytes,
            unpacked_bytes: options.fetch.archive_bytes,
        })
    }

    /// Lists its members. Blocks.
    pub(crate) fn list(&self, out: &Out) -> ControlFlow<()> {
        let listing = Listing { archive: self, out, seen: 0, found: false };
        match self.kind {
            ArchiveKind::Tar | ArchiveKind::TarGz => tar::list(listing),
            ArchiveKind::Zip => zip::list(listing),
        }
    }
}

/// Which kind of archive begins like this.
fn kind(beginning: &[u8], path: &Path) -> Option<ArchiveKind> {
    let is_zip_by_name = path.as_os_str().as_bytes().to_ascii_lowercase().ends_with(b".zip");
    if beginning.starts_with(b"\x1f\x8b") {
        Some(ArchiveKind::TarGz)
    } else if beginning.starts_with(b"PK\x03\x04") || beginning.starts_with(b"PK\x05\x06") {
        Some(ArchiveKind::Zip)
    } else if tar::is_header(beginning) {
        Some(ArchiveKind::Tar)
    } else {
        // A program that unpacks itself stands before some.
        is_zip_by_name.then_some(ArchiveKind::Zip)
    }
}

/// A walk through the members of an archive.
struct Listing<'a> {
    archive: &'a Archive,
    out: &'a Out,
    seen: u64,
    /// Whether the one member that was asked for was met.
    found: bool,
}

/// Whether a member is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Yes,
    No,
    /// Neither it nor any behind it.
    Enough,
}

/// What a member is in the archive.
struct Entry<'a> {
    name: &'a [u8],
    at: u64,
    size: u64,
    deflated: Option<u64>,
}

impl Listing<'_> {
    /// Whether this member is asked for.
    fn wants(&mut self, name: &[u8]) -> ControlFlow<(), Wish> {
        self.seen += 1;
        if self.seen > self.archive.members {
            let most = self.archive.members;
            self.end(&format!(
                "it has more than {most} members (setting limits.archive_members); the rest is not read"
            ))?;
            return ControlFlow::Continue(Wish::Enough);
        }
        let wish = |is_wanted| if is_wanted { Wish::Yes } else { Wish::No };
        if let Some(only) = &self.archive.only {
            return ControlFlow::Continue(wish(only == name));
        }
        // An absolute name would leave the folder that the archive stands for.
        let below = name.iter().position(|byte| *byte != b'/').map_or(&[][..], |at| &name[at..]);
        let path = self.archive.path.join(std::ffi::OsStr::from_bytes(below));
        ControlFlow::Continue(wish(self.archive.filter.reaches(&path, false)))
    }

    fn reference(&mut self, entry: &Entry<'_>, held: Option<Held>) -> ControlFlow<()> {
        self.found = true;
        let archive = self.archive;
        let member = Member {
            kind: archive.kind,
            archive: archive.path.clone(),
            name: entry.name.to_vec(),
            at: entry.at,
            size: entry.size,
            deflated: entry.deflated,
        };
        match SourceUri::of_member(&member) {
            Ok(source) => {
                let named = archive.only.is_some();
                let reference = Reference { named, held, ..Reference::named(source) };
                self.out.send(Listed::Reference(Box::new(reference)))
            }
            Err(error) => self.problem(entry.name, &error.to_string()),
        }
    }

    fn problem(&mut self, name: &[u8], reason: &str) -> ControlFlow<()> {
        self.found = true;
        let name = String::from_utf8_lossy(name);
        self.out.problem(format!("{}!{name}", shown(&self.archive.path)), reason.to_owned())
    }

    fn skipped(&self, name: &[u8], why: &'static str) -> ControlFlow<()> {
        let shown = [self.archive.path.as_os_str().as_bytes(), b"!", name].concat();
        let path = PathBuf::from(std::ffi::OsStr::from_bytes(&shown));
        self.out.send(Listed::Skipped(path, why))
    }

    /// The archive cannot be read from here on.
    fn broken(&mut self, reason: &str) -> ControlFlow<()> {
        self.end(&format!("it cannot be read behind member {}: {reason}", self.seen))
    }

    fn end(&mut self, reason: &str) -> ControlFlow<()> {
        self.found = true;
        self.out.problem(shown(&self.archive.path), reason.to_owned())
    }

    /// Says so when the member that was asked for is not there.
    fn finish(self) -> ControlFlow<()> {
        match &self.archive.only {
            Some(name) if !self.found => {
                let name = String::from_utf8_lossy(name);
                let reference = format!("{}!{name}", shown(&self.archive.path));
                self.out.problem(reference, "the archive has no such member".to_owned())
            }
            _ => ControlFlow::Continue(()),
        }
    }
}
