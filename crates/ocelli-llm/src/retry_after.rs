//! When a server wants to be asked again: `Retry-After` (RFC 9110, section 10.2.3: seconds or a date in any of the three
//! forms of section 5.6.7) and OpenAI's `retry-after-ms`.

use std::time::Duration;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::fmt::rfc2822;
use jiff::tz::TimeZone;
use reqwest::header::{HeaderMap, RETRY_AFTER};

/// How long to wait from `now`; `None` when the server says nothing that can be understood.
pub(crate) fn parse(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = |value: &reqwest::header::HeaderValue| {
        value.to_str().ok().map(str::trim).map(str::to_owned)
    };
    if let Some(milliseconds) = headers.get("retry-after-ms").and_then(text)
        && let Some(wait) = seconds(&milliseconds, 1000.0)
    {
        return Some(wait);
    }
    let value = headers.get(RETRY_AFTER).and_then(text)?;
    seconds(&value, 1.0).or_else(|| until(&value, now))
}

fn seconds(text: &str, per_second: f64) -> Option<Duration> {
    let number: f64 = text.parse().ok()?;
    Duration::try_from_secs_f64(number / per_second).ok()
}

fn until(text: &str, now: Timestamp) -> Option<Duration> {
    let at = rfc2822::parse(text).map(|zoned| zoned.timestamp()).ok().or_else(|| obsolete(text))?;
    // A moment that has passed means "now".
    Some(Duration::try_from(at.duration_since(now)).unwrap_or(Duration::ZERO))
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

    fn wait(name: &'static str, value: &str) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(name, value.parse().unwrap());
        parse(&headers, "2026-11-23T12:00:00Z".parse().unwrap())
    }

    #[test]
    fn every_form_is_understood() {
        assert_eq!(wait("retry-after", "7"), Some(Duration::from_secs(7)));
        assert_eq!(wait("retry-after", "0.25"), Some(Duration::from_millis(250)));
        assert_eq!(wait("retry-after-ms", "150"), Some(Duration::from_millis(150)));
        let minute = Some(Duration::from_secs(60));
        assert_eq!(wait("retry-after", "Mon, 23 Nov 2026 12:01:00 GMT"), minute);
        assert_eq!(wait("retry-after", "Monday, 23-Nov-26 12:01:00 GMT"), minute);
        assert_eq!(wait("retry-after", "Mon Nov 23 12:01:00 2026"), minute);
    }

    #[test]
    fn the_past_means_now_and_nonsense_means_nothing() {
        assert_eq!(wait("retry-after", "Mon, 23 Nov 2026 11:00:00 GMT"), Some(Duration::ZERO));
        for nonsense in ["", "soon", "-5", "NaN", "inf", "1e400"] {
            assert_eq!(wait("retry-after", nonsense), None, "{nonsense}");
        }
        assert_eq!(parse(&HeaderMap::new(), Timestamp::UNIX_EPOCH), None);
    }
}
