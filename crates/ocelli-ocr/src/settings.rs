//! The options from the settings; the only module here that sees them.

use ocelli_runtime::Settings;
use ocelli_runtime::settings::{AnalyzerSettings, PageMode as PageModeSetting};
use ocelli_wiring::parts::decode_limits;

use crate::{OcrOptions, PageMode};

impl OcrOptions {
    /// Options of the analyzer `configured`.
    ///
    /// # Errors
    /// When it is not of kind `ocr`.
    pub fn from_settings(
        settings: &Settings,
        configured: &AnalyzerSettings,
    ) -> Result<Self, String> {
        let ocr = configured
            .ocr()
            .ok_or_else(|| format!("the analyzer '{}' is not of kind 'ocr'", configured.name))?;
        Ok(Self {
            name: configured.name.clone(),
            languages: ocr.languages.clone(),
            data_path: ocr.data_path.clone(),
            children: ocr.children,
            soft_deadline: ocr.soft_deadline,
            hard_deadline: ocr.hard_deadline,
            start_deadline: ocr.start_deadline,
            memory_limit: ocr.memory.bytes(),
            images_per_child: ocr.images_per_child,
            limits: decode_limits(settings),
            page_mode: match ocr.page_mode {
                PageModeSetting::Auto => PageMode::Auto,
                PageModeSetting::Column => PageMode::Column,
                PageModeSetting::Block => PageMode::Block,
                PageModeSetting::Sparse => PageMode::Sparse,
            },
            frames: ocr.frames,
            ..Self::default()
        })
    }
}
