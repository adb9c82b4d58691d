//! Sample images, drawn by the project itself: what a newcomer sees first, and what tests read.
//!
//! Every image is an SVG scene rendered with the fonts of this machine, then roughened and encoded as its kind usually
//! is. The same fonts give the same bytes, each time. Each sample carries the text that is drawn in it, so that tests
//! can tell how well it was read. Nothing here is downloaded and nothing is anybody's photograph.

mod encode;
mod random;
mod render;
mod scenes;
mod svg;

use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use thiserror::Error;

pub use scenes::samples;

use encode::Encoding;
use render::Renderer;

/// One sample image.
#[derive(Debug, Clone, Copy)]
pub struct Sample {
    /// File name, with the extension of its format.
    pub file: &'static str,
    /// What it shows, in a few words.
    pub about: &'static str,
    /// Lines of text in it, from top to bottom; empty for an image without text.
    pub truth: &'static [&'static str],
    encoding: Encoding,
    draw: fn() -> Scene,
}

/// A picture to be rendered.
struct Scene {
    /// SVG source with a width and a height.
    svg: String,
    /// Noise added to every pixel, in steps of 256; 0 for what a computer drew.
    grain: u8,
}

/// What [`draw`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Drawn {
    /// Images written now.
    pub written: usize,
    /// Images that were there already; they are left as they are.
    pub kept: usize,
}

/// Why the samples could not be drawn.
#[derive(Debug, Error)]
pub enum DrawError {
    /// No usable font.
    #[error(
        "neither of the fonts DejaVu Sans and Liberation Sans is installed, so no text can be drawn\nhint: apt-get install {FONT_PACKAGES}"
    )]
    NoFonts,
    /// A scene is not valid SVG. A bug.
    #[error("the scene of {file} could not be rendered: {reason}")]
    Render {
        /// Which sample.
        file: &'static str,
        /// What the renderer said.
        reason: String,
    },
    /// An image could not be encoded.
    #[error("{file} could not be encoded")]
    Encode {
        /// Which sample.
        file: &'static str,
        /// The reason.
        #[source]
        source: image::ImageError,
    },
    /// A file or folder could not be written.
    #[error("{path} could not be written")]
    Write {
        /// Which.
        path: PathBuf,
        /// The reason.
        #[source]
        source: std::io::Error,
    },
}

/// Debian packages of the typefaces that the samples use. Without the last three they fall back to the first two.
pub const FONT_PACKAGES: &str =
    "fonts-dejavu-core fonts-liberation fonts-bebas-neue fonts-comic-neue fonts-lato";

/// Draws every sample that is not yet in `folder`, which is made when missing. Files that are there are kept.
///
/// # Errors
/// When no font is installed or a file cannot be written.
pub fn draw(folder: &Path) -> Result<Drawn, DrawError> {
    let write_error = |path: &Path| {
        let path = path.to_owned();
        move |source| DrawError::Write { path, source }
    };
    std::fs::create_dir_all(folder).map_err(write_error(folder))?;
    let missing: Vec<Sample> =
        samples().iter().copied().filter(|sample| !folder.join(sample.file).exists()).collect();
    let drawn = Drawn { written: missing.len(), kept: samples().len() - missing.len() };
    if missing.is_empty() {
        return Ok(drawn);
    }

    let renderer = Renderer::new()?;
    let next = AtomicUsize::new(0);
    let failure = Mutex::new(None);
    let work = || {
        while let Some(sample) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
            let written = bytes(sample, &renderer).and_then(|bytes| {
                // Under another name first: a file that is there is whole, whenever this is interrupted.
                let path = folder.join(sample.file);
                let part = folder.join(format!(".{}.part", sample.file));
                std::fs::write(&part, bytes).map_err(write_error(&part))?;
                std::fs::rename(&part, &path).map_err(write_error(&path))
            });
            if let Err(error) = written {
                failure
                    .lock()
                    .unwrap_or_else(std::sync::PoisonError::into_inner)
                    .get_or_insert(error);
                return;
            }
        }
    };
    std::thread::scope(|threads| {
        for _ in 0..std::thread::available_parallelism().map_or(1, usize::from).min(missing.len()) {
            threads.spawn(work);
        }
    });
    let failure = failure.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
    failure.map_or(Ok(drawn), Err)
}

fn bytes(sample: &Sample, renderer: &Renderer) -> Result<Vec<u8>, DrawError> {
    let scene = (sample.draw)();
    let picture = renderer
        .render(&scene)
        .map_err(|reason| DrawError::Render { file: sample.file, reason })?;
    encode::encode(picture, sample.encoding)
        .map_err(|source| DrawError::Encode { file: sample.file, source })
}
