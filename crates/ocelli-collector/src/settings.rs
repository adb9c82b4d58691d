//! The collector's options from the settings; the only module here that sees them.

use ocelli_runtime::Settings;
use ocelli_runtime::settings::{AnalyzerSettings, Enabled};

use crate::{CollectorOptions, SweepOptions};

impl CollectorOptions {
    /// From `[collector]`.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        Self {
            batch: settings.collector.batch,
            linger: settings.collector.linger,
            busy_linger: settings.collector.busy_linger,
            prefetch: settings.collector.prefetch,
            needed_text: needed_text(settings),
            dispatch_lease: settings.collector.dispatch_lease,
            keep_payments: settings.collector.keep_payments,
            analyzers: wanted(settings).map(|analyzer| analyzer.name.clone()).collect(),
            heartbeat_every: settings.collector.heartbeat_every,
            count_every: settings.collector.count_every,
            audit_every: settings.collector.audit_every,
            budgets: settings.budgets.clone(),
            clock_skew: settings.collector.clock_skew,
            ..Self::default()
        }
    }
}

/// Analyzers that are not switched off.
fn wanted(settings: &Settings) -> impl Iterator<Item = &AnalyzerSettings> {
    settings.analyzers.iter().filter(|analyzer| analyzer.enabled != Enabled::No)
}

/// `limits.needed_text`, for [`crate::requeue_open`] and [`crate::requeue_jobs`].
#[must_use]
pub fn needed_text(settings: &Settings) -> usize {
    usize::try_from(settings.limits.needed_text.bytes()).unwrap_or(usize::MAX)
}

/// Announcements that may be missed before a worker counts as gone.
const MISSED: u32 = 4;

impl SweepOptions {
    /// A worker holds its slots' jobs and a few more behind them, so a delivery may wait for two jobs before its own.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let longest =
            wanted(settings).map(|analyzer| analyzer.job_deadline).max().unwrap_or_default();
        Self {
            longest_job: longest * 3 + settings.worker.drain + settings.collector.job_reserve,
            // A dead connection is noticed after two heartbeats.
            needed_text: needed_text(settings),
            silence: (settings.worker.announce_every * MISSED).max(settings.broker.heartbeat * 2),
            clock_skew: settings.collector.clock_skew,
            fence_patience: settings.collector.fence_patience,
            ..Self::default()
        }
    }
}
