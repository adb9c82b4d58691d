//! The site's options from the settings; the only module here that sees them besides [`crate::role`].

use ocelli_runtime::Settings;
use ocelli_runtime::settings::Enabled;
use ocelli_wiring::parts::{converter, decode_limits, query_limits};

use crate::{AnalyzerLine, WebOptions};

/// Announcements that may be missed before a worker counts as gone.
const MISSED: u32 = 4;

impl WebOptions {
    /// From `[web]`, and what pages tell of the rest.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let web = &settings.web;
        let cores = std::thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let silence = (settings.worker.announce_every * MISSED).max(settings.broker.heartbeat * 2);
        Self {
            token: web.token.clone(),
            hosts: web.hosts.clone(),
            analyzers: settings
                .analyzers
                .iter()
                .map(|analyzer| AnalyzerLine {
                    name: analyzer.name.clone(),
                    kind: analyzer.kind().name(),
                    off: analyzer.enabled == Enabled::No,
                })
                .collect(),
            budgets: settings.budgets.clone(),
            decode: decode_limits(settings),
            converter: converter(settings),
            decode_deadline: settings.limits.decode_deadline,
            decoders: if web.decoders == 0 { cores } else { web.decoders },
            pictures: settings.data.dir.join("pictures"),
            picture_bytes: web.pictures.bytes(),
            uploads: settings.data.dir.join("uploads"),
            upload_bytes: web.upload_bytes.bytes(),
            upload_files: web.upload_files,
            upload_timeout: web.upload_timeout,
            request_timeout: web.request_timeout,
            query: query_limits(settings),
            exports: web.exports,
            export_stall: web.export_stall,
            batch_queries: web.batch_queries,
            batch_bytes: usize::try_from(web.batch_bytes.bytes()).unwrap_or(usize::MAX),
            batch_hits: web.batch_hits,
            saved_searches: web.saved_searches,
            rate: web.rate,
            connections: web.connections,
            silence: jiff::SignedDuration::try_from(silence)
                .unwrap_or(jiff::SignedDuration::from_secs(20)),
            clock_skew: settings.collector.clock_skew,
        }
    }
}
