//! The pictures that are read: drawn by this program, or found in folders.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{memes, pages, scenes};

/// Never tuned on: pictures of this seed are the ones that count.
pub(crate) const HELD_OUT: u64 = 1_009;

/// A picture and the text that a person reads in it.
#[derive(Clone)]
pub(crate) struct Sample {
    pub(crate) path: PathBuf,
    pub(crate) truth: String,
}

/// Pictures of one kind.
pub(crate) struct Set {
    pub(crate) name: String,
    /// Pictures of it among [`WHOLE`] of an archive of memes and screenshots.
    pub(crate) share: usize,
    /// Found, so perhaps in several languages: scored with those languages too.
    pub(crate) found: bool,
    pub(crate) samples: Vec<Sample>,
}

/// What the shares of the sets add up to: half memes, a fifth screenshots and scans, a fifth photographs without text, and
/// of pages that lie on a side and of found images one each.
pub(crate) const WHOLE: usize = 20;

/// How much is drawn, and which.
pub(crate) struct Wanted<'a> {
    pub(crate) seed: u64,
    pub(crate) memes: u64,
    pub(crate) pages: u64,
    pub(crate) screens: u64,
    /// Folders of found images, beside the one of the shared data.
    pub(crate) folders: &'a [PathBuf],
    /// Sets of these names only; all when empty.
    pub(crate) sets: &'a [String],
    /// Images whose name holds this.
    pub(crate) only: &'a str,
}

/// Draws into `folder` what is wanted, and lists what is found.
pub(crate) fn collect(folder: &Path, wanted: &Wanted<'_>) -> Result<Vec<Set>> {
    let &Wanted { seed, memes, pages, screens, .. } = wanted;
    let mut sets = Vec::new();
    let asked = |name: &str| wanted.sets.is_empty() || wanted.sets.iter().any(|set| set == name);
    let mut draw = |name: &str, share: usize, draw: &dyn Fn(&Path) -> Result<Vec<Sample>>| {
        if asked(name) {
            let path = folder.join(name);
            std::fs::create_dir_all(&path)?;
            let samples = draw(&path)?;
            sets.push(Set { name: name.to_owned(), share, found: false, samples });
        }
        anyhow::Ok(())
    };
    draw("memes", 10, &|path| memes::draw(path, seed, memes))?;
    draw("pages", 4, &|path| pages::upright(path, seed, pages))?;
    draw("turned", 1, &|path| pages::turned(path, seed, pages))?;
    draw("photographs", 4, &|path| memes::without_text(path, seed, pages))?;
    // Of no share: what the mixture holds is what it held before there were these.
    draw("screens", 0, &|path| scenes::screens(path, seed, screens))?;
    draw("others", 0, &|path| scenes::others(path, seed, screens * 2))?;
    let mut folders = wanted.folders.to_vec();
    if let Some(shared) = std::env::var_os("OCELLI_SHARED_DATA") {
        folders.insert(0, PathBuf::from(shared).join("ocr"));
    }
    for path in folders {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        if asked(&name) {
            sets.push(Set { share: 1, found: true, samples: found(&path)?, name });
        }
    }
    for set in &mut sets {
        set.samples.retain(|sample| sample.path.to_string_lossy().contains(wanted.only));
    }
    sets.retain(|set| !set.samples.is_empty());
    anyhow::ensure!(!sets.is_empty(), "no images: there is no such set, or no name holds that");
    Ok(sets)
}

/// Every image with a `.txt` of the same stem beside it.
fn found(folder: &Path) -> Result<Vec<Sample>> {
    let mut samples = Vec::new();
    for entry in std::fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        let truth = path.with_extension("txt");
        if path.extension().is_some_and(|extension| extension != "txt") && truth.is_file() {
            samples.push(Sample { truth: std::fs::read_to_string(truth)?, path });
        }
    }
    samples.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(samples)
}
