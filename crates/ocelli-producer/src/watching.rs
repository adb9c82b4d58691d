//! Watching folders: the system's events say where to look, the disk says what is there.
//!
//! Events are hints. When some are lost (the queue was full, the filesystem has none) the folders are listed again, and
//! a table of what was seen keeps files from being read twice. Runs on the lister's thread.

use std::collections::HashMap;
use std::hash::{BuildHasher, RandomState};
use std::ops::ControlFlow;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, sync_channel};
use std::time::{Duration, Instant, SystemTime};

use notify::event::{AccessKind, AccessMode, CreateKind, ModifyKind, RenameMode};
use notify::{Config, Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher};

use crate::ProducerOptions;
use crate::error::ProducerError;
use crate::filter::Filter;
use crate::listing::{Listed, Out};
use crate::settle::{Settling, Stamp, Writer};
use crate::source::Opened;
use crate::walk::{Entry, walk};

/// Events that may wait for the lister. Beyond, they are dropped and the folders are listed again.
const EVENTS: usize = 65_536;

/// Files whose state is remembered, at about 30 bytes each. Others are read again when the folders are listed again.
const MAX_REMEMBERED: usize = 4_000_000;

/// How often files that wait are looked at, and the end of the run is noticed.
const TICK: Duration = Duration::from_millis(50);

/// Folders under watch.
pub(crate) struct Watched {
    filters: Vec<Filter>,
    settle: Duration,
    rescan: Duration,
    events: Receiver<Event>,
    /// Set when an event was lost.
    lost: Arc<AtomicBool>,
    /// Kept because dropping it ends the watch.
    _watcher: Option<RecommendedWatcher>,
}

impl Watched {
    /// Begins to watch; blocks while the folders below are visited.
    pub(crate) fn begin(
        filters: Vec<Filter>,
        options: &ProducerOptions,
    ) -> Result<Self, ProducerError> {
        let (sender, events) = sync_channel(EVENTS);
        let lost = Arc::new(AtomicBool::new(false));
        let watcher = match filters.first() {
            None => None,
            Some(first) => {
                let lost = Arc::clone(&lost);
                let tell = move |event: notify::Result<Event>| {
                    let is_kept = match event {
                        Ok(event) if event.need_rescan() => false,
                        Ok(event) => !is_of_interest(&event.kind) || sender.try_send(event).is_ok(),
                        Err(error) => {
                            tracing::warn!(%error, "watching: an event was lost");
                            false
                        }
                    };
                    if !is_kept {
                        lost.store(true, Ordering::Release);
                    }
                };
                let config = Config::default().with_follow_symlinks(options.follow_links);
                let mut watcher = RecommendedWatcher::new(tell, config)
                    .map_err(|error| cannot_watch(first.root(), error))?;
                for filter in &filters {
                    watcher
                        .watch(filter.root(), RecursiveMode::Recursive)
                        .map_err(|error| cannot_watch(filter.root(), error))?;
                }
                Some(watcher)
            }
        };
        Ok(Self {
            filters,
            settle: options.settle,
            rescan: options.rescan,
            events,
            lost,
            _watcher: watcher,
        })
    }
}

fn cannot_watch(path: &Path, source: notify::Error) -> ProducerError {
    let hint = match &source.kind {
        notify::ErrorKind::MaxFilesWatch => {
            ": it has more folders than the system allows to watch; raise fs.inotify.max_user_watches (sysctl)"
        }
        notify::ErrorKind::Io(error) if error.raw_os_error() == Some(24) => {
            ": too many programs watch folders; raise fs.inotify.max_user_instances (sysctl)"
        }
        _ => "",
    };
    ProducerError::Watch { path: path.to_owned(), hint, source }
}

fn is_of_interest(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Any
            | EventKind::Create(_)
            | EventKind::Modify(ModifyKind::Data(_) | ModifyKind::Name(_) | ModifyKind::Any)
            | EventKind::Access(AccessKind::Close(AccessMode::Write))
    )
}

/// Whether an event says that a file is there as a whole.
fn is_closing(kind: &EventKind) -> bool {
    matches!(
        kind,
        EventKind::Access(AccessKind::Close(AccessMode::Write))
            | EventKind::Modify(ModifyKind::Name(RenameMode::To | RenameMode::Both))
    )
}

