//! Durations and sizes as people write them. Bare numbers are refused: nobody should have to guess the unit.

use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use serde::de::{Deserialize, Deserializer, Error as _, Unexpected, Visitor};

/// A number of bytes: `"50MB"` is 50·10⁶, `"512MiB"` is 512·2²⁰, `"123B"` is 123.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ByteSize(pub u64);

impl ByteSize {
    /// The number.
    #[must_use]
    pub const fn bytes(self) -> u64 {
        self.0
    }

    /// The number for lengths in memory, capped at what this machine can address.
    #[must_use]
    pub fn as_usize(self) -> usize {
        usize::try_from(self.0).unwrap_or(usize::MAX)
    }
}

const SIZES: [(&str, u64); 9] = [
    ("TiB", 1 << 40),
    ("TB", 1_000_000_000_000),
    ("GiB", 1 << 30),
    ("GB", 1_000_000_000),
    ("MiB", 1 << 20),
    ("MB", 1_000_000),
    ("KiB", 1 << 10),
    ("KB", 1_000),
    ("B", 1),
];

const TIMES: [(&str, u64); 5] =
    [("d", 86_400_000), ("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// The text is not a size or duration.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct NotAUnit;

impl FromStr for ByteSize {
    type Err = NotAUnit;
    fn from_str(text: &str) -> Result<Self, NotAUnit> {
        let (number, unit) = split_number(text.trim()).ok_or(NotAUnit)?;
        let unit = unit.trim();
        let factor = SIZES.iter().find(|(name, _)| name.eq_ignore_ascii_case(unit));
        let factor = factor.ok_or(NotAUnit)?.1;
        number.checked_mul(factor).map(Self).ok_or(NotAUnit)
    }
}

impl fmt::Display for ByteSize {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let fits = |(_, factor): &&(&str, u64)| self.0 >= *factor && self.0.is_multiple_of(*factor);
        let (unit, factor) = SIZES.iter().find(fits).copied().unwrap_or(("B", 1));
        write!(f, "{}{unit}", self.0 / factor)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = deserializer.deserialize_str(Text("a size such as \"50MB\" or \"512MiB\""))?;
        text.parse().map_err(|NotAUnit| {
            D::Error::invalid_value(
                Unexpected::Str(&text),
                &"a size such as \"50MB\" or \"512MiB\"",
            )
        })
    }
}

/// Reads `"500ms"`, `"10s"`, `"1m30s"`, `"1h"`, `"2d"`.
///
/// # Errors
/// When the text is anything else, or too long a time to count in milliseconds.
pub fn parse_duration(text: &str) -> Result<Duration, NotAUnit> {
    let mut rest = text.trim();
    let (mut millis, mut last) = (0_u64, u64::MAX);
    while !rest.is_empty() {
        let (number, tail) = split_number(rest).ok_or(NotAUnit)?;
        let end = tail.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(tail.len());
        let (unit, tail) = tail.split_at(end);
        let factor = TIMES.iter().find(|(name, _)| *name == unit).ok_or(NotAUnit)?.1;
        if factor >= last {
            return Err(NotAUnit); // "10s1m", "1m1m": more likely a slip than a wish
        }
        last = factor;
        let part = number.checked_mul(factor).ok_or(NotAUnit)?;
        millis = millis.checked_add(part).ok_or(NotAUnit)?;
        rest = tail.trim_start();
    }
    if last == u64::MAX { Err(NotAUnit) } else { Ok(Duration::from_millis(millis)) }
}

/// Writes a duration the way [`parse_duration`] reads it.
#[must_use]
pub fn format_duration(duration: Duration) -> String {
    let mut rest = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if rest == 0 {
        return "0s".to_owned();
    }
    let mut text = String::new();
    for (unit, factor) in TIMES {
        if rest >= factor {
            text.push_str(&format!("{}{unit}", rest / factor));
            rest %= factor;
        }
    }
    text
}

/// For `#[serde(deserialize_with)]` on a `Duration`.
pub(crate) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    Span::deserialize(deserializer).map(|span| span.0)
}

/// For `#[serde(deserialize_with)]` on a `Vec<Duration>`.
pub(crate) fn durations<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Vec<Duration>, D::Error> {
    Vec::<Span>::deserialize(deserializer)
        .map(|spans| spans.into_iter().map(|span| span.0).collect())
}

struct Span(Duration);

impl<'de> Deserialize<'de> for Span {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let expected = "a duration such as \"10s\" or \"1m30s\"";
        let text = deserializer.deserialize_str(Text(expected))?;
        parse_duration(&text)
            .map(Self)
            .map_err(|NotAUnit| D::Error::invalid_value(Unexpected::Str(&text), &expected))
    }
}

/// Takes a string and, when it gets anything else, says what the string should have been.
struct Text(&'static str);

impl Visitor<'_> for Text {
    type Value = String;
    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
    fn visit_str<E>(self, text: &str) -> Result<String, E> {
        Ok(text.to_owned())
    }
}

fn split_number(text: &str) -> Option<(u64, &str)> {
    let end = text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len());
    Some((text[..end].parse().ok()?, &text[end..]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_read_as_people_write_them() {
        for (text, millis) in
            [("500ms", 500), ("10s", 10_000), ("1m30s", 90_000), ("1h", 3_600_000), ("0s", 0)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_millis(millis)), "{text}");
            assert_eq!(format_duration(Duration::from_millis(millis)), text);
        }
        assert_eq!(parse_duration("1h 30m"), Ok(Duration::from_secs(5400)));
        for bad in
            ["", "10", "s", "-1s", "1.5s", "10s1m", "1m1m", "10 parsecs", "99999999999999999d"]
        {
            assert_eq!(parse_duration(bad), Err(NotAUnit), "{bad}");
        }
    }

    #[test]
    fn sizes_are_decimal_or_binary_as_their_unit_says() {
        for (text, bytes) in [("50MB", 50_000_000), ("512MiB", 512 << 20), ("1GB", 1_000_000_000)] {
            assert_eq!(text.parse(), Ok(ByteSize(bytes)), "{text}");
            assert_eq!(ByteSize(bytes).to_string(), text);
        }
        assert_eq!("1 kb".parse(), Ok(ByteSize(1000)));
        for bad in ["", "50", "MB", "50M", "-1B", "1.5GB", "99999999999TB"] {
            assert_eq!(bad.parse::<ByteSize>(), Err(NotAUnit), "{bad}");
        }
    }
}
