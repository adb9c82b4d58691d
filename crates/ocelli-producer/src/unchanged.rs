//! Files and objects that need not be read, because nothing about them has changed since they were.
//!
//! An object is taken as it was when its bucket lists it with the same size, time and tag. A file is taken as it was when its size, its inode and both its times (in nanoseconds) are those that the catalog remembers. A
//! program can set the time of its content back; the time at which anything about it changed is set by the system alone.
//!
//! What would make that wrong is a change that leaves the times as they are: a second one within the grain of a clock. So a file
//! whose last change lies within that grain before it was read is not remembered, nor one that changed while it was read, nor one
//! from the future, whose clock was wrong. Such a file is read again by the next run, and remembered then.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use ocelli_catalog::FileStamp;

/// The state of a file; none when its times are too far away to be counted in nanoseconds.
pub(crate) fn stamp(metadata: &Metadata) -> Option<FileStamp> {
    let nanoseconds =
        |seconds: i64, rest: i64| seconds.checked_mul(1_000_000_000)?.checked_add(rest);
    Some(FileStamp {
        size: metadata.len(),
        modified: nanoseconds(metadata.mtime(), metadata.mtime_nsec())?,
        changed: nanoseconds(metadata.ctime(), metadata.ctime_nsec())?,
        inode: metadata.ino(),
    })
}

/// What may be remembered of a file that looked like this `before` and `after` it was read, beginning at `begun`, where times may be
/// off by a `grain`.
pub(crate) fn settled(
    before: Option<FileStamp>,
    after: Option<FileStamp>,
    begun: SystemTime,
    grain: Duration,
) -> Option<FileStamp> {
    let stamp = before.filter(|_| before == after)?;
    let begun = i64::try_from(begun.duration_since(UNIX_EPOCH).ok()?.as_nanos()).ok()?;
    let latest = begun.checked_sub(i64::try_from(grain.as_nanos()).ok()?)?;
    (stamp.modified < latest && stamp.changed < latest).then_some(stamp)
}

/// What the files look like now, in their order, asked on so many threads: a network file system answers slowly, but many at once.
pub(crate) async fn stamps(paths: Vec<PathBuf>, threads: usize) -> Vec<Option<FileStamp>> {
    let length = paths.len().div_ceil(threads.max(1)).max(1);
    let parts: Vec<_> = paths
        .chunks(length)
        .map(<[PathBuf]>::to_vec)
        .map(|part| {
            tokio::task::spawn_blocking(move || {
                let look = |path: &PathBuf| std::fs::metadata(path).ok().and_then(|it| stamp(&it));
                part.iter().map(look).collect::<Vec<_>>()
            })
        })
        .collect();
    let mut all = Vec::with_capacity(paths.len());
    for (part, paths) in parts.into_iter().zip(paths.chunks(length)) {
        all.extend(part.await.unwrap_or_else(|_| vec![None; paths.len()]));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settled(
        before: Option<FileStamp>,
        after: Option<FileStamp>,
        begun: SystemTime,
    ) -> Option<FileStamp> {
        super::settled(before, after, begun, Duration::from_secs(2))
    }

    fn at(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(seconds)
    }

    fn changed(modified: i64, changed: i64) -> Option<FileStamp> {
        let second = 1_000_000_000;
        Some(FileStamp {
            size: 7,
            modified: modified * second,
            changed: changed * second,
            inode: 1,
        })
    }

    #[test]
    fn a_file_that_has_been_the_same_for_a_while_is_remembered() {
        assert_eq!(settled(changed(90, 97), changed(90, 97), at(100)), changed(90, 97));
    }

    #[test]
    fn one_that_changed_a_moment_ago_or_in_the_future_is_not() {
        // Written again within the grain of the clock, it would look the same.
        for (modified, touched) in [(99, 99), (90, 99), (98, 98), (90, 98), (200, 90), (90, 200)] {
            let stamp = changed(modified, touched);
            assert_eq!(settled(stamp, stamp, at(100)), None, "{modified} {touched}");
        }
    }

    #[test]
    fn one_that_changed_while_it_was_read_is_not() {
        assert_eq!(settled(changed(90, 90), changed(90, 91), at(100)), None);
        assert_eq!(settled(changed(90, 90), None, at(100)), None);
    }

    #[test]
    fn times_beyond_nanoseconds_are_not_counted() {
        assert_eq!(settled(None, None, at(100)), None);
        assert_eq!(
            settled(changed(1, 1), changed(1, 1), UNIX_EPOCH - Duration::from_secs(9)),
            None
        );
        assert_eq!(settled(changed(1, 1), changed(1, 1), at(1 << 40)), None);
    }

    #[tokio::test]
    async fn files_are_looked_at_in_their_order_on_any_number_of_threads() {
        let folder = tempfile::tempdir().unwrap();
        let mut paths = vec![folder.path().join("missing")];
        for size in 1..8_usize {
            let path = folder.path().join(size.to_string());
            std::fs::write(&path, vec![0; size]).unwrap();
            paths.push(path);
        }
        for threads in [1, 3, 100] {
            let sizes = stamps(paths.clone(), threads).await;
            let sizes: Vec<_> = sizes.iter().map(|one| one.map(|one| one.size)).collect();
            let expected: Vec<_> = (1..8).map(Some).collect();
            assert_eq!(sizes[0], None);
            assert_eq!(sizes[1..], expected);
        }
    }
}
