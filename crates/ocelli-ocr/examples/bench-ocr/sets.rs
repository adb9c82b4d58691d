//! The pictures that are read: drawn by this program, or found in folders.

use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::{memes, pages};

/// Never tuned on: memes of this seed are the ones that count.
const HELD_OUT: u64 = 1_009;

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
    /// Texts in several languages: scored with those languages too.
    pub(crate) many_languages: bool,
    pub(crate) samples: Vec<Sample>,
}

/// What the shares of the sets add up to: half memes, a fifth screenshots and scans, a fifth photographs without text, and
/// of pages that lie on a side and of found images one each.
pub(crate) const WHOLE: usize = 20;

/// How much is drawn.
#[derive(Clone, Copy)]
pub(crate) struct Amounts {
    pub(crate) memes: u64,
    pub(crate) pages: u64,
}

/// Draws into `folder` and adds `OCELLI_SHARED_DATA/ocr` and the `given` folders.
pub(crate) fn collect(folder: &Path, amounts: Amounts, given: &[PathBuf]) -> Result<Vec<Set>> {
    let mut sets = Vec::new();
    let at = |name: &str| -> Result<PathBuf> {
        let path = folder.join(name);
        std::fs::create_dir_all(&path)?;
        Ok(path)
    };
    let mut add = |name: &str, share: usize, many_languages: bool, samples: Vec<Sample>| {
        if !samples.is_empty() {
            sets.push(Set { name: name.to_owned(), share, many_languages, samples });
        }
    };
    add("memes", 10, false, memes::draw(&at("memes")?, HELD_OUT, amounts.memes)?);
    add("screenshots and scans", 4, false, pages::upright(&at("pages")?, HELD_OUT, amounts.pages)?);
    add("turned pages", 1, false, pages::turned(&at("turned")?, HELD_OUT, amounts.pages)?);
    let photographs = memes::without_text(&at("photographs")?, HELD_OUT, amounts.pages)?;
    add("photographs without text", 4, false, photographs);
    if let Some(shared) = std::env::var_os("OCELLI_SHARED_DATA") {
        add("found (ocr)", 1, true, found(&PathBuf::from(shared).join("ocr"))?);
    }
    for folder in given {
        add(&folder.display().to_string(), 1, true, found(folder)?);
    }
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
