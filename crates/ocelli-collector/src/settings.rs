//! The collector's options from the settings; the only module here that sees them.

use std::time::Duration;

use ocelli_runtime::Settings;

use crate::{CollectorOptions, SweepOptions};

impl CollectorOptions {
    /// From `[collector]`.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            batch: settings.collector.batch,
            linger: settings.collector.linger,
            prefetch: settings.collector.prefetch,
            ..Self::default()
        }
    }
}

impl SweepOptions {
    /// A worker holds its slots' jobs and a few more behind them, so a delivery may wait for two jobs before its own.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let longest = settings
            .analyzers
            .iter()
            .map(|analyzer| analyzer.job_deadline)
            .max()
            .unwrap_or_default();
        Self { longest_job: longest * 3 + settings.worker.drain + Duration::from_secs(10) }
    }
}
