//! Copies of images in a folder.
//!
//! An image is the file `ab/cdef…`, its digest cut after two digits, so that no folder grows beyond what file systems like. It is
//! written under another name, flushed to the disk, and renamed: whoever finds it finds all of it, and a process that dies leaves
//! at most a file under `new/`, which is no image and is swept a day later. Nothing is ever changed in place.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use ocelli_core::Digest;

/// Where images are written before they have their name.
const NEW: &str = "new";

/// Unfinished files older than this belong to nobody.
const LEFT_BEHIND: Duration = Duration::from_secs(24 * 3600);

/// Tells the files apart that one process writes at once.
static WRITTEN: AtomicU64 = AtomicU64::new(0);

/// A folder of images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Store {
    folder: PathBuf,
}

impl Store {
    /// The store in this folder, which is made when something is kept.
    #[must_use]
    pub fn new(folder: PathBuf) -> Self {
        Self { folder }
    }

    /// Where an image is, if it is kept.
    #[must_use]
    pub fn path(&self, digest: &Digest) -> PathBuf {
        let name = digest.to_string();
        let (shard, rest) = name.split_at(2);
        self.folder.join(shard).join(rest)
    }

    /// Keeps an image; whether it is new. When this returns, a power cut does not take it away. Blocks.
    ///
    /// # Errors
    /// When these are not its bytes ([`io::ErrorKind::InvalidInput`]), or the folder does not take them.
    pub fn put(&self, digest: &Digest, bytes: &[u8]) -> io::Result<bool> {
        if Digest::of(bytes) != *digest {
            let reason = "the bytes are not those of this digest";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, reason));
        }
        let path = self.path(digest);
        // A file of another length was damaged after it had its name.
        if fs::metadata(&path).is_ok_and(|found| found.len() == bytes.len() as u64) {
            return Ok(false);
        }
        let shard = path.parent().unwrap_or(&self.folder);
        fs::create_dir_all(shard)?;
        let new = self.folder.join(NEW);
        fs::create_dir_all(&new)?;
        let number = WRITTEN.fetch_add(1, Ordering::Relaxed);
        let unnamed = new.join(format!("{}-{number}-{digest}", std::process::id()));
        let written = write(&unnamed, bytes).and_then(|()| fs::rename(&unnamed, &path));
        if let Err(error) = written {
            drop(fs::remove_file(&unnamed));
            return Err(error);
        }
        // The name lasts only when its folder is flushed too.
        File::open(shard)?.sync_all()?;
        Ok(true)
    }

    /// Removes what processes left behind that died while they wrote. Blocks.
    ///
    /// # Errors
    /// When the folder cannot be read.
    pub fn sweep(&self, now: SystemTime) -> io::Result<u64> {
        let entries = match fs::read_dir(self.folder.join(NEW)) {
            Ok(entries) => entries,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut removed = 0;
        for entry in entries {
            let entry = entry?;
            let age = entry.metadata()?.modified().ok().and_then(|at| now.duration_since(at).ok());
            if age.is_some_and(|age| age > LEFT_BEHIND) && fs::remove_file(entry.path()).is_ok() {
                removed += 1;
            }
        }
        Ok(removed)
    }
}

fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = OpenOptions::new().write(true).create_new(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files(folder: &Path) -> Vec<PathBuf> {
        let mut all = Vec::new();
        for entry in fs::read_dir(folder).into_iter().flatten() {
            let path = entry.unwrap().path();
            if path.is_dir() { all.extend(files(&path)) } else { all.push(path) }
        }
        all
    }

    #[test]
    fn an_image_is_written_once_whole_and_under_its_digest() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().join("kept"));
        let digest = Digest::of(b"pixels");
        assert!(store.put(&digest, b"pixels").unwrap());
        assert!(!store.put(&digest, b"pixels").unwrap(), "it is there");
        assert_eq!(fs::read(store.path(&digest)).unwrap(), b"pixels");
        assert_eq!(files(folder.path()), [store.path(&digest)], "nothing else is left");
        let error = store.put(&digest, b"other").unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::InvalidInput);
    }

    #[test]
    fn what_was_cut_off_is_written_anew_and_what_was_left_behind_is_swept() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let digest = Digest::of(b"pixels");
        store.put(&digest, b"pixels").unwrap();
        fs::write(store.path(&digest), b"pix").unwrap();
        assert!(store.put(&digest, b"pixels").unwrap());
        assert_eq!(fs::read(store.path(&digest)).unwrap(), b"pixels");
        // As a process leaves it that was killed while it wrote.
        let half = folder.path().join(NEW).join("1-1-half");
        fs::write(&half, b"pi").unwrap();
        assert_eq!(store.sweep(SystemTime::now()).unwrap(), 0, "somebody may be writing it");
        let later = SystemTime::now() + LEFT_BEHIND + Duration::from_secs(1);
        assert_eq!(store.sweep(later).unwrap(), 1);
        assert!(!half.exists() && store.path(&digest).exists());
    }

    #[test]
    fn writers_of_the_same_image_do_not_meet() {
        let folder = tempfile::tempdir().unwrap();
        let store = Store::new(folder.path().to_owned());
        let bytes = vec![7; 1 << 20];
        let digest = Digest::of(&bytes);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| store.put(&digest, &bytes).unwrap());
            }
        });
        assert_eq!(files(folder.path()), [store.path(&digest)]);
        assert_eq!(Digest::of(&fs::read(store.path(&digest)).unwrap()), digest);
    }

    #[test]
    fn a_folder_that_takes_nothing_says_so_and_keeps_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, b"no folder").unwrap();
        let store = Store::new(file.clone());
        assert!(store.put(&Digest::of(b"a"), b"a").is_err());
        assert_eq!(files(folder.path()), [file]);
    }
}
