//! Settings: layered, typed, checked as a whole before anything is opened.
//!
//! Layers: built-in defaults, `/etc/ocelli/ocelli.toml`, `./ocelli.toml`, `--config FILE`, `OCELLI_SECTION__KEY`, flags.
//! Each layer is checked for unknown keys on its own ([`vet`]), all are merged by the `config` crate ([`tree`]), read into
//! types ([`read`]), and checked for what types cannot say ([`check`]). Every problem of every layer is reported at once,
//! with the file and line, variable or flag it stands in. This is the only place that reads environment variables.

mod analyzer;
mod budget;
mod check;
mod known;
mod layer;
mod load;
mod model;
mod problem;
mod read;
mod reference;
mod rule;
mod schema;
mod secret;
mod show;
mod tree;
mod units;
mod vet;
mod webhook;

#[cfg(test)]
mod tests;

pub use analyzer::{
    AnalyzerSettings, Effort, Enabled, EndpointSettings, ImageEncoding, Kind, LlmSettings,
    OcrSettings, PageMode, PriceSettings, Protocol, Reader, TokenField,
};
pub use load::{LoadOptions, Loaded};
pub use model::{
    BrokerSettings, CatalogSettings, CollectorSettings, DataSettings, EventSettings, HttpSettings,
    LimitSettings, LogFormat, LogSettings, NearSettings, ObjectSettings, ProducerSettings,
    RetrySettings, SearchSettings, Settings, WebSettings, WorkerSettings,
};
pub use problem::{Problem, SettingsError};
pub use reference::{default_toml, markdown};
pub use rule::RuleSettings;
pub use secret::{MASK, ServiceUrl, mask_url};
pub use show::Shown;
pub use units::{ByteSize, NotAUnit, format_duration, parse_duration};
pub use webhook::WebhookSettings;
