//! The folder of finished pictures: bounded, and everything in it can be made again. Whoever deletes it loses nothing.

use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use ocelli_core::Digest;

use super::Size;

type Key = (Digest, Size);

/// Pictures on disk.
#[derive(Debug, Clone)]
pub(super) struct Shelf {
    folder: Arc<Path>,
    index: Arc<Mutex<Index>>,
}

/// What is there: the picture that was used last has the largest turn.
#[derive(Debug)]
struct Index {
    most: u64,
    held: u64,
    turn: u64,
    pictures: HashMap<Key, (u64, u64)>,
    turns: BTreeMap<u64, Key>,
}

impl Shelf {
    /// The pictures of earlier times are kept, the oldest first to go.
    pub(super) fn open(folder: PathBuf, most: u64) -> Self {
        let index = Arc::new(Mutex::new(Index {
            most,
            held: 0,
            turn: 0,
            pictures: HashMap::new(),
            turns: BTreeMap::new(),
        }));
        let shelf = Self { folder: folder.into(), index };
        let found = shelf.clone();
        // Beside the work: a large folder takes seconds.
        std::thread::spawn(move || found.look());
        shelf
    }

    fn look(&self) {
        let mut found: Vec<(SystemTime, Key, u64)> = Vec::new();
        for size in Size::ALL {
            let Ok(parts) = fs::read_dir(self.folder.join(size.name())) else { continue };
            let files = parts.flatten().filter_map(|part| fs::read_dir(part.path()).ok());
            for file in files.flatten().flatten() {
                let (path, Ok(facts)) = (file.path(), file.metadata()) else { continue };
                let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
                match name.strip_suffix(".jpg").and_then(|name| name.parse::<Digest>().ok()) {
                    Some(digest) => {
                        let at = facts.modified().unwrap_or(SystemTime::UNIX_EPOCH);
                        found.push((at, (digest, size), facts.len()));
                    }
                    // Half a picture of a process that died.
                    None => drop(fs::remove_file(&path)),
                }
            }
        }
        found.sort();
        for (_, key, bytes) in found {
            self.with(|index| {
                // One that was made meanwhile is newer than anything found, and one that had to go meanwhile is gone.
                if !index.pictures.contains_key(&key) && self.path(key).exists() {
                    self.add(index, key, bytes);
                }
            });
        }
    }

    pub(super) fn has(&self, digest: Digest, size: Size) -> bool {
        self.with(|index| index.pictures.contains_key(&(digest, size)))
    }

    /// The picture, when it is there.
    pub(super) async fn get(&self, digest: Digest, size: Size) -> Option<Bytes> {
        let key = (digest, size);
        let path = self.path(key);
        let read = tokio::task::spawn_blocking(move || fs::read(path)).await.ok()?;
        match read {
            Ok(bytes) if !bytes.is_empty() => {
                self.with(|index| index.touch(key));
                Some(bytes.into())
            }
            _ => {
                self.with(|index| index.drop(key));
                None
            }
        }
    }

    /// Keeps a picture. Where that is not possible it is made again the next time.
    pub(super) async fn put(&self, digest: Digest, size: Size, bytes: Bytes) {
        let (shelf, key) = (self.clone(), (digest, size));
        let kept = tokio::task::spawn_blocking(move || {
            let path = shelf.path(key);
            let count = bytes.len() as u64;
            write(&path, &bytes)?;
            shelf.with(|index| shelf.add(index, key, count));
            Ok::<_, io::Error>(())
        });
        if let Ok(Err(error)) = kept.await {
            tracing::warn!(folder = %self.folder.display(), %error, "a picture could not be kept");
        }
    }

    fn path(&self, (digest, size): Key) -> PathBuf {
        let name = digest.to_string();
        self.folder.join(size.name()).join(&name[..2]).join(format!("{name}.jpg"))
    }

    /// Notes a picture, and removes those that have to go for it while nobody else looks: what the index does not name is not there.
    fn add(&self, index: &mut Index, key: Key, bytes: u64) {
        for gone in index.add(key, bytes) {
            drop(fs::remove_file(self.path(gone)));
        }
    }

    fn with<T>(&self, change: impl FnOnce(&mut Index) -> T) -> T {
        change(&mut self.index.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Index {
    /// Notes a picture, and names those that have to go for it.
    fn add(&mut self, key: Key, bytes: u64) -> Vec<Key> {
        self.drop(key);
        self.turn += 1;
        self.pictures.insert(key, (self.turn, bytes));
        self.turns.insert(self.turn, key);
        self.held += bytes;
        let mut gone = Vec::new();
        while self.held > self.most {
            let Some(oldest) = self.turns.values().next().copied().filter(|one| *one != key) else {
                break;
            };
            self.drop(oldest);
            gone.push(oldest);
        }
        gone
    }

    fn touch(&mut self, key: Key) {
        if let Some((turn, _)) = self.pictures.get_mut(&key) {
            self.turns.remove(turn);
            self.turn += 1;
            *turn = self.turn;
            self.turns.insert(self.turn, key);
        }
    }

    fn drop(&mut self, key: Key) {
        if let Some((turn, bytes)) = self.pictures.remove(&key) {
            self.turns.remove(&turn);
            self.held -= bytes;
        }
    }
}

/// Whole or not at all, also when two processes make the same one.
fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    if let Some(folder) = path.parent() {
        fs::create_dir_all(folder)?;
    }
    let half = path.with_extension(format!("{}.part", uuid::Uuid::now_v7().simple()));
    let written = fs::write(&half, bytes).and_then(|()| fs::rename(&half, path));
    if written.is_err() {
        drop(fs::remove_file(&half));
    }
    written
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(n: u8) -> Digest {
        Digest::of(&[n])
    }

    #[tokio::test]
    async fn the_folder_holds_no_more_than_it_may_and_what_was_used_last_stays() {
        let folder = tempfile::tempdir().unwrap();
        let shelf = Shelf::open(folder.path().to_owned(), 30);
        for n in 0..3 {
            shelf.put(of(n), Size::Thumb, Bytes::from(vec![n; 10])).await;
        }
        assert!(shelf.get(of(0), Size::Thumb).await.is_some());
        shelf.put(of(3), Size::Thumb, Bytes::from(vec![3; 10])).await;
        assert!(shelf.get(of(1), Size::Thumb).await.is_none(), "the one not used longest is gone");
        for n in [0, 2, 3] {
            assert_eq!(shelf.get(of(n), Size::Thumb).await.unwrap(), vec![n; 10]);
        }
        assert!(shelf.get(of(0), Size::View).await.is_none());
    }

    #[tokio::test]
    async fn pictures_of_earlier_times_count_and_halves_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let before = Shelf::open(folder.path().to_owned(), 100);
        before.put(of(1), Size::View, Bytes::from_static(b"picture")).await;
        let half = before.path((of(1), Size::View)).with_extension("x.part");
        fs::write(&half, b"half").unwrap();
        let index = Arc::new(Mutex::new(Index {
            most: 100,
            held: 0,
            turn: 0,
            pictures: HashMap::new(),
            turns: BTreeMap::new(),
        }));
        let after = Shelf { folder: folder.path().into(), index };
        after.look();
        assert!(after.has(of(1), Size::View) && !half.exists());
        assert_eq!(after.with(|index| index.held), 7);
        fs::remove_dir_all(folder.path()).unwrap();
        assert!(after.get(of(1), Size::View).await.is_none(), "whoever deletes it loses nothing");
        assert_eq!(after.with(|index| index.held), 0);
    }
}
