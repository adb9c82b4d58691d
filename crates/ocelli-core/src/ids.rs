//! Identifiers. Each can only be made by parsing or by computing it, so a value of the type is valid.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use sha2::{Digest as _, Sha256};
use thiserror::Error;

/// SHA-256 (FIPS 180-4) of an image's bytes: the identity of an image, whatever its name.
///
/// Text form: 64 lower-case hexadecimal characters. Binary form (MessagePack, database): 32 bytes.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Digest([u8; 32]);

/// Why a text is not a [`Digest`], [`DigestPrefix`], [`AnalyzerName`], [`Revision`] or [`BatchId`].
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum IdError {
    /// Not 64 hexadecimal characters.
    #[error("'{0}' is not a digest: expected 64 hexadecimal characters")]
    Digest(String),
    /// Not 4 to 64 hexadecimal characters.
    #[error("'{0}' is not a digest prefix: expected 4 to 64 hexadecimal characters")]
    Prefix(String),
    /// Not a valid analyzer name.
    #[error(
        "'{0}' is not an analyzer name: expected 1 to 64 of a-z, 0-9, '.', '-', '_', beginning with a letter or digit"
    )]
    Analyzer(String),
    /// Not a valid revision.
    #[error("'{0}' is not a revision: expected 16 hexadecimal characters")]
    Revision(String),
    /// Not a UUID.
    #[error("'{0}' is not a batch id: expected a UUID")]
    Batch(String),
}

impl Digest {
    /// The digest of `bytes`.
    #[must_use]
    pub fn of(bytes: &[u8]) -> Self {
        Self(Sha256::digest(bytes).into())
    }

    /// Wraps an already computed SHA-256.
    #[must_use]
    pub const fn from_bytes(bytes: [u8; 32]) -> Self {
        Self(bytes)
    }

    /// The 32 bytes.
    #[must_use]
    pub const fn as_bytes(&self) -> &[u8; 32] {
        &self.0
    }

    /// The first 12 hexadecimal characters: enough for people to tell images apart in a list.
    #[must_use]
    pub fn short(&self) -> String {
        hex::encode(&self.0[..6])
    }
}

impl TryFrom<&[u8]> for Digest {
    type Error = IdError;
    fn try_from(bytes: &[u8]) -> Result<Self, IdError> {
        <[u8; 32]>::try_from(bytes).map(Self).map_err(|_| IdError::Digest(hex::encode(bytes)))
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut digits = [0; 64];
        hex::encode_to_slice(self.0, &mut digits).map_err(|_| fmt::Error)?;
        f.write_str(str::from_utf8(&digits).map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Digest({})", self.short())
    }
}

impl FromStr for Digest {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = [0; 32];
        hex::decode_to_slice(text, &mut bytes).map_err(|_| IdError::Digest(clip(text)))?;
        Ok(Self(bytes))
    }
}

impl Serialize for Digest {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.collect_str(self)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Digest {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;
        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Digest;
            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a SHA-256 digest")
            }
            fn visit_str<E: de::Error>(self, text: &str) -> Result<Digest, E> {
                text.parse().map_err(E::custom)
            }
            fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Digest, E> {
                Digest::try_from(bytes).map_err(E::custom)
            }
        }
        if deserializer.is_human_readable() {
            deserializer.deserialize_str(Visitor)
        } else {
            deserializer.deserialize_bytes(Visitor)
        }
    }
}

/// The beginning of a digest, as people type it: 4 to 64 hexadecimal characters.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DigestPrefix(String);

impl DigestPrefix {
    /// Lower-case hexadecimal text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The smallest and largest digest that begin with this prefix (both inclusive).
    #[must_use]
    pub fn range(&self) -> (Digest, Digest) {
        let bound = |fill: char| {
            let mut text = self.0.clone();
            text.extend(std::iter::repeat_n(fill, 64 - text.len()));
            let mut bytes = [0; 32];
            hex::decode_to_slice(&text, &mut bytes).expect("only hexadecimal characters");
            Digest(bytes)
        };
        (bound('0'), bound('f'))
    }
}

impl FromStr for DigestPrefix {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let ok = (4..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
        if ok { Ok(Self(text.to_ascii_lowercase())) } else { Err(IdError::Prefix(clip(text))) }
    }
}

/// The name of a configured reader, for example `tesseract-ocr`. Part of queue names, metric labels and pages.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct AnalyzerName(String);

impl AnalyzerName {
    /// The name as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl FromStr for AnalyzerName {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let mut bytes = text.bytes();
        let ok = text.len() <= 64
            && bytes.next().is_some_and(|b| b.is_ascii_lowercase() || b.is_ascii_digit())
            && bytes.all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b"._-".contains(&b));
        if ok { Ok(Self(text.to_owned())) } else { Err(IdError::Analyzer(clip(text))) }
    }
}

/// Hash of everything that can change an analyzer's answer; made by [`RevisionBuilder`].
///
/// Text form: 16 hexadecimal characters (the first 64 bits of a SHA-256; an archive has tens of revisions, not billions).
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Revision(String);

/// What revisions begin with that stand for a rule and not for an analyzer: see [`Revision::of_rule`].
const RULE_PREFIX: &str = "00000000";

