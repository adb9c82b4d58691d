//! When a server wants to be asked again, in every form in which servers say it:
//!
//! - `Retry-After`: seconds, or a date in any of the three forms of RFC 9110 (sections 10.2.3 and 5.6.7).
//! - `retry-after-ms` (OpenAI) and `x-ms-retry-after-ms` (Azure): milliseconds.
//! - When limits are fresh again, where nothing else is said: `x-ratelimit-reset-requests` and `-tokens` (OpenAI and its
//!   likes: `6m0s`, `12ms`), `x-ratelimit-reset` (OpenRouter: milliseconds since 1970; others: seconds since then, or from
//!   now), `ratelimit-reset` (draft-ietf-httpapi-ratelimit-headers-03: seconds from now), `anthropic-ratelimit-*-reset`
//!   (RFC 3339). A limit of which something is left was not the one that was reached.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use reqwest::header::HeaderMap;

/// Headers that tell when a limit is fresh again, and what is left of it.
const RESETS: [(&str, &str); 6] = [
    ("x-ratelimit-reset-requests", "x-ratelimit-remaining-requests"),
    ("x-ratelimit-reset-tokens", "x-ratelimit-remaining-tokens"),
    ("anthropic-ratelimit-requests-reset", "anthropic-ratelimit-requests-remaining"),
    ("anthropic-ratelimit-tokens-reset", "anthropic-ratelimit-tokens-remaining"),
    ("x-ratelimit-reset", "x-ratelimit-remaining"),
    ("ratelimit-reset", "ratelimit-remaining"),
];

/// Numbers from here on count seconds since 1970, and from there on milliseconds: nobody waits for 31 years.
const EPOCH_SECONDS: f64 = 1e9;
const EPOCH_MILLISECONDS: f64 = 1e11;

/// How long to wait from `now`; `None` when the server says nothing that can be understood.
pub(crate) fn parse(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |name: &str| headers.get(name).and_then(|value| value.to_str().ok()).map(str::trim);
    ["retry-after-ms", "x-ms-retry-after-ms"]
        .into_iter()
        .find_map(|name| seconds(text(name)?, 1000.0))
        .or_else(|| {
            text("retry-after").and_then(|value| seconds(value, 1.0).or_else(|| until(value, now)))
        })
        .or_else(|| {
            let fresh = RESETS.into_iter().filter_map(|(reset, left)| {
                let left = text(left).and_then(|left| left.parse::<f64>().ok());
                Some((moment(text(reset)?, now)?, left))
                    .filter(|(_, left)| left.is_none_or(|left| left <= 0.0))
            });
            // The later one: before it the other limit is of no use.
            fresh.map(|(wait, _)| wait).max()
        })
}

/// Until a limit is fresh again.
fn moment(text: &str, now: Timestamp) -> Option<Duration> {
    match text.parse::<f64>() {
        Ok(number) if number >= EPOCH_MILLISECONDS => since_epoch(number / 1000.0, now),
        Ok(number) if number >= EPOCH_SECONDS => since_epoch(number, now),
        Ok(_) => seconds(text, 1.0),
        Err(_) => units(text).or_else(|| until(text, now)),
    }
}

fn since_epoch(seconds: f64, now: Timestamp) -> Option<Duration> {
    let at = Timestamp::UNIX_EPOCH.checked_add(Duration::try_from_secs_f64(seconds).ok()?).ok()?;
    Some(left(at, now))
}

/// `1h2m3.5s`, `12ms`: how Go writes durations.
fn units(text: &str) -> Option<Duration> {
    let mut rest = text;
    let mut sum = Duration::ZERO;
    while !rest.is_empty() {
        let digits = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
        let (number, after) = rest.split_at(digits);
        let end = after.find(|c: char| c.is_ascii_digit()).unwrap_or(after.len());
        let (unit, next) = after.split_at(end);
        let unit = match unit {
            "d" => 86_400.0,
            "h" => 3600.0,
            "m" => 60.0,
            "s" => 1.0,
            "ms" => 1e-3,
            "us" | "µs" => 1e-6,
            "ns" => 1e-9,
            _ => return None,
        };
        let part = Duration::try_from_secs_f64(number.parse::<f64>().ok()? * unit).ok()?;
        sum = sum.checked_add(part)?;
        rest = next;
    }
    (!text.is_empty()).then_some(sum)
}

