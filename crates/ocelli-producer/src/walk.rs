//! Walking a folder: deterministic, with bounded memory, and with every obstacle as an entry of its own.
//!
//! Blocks; called on the lister's thread. An own walk and not a crate's, because each of these must be one visible
//! outcome: a link that leads nowhere, a loop of folders, a folder that cannot be read. Ignore files (`.gitignore` and
//! the like) are not obeyed: they are about source code.

use std::collections::HashSet;
use std::ffi::OsString;
use std::fs::{self, FileType, Metadata, ReadDir};
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};

use crate::filter::{Filter, Identity};
use crate::source::shown;

/// Entries of one folder that are sorted together. A larger folder is sorted piece by piece: a million names need
/// not be held for the sake of order.
const SORTED_TOGETHER: usize = 50_000;

/// What a walk comes across.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Entry {
    /// A regular file.
    File(PathBuf),
    /// Something that is no image file for certain, with the reason.
    Skipped(PathBuf, &'static str),
    /// An obstacle.
    Problem(PathBuf, String),
}

struct Level {
    folder: PathBuf,
    identity: Identity,
    sorted: std::vec::IntoIter<(OsString, FileType)>,
    /// What is left of a folder with more than [`SORTED_TOGETHER`] entries.
    rest: Option<ReadDir>,
}

impl Level {
    fn open(folder: PathBuf, identity: Identity) -> io::Result<Self> {
        let rest = Some(fs::read_dir(&folder)?);
        Ok(Self { folder, identity, sorted: Vec::new().into_iter(), rest })
    }

    fn next(&mut self) -> io::Result<Option<(OsString, FileType)>> {
        if self.sorted.len() == 0
            && let Some(mut rest) = self.rest.take()
        {
            let mut piece = Vec::new();
            let mut at_end = true;
            for entry in rest.by_ref() {
                // After an error the rest of the folder is given up: the system may repeat the error for ever.
                let entry = entry?;
                piece.push((entry.file_name(), entry.file_type()?));
                if piece.len() == SORTED_TOGETHER {
                    at_end = false;
                    break;
                }
            }
            piece.sort_unstable_by(|a, b| a.0.cmp(&b.0));
            self.sorted = piece.into_iter();
            self.rest = (!at_end).then_some(rest);
        }
        Ok(self.sorted.next())
    }
}

/// Walks `start`, which is the filter's root or a folder below it. Stops when `emit` breaks.
pub(crate) fn walk(
    filter: &Filter,
    start: &Path,
    emit: &mut dyn FnMut(Entry) -> ControlFlow<()>,
) -> ControlFlow<()> {
    let mut walk = Walk { filter, stack: Vec::new(), linked: HashSet::new() };
    let mut found = walk.enter(start.to_owned(), false);
    loop {
        if let Some(entry) = found.take() {
            emit(entry)?;
        }
        let Some(level) = walk.stack.last_mut() else { return ControlFlow::Continue(()) };
        match level.next() {
            Ok(Some((name, kind))) => {
                let path = level.folder.join(name);
                found = walk.visit(path, kind);
            }
            Ok(None) => {
                walk.stack.pop();
            }
            Err(error) => {
                found = Some(unlistable(&level.folder, &error));
                walk.stack.pop();
            }
        }
    }
}

struct Walk<'a> {
    filter: &'a Filter,
    stack: Vec<Level>,
    /// Folders entered through a link: each once, or a few links could make a tree of any size.
    linked: HashSet<Identity>,
}