impl Revision {
    /// The revision as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// What is wanted of an image that a rule leaves out, in place of the analyzer's revision: the rule's answer has a key of
    /// its own, so that it stands in nobody's way once the rule is another one. Begins with eight zeros.
    #[must_use]
    pub fn of_rule(name: &str, when: &str) -> Self {
        let hash = RevisionBuilder::new("rule").part("name", name).part("when", when).build();
        Self(format!("{RULE_PREFIX}{}", &hash.0[8..]))
    }

    /// Whether it is a rule's.
    #[must_use]
    pub fn is_of_rule(&self) -> bool {
        self.0.starts_with(RULE_PREFIX)
    }
}

impl FromStr for Revision {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        let ok = text.len() == 16
            && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if ok { Ok(Self(text.to_owned())) } else { Err(IdError::Revision(clip(text))) }
    }
}

/// Collects the parts of a [`Revision`]. The order of parts does not matter; a part's name and value do.
#[derive(Debug, Clone, Default)]
pub struct RevisionBuilder(std::collections::BTreeMap<String, String>);

impl RevisionBuilder {
    /// Starts with the kind of analyzer (`ocr`, `llm`).
    #[must_use]
    pub fn new(kind: &str) -> Self {
        Self::default().part("kind", kind)
    }

    /// Adds (or replaces) one named part.
    #[must_use]
    pub fn part(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.0.insert(name.to_owned(), value.to_string());
        self
    }

    /// The revision: SHA-256 over the length-prefixed parts in the order of their names.
    #[must_use]
    pub fn build(&self) -> Revision {
        let mut hash = Sha256::new();
        for text in self.0.iter().flat_map(|(name, value)| [name, value]) {
            hash.update((text.len() as u64).to_le_bytes());
            hash.update(text.as_bytes());
        }
        let text = hex::encode(&hash.finalize()[..8]);
        // One in four billion would be taken for a rule's.
        Revision(if text.starts_with(RULE_PREFIX) { text.replacen('0', "f", 1) } else { text })
    }
}

/// One run of a producer. UUID version 7 (RFC 9562): sorts by time of creation.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct BatchId(uuid::Uuid);

impl BatchId {
    /// Wraps a UUID made by the caller.
    #[must_use]
    pub const fn new(id: uuid::Uuid) -> Self {
        Self(id)
    }

    /// The UUID.
    #[must_use]
    pub const fn uuid(&self) -> uuid::Uuid {
        self.0
    }
}

impl fmt::Display for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl fmt::Debug for BatchId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "BatchId({})", self.0)
    }
}

impl FromStr for BatchId {
    type Err = IdError;
    fn from_str(text: &str) -> Result<Self, IdError> {
        text.parse().map(Self).map_err(|_| IdError::Batch(clip(text)))
    }
}

macro_rules! text_id {
    ($($type:ty),*) => {$(
        impl fmt::Display for $type {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }
        impl Serialize for $type {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.serialize_str(self.as_str())
            }
        }
        impl<'de> Deserialize<'de> for $type {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                <std::borrow::Cow<'de, str>>::deserialize(deserializer)?
                    .parse()
                    .map_err(de::Error::custom)
            }
        }
    )*};
}
text_id!(AnalyzerName, Revision);

/// Hostile input ends up in error messages: keep them short and on one line.
fn clip(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn digest_of_nothing_is_the_published_value() {
        let text = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(Digest::of(b"").to_string(), text);
        assert_eq!(text.parse(), Ok(Digest::of(b"")));
    }

    #[test]
    fn digest_is_text_in_json_and_32_bytes_in_messagepack() {
        let digest = Digest::of(b"x");
        let json = serde_json::to_string(&digest).unwrap();
        assert_eq!(json, format!("\"{digest}\""));
        assert_eq!(serde_json::from_str::<Digest>(&json).unwrap(), digest);
        let packed = rmp_serde::to_vec(&digest).unwrap();
        assert_eq!(packed.len(), 34);
        assert_eq!(rmp_serde::from_slice::<Digest>(&packed).unwrap(), digest);
    }

    #[test]
    fn prefix_spans_all_digests_that_begin_with_it() {
        let (low, high) = "ABcd1".parse::<DigestPrefix>().unwrap().range();
        assert!(low.to_string().starts_with("abcd10000"));
        assert!(high.to_string().starts_with("abcd1ffff"));
        assert!("abc".parse::<DigestPrefix>().is_err());
        assert!("wxyz".parse::<DigestPrefix>().is_err());
    }

    #[test]
    fn analyzer_names_are_safe_in_queue_names_and_labels() {
        for good in ["tesseract-ocr", "llama3.2-vision", "a"] {
            assert_eq!(good.parse::<AnalyzerName>().unwrap().as_str(), good);
        }
        for bad in ["", "-a", "A", "a b", "a/b", "ä", &"a".repeat(65)] {
            assert!(bad.parse::<AnalyzerName>().is_err(), "{bad}");
        }
    }

    #[test]
    fn revision_depends_on_names_and_values_but_not_on_order() {
        let base = RevisionBuilder::new("llm").part("a", 1).part("b", 2);
        assert_eq!(base.build(), RevisionBuilder::new("llm").part("b", 2).part("a", 1).build());
        assert_ne!(base.build(), base.clone().part("b", 3).build());
        assert_ne!(
            RevisionBuilder::default().part("ab", "c").build(),
            RevisionBuilder::default().part("a", "bc").build()
        );
        assert_eq!(base.build().to_string().parse(), Ok(base.build()));
    }
}
