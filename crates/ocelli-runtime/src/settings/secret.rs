//! Addresses that may carry a password. The whole text is secret; what is printed has the password masked.

use std::fmt;

use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Deserializer};
use url::Url;

/// What is printed instead of a secret.
pub const MASK: &str = "***";

/// Names of query parameters that carry secrets in database and broker URLs.
const SECRET_PARAMETERS: [&str; 6] =
    ["password", "passwd", "token", "api_key", "sslpassword", "key"];

/// A URL of a service: broker, catalog, model server. `Debug` and `Display` mask what is secret in it.
#[derive(Clone)]
pub struct ServiceUrl(SecretString);

impl ServiceUrl {
    /// Wraps any text; whether it is a usable URL is checked with all other settings.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into().into())
    }

    /// The whole URL, password included: only for connecting.
    #[must_use]
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The URL with its secrets masked.
    #[must_use]
    pub fn masked(&self) -> String {
        mask_url(self.expose())
    }

    /// The part before the first colon: `memory`, `amqp`, `sqlite`, `postgres`, `http`…
    #[must_use]
    pub fn scheme(&self) -> &str {
        self.expose().split_once(':').map_or("", |(scheme, _)| scheme)
    }
}

impl fmt::Debug for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ServiceUrl({})", self.masked())
    }
}

impl fmt::Display for ServiceUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.masked())
    }
}

impl<'de> Deserialize<'de> for ServiceUrl {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer).map(Self::new)
    }
}

/// Masks passwords in a URL. A text that does not parse but could hold a password is masked up to the last `@`.
#[must_use]
pub fn mask_url(text: &str) -> String {
    let Ok(mut url) = Url::parse(text) else {
        return match text.rsplit_once('@') {
            Some((_, rest)) => format!("{MASK}@{rest}"),
            None => text.to_owned(),
        };
    };
    let secret =
        |name: &str| SECRET_PARAMETERS.iter().any(|known| known.eq_ignore_ascii_case(name));
    let has_password = url.password().is_some();
    let has_parameter = url.query_pairs().any(|(name, _)| secret(&name));
    if !has_password && !has_parameter {
        return text.to_owned();
    }
    if has_parameter {
        let pairs: Vec<(String, String)> = url
            .query_pairs()
            .map(|(name, value)| {
                let value = if secret(&name) { MASK.to_owned() } else { value.into_owned() };
                (name.into_owned(), value)
            })
            .collect();
        url.query_pairs_mut().clear().extend_pairs(pairs);
    }
    if has_password && url.set_password(Some(MASK)).is_err() {
        return MASK.to_owned();
    }
    url.to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn passwords_in_urls_are_masked_wherever_they_stand() {
        for (url, masked) in [
            ("amqp://guest:secret@host:5672/vhost", "amqp://guest:***@host:5672/vhost"),
            (
                "postgres://o@host/db?password=secret&sslmode=require",
                "postgres://o@host/db?password=***&sslmode=require",
            ),
            ("amqp://guest:se cret@ho st/", "***@ho st/"),
            ("http://127.0.0.1:11434", "http://127.0.0.1:11434"),
            ("sqlite:/data/catalog.db", "sqlite:/data/catalog.db"),
            ("memory:", "memory:"),
        ] {
            assert_eq!(mask_url(url), masked);
            let url = ServiceUrl::new(url);
            assert!(!format!("{url} {url:?}").contains("secret"), "{url}");
        }
    }
}
