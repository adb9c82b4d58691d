//! The producer's options from the settings; the only module here that sees them besides [`crate::role`].

use ocelli_runtime::Settings;
use ocelli_wiring::parts::{decode_limits, fetch_limits, needs};

use crate::ProducerOptions;

impl ProducerOptions {
    /// From `[producer]` and `[limits]`.
    #[must_use]
    pub fn from_settings(settings: &Settings) -> Self {
        let producer = &settings.producer;
        let defaults = Self::default();
        Self {
            follow_links: producer.follow_links,
            hidden: producer.hidden,
            fetch: fetch_limits(settings),
            decode: decode_limits(settings),
            readers: if producer.readers == 0 { defaults.readers } else { producer.readers },
            lookup_batch: producer.batch,
            publish_window: settings.broker.confirm_window,
            settle: producer.settle,
            drain: settings.worker.drain,
            needs: needs(settings),
            ..defaults
        }
    }
}
