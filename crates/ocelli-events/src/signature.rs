//! What tells a receiver that a webhook comes from here, is whole, and is not an old one sent again: the symmetric scheme of the Standard
//! Webhooks specification 1.0 (HMAC-SHA256, RFC 2104, over id, time and body).

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use thiserror::Error;

/// What the specification asks for: 24 to 64 bytes.
const BYTES: std::ops::RangeInclusive<usize> = 24..=64;

/// How secrets begin that are bytes in base64.
const PREFIX: &str = "whsec_";

/// A key that the receiver has too.
#[derive(Clone)]
pub struct Secret(hmac::Key);

/// A text is no secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotASecret {
    /// What follows the prefix is no base64.
    #[error("behind 'whsec_' stands no base64")]
    NoBase64,
    /// Too short to be safe, or too long for others.
    #[error(
        "a secret has 24 to 64 bytes; this one has {0}: echo whsec_$(openssl rand -base64 32) makes one"
    )]
    Length(usize),
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(***)")
    }
}

impl Secret {
    /// From `whsec_` and base64, or any other text as it is.
    ///
    /// # Errors
    /// [`NotASecret`].
    pub fn parse(text: &str) -> Result<Self, NotASecret> {
        let bytes = match text.strip_prefix(PREFIX) {
            Some(rest) => STANDARD.decode(rest).map_err(|_| NotASecret::NoBase64)?,
            None => text.as_bytes().to_vec(),
        };
        if !BYTES.contains(&bytes.len()) {
            return Err(NotASecret::Length(bytes.len()));
        }
        Ok(Self(hmac::Key::new(hmac::HMAC_SHA256, &bytes)))
    }

    /// The value of the header `webhook-signature`. `seconds` since 1970.
    #[must_use]
    pub fn sign(&self, id: &str, seconds: i64, body: &[u8]) -> String {
        let signed = [format!("{id}.{seconds}.").as_bytes(), body].concat();
        format!("v1,{}", STANDARD.encode(hmac::sign(&self.0, &signed)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of the specification's reference libraries.
    #[test]
    fn the_published_example_is_signed_as_published() {
        let secret = Secret::parse("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw").unwrap();
        let signature =
            secret.sign("msg_p5jXN8AQM9LWM0D4loKWxJek", 1_614_265_330, b"{\"test\": 2432232314}");
        assert_eq!(signature, "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=");
    }

    #[test]
    fn what_could_be_guessed_is_no_secret_and_none_is_ever_shown() {
        assert_eq!(Secret::parse("short").unwrap_err(), NotASecret::Length(5));
        assert_eq!(Secret::parse("whsec_?").unwrap_err(), NotASecret::NoBase64);
        let shown =
            format!("{:?}", Secret::parse("a secret that is as long as it needs to be").unwrap());
        assert_eq!(shown, "Secret(***)");
    }
}
