//! Members of a zip, from its central directory (APPNOTE.TXT 6.3, with zip64), entry by entry: a directory of millions is never
//! held. The crates that read zips hold all of it.

use std::fs::File;
use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;

use super::{Entry, Listing, Wish};

/// Length of the record at the end without its comment, of the longest comment, and of the mark before the record of zip64.
const END: usize = 22;
const LONGEST_COMMENT: usize = 0xffff;
const LOCATOR: u64 = 20;

/// Stored, and deflated (RFC 1951).
const STORED: u16 = 0;
const DEFLATED: u16 = 8;

/// The general purpose bit of an encrypted member.
const ENCRYPTED: u16 = 1;

/// Where the directory is.
struct Directory {
    at: u64,
    entries: u64,
    /// What stands before the archive proper: offsets in it begin there.
    base: u64,
}

/// An entry of the directory.
struct Central {
    name: Vec<u8>,
    flags: u16,
    method: u16,
    deflated: u64,
    size: u64,
    header: u64,
    is_link: bool,
}

fn bad(reason: &str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, reason)
}

fn number<const N: usize>(bytes: &[u8], at: usize) -> io::Result<u64> {
    let bytes: [u8; N] = bytes
        .get(at..at + N)
        .and_then(|bytes| bytes.try_into().ok())
        .ok_or_else(|| bad("a record is too short"))?;
    Ok(bytes.iter().rev().fold(0, |number, byte| (number << 8) | u64::from(*byte)))
}

fn short(bytes: &[u8], at: usize) -> io::Result<u16> {
    Ok(number::<2>(bytes, at)? as u16)
}

pub(super) fn list(mut listing: Listing<'_>) -> ControlFlow<()> {
    let opened = File::open(&listing.archive.path).and_then(|file| {
        let directory = directory(&file)?;
        Ok((file, directory))
    });
    let (file, directory) = match opened {
        Ok(opened) => opened,
        Err(error) => return listing.end(&format!("it cannot be read as a zip: {error}")),
    };
    if let Err(error) = (&file).seek(SeekFrom::Start(directory.at)) {
        return listing.broken(&error.to_string());
    }
    let mut records = BufReader::with_capacity(128 * 1024, &file);
    for _ in 0..directory.entries {
        match central(&mut records) {
            Ok(entry) if entry.name.ends_with(b"/") => {}
            Ok(entry) => match listing.wants(&entry.name)? {
                Wish::Yes => member(&mut listing, &file, &entry, directory.base)?,
                Wish::No => {}
                Wish::Enough => break,
            },
            Err(error) => {
                listing.broken(&error.to_string())?;
                break;
            }
        }
    }
    listing.finish()
}

/// Finds the directory by the record at the end of the file.
fn directory(file: &File) -> io::Result<Directory> {
    let length = file.metadata()?.len();
    let tail = length.min((END + LONGEST_COMMENT) as u64);
    let mut end = vec![0; usize::try_from(tail).unwrap_or(0)];
    file.read_exact_at(&mut end, length - tail)?;
    let is_end = |at: &usize| {
        let record = &end[*at..];
        record.starts_with(b"PK\x05\x06")
            && short(record, 20).is_ok_and(|comment| END + usize::from(comment) <= record.len())
    };
    let at = (0..=end.len().saturating_sub(END))
        .rev()
        .find(is_end)
        .ok_or_else(|| bad("its directory is missing: the end of the file is cut off"))?;
    let record = &end[at..];
    let mut at = length - tail + at as u64;
    let (mut entries, mut size, mut offset) =
        (number::<2>(record, 10)?, number::<4>(record, 12)?, number::<4>(record, 16)?);
    let split = number::<2>(record, 4)?;
    if entries == 0xffff || size == 0xffff_ffff || offset == 0xffff_ffff {
        if let Some(zip64) = zip64(file, at)? {
            (at, entries, size, offset) = zip64;
        }
    } else if split != 0 {
        return Err(bad("it is one part of several"));
    }
    let start = at.checked_sub(size).ok_or_else(|| bad("its directory is larger than the file"))?;
    let base =
        start.checked_sub(offset).ok_or_else(|| bad("its directory is not where it says"))?;
    Ok(Directory { at: start, entries, base })
}