/// Lists the folders, then `others`, then whatever appears in the folders, until nobody listens.
pub(crate) fn watch_folders(out: &Out, watched: Watched, others: Vec<Opened>) -> ControlFlow<()> {
    let Watched { filters, settle, rescan, events, lost, _watcher } = watched;
    let mut state = State {
        out,
        settling: Settling::new(settle),
        folders: HashMap::new(),
        seen: Seen::default(),
        lost: Arc::clone(&lost),
        settle,
    };
    for filter in &filters {
        state.list(filter, filter.root())?;
    }
    for source in others {
        match source {
            Opened::Stdin => aside(out, source)?,
            other => out.source(other)?,
        }
    }
    out.send(Listed::End)?;
    let mut rescan_at = Instant::now() + rescan;
    loop {
        match events.recv_timeout(TICK) {
            Ok(event) => state.event(&filters, &event)?,
            Err(RecvTimeoutError::Timeout) => {}
            // No folder is watched: wait for the end.
            Err(RecvTimeoutError::Disconnected) => std::thread::sleep(TICK),
        }
        // One look for all events that came together.
        while let Ok(event) = events.try_recv() {
            state.event(&filters, &event)?;
        }
        if out.is_stopped() {
            return ControlFlow::Break(());
        }
        state.give_out(&filters)?;
        let now = Instant::now();
        if lost.swap(false, Ordering::AcqRel) || now >= rescan_at {
            tracing::debug!("listing the watched folders again");
            for filter in &filters {
                state.list(filter, filter.root())?;
            }
            rescan_at = Instant::now() + rescan;
        }
    }
}

/// Lists a source that may never end, on a thread of its own: what appears in the folders must not wait for it.
fn aside(out: &Out, source: Opened) -> ControlFlow<()> {
    let own = out.clone();
    let spawned = std::thread::Builder::new().name("standard input".to_owned()).spawn(move || {
        // When nobody listens any more, the run has ended.
        let _ = own.source(source);
    });
    match spawned {
        Ok(_) => ControlFlow::Continue(()),
        Err(error) => {
            out.problem("standard input".to_owned(), format!("it cannot be read: {error}"))
        }
    }
}

struct State<'a> {
    out: &'a Out,
    settling: Settling,
    /// New folders, to be listed again at this time: files may have come before the system watched them.
    folders: HashMap<PathBuf, Instant>,
    seen: Seen,
    lost: Arc<AtomicBool>,
    settle: Duration,
}

impl State<'_> {
    /// Lists what is in a folder now and was not seen like this before.
    fn list(&mut self, filter: &Filter, start: &Path) -> ControlFlow<()> {
        walk(filter, start, &mut |entry| match entry {
            Entry::File(path) => self.listed(path),
            Entry::Skipped(path, why) => {
                if self.seen.is_news(&path, why) {
                    self.out.send(Listed::Skipped(path, why))?;
                }
                ControlFlow::Continue(())
            }
            Entry::Problem(path, reason) => {
                if self.seen.is_news(&path, &reason) {
                    self.out.entry(Entry::Problem(path, reason))?;
                }
                ControlFlow::Continue(())
            }
        })
    }

    fn listed(&mut self, path: PathBuf) -> ControlFlow<()> {
        // A file that vanished is not there to be listed.
        let Ok(metadata) = std::fs::metadata(&path) else { return ControlFlow::Continue(()) };
        let stamp = Stamp::from(&metadata);
        if self.seen.knows(&path, stamp) {
            return ControlFlow::Continue(());
        }
        // Somebody may be writing it right now.
        let is_fresh = metadata.modified().is_ok_and(|modified| {
            SystemTime::now().duration_since(modified).is_ok_and(|age| age < self.settle)
        });
        if is_fresh {
            self.wait_for(path, Writer::Unknown, Some(stamp));
            ControlFlow::Continue(())
        } else {
            self.seen.is_news(&path, stamp);
            self.out.file(path, false)
        }
    }

    fn event(&mut self, filters: &[Filter], event: &Event) -> ControlFlow<()> {
        for path in &event.paths {
            let Ok(metadata) = std::fs::symlink_metadata(path) else { continue };
            let is_dir = metadata.is_dir();
            let Some(filter) = filters.iter().find(|filter| filter.reaches(path, is_dir)) else {
                continue;
            };
            if is_dir {
                let is_new = matches!(
                    event.kind,
                    EventKind::Any
                        | EventKind::Create(CreateKind::Folder | CreateKind::Any)
                        | EventKind::Modify(ModifyKind::Name(_))
                );
                if is_new {
                    self.list(filter, path)?;
                    self.folders.insert(path.clone(), Instant::now() + self.settle);
                }
            } else {
                // A link is made in one step, and nobody closes it.
                let is_link = metadata.is_symlink() || metadata.nlink() > 1;
                let is_done = is_closing(&event.kind)
                    || (is_link && matches!(event.kind, EventKind::Create(_)));
                let writer = if is_done { Writer::Done } else { Writer::Writing };
                self.wait_for(path.clone(), writer, None);
            }
        }
        ControlFlow::Continue(())
    }

    fn wait_for(&mut self, path: PathBuf, writer: Writer, stamp: Option<Stamp>) {
        if !self.settling.touch(path, writer, stamp, Instant::now()) {
            self.lost.store(true, Ordering::Release);
        }
    }

    /// Sends what is fully written, and lists new folders a second time.
    fn give_out(&mut self, filters: &[Filter]) -> ControlFlow<()> {
        let now = Instant::now();
        let ripe = self.settling.ripe(now, |path| {
            let metadata = std::fs::symlink_metadata(path).ok()?;
            let follows = filters.iter().any(|filter| filter.follows_links());
            let metadata = if metadata.is_symlink() && follows {
                std::fs::metadata(path).ok()?
            } else {
                metadata
            };
            metadata.is_file().then(|| Stamp::from(&metadata))
        });
        for (path, stamp) in ripe {
            if self.seen.is_news(&path, stamp) {
                self.out.file(path, false)?;
            }
        }
        let due: Vec<PathBuf> =
            self.folders.extract_if(|_, due| *due <= now).map(|(folder, _)| folder).collect();
        for folder in due {
            if let Some(filter) = filters.iter().find(|filter| filter.reaches(&folder, true))
                && folder.is_dir()
            {
                self.list(filter, &folder)?;
            }
        }
        ControlFlow::Continue(())
    }
}

