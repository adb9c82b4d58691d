//! Members of archives: a range of a file, inflated where it is packed. No archive is unpacked, and no directory of it is read: the
//! source says where the bytes are, and whoever wants them compares their digest.

use std::io::{self, BufReader, ErrorKind, Read, Seek, SeekFrom};

use bytes::Bytes;
use flate2::bufread::{DeflateDecoder, MultiGzDecoder};
use ocelli_core::member::{ArchiveKind, Member};

use super::beginning::Beginning;
use super::error::FetchError;
use super::file;
use crate::limits::FetchLimits;
use crate::sniff::BEGINNING;

/// Reads a member. Blocks; of a `targz:` for as long as it takes to unpack everything before it.
pub(crate) fn read(member: &Member, limits: &FetchLimits) -> Result<Bytes, FetchError> {
    let (max_bytes, max_archive) = (limits.bytes, limits.archive_bytes);
    let mut beginning = Beginning::new(limits.images_only);
    let source_name = || member.to_string().replace(|c: char| c.is_control(), "\u{fffd}");
    if member.size > max_bytes {
        return Err(FetchError::TooLarge { source_name: source_name(), limit: max_bytes });
    }
    let mut archive = file::open_regular(&member.archive)?;
    let broken = |reason: String| FetchError::Member { source_name: source_name(), reason };
    let failed = |error: io::Error| match error.kind() {
        ErrorKind::UnexpectedEof => broken("the archive ends before it does".to_owned()),
        ErrorKind::InvalidInput | ErrorKind::InvalidData => {
            broken(format!("it cannot be unpacked: {error}"))
        }
        _ => FetchError::Io { source_name: source_name(), error },
    };
    let mut bytes = Vec::with_capacity(usize::try_from(member.size.min(1 << 20)).unwrap_or(0) + 1);
    // One byte more than it should have shows a lie.
    let most = member.size.saturating_add(1);
    let no_image = match (member.kind, member.deflated) {
        (ArchiveKind::TarGz, _) => {
            let end = member.at.saturating_add(member.size);
            if end > max_archive {
                return Err(broken(format!(
                    "it lies behind {max_archive} unpacked bytes (setting limits.archive_bytes)"
                )));
            }
            let mut stream = MultiGzDecoder::new(BufReader::with_capacity(128 * 1024, archive));
            let passed = io::copy(&mut stream.by_ref().take(member.at), &mut io::sink());
            if passed.map_err(failed)? < member.at {
                return Err(broken("the archive ends before it does".to_owned()));
            }
            read_on(stream.take(member.size), &mut beginning, &mut bytes).map_err(failed)?
        }
        (_, None) => {
            archive.seek(SeekFrom::Start(member.at)).map_err(failed)?;
            read_on(archive.take(member.size), &mut beginning, &mut bytes).map_err(failed)?
        }
        (_, Some(deflated)) => {
            archive.seek(SeekFrom::Start(member.at)).map_err(failed)?;
            let packed = BufReader::new(archive.take(deflated));
            let stream = DeflateDecoder::new(packed).take(most);
            read_on(stream, &mut beginning, &mut bytes).map_err(failed)?
        }
    };
    if let Some(looks_like) = no_image {
        return Err(FetchError::NotAnImage { source_name: source_name(), looks_like });
    }
    match bytes.len() as u64 {
        size if size == member.size => Ok(bytes.into()),
        size if size < member.size => {
            Err(broken(format!("it has {size} bytes, and not {} as the archive says", member.size)))
        }
        _ => Err(broken(format!("it unpacks to more than the {} bytes it claims", member.size))),
    }
}

