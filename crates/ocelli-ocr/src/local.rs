//! Reading in this very process, without children and sandbox. For measuring accuracy and for images one trusts; the
//! worker never does this.

use std::path::Path;
use std::time::Instant;

use image::RgbImage;
use ocelli_media::Place;

use crate::cascade::{self, Budget, Writing};
use crate::engine::{Engine, EngineError};
use crate::options::{Effort, OcrOptions};
use crate::protocol::Transcript;

/// One engine.
#[derive(Debug)]
pub struct LocalReader {
    engine: Engine,
    options: OcrOptions,
}

impl LocalReader {
    /// Loads the language data.
    ///
    /// # Errors
    /// When it is missing.
    pub fn new(data_path: &Path, options: OcrOptions) -> Result<Self, EngineError> {
        Ok(Self { engine: Engine::new(data_path, &options.languages)?, options })
    }

    /// Reads one upright picture.
    ///
    /// # Errors
    /// When the engine refuses the pixels.
    pub fn read(&mut self, picture: RgbImage) -> Result<Transcript, EngineError> {
        let budget = Budget {
            ends: Instant::now() + self.options.soft_deadline,
            whole: self.options.soft_deadline,
            page_only: self.options.effort == Effort::Page,
            page_mode: self.options.page_mode,
            sufficient_confidence: self.options.sufficient_confidence,
        };
        let mut writing = Writing::default();
        let reading = cascade::read(&mut self.engine, picture, budget)?;
        writing.append(reading, Place::Page(0));
        Ok(writing.finish())
    }
}
