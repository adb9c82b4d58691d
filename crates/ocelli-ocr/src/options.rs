//! Settings of one OCR analyzer, already checked. The binaries make this from their settings files; nothing here
//! reads a file or the environment.

use std::path::PathBuf;
use std::time::Duration;

use ocelli_core::AnalyzerName;
use ocelli_media::{Converter, DecodeLimits};
use serde::{Deserialize, Serialize};

/// How far the reading of one image goes when the first pass is not enough.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Effort {
    /// One plain page pass.
    Page,
    /// All passes that the image gives a reason for.
    #[default]
    Full,
}

/// How the first pass looks for text in a picture.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub enum PageMode {
    /// Columns, blocks, lines: found by the engine.
    #[default]
    Auto,
    /// One column of text of varying size.
    Column,
    /// One block of lines of one size.
    Block,
    /// As much text as possible, in no order.
    Sparse,
}

/// One OCR analyzer.
#[derive(Debug, Clone)]
pub struct OcrOptions {
    /// Name of the analyzer.
    pub name: AnalyzerName,
    /// Language data by Tesseract's names, joined with `+`: `eng+deu`. The first one leads.
    pub languages: String,
    /// Folder with `*.traineddata`. `None`: `TESSDATA_PREFIX`, then where Debian and others put it.
    pub data_path: Option<PathBuf>,
    /// Child processes, each reading one image at a time on one core. 0 = one per core.
    pub children: usize,
    /// After this time no further pass begins and the running one stops between words; what was read is kept.
    pub soft_deadline: Duration,
    /// After this time the child is killed. Layout analysis cannot be interrupted in any other way.
    pub hard_deadline: Duration,
    /// How long a child may take to load its language data and lock itself in.
    pub start_deadline: Duration,
    /// Address space of a child in bytes. Decoding is bounded by `limits.memory`; the rest is the engine and its data.
    pub memory_limit: u64,
    /// A child whose resident memory exceeds this after an image is replaced: the engine keeps the buffers of the
    /// largest image it has seen.
    pub recycle_memory: u64,
    /// A child is replaced after so many images, so that a slow leak in a C library stays small.
    pub images_per_child: u32,
    /// Bounds on decoding.
    pub limits: DecodeLimits,
    /// What makes PNG of AVIF and HEIC, before a child gets them.
    pub converter: Converter,
    /// How the first pass looks for text.
    pub page_mode: PageMode,
    /// Frames of an animation that are read, spread evenly over it. 1 = the first.
    pub frames: u32,
    /// Which passes may run.
    pub effort: Effort,
    /// Mean confidence (0 to 100) from which on the sparse pass is not needed.
    pub sufficient_confidence: f32,
    /// Program to start as child, answering to [`crate::CHILD_ARGUMENT`]. `None`: this program itself.
    pub child_program: Option<PathBuf>,
}

impl Default for OcrOptions {
    fn default() -> Self {
        Self {
            name: "ocr".parse().expect("'ocr' is a valid analyzer name"),
            languages: "eng".to_owned(),
            data_path: None,
            children: 0,
            // A dense 300 dpi page takes 2 to 4 s on a busy core.
            soft_deadline: Duration::from_secs(20),
            // Layout analysis of noise takes about 1 s per megapixel and starts before the soft deadline can act.
            hard_deadline: Duration::from_secs(60),
            // 60 ms on an idle machine; a cold disk and a full machine take seconds.
            start_deadline: Duration::from_secs(30),
            // 640 MiB for decoding (see DecodeLimits), the same image once more for the engine, and shared libraries.
            memory_limit: 2 * 1024 * 1024 * 1024,
            recycle_memory: 400 * 1024 * 1024,
            images_per_child: 1_000,
            limits: DecodeLimits::default(),
            converter: Converter::default(),
            page_mode: PageMode::Auto,
            frames: 1,
            effort: Effort::Full,
            sufficient_confidence: 70.0,
            child_program: None,
        }
    }
}

impl OcrOptions {
    /// Children with 0 resolved.
    #[must_use]
    pub fn children(&self) -> usize {
        match self.children {
            0 => std::thread::available_parallelism().map_or(1, std::num::NonZero::get),
            count => count,
        }
    }
}