impl Walk<'_> {
    fn visit(&mut self, path: PathBuf, kind: FileType) -> Option<Entry> {
        if kind.is_symlink() {
            return self.visit_link(path);
        }
        if !self.filter.admits(&path, kind.is_dir()) {
            return None;
        }
        if kind.is_dir() {
            self.enter(path, false)
        } else if kind.is_file() {
            Some(Entry::File(path))
        } else {
            Some(Entry::Skipped(path, "a pipe, socket or device"))
        }
    }

    fn visit_link(&mut self, path: PathBuf) -> Option<Entry> {
        let target = fs::metadata(&path);
        let is_dir = target.as_ref().is_ok_and(Metadata::is_dir);
        if !self.filter.admits(&path, is_dir) {
            return None;
        }
        let target = match target {
            Ok(target) => target,
            Err(error) => {
                let reason = broken_link(&path, &error);
                return Some(Entry::Problem(path, reason));
            }
        };
        if !self.filter.follows_links() {
            return Some(Entry::Skipped(path, "a symbolic link, and links are not followed"));
        }
        if target.is_dir() {
            self.enter(path, true)
        } else if target.is_file() {
            Some(Entry::File(path))
        } else {
            Some(Entry::Skipped(path, "a link to a pipe, socket or device"))
        }
    }

    fn enter(&mut self, folder: PathBuf, through_link: bool) -> Option<Entry> {
        let identity = match Identity::of(&folder) {
            Ok(identity) => identity,
            Err(error) => return Some(unlistable(&folder, &error)),
        };
        if self.filter.is_excluded(identity) {
            return None;
        }
        if let Some(above) = self.stack.iter().find(|level| level.identity == identity) {
            let reason = format!(
                "a loop of folders: it leads back to '{}'; its images are listed there",
                shown(&above.folder)
            );
            return Some(Entry::Problem(folder, reason));
        }
        if through_link && !self.linked.insert(identity) {
            return Some(Entry::Skipped(folder, "a link to a folder that another link led to"));
        }
        match Level::open(folder.clone(), identity) {
            Ok(level) => {
                self.stack.push(level);
                None
            }
            Err(error) => Some(unlistable(&folder, &error)),
        }
    }
}

fn unlistable(folder: &Path, error: &io::Error) -> Entry {
    let reason = match error.kind() {
        io::ErrorKind::NotFound => "the folder vanished while it was listed".to_owned(),
        io::ErrorKind::PermissionDenied => {
            format!("the folder cannot be listed: {error}; check its permissions (ls -ld)")
        }
        _ => format!("the folder cannot be listed: {error}"),
    };
    Entry::Problem(folder.to_owned(), reason)
}

