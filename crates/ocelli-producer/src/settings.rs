//! The producer's options from the settings; the only module here that sees them besides [`crate::role`].

use ocelli_runtime::Settings;
use ocelli_wiring::Fault;
use ocelli_wiring::parts::{decode_limits, fetch_limits, manners, needs, only_first};
use ocelli_wiring::rules::rules;

use crate::{MetaLimits, ProducerOptions};

impl ProducerOptions {
    /// From `[producer]`, `[limits]` and `[[rule]]`.
    ///
    /// # Errors
    /// When a rule cannot be followed.
    pub fn from_settings(settings: &Settings) -> Result<Self, Fault> {
        let producer = &settings.producer;
        let defaults = Self::default();
        let only_first = only_first(settings);
        Ok(Self {
            follow_links: producer.follow_links,
            hidden: producer.hidden,
            include: producer.include.clone(),
            exclude: producer.exclude.clone(),
            archive_members: settings.limits.archive_members,
            fetch: fetch_limits(settings),
            decode: decode_limits(settings),
            readers: if producer.readers == 0 { defaults.readers } else { producer.readers },
            fresh_images: producer.fresh_images,
            results_ahead: producer.results_ahead,
            skip_unchanged: producer.skip_unchanged,
            trust_digests: producer.trust_digests,
            keep_urls: producer.keep_urls,
            meta: MetaLimits {
                names: producer.meta_names,
                bytes: usize::try_from(producer.meta_bytes.bytes()).unwrap_or(usize::MAX),
            },
            keep_packed: producer.keep_packed,
            hash: settings.near.hash || !only_first.is_empty(),
            only_first,
            near_distance: settings.near.distance,
            fetchers: producer.fetchers,
            fetch_attempts: producer.fetch_attempts,
            manners: manners(settings),
            lookup_batch: producer.batch,
            publish_window: settings.broker.confirm_window,
            settle: producer.settle,
            drain: settings.worker.drain,
            needs: needs(settings),
            rules: rules(settings)?,
            ..defaults
        })
    }
}
