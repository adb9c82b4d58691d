//! `[[webhook]]`: who is told of complete records.

use std::time::Duration;

use secrecy::SecretString;
use serde::Deserialize;

use super::secret::ServiceUrl;
use super::units::duration;

/// The only event there is.
const COMPLETED: &str = "record.completed";

/// Requests at once beyond which a receiver is not spared any more.
const MOST_IN_FLIGHT: u32 = 64;

/// One webhook.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WebhookSettings {
    /// Its name, unique among them: what is still to be told is kept under it.
    pub name: String,
    /// Where events are posted to.
    pub url: ServiceUrl,
    /// What they are signed with. `secret_file` has been read into it.
    pub secret: SecretString,
    /// Which events.
    #[serde(default = "all")]
    pub events: Vec<String>,
    /// Only records that match this query.
    #[serde(default, rename = "where")]
    pub query: Option<String>,
    /// Whether the address may be inside one's own network.
    #[serde(default)]
    pub allow_private: bool,
    /// Bound of one request.
    #[serde(default = "ten_seconds", deserialize_with = "duration")]
    pub timeout: Duration,
    /// Requests at once.
    #[serde(default = "four")]
    pub in_flight: u32,
}

fn all() -> Vec<String> {
    vec![COMPLETED.to_owned()]
}

const fn ten_seconds() -> Duration {
    Duration::from_secs(10)
}

const fn four() -> u32 {
    4
}

impl WebhookSettings {
    /// What is wrong with it alone, in words.
    pub(crate) fn problem(&self) -> Option<String> {
        let letters = |b: u8| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b);
        let address = url::Url::parse(self.url.expose()).ok();
        let is_http = address.is_some_and(|url| {
            matches!(url.scheme(), "http" | "https") && url.host_str().is_some()
        });
        let problem = if !(1..=64).contains(&self.name.len()) || !self.name.bytes().all(letters) {
            "name: expected 1 to 64 of a-z, 0-9, '.', '-', '_'"
        } else if self.name == "exchange" {
            "name: 'exchange' is the broker's exchange; choose another one"
        } else if !is_http {
            "url: expected http://host/… or https://host/…"
        } else if self.events.iter().any(|event| event != COMPLETED) || self.events.is_empty() {
            "events: there is only \"record.completed\""
        } else if self.timeout.is_zero() {
            "timeout: expected more than 0s"
        } else if !(1..=MOST_IN_FLIGHT).contains(&self.in_flight) {
            "in_flight: expected 1 to 64"
        } else {
            return None;
        };
        Some(problem.to_owned())
    }
}