/// What was given out, as hashes: a path and the state it was in.
#[derive(Default)]
struct Seen {
    states: HashMap<u64, u64>,
    hasher: RandomState,
}

impl Seen {
    fn knows(&self, path: &Path, state: impl std::hash::Hash) -> bool {
        self.states.get(&self.hasher.hash_one(path)) == Some(&self.hasher.hash_one(state))
    }

    /// Remembers the state of a path; whether it is another than before.
    fn is_news(&mut self, path: &Path, state: impl std::hash::Hash) -> bool {
        let (path, state) = (self.hasher.hash_one(path), self.hasher.hash_one(state));
        if self.states.len() >= MAX_REMEMBERED && !self.states.contains_key(&path) {
            return true;
        }
        self.states.insert(path, state) != Some(state)
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{File, FileTimes};

    use tokio_util::sync::CancellationToken;

    use super::*;
    use crate::listing::Lister;

    /// A file that was written long ago.
    fn put_old(path: &Path, text: &str) {
        std::fs::write(path, text).unwrap();
        let past = SystemTime::now() - Duration::from_secs(3600);
        let times = FileTimes::new().set_modified(past);
        File::options().write(true).open(path).unwrap().set_times(times).unwrap();
    }

    #[tokio::test]
    async fn listing_again_gives_out_only_what_is_new_or_changed() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_owned();
        std::os::unix::fs::symlink("nowhere", root.join("broken")).unwrap();
        put_old(&root.join("a.png"), "a");
        let stop = CancellationToken::new();
        let (mut listed, lister) =
            Lister::spawn(100, crate::MetaLimits::default(), &stop, move |out| {
                let filter = Filter::new(root.clone(), &ProducerOptions::default()).unwrap();
                let mut state = State {
                    out,
                    settling: Settling::new(Duration::from_secs(2)),
                    folders: HashMap::new(),
                    seen: Seen::default(),
                    lost: Arc::default(),
                    settle: Duration::from_secs(2),
                };
                for name in ["b.png", "a.png"] {
                    let _ = state.list(&filter, &root);
                    let _ = state.list(&filter, &root);
                    put_old(&root.join(name), "another text");
                }
                let _ = state.list(&filter, &root);
                std::fs::write(root.join("fresh.png"), "half").unwrap();
                let _ = state.list(&filter, &root);
                assert!(state.give_out(&[filter]).is_continue());
            })
            .unwrap();
        lister.end().await.unwrap();
        let mut found = Vec::new();
        while let Some(item) = listed.recv().await {
            found.push(match item {
                Listed::Reference(reference) => {
                    let path = reference.path.unwrap();
                    path.file_name().unwrap().to_string_lossy().into_owned()
                }
                Listed::Problem { .. } => "problem".to_owned(),
                other => panic!("{other:?}"),
            });
        }
        assert_eq!(found, ["a.png", "problem", "b.png", "a.png"]);
    }
}