/// Position of the record of zip64, entries, size and offset of the directory.
fn zip64(file: &File, end: u64) -> io::Result<Option<(u64, u64, u64, u64)>> {
    let Some(at) = end.checked_sub(LOCATOR) else { return Ok(None) };
    let mut locator = [0; 20];
    file.read_exact_at(&mut locator, at)?;
    if !locator.starts_with(b"PK\x06\x07") {
        return Ok(None);
    }
    let at = number::<8>(&locator, 8)?;
    let mut record = [0; 56];
    file.read_exact_at(&mut record, at)?;
    if !record.starts_with(b"PK\x06\x06") {
        return Err(bad("its record of zip64 is not where it says"));
    }
    Ok(Some((at, number::<8>(&record, 32)?, number::<8>(&record, 40)?, number::<8>(&record, 48)?)))
}

/// The next entry of the directory.
fn central(records: &mut impl Read) -> io::Result<Central> {
    let mut head = [0; 46];
    records.read_exact(&mut head)?;
    if !head.starts_with(b"PK\x01\x02") {
        return Err(bad("an entry of its directory is missing"));
    }
    let mut name = vec![0; usize::from(short(&head, 28)?)];
    let mut extra = vec![0; usize::from(short(&head, 30)?)];
    records.read_exact(&mut name)?;
    records.read_exact(&mut extra)?;
    let comment = u64::from(short(&head, 32)?);
    if io::copy(&mut records.take(comment), &mut io::sink())? < comment {
        return Err(ErrorKind::UnexpectedEof.into());
    }
    let mut entry = Central {
        name,
        flags: short(&head, 8)?,
        method: short(&head, 10)?,
        deflated: number::<4>(&head, 20)?,
        size: number::<4>(&head, 24)?,
        header: number::<4>(&head, 42)?,
        // Of a Unix system: the mode is in the upper half.
        is_link: head[5] == 3 && (number::<4>(&head, 38)? >> 16) & 0o170_000 == 0o120_000,
    };
    if let Some(long) = field(&extra, 1) {
        let mut at = 0;
        for value in [&mut entry.size, &mut entry.deflated, &mut entry.header] {
            if *value == 0xffff_ffff {
                *value = number::<8>(long, at)?;
                at += 8;
            }
        }
    }
    Ok(entry)
}

/// The extra field with this id.
fn field(mut extra: &[u8], id: u16) -> Option<&[u8]> {
    while extra.len() >= 4 {
        let length = usize::from(short(extra, 2).ok()?);
        let content = extra.get(4..4 + length)?;
        if short(extra, 0).ok()? == id {
            return Some(content);
        }
        extra = &extra[4 + length..];
    }
    None
}

fn member(listing: &mut Listing<'_>, file: &File, entry: &Central, base: u64) -> ControlFlow<()> {
    let name = &entry.name[..];
    if entry.is_link {
        let why = "a link inside an archive: what it points to is a member of its own";
        return listing.skipped(name, why);
    }
    if entry.flags & ENCRYPTED != 0 {
        return listing.problem(name, "it is encrypted");
    }
    let deflated = match entry.method {
        STORED if entry.deflated == entry.size => None,
        STORED => return listing.problem(name, "the archive says two sizes of it"),
        DEFLATED => Some(entry.deflated),
        other => {
            let reason = format!(
                "it is packed by method {other}; only stored (0) and deflated (8) are read"
            );
            return listing.problem(name, &reason);
        }
    };
    match data(file, entry, base) {
        Ok(at) => {
            let found = Entry { name, at, size: entry.size, deflated };
            listing.reference(&found, None)
        }
        Err(error) => {
            listing.problem(name, &format!("it is not where the directory says: {error}"))
        }
    }
}

/// Where the bytes of a member begin: behind its own head, which must be of the same name.
fn data(file: &File, entry: &Central, base: u64) -> io::Result<u64> {
    let at = base.checked_add(entry.header).ok_or_else(|| bad("beyond the end of the file"))?;
    let mut head = [0; 30];
    file.read_exact_at(&mut head, at)?;
    if !head.starts_with(b"PK\x03\x04") {
        return Err(bad("there is no member"));
    }
    let mut name = vec![0; usize::from(short(&head, 26)?)];
    file.read_exact_at(&mut name, at + 30)?;
    if name != entry.name {
        return Err(bad("there is another member"));
    }
    Ok(at + 30 + name.len() as u64 + u64::from(short(&head, 28)?))
}
