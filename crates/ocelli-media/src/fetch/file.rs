//! Local files: regular ones only, and never more bytes than allowed.

use std::fs::{File, FileType, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
use std::path::Path;

use bytes::Bytes;
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::error::FetchError;

/// Reads a regular file; symbolic links are followed. Blocks.
pub(crate) fn read(path: &Path, max_bytes: u64) -> Result<Bytes, FetchError> {
    // What the text shows has no line breaks or other control characters.
    let source_name = || path.to_string_lossy().replace(|c: char| c.is_control(), "\u{fffd}");
    let failed = |error: io::Error| failure(source_name(), error);
    let too_large = || FetchError::TooLarge { source_name: source_name(), limit: max_bytes };

    let file = open_regular(path)?;
    let length = file.metadata().map_err(failed)?.len();
    if length > max_bytes {
        return Err(too_large());
    }
    let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
    // One byte more than allowed: the file may be growing, and some tell no size at all.
    file.take(max_bytes.saturating_add(1)).read_to_end(&mut bytes).map_err(failed)?;
    if bytes.len() as u64 > max_bytes {
        return Err(too_large());
    }
    Ok(bytes.into())
}

/// Opens a regular file; symbolic links are followed. Blocks.
pub(crate) fn open_regular(path: &Path) -> Result<File, FetchError> {
    let source_name = || path.to_string_lossy().replace(|c: char| c.is_control(), "\u{fffd}");
    let file = open(path).map_err(|error| failure(source_name(), error))?;
    // Of the opened file, not of the path: it may have been replaced meanwhile.
    let metadata = file.metadata().map_err(|error| failure(source_name(), error))?;
    if !metadata.is_file() {
        let kind = kind(metadata.file_type());
        return Err(FetchError::NotAFile { source_name: source_name(), kind });
    }
    Ok(file)
}

/// Without waiting: opening a FIFO would otherwise wait for a writer for ever.
fn open(path: &Path) -> io::Result<File> {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    OpenOptions::new().read(true).custom_flags(flags.bits().cast_signed()).open(path)
}

fn kind(file_type: FileType) -> &'static str {
    if file_type.is_dir() {
        "a folder"
    } else if file_type.is_fifo() {
        "a named pipe"
    } else if file_type.is_char_device() || file_type.is_block_device() {
        "a device"
    } else {
        "something else"
    }
}

fn failure(source_name: String, error: io::Error) -> FetchError {
    // Opening a socket gives "no such device or address".
    if error.raw_os_error() == Some(Errno::NXIO.raw_os_error()) {
        return FetchError::NotAFile { source_name, kind: "a socket or a device" };
    }
    match error.kind() {
        ErrorKind::NotFound | ErrorKind::NotADirectory => FetchError::Gone { source_name },
        ErrorKind::PermissionDenied => FetchError::Denied { source_name },
        _ => FetchError::Io { source_name, error },
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;
    use std::os::unix::net::UnixListener;

    use ocelli_core::{Digest, FailureClass};

    use super::*;

    #[test]
    fn a_file_is_read_once_with_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a");
        std::fs::write(&path, b"0123456789").unwrap();
        let (bytes, digest) = crate::read_file(&path, 10).unwrap();
        assert_eq!(bytes, "0123456789");
        assert_eq!(digest, Digest::of(b"0123456789"));
        assert!(matches!(read(&path, 9), Err(FetchError::TooLarge { limit: 9, .. })));
    }

    #[test]
    fn a_file_without_a_size_is_read_up_to_the_limit() {
        let path = Path::new("/proc/self/status");
        assert!(!read(path, 1 << 20).unwrap().is_empty());
        assert!(matches!(read(path, 10), Err(FetchError::TooLarge { .. })));
    }

    #[test]
    fn folders_pipes_devices_and_sockets_are_refused_without_waiting() {
        let folder = tempfile::tempdir().unwrap();
        let pipe = folder.path().join("pipe");
        rustix::fs::mkfifoat(rustix::fs::CWD, &pipe, rustix::fs::Mode::RUSR).unwrap();
        let socket = folder.path().join("socket");
        let _listener = UnixListener::bind(&socket).unwrap();
        for path in [folder.path(), &pipe, &socket, Path::new("/dev/zero"), Path::new("/dev/null")]
        {
            let error = read(path, 10).unwrap_err();
            assert!(matches!(error, FetchError::NotAFile { .. }), "{error}");
            assert_eq!(error.class(), FailureClass::Permanent);
        }
    }

    #[test]
    fn what_is_not_there_says_so_and_is_not_tried_again() {
        let error = read(Path::new("/nowhere/cat\n.png"), 10).unwrap_err();
        assert_eq!(
            error.to_string(),
            "/nowhere/cat\u{fffd}.png: the file does not exist (any more)"
        );
        assert_eq!(error.class(), FailureClass::Permanent);
        let error = read(Path::new("/dev/null/a"), 10).unwrap_err();
        assert!(matches!(error, FetchError::Gone { .. }), "{error}");
    }

    #[test]
    fn a_file_without_permission_says_so_unless_the_reader_may_read_all() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret");
        std::fs::write(&path, b"x").unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o000)).unwrap();
        match read(&path, 10) {
            Err(error) => assert!(matches!(error, FetchError::Denied { .. }), "{error}"),
            Ok(bytes) => assert_eq!(bytes, "x", "root may read everything"),
        }
    }
}