/// Reads to the end; or, of what is no image, no further than its beginning, and says what it looks like.
fn read_on(
    mut stream: impl Read,
    beginning: &mut Beginning,
    bytes: &mut Vec<u8>,
) -> io::Result<Option<&'static str>> {
    // One byte more tells that there is more.
    stream.by_ref().take(BEGINNING as u64 + 1).read_to_end(bytes)?;
    let no_image = beginning.no_image(bytes);
    if no_image.is_none() {
        stream.read_to_end(bytes)?;
    }
    Ok(no_image)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use ocelli_core::FailureClass;

    use super::*;

    const MOST: u64 = 1 << 20;

    fn limits() -> FetchLimits {
        FetchLimits { bytes: MOST, archive_bytes: MOST, ..FetchLimits::default() }
    }

    fn archive(bytes: &[u8]) -> tempfile::NamedTempFile {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(bytes).unwrap();
        file
    }

    fn member(file: &tempfile::NamedTempFile, kind: ArchiveKind, at: u64, size: u64) -> Member {
        let archive = file.path().to_owned();
        Member { kind, archive, name: b"a\n.png".to_vec(), at, size, deflated: None }
    }

    fn deflate(bytes: &[u8]) -> Vec<u8> {
        let level = flate2::Compression::best();
        let mut encoder = flate2::write::DeflateEncoder::new(Vec::new(), level);
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn a_range_is_read_plain_inflated_or_from_within_a_packed_stream() {
        let plain = archive(b"0123456789");
        assert_eq!(read(&member(&plain, ArchiveKind::Tar, 3, 4), &limits()).unwrap(), "3456");
        let packed = deflate(b"pixels");
        let zip = archive(&[b"head", &packed[..], b"tail"].concat());
        let deflated = Some(packed.len() as u64);
        let inside = Member { deflated, ..member(&zip, ArchiveKind::Zip, 4, 6) };
        assert_eq!(read(&inside, &limits()).unwrap(), "pixels");
        // Two packed streams, one behind the other, are one.
        let gz = archive(&[gzip(b"0123"), gzip(b"456789")].concat());
        assert_eq!(read(&member(&gz, ArchiveKind::TarGz, 2, 5), &limits()).unwrap(), "23456");
    }

    #[test]
    fn of_what_is_no_image_no_more_is_unpacked_than_its_beginning() {
        let film = [b"FLV\x01".as_slice(), &[7_u8; 100_000]].concat();
        // Cut off behind its beginning: whoever reads on comes to the end.
        let plain = archive(&film[..20_000]);
        let torn = deflate(&film);
        let torn = archive(&torn[..torn.len() - 8]);
        let deflated = Some(torn.as_file().metadata().unwrap().len());
        let size = film.len() as u64;
        for one in [
            member(&plain, ArchiveKind::Tar, 0, size),
            Member { deflated, ..member(&torn, ArchiveKind::Zip, 0, size) },
        ] {
            let error = read(&one, &limits()).unwrap_err();
            let looks_like = "a video (Flash)";
            assert!(
                matches!(&error, FetchError::NotAnImage { looks_like: found, .. } if *found == looks_like),
                "{error}"
            );
            assert_eq!(error.class(), FailureClass::Permanent);
            let all = FetchLimits { images_only: false, ..limits() };
            assert!(matches!(read(&one, &all), Err(FetchError::Member { .. })));
        }
    }

    #[test]
    fn lies_about_sizes_and_bombs_cost_no_more_than_was_promised() {
        let plain = archive(b"0123456789");
        let bomb = archive(&deflate(&vec![0; 50_000_000]));
        let length = bomb.as_file().metadata().unwrap().len();
        let of_bomb =
            |size| Member { deflated: Some(length), ..member(&bomb, ArchiveKind::Zip, 0, size) };
        let gz = archive(&gzip(&vec![0; 5_000_000]));
        for (one, reason) in [
            (member(&plain, ArchiveKind::Tar, 8, 4), "it has 2 bytes, and not 4"),
            (member(&plain, ArchiveKind::Tar, 1 << 40, 4), "it has 0 bytes"),
            (of_bomb(1000), "more than the 1000 bytes it claims"),
            (of_bomb(MOST + 1), "limits.image_bytes"),
            (member(&gz, ArchiveKind::TarGz, 4_000_000, 10), "limits.archive_bytes"),
            (member(&plain, ArchiveKind::TarGz, 0, 4), "cannot be unpacked"),
            (
                Member { deflated: Some(5), ..member(&plain, ArchiveKind::Zip, 0, 4) },
                "cannot be unpacked",
            ),
        ] {
            let error = read(&one, &limits()).unwrap_err();
            assert!(error.to_string().contains(reason), "{error}");
            assert!(!error.to_string().contains('\n'), "{error}");
            assert_eq!(error.class(), FailureClass::Permanent, "{error}");
        }
    }
}