fn broken_link(path: &Path, error: &io::Error) -> String {
    match fs::read_link(path) {
        Ok(target) if error.kind() == io::ErrorKind::NotFound => {
            format!("a broken link: its target '{}' does not exist", shown(&target))
        }
        Ok(target) => {
            format!("a link to '{}' that cannot be followed: {error}", shown(&target))
        }
        Err(_) => format!("a link that cannot be read: {error}"),
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;
    use crate::ProducerOptions;
    use crate::source::SourceError;

    fn list(root: &Path, options: &ProducerOptions) -> Vec<Entry> {
        let mut all = Vec::new();
        let filter = Filter::new(root.to_owned(), options).unwrap();
        let _ = walk(&filter, root, &mut |entry| {
            all.push(entry);
            ControlFlow::Continue(())
        });
        all
    }

    fn files(root: &Path, options: &ProducerOptions) -> Vec<String> {
        let name = |path: PathBuf| path.strip_prefix(root).unwrap().to_string_lossy().into_owned();
        list(root, options)
            .into_iter()
            .filter_map(|entry| if let Entry::File(path) = entry { Some(name(path)) } else { None })
            .collect()
    }

    fn tree(names: &[&str]) -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        for name in names {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, name).unwrap();
        }
        folder
    }

    #[test]
    fn files_come_in_the_order_of_their_names_and_hidden_ones_on_request() {
        let folder = tree(&["b/2.png", "a.png", "b/1.png", ".git/x.png", "c/.y.png", ".gitignore"]);
        fs::write(folder.path().join(".gitignore"), "*.png").unwrap();
        let options = ProducerOptions::default();
        assert_eq!(files(folder.path(), &options), ["a.png", "b/1.png", "b/2.png"]);
        let options = ProducerOptions { hidden: true, ..options };
        assert_eq!(files(folder.path(), &options).len(), 6);
    }

    #[test]
    fn globs_include_and_exclude() {
        let folder = tree(&["a.png", "b.jpg", "thumbs/a.png", "x/thumbs/b.png", "x/!c.png"]);
        let globs = |include: &[&str], exclude: &[&str]| {
            let owned = |globs: &[&str]| globs.iter().map(|glob| (*glob).to_owned()).collect();
            let options = ProducerOptions {
                include: owned(include),
                exclude: owned(exclude),
                ..ProducerOptions::default()
            };
            files(folder.path(), &options)
        };
        assert_eq!(globs(&["*.jpg"], &[]), ["b.jpg"]);
        assert_eq!(globs(&[], &["thumbs/"]), ["a.png", "b.jpg", "x/!c.png"]);
        assert_eq!(globs(&["*.png"], &["/thumbs", "!*"]), ["a.png", "x/thumbs/b.png"]);
        assert_eq!(globs(&["!c.png"], &[]), ["x/!c.png"]);
        let bad = ProducerOptions { include: vec!["[".to_owned()], ..ProducerOptions::default() };
        assert!(matches!(
            Filter::new(folder.path().to_owned(), &bad),
            Err(SourceError::Glob { glob, .. }) if glob == "["
        ));
    }

    #[test]
    fn links_that_lead_nowhere_or_back_are_problems_and_the_walk_ends() {
        let folder = tree(&["a/1.png", "b/2.png"]);
        let at = |name: &str| folder.path().join(name);
        symlink("nowhere", at("broken.png")).unwrap();
        symlink("self.png", at("self.png")).unwrap();
        symlink("..", at("a/up")).unwrap();
        symlink("../b", at("a/b")).unwrap();
        symlink("b", at("c")).unwrap();
        symlink("a/1.png", at("one.png")).unwrap();
        let options = ProducerOptions { follow_links: true, ..ProducerOptions::default() };
        assert_eq!(files(folder.path(), &options), ["a/1.png", "a/b/2.png", "b/2.png", "one.png"]);
        let problems = |options: &ProducerOptions| -> Vec<String> {
            list(folder.path(), options)
                .into_iter()
                .filter_map(|entry| match entry {
                    Entry::Problem(_, reason) => Some(reason),
                    _ => None,
                })
                .collect()
        };
        let found = problems(&options);
        assert_eq!(found.len(), 3, "{found:?}");
        assert!(found[0].contains("loop of folders"), "{found:?}");
        assert!(found[1].contains("broken link: its target 'nowhere'"), "{found:?}");
        assert_eq!(
            problems(&ProducerOptions::default()).len(),
            2,
            "a loop is no loop when not followed"
        );
    }

    #[test]
    fn many_links_between_folders_do_not_multiply() {
        let folder = tempfile::tempdir().unwrap();
        for level in 0..30 {
            let path = folder.path().join(format!("{level:02}"));
            fs::create_dir(&path).unwrap();
            fs::write(path.join("x.png"), "x").unwrap();
            for link in ["p", "q"] {
                symlink(format!("../{:02}", level + 1), path.join(link)).unwrap();
            }
        }
        let options = ProducerOptions { follow_links: true, ..ProducerOptions::default() };
        assert!(files(folder.path(), &options).len() < 100);
    }

    #[test]
    fn own_data_folders_are_not_walked_even_through_a_link() {
        let folder = tree(&["data/x.png", "images/y.png"]);
        symlink("../data", folder.path().join("images/link")).unwrap();
        let options = ProducerOptions {
            follow_links: true,
            exclude_dirs: vec![folder.path().join("data")],
            ..ProducerOptions::default()
        };
        assert_eq!(files(folder.path(), &options), ["images/y.png"]);
        let filter = Filter::new(folder.path().to_owned(), &options).unwrap();
        assert!(!filter.reaches(&folder.path().join("data/x.png"), false));
        assert!(filter.reaches(&folder.path().join("images/y.png"), false));
        assert!(!filter.reaches(&folder.path().join("images/.hidden/y.png"), false));
    }

    #[test]
    fn pipes_are_skipped_and_a_start_that_is_no_folder_is_a_problem() {
        let folder = tree(&["a.png"]);
        let socket = folder.path().join("socket.png");
        let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
        let entries = list(folder.path(), &ProducerOptions::default());
        assert!(matches!(&entries[1], Entry::Skipped(path, _) if *path == socket));
        let entries = list(&folder.path().join("a.png"), &ProducerOptions::default());
        assert!(
            matches!(&entries[..], [Entry::Problem(_, reason)] if reason.contains("cannot be listed"))
        );
    }
}
