//! Reading `first_seen` of a manifest: strict, because a wrong date in an archive is never noticed again.
//!
//! Pure: the present is an argument.

use jiff::{SignedDuration, Timestamp};
use thiserror::Error;

/// Photography is not older (Niépce, 1820s): an earlier year is a mistake of two digits or of an epoch.
const EARLIEST: &str = "1800-01-01T00:00:00Z";

/// Clocks and time zones of the machine that wrote the manifest may be off by this much, not more.
const TOLERANCE: SignedDuration = SignedDuration::from_hours(24);

/// Longest text that can be an RFC 3339 time: 20 characters, 9 digits of a fraction, an offset.
const MAX_CHARACTERS: usize = 40;

/// Why a text is not accepted as `first_seen`.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum FirstSeenError {
    /// Only a date.
    #[error(
        "first_seen '{0}' is a date without time and zone; write it like 2024-05-04T09:00:51+00:00"
    )]
    DateOnly(String),
    /// A time without `Z` or an offset.
    #[error("first_seen '{0}' has no zone; add Z or an offset such as +02:00")]
    NoZone(String),
    /// Anything else.
    #[error("first_seen '{0}' is not an RFC 3339 time; write it like 2024-05-04T09:00:51+00:00")]
    Syntax(String),
    /// Before 1800.
    #[error("first_seen '{0}' is before the year 1800")]
    TooEarly(String),
    /// After now.
    #[error("first_seen '{0}' is in the future")]
    Future(String),
}

/// Reads an RFC 3339 time (section 5.6: date, `T` or a space, time, `Z` or offset).
///
/// # Errors
/// [`FirstSeenError`], with the reason.
pub fn parse_first_seen(text: &str, now: Timestamp) -> Result<Timestamp, FirstSeenError> {
    let text = text.trim();
    let shown =
        || -> String { text.chars().filter(|c| !c.is_control()).take(MAX_CHARACTERS).collect() };
    if !text.is_ascii() || text.len() > MAX_CHARACTERS {
        return Err(FirstSeenError::Syntax(shown()));
    }
    if !fits(&text.as_bytes()[..text.len().min(10)], b"dddd-dd-dd") {
        return Err(FirstSeenError::Syntax(shown()));
    }
    if text.len() == 10 {
        return Err(FirstSeenError::DateOnly(shown()));
    }
    let rest = &text.as_bytes()[10..];
    if rest.len() < 9 || !matches!(rest[0], b'T' | b't' | b' ') || !fits(&rest[1..9], b"dd:dd:dd") {
        return Err(FirstSeenError::Syntax(shown()));
    }
    let mut zone = &rest[9..];
    if let [b'.', fraction @ ..] = zone {
        let digits = fraction.iter().take_while(|byte| byte.is_ascii_digit()).count();
        if !(1..=9).contains(&digits) {
            return Err(FirstSeenError::Syntax(shown()));
        }
        zone = &fraction[digits..];
    }
    if zone.is_empty() {
        return Err(FirstSeenError::NoZone(shown()));
    }
    if !(fits(zone, b"Z") || fits(zone, b"z") || fits(zone, b"+dd:dd") || fits(zone, b"-dd:dd")) {
        return Err(FirstSeenError::Syntax(shown()));
    }
    let time: Timestamp = text.parse().map_err(|_| FirstSeenError::Syntax(shown()))?;
    if time < EARLIEST.parse().expect("the constant is a valid time") {
        Err(FirstSeenError::TooEarly(shown()))
    } else if time
        > now.saturating_add(TOLERANCE).expect("a duration without units of the calendar")
    {
        Err(FirstSeenError::Future(shown()))
    } else {
        Ok(time)
    }
}

/// Whether `text` has the shape of `pattern`, in which `d` stands for a digit.
fn fits(text: &[u8], pattern: &[u8]) -> bool {
    text.len() == pattern.len()
        && text.iter().zip(pattern).all(|(byte, shape)| match shape {
            b'd' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(text: &str) -> Result<Timestamp, FirstSeenError> {
        parse_first_seen(text, "2026-01-01T00:00:00Z".parse().unwrap())
    }

    #[test]
    fn rfc_3339_times_with_a_zone_are_read() {
        let expected: Timestamp = "2024-05-04T09:00:51Z".parse().unwrap();
        for text in [
            "2024-05-04T09:00:51+00:00",
            "2024-05-04T09:00:51Z",
            "2024-05-04t09:00:51z",
            " 2024-05-04 11:00:51+02:00 ",
            "2024-05-04T09:00:51.000000000-00:00",
        ] {
            assert_eq!(parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn each_refusal_has_its_own_reason() {
        assert!(matches!(parse("2024-05-04"), Err(FirstSeenError::DateOnly(_))));
        assert!(matches!(parse("2024-05-04T09:00:51"), Err(FirstSeenError::NoZone(_))));
        assert!(matches!(parse("1799-12-31T23:59:59Z"), Err(FirstSeenError::TooEarly(_))));
        assert!(matches!(parse("2026-01-02T00:00:01Z"), Err(FirstSeenError::Future(_))));
        assert!(matches!(parse("9999-12-30T00:00:00Z"), Err(FirstSeenError::Future(_))));
        assert!(parse("2026-01-01T23:59:59Z").is_ok(), "clocks differ by hours");
        for text in [
            "",
            "yesterday",
            "1714813251",
            "2024-13-04T09:00:51Z",
            "2024-05-04T25:00:51Z",
            "2024-05-04T09:00:51+0000",
            "2024-05-04T09:00:51 Europe/Berlin",
            "2024-5-4T9:00:51Z",
            "2024-05-04T09:00:51.Z",
            "2024-05-04T09:00:51+00:00[UTC]",
            "２024-05-04T09:00:51Z",
        ] {
            assert!(matches!(parse(text), Err(FirstSeenError::Syntax(_))), "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn no_text_makes_it_panic(text in ".{0,50}") {
            drop(parse(&text));
        }

        #[test]
        fn what_jiff_writes_is_read_back(seconds in -5_000_000_000_i64..1_760_000_000) {
            let time = Timestamp::from_second(seconds).unwrap();
            proptest::prop_assert_eq!(parse(&time.to_string()), Ok(time));
        }
    }
}
