//! The options from the settings; the only module here that sees them.

use ocelli_runtime::Settings;
use ocelli_runtime::settings::{
    AnalyzerSettings, Effort as EffortSetting, PageMode as PageModeSetting,
};
use ocelli_wiring::parts::{converter, decode_limits};

use crate::{Effort, OcrOptions, PageMode};

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
            recycle_memory: ocr.recycle_memory.bytes(),
            images_per_child: ocr.images_per_child,
            limits: decode_limits(settings),
            converter: converter(settings),
            page_mode: match ocr.page_mode {
                PageModeSetting::Auto => PageMode::Auto,
                PageModeSetting::Column => PageMode::Column,
                PageModeSetting::Block => PageMode::Block,
                PageModeSetting::Sparse => PageMode::Sparse,
            },
            frames: ocr.frames,
            effort: match ocr.effort {
                EffortSetting::Page => Effort::Page,
                EffortSetting::Full => Effort::Full,
            },
            sufficient_confidence: ocr.sufficient_confidence,
            child_program: None,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use ocelli_core::AnalyzerName;
    use ocelli_runtime::settings::LoadOptions;

    use super::*;

    /// Options of the analyzer that is built in, with these of its settings.
    fn options(set: &[(&str, &str)]) -> OcrOptions {
        let flags = set.iter().map(|(field, value)| {
            (format!("analyzers.tesseract-ocr.{field}"), (*value).to_owned())
        });
        let loaded = Settings::load(LoadOptions {
            standard_files: Vec::new(),
            config_file: None,
            overrides: flags.collect(),
            env: Some(BTreeMap::from([("HOME".to_owned(), "/home/ada".to_owned())])),
        });
        let settings = loaded.expect("good settings").settings;
        let name: AnalyzerName = "tesseract-ocr".parse().expect("a name");
        let configured = settings.analyzer(&name).expect("it is built in");
        OcrOptions::from_settings(&settings, configured).expect("of kind 'ocr'")
    }

    /// Other defaults would be another revision, and whole archives would be read again.
    #[test]
    fn what_decides_an_answer_is_by_default_what_the_options_have_by_default() {
        let (set, default) = (options(&[]), OcrOptions::default());
        assert_eq!((set.page_mode, set.frames), (default.page_mode, default.frames));
        assert_eq!((set.effort, default.effort), (Effort::Full, Effort::Full));
        assert_eq!(
            (set.sufficient_confidence.to_string(), default.sufficient_confidence.to_string()),
            ("70".to_owned(), "70".to_owned())
        );
        assert_eq!(set.recycle_memory, default.recycle_memory);
    }

    #[test]
    fn effort_confidence_and_the_bound_on_memory_are_as_set() {
        let set = options(&[
            ("effort", "page"),
            ("sufficient_confidence", "82.5"),
            ("recycle_memory", "150MB"),
        ]);
        assert_eq!(set.effort, Effort::Page);
        assert_eq!(set.sufficient_confidence, 82.5);
        assert_eq!(set.recycle_memory, 150_000_000);
    }
}
