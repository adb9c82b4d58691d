//! When a watched file counts as fully written: a pure table of paths that wait.
//!
//! Time is an argument, and so is what the disk says.

use std::collections::HashMap;
use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// After a file was closed or moved in: several events of one change become one.
const DEBOUNCE: Duration = Duration::from_millis(100);

/// Paths that may wait at once. Beyond, the folder is listed again instead.
pub(crate) const MAX_WAITING: usize = 100_000;

/// What changes when a file's content does: inode, size, time of change in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Stamp {
    inode: u64,
    pub(crate) size: u64,
    modified: i128,
}

impl From<&Metadata> for Stamp {
    fn from(metadata: &Metadata) -> Self {
        let modified =
            i128::from(metadata.mtime()) * 1_000_000_000 + i128::from(metadata.mtime_nsec());
        Self { inode: metadata.ino(), size: metadata.len(), modified }
    }
}

/// What is known about the writer of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Writer {
    /// It closed the file or moved it in as a whole.
    Done,
    /// It has the file open: the system tells of writes and will tell of the end.
    Writing,
    /// Nobody tells: the file was found by listing its folder.
    Unknown,
}

/// How many times `settle` a file that is being written may stay unchanged before it is taken as it is: a download that
/// pauses is more common than a writer whose end is never told.
const PAUSE: u32 = 15;

#[derive(Debug)]
struct Waiting {
    due: Instant,
    /// What the disk said last.
    stamp: Option<Stamp>,
    /// Whether the writer said that it is done.
    closed: bool,
}

/// Files that may still be written.
#[derive(Debug)]
pub(crate) struct Settling {
    waiting: HashMap<PathBuf, Waiting>,
    settle: Duration,
}

impl Settling {
    pub(crate) fn new(settle: Duration) -> Self {
        Self { waiting: HashMap::new(), settle }
    }

    /// Something happened to a file, or it was found. `false` when there is no room.
    pub(crate) fn touch(
        &mut self,
        path: PathBuf,
        writer: Writer,
        stamp: Option<Stamp>,
        now: Instant,
    ) -> bool {
        if self.waiting.len() >= MAX_WAITING && !self.waiting.contains_key(&path) {
            return false;
        }
        let wait = match writer {
            Writer::Done => DEBOUNCE.min(self.settle),
            Writer::Writing => self.settle * PAUSE,
            Writer::Unknown => self.settle,
        };
        self.waiting
            .insert(path, Waiting { due: now + wait, stamp, closed: writer == Writer::Done });
        true
    }

    /// Files that are fully written by now. `look` gives what the disk says; `None` for what is no file any more.
    pub(crate) fn ripe(
        &mut self,
        now: Instant,
        mut look: impl FnMut(&PathBuf) -> Option<Stamp>,
    ) -> Vec<(PathBuf, Stamp)> {
        let mut ripe = Vec::new();
        let settle = self.settle;
        self.waiting.retain(|path, waiting| {
            if waiting.due > now {
                return true;
            }
            let Some(stamp) = look(path) else { return false };
            // Many writers create a file and open it again: an empty one is not believed to be done.
            let is_done = waiting.stamp == Some(stamp) || (waiting.closed && stamp.size > 0);
            if is_done {
                ripe.push((path.clone(), stamp));
            } else {
                *waiting = Waiting { due: now + settle, stamp: Some(stamp), closed: false };
            }
            !is_done
        });
        ripe.sort_unstable_by(|a, b| a.0.cmp(&b.0));
        ripe
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(2);

    fn stamp(size: u64) -> Option<Stamp> {
        Some(Stamp { inode: 1, size, modified: i128::from(size) })
    }

    #[test]
    fn a_closed_file_is_ripe_after_the_debounce() {
        let (mut settling, start) = (Settling::new(SETTLE), Instant::now());
        settling.touch("a".into(), Writer::Unknown, None, start);
        settling.touch("a".into(), Writer::Done, None, start);
        assert!(settling.ripe(start, |_| stamp(5)).is_empty());
        assert_eq!(settling.ripe(start + DEBOUNCE, |_| stamp(5)).len(), 1);
        assert!(
            settling.ripe(start + SETTLE * 9, |_| stamp(5)).is_empty(),
            "it was given out once"
        );
    }

    #[test]
    fn a_file_that_nobody_closes_must_stay_the_same_for_a_while() {
        let (mut settling, start) = (Settling::new(SETTLE), Instant::now());
        settling.touch("a".into(), Writer::Unknown, None, start);
        for (second, size) in [(2, 10), (4, 20), (6, 30)] {
            let now = start + Duration::from_secs(second);
            assert!(settling.ripe(now, |_| stamp(size)).is_empty(), "it grows");
        }
        assert_eq!(settling.ripe(start + SETTLE * 4, |_| stamp(30)).len(), 1);
    }

    #[test]
    fn a_writer_that_pauses_is_waited_for() {
        let (mut settling, start) = (Settling::new(SETTLE), Instant::now());
        settling.touch("a".into(), Writer::Writing, None, start);
        assert!(settling.ripe(start + SETTLE * 14, |_| stamp(5)).is_empty());
        assert!(settling.ripe(start + SETTLE * 15, |_| stamp(5)).is_empty());
        assert_eq!(settling.ripe(start + SETTLE * 16, |_| stamp(5)).len(), 1);
    }

    #[test]
    fn an_empty_file_gets_time_to_be_filled_and_a_vanished_one_is_forgotten() {
        let (mut settling, start) = (Settling::new(SETTLE), Instant::now());
        settling.touch("a".into(), Writer::Done, None, start);
        assert!(settling.ripe(start + DEBOUNCE, |_| stamp(0)).is_empty());
        assert_eq!(settling.ripe(start + SETTLE * 2, |_| stamp(0)).len(), 1);
        settling.touch("b".into(), Writer::Done, None, start);
        assert!(settling.ripe(start + SETTLE, |_| None).is_empty());
        assert!(settling.waiting.is_empty());
    }

    #[test]
    fn there_is_room_for_so_many_and_the_caller_is_told() {
        let (mut settling, now) = (Settling::new(SETTLE), Instant::now());
        for n in 0..MAX_WAITING {
            assert!(settling.touch(n.to_string().into(), Writer::Unknown, None, now));
        }
        assert!(!settling.touch("more".into(), Writer::Unknown, None, now));
        assert!(settling.touch("7".into(), Writer::Done, None, now));
    }
}