fn seconds(text: &str, per_second: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number / per_second).ok()
}

fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let at = rfc2822::parse(text)
        .map(|zoned| zoned.timestamp())
        .ok()
        .or_else(|| obsolete(text))
        .or_else(|| text.parse().ok())?;
    Some(left(at, now))
}

/// A moment that has passed means "now".
fn left(at: Timestamp, now: Timestamp) -> Duration {
    Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO)
}

fn obsolete(text: &str) -> Option<Timestamp> {
    ["%A, %d-%b-%y %H:%M:%S GMT", "%a %b %e %H:%M:%S %Y"].iter().find_map(|format| {
        let civil = DateTime::strptime(format, text).ok()?;
        TimeZone::UTC.to_timestamp(civil).ok()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn waits(headers: &[(&'static str, &str)]) -> Option<Duration> {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.insert(*name, value.parse().unwrap());
        }
        parse(&map, "2026-11-23T12:00:00Z".parse().unwrap())
    }

    fn wait(name: &'static str, value: &str) -> Option<Duration> {
        waits(&[(name, value)])
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after-ms", "150"), Some(Duration::from_millis(150)));
        assert_eq!(wait("x-ms-retry-after-ms", "150"), Some(Duration::from_millis(150)));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(wait("retry-after", "Mon, 23 Nov 2026 12:01:00 GMT"), minute);
        assert_eq!(wait("retry-after", "Monday, 23-Nov-26 12:01:00 GMT"), minute);
        assert_eq!(wait("retry-after", "Mon Nov 23 12:01:00 2026"), minute);
    }

    #[test]
    fn the_end_of_a_rate_limit_is_understood_in_every_form() {
        let ms = |ms| Some(Duration::from_millis(ms));
        for (name, value, wait_ms) in [
            ("x-ratelimit-reset-requests", "1s", 1000),
            ("x-ratelimit-reset-tokens", "6m0s", 360_000),
            ("x-ratelimit-reset-tokens", "2m59.56s", 179_560),
            ("x-ratelimit-reset-tokens", "12ms", 12),
            ("x-ratelimit-reset-requests", "1h2m3s", 3_723_000),
            ("x-ratelimit-reset-tokens", "30", 30_000),
            // 2026-11-23T12:00:30Z.
            ("x-ratelimit-reset", "1795435230000", 30_000),
            ("x-ratelimit-reset", "1795435230", 30_000),
            ("ratelimit-reset", "30", 30_000),
            ("anthropic-ratelimit-requests-reset", "2026-11-23T12:00:30Z", 30_000),
        ] {
            assert_eq!(wait(name, value), ms(wait_ms), "{name}: {value}");
        }
    }

    #[test]
    fn what_is_said_outright_counts_more_and_a_limit_with_something_left_not_at_all() {
        let (requests, tokens) = ("x-ratelimit-reset-requests", "x-ratelimit-reset-tokens");
        assert_eq!(waits(&[("retry-after", "2"), (tokens, "6m0s")]), Some(Duration::from_secs(2)));
        assert_eq!(waits(&[(requests, "1s"), (tokens, "5s")]), Some(Duration::from_secs(5)));
        let left = ("x-ratelimit-remaining-requests", "59");
        let none = ("x-ratelimit-remaining-tokens", "0");
        let both = [(requests, "50s"), left, (tokens, "5s"), none];
        assert_eq!(waits(&both), Some(Duration::from_secs(5)));
        assert_eq!(waits(&[(requests, "50s"), left]), None);
    }

    #[test]
    fn the_past_means_now_and_nonsense_means_nothing() {
        assert_eq!(wait("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        assert_eq!(wait("x-ratelimit-reset", "1000000000"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-5", "NaN", "inf", "1e400", "5x", "s", "1.2.3s", "µ"] {
            for name in ["retry-after", "retry-after-ms", "x-ratelimit-reset", "ratelimit-reset"] {
                let wait = waits(
                    &[(name, nonsense)]
                        .map(|(name, text)| (name, if text.is_ascii() { text } else { "?" })),
                );
                assert_eq!(wait, None, "{name}: {nonsense}");
            }
        }
        assert_eq!(parse(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
