//! Members of a tar, plain or packed with gzip.

use std::cell::Cell;
use std::fs::File;
use std::io::{self, BufReader, Read, Seek};
use std::ops::ControlFlow;
use std::rc::Rc;

use flate2::bufread::MultiGzDecoder;
use ocelli_core::member::ArchiveKind;

use super::bounds::{Bounded, Forward};
use super::{Entry, Listing, Wish};

/// The most bytes of heads and long names of one member.
const HEAD: u64 = 1 << 20;

/// Whether a tar begins like this: with a head whose sum is right, or with the zeroes of an empty one.
pub(super) fn is_header(beginning: &[u8]) -> bool {
    let Ok(block) = <&[u8; 512]>::try_from(beginning) else { return false };
    if block.iter().all(|byte| *byte == 0) {
        return true;
    }
    let is_sum = |at: usize| (148..156).contains(&at);
    let sum: u32 = block
        .iter()
        .enumerate()
        .map(|(at, byte)| u32::from(if is_sum(at) { b' ' } else { *byte }))
        .sum();
    ::tar::Header::from_byte_slice(block).cksum().is_ok_and(|noted| noted == sum)
}

pub(super) fn list(mut listing: Listing<'_>) -> ControlFlow<()> {
    let file = match File::open(&listing.archive.path) {
        Ok(file) => file,
        Err(error) => return listing.end(&format!("it cannot be opened (any more): {error}")),
    };
    if listing.archive.kind == ArchiveKind::TarGz {
        let packed = MultiGzDecoder::new(BufReader::with_capacity(128 * 1024, file));
        let limit = listing.archive.unpacked_bytes;
        members(&mut listing, Forward::new(packed, limit), None)?;
    } else {
        let length = match file.metadata() {
            Ok(metadata) => metadata.len(),
            Err(error) => return listing.end(&format!("it cannot be read: {error}")),
        };
        members(&mut listing, file, Some(length))?;
    }
    listing.finish()
}

/// `length` is that of a file, in which members are left where they are; a stream has none.
fn members<R: Read + Seek>(
    listing: &mut Listing<'_>,
    reader: R,
    length: Option<u64>,
) -> ControlFlow<()> {
    let left = Rc::new(Cell::new(HEAD));
    let mut archive = ::tar::Archive::new(Bounded::new(reader, Rc::clone(&left)));
    let mut entries = match archive.entries_with_seek() {
        Ok(entries) => entries,
        Err(error) => return listing.broken(&error.to_string()),
    };
    let mut end = 0;
    loop {
        left.set(HEAD);
        let mut entry = match entries.next() {
            None if length.is_some_and(|length| end > length) => {
                return listing.broken("the archive is cut off");
            }
            None => return ControlFlow::Continue(()),
            Some(Err(error)) => return listing.broken(&error.to_string()),
            Some(Ok(entry)) => entry,
        };
        let padded = entry.size().checked_next_multiple_of(512).unwrap_or(u64::MAX);
        end = entry.raw_file_position().saturating_add(padded);
        let name = entry.path_bytes().into_owned();
        let kind = entry.header().entry_type();
        if kind.is_dir() {
            continue;
        }
        match listing.wants(&name)? {
            Wish::Yes => {}
            Wish::No => continue,
            Wish::Enough => return ControlFlow::Continue(()),
        }
        if kind.is_symlink() || kind.is_hard_link() {
            listing.skipped(
                &name,
                "a link inside an archive: what it points to is a member of its own",
            )?;
            continue;
        }
        if kind.is_gnu_sparse() {
            listing.problem(&name, "a sparse member cannot be read where it is")?;
            continue;
        }
        if !(kind.is_file() || kind.is_contiguous()) {
            listing.skipped(&name, "a pipe, socket or device")?;
            continue;
        }
        let (at, size) = (entry.raw_file_position(), entry.size());
        let found = Entry { name: &name, at, size, deflated: None };
        match length {
            Some(length) if at.saturating_add(size) > length => {
                let reason = format!("it should have {size} bytes, and the archive ends before");
                return listing.problem(&name, &reason);
            }
            Some(_) => listing.reference(&found, None)?,
            None if packed(listing, &found, &mut entry, &left)? => {}
            None => return ControlFlow::Continue(()),
        }
    }
}

/// A member of a stream is read while it comes by. Whether anything can follow.
fn packed(
    listing: &mut Listing<'_>,
    found: &Entry<'_>,
    entry: &mut impl Read,
    left: &Cell<u64>,
) -> ControlFlow<(), bool> {
    let most = listing.archive.member_bytes;
    if found.size > most {
        let reason = format!("larger than {most} bytes (setting limits.image_bytes)");
        listing.problem(found.name, &reason)?;
        return ControlFlow::Continue(true);
    }
    let Some(room) = listing.out.room(found.size) else { return ControlFlow::Break(()) };
    left.set(found.size.saturating_add(HEAD));
    let mut bytes = Vec::with_capacity(usize::try_from(found.size).unwrap_or(0));
    let read: io::Result<usize> = entry.read_to_end(&mut bytes);
    let is_whole = bytes.len() as u64 == found.size;
    match read {
        Ok(_) if is_whole => listing.reference(found, Some(room.hold(bytes)))?,
        Ok(_) => listing.problem(found.name, "the archive ends before it does")?,
        Err(error) => {
            listing.broken(&error.to_string())?;
            return ControlFlow::Continue(false);
        }
    }
    ControlFlow::Continue(is_whole)
}
