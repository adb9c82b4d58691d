//! OCR with Tesseract: an [`ocelli_worker::Analyzer`] that reads images in sandboxed child processes.
//!
//! The OCR worker and the `ocelli` command use it. The worker process never decodes an image and never calls Tesseract:
//! both happen in children that can be killed at any moment and have nothing but their pipes. A binary that uses this
//! crate calls [`run_if_child`] first in its `main`.
//!
//! | module | room for |
//! |---|---|
//! | [`analyzer`] | [`TesseractAnalyzer`]: probe, revision, outcome |
//! | [`options`] | [`OcrOptions`] |
//! | [`pool`] | [`Pool`]: the children as the parent sees them |
//! | `conversions` | AVIF and HEIC, before a child gets them |
//! | [`child`] | the child's loop |
//! | [`sandbox`] | what a child gives up |
//! | [`protocol`] | what the two say to each other |
//! | `cascade` | the passes over one picture |
//! | `lines`, `fine`, `blobs`, `raster` | looking for letters in pixels |
//! | `words` | which words to believe, and merging passes |
//! | [`engine`] | Tesseract itself |
//! | [`data`] | language data |
//! | [`mod@diagnose`] | for `ocelli doctor` |
//! | [`local`] | reading in this process, for measuring |

pub mod analyzer;
mod blobs;
mod cascade;
pub mod child;
mod conversions;
pub mod data;
pub mod diagnose;
pub mod engine;
mod fine;
mod lines;
pub mod local;
pub mod metrics;
pub mod options;
pub mod pool;
pub mod protocol;
mod raster;
pub mod sandbox;
mod settings;
mod words;

pub use analyzer::TesseractAnalyzer;
pub use cascade::PREPROCESSING_VERSION;
pub use child::{CHILD_ARGUMENT, child_main, run_if_child};
pub use diagnose::{Diagnosis, diagnose};
pub use metrics::OcrMetrics;
pub use options::{Effort, OcrOptions, PageMode};
pub use pool::Pool;
