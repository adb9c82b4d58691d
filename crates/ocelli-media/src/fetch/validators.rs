//! By what a server knows again what it sent: `ETag` and `Last-Modified` (RFC 9110, 8.8), and the conditions made of them.
//!
//! Only strong ones are taken: a weak one says that two bodies mean the same, and ocelli is about bytes.

use std::time::Duration;

use reqwest::header::{
    DATE, ETAG, HeaderMap, HeaderName, HeaderValue, IF_MODIFIED_SINCE, IF_NONE_MATCH, LAST_MODIFIED,
};

/// Longest one that is remembered: servers write a hash, or a size and a time.
const MAX_BYTES: usize = 200;

/// How long before the answer a change must lie: one within the same second would have the same time (RFC 9110, 8.8.2.2, where a
/// minute is the careful choice).
const SETTLED: Duration = Duration::from_secs(60);

/// Validators of one body.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Validators {
    /// A strong entity tag, with its quotes.
    pub etag: Option<String>,
    /// The time of the last change, as the server wrote it.
    pub modified: Option<String>,
}

impl Validators {
    /// Whether there are none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.etag.is_none() && self.modified.is_none()
    }

    pub(super) fn of(headers: &HeaderMap) -> Self {
        let text = |name: HeaderName| {
            // Two of one kind contradict each other.
            let mut all = headers.get_all(name).iter();
            let text = all.next()?.to_str().ok()?.trim();
            (all.next().is_none() && text.len() <= MAX_BYTES).then_some(text)
        };
        let is_strong = |tag: &&str| tag.len() >= 3 && tag.starts_with('"') && tag.ends_with('"');
        let is_settled = |time: &&str| {
            let changed = httpdate::parse_http_date(time).ok();
            let now = text(DATE).and_then(|now| httpdate::parse_http_date(now).ok());
            let age = now.zip(changed).and_then(|(now, changed)| now.duration_since(changed).ok());
            age.is_some_and(|age| age >= SETTLED)
        };
        Self {
            etag: text(ETAG).filter(is_strong).map(str::to_owned),
            modified: text(LAST_MODIFIED).filter(is_settled).map(str::to_owned),
        }
    }

    /// What a request asks with. What no header can hold is left out.
    pub(super) fn conditions(&self) -> HeaderMap {
        let both = [(IF_NONE_MATCH, &self.etag), (IF_MODIFIED_SINCE, &self.modified)];
        let header = |(name, text): (HeaderName, &Option<String>)| {
            Some((name, HeaderValue::from_str(text.as_ref()?).ok()?))
        };
        both.into_iter().filter_map(header).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(headers: &[(HeaderName, &str)]) -> (Option<String>, Option<String>) {
        let mut map = HeaderMap::new();
        for (name, value) in headers {
            map.append(name, value.parse().unwrap());
        }
        let found = Validators::of(&map);
        (found.etag, found.modified)
    }

    #[test]
    fn only_what_stands_for_the_very_bytes_is_taken() {
        let date = || (DATE, "Sun, 06 Nov 1994 08:50:37 GMT");
        let minute = "Sun, 06 Nov 1994 08:49:37 GMT";
        assert_eq!(of(&[(ETAG, "\"abc\"")]).0.as_deref(), Some("\"abc\""));
        assert_eq!(of(&[date(), (LAST_MODIFIED, minute)]).1.as_deref(), Some(minute));
        let long = format!("\"{}\"", "x".repeat(MAX_BYTES));
        for nothing in [
            vec![(ETAG, "W/\"abc\"")],
            vec![(ETAG, "abc")],
            vec![(ETAG, "\"\"")],
            vec![(ETAG, "\"a\""), (ETAG, "\"b\"")],
            vec![(ETAG, long.as_str())],
            vec![(LAST_MODIFIED, minute)],
            vec![date(), (LAST_MODIFIED, "yesterday")],
            vec![date(), (LAST_MODIFIED, "Sun, 06 Nov 1994 08:50:00 GMT")],
            vec![date(), (LAST_MODIFIED, "Sun, 06 Nov 2094 08:50:00 GMT")],
        ] {
            assert_eq!(of(&nothing), (None, None), "{nothing:?}");
        }
    }

    #[test]
    fn what_no_header_can_hold_is_not_sent() {
        let known = Validators { etag: Some("\"a\nb\"".to_owned()), modified: None };
        assert!(known.conditions().is_empty());
        let known = Validators { etag: Some("\"a\"".to_owned()), modified: None };
        assert_eq!(known.conditions().get(IF_NONE_MATCH).unwrap(), "\"a\"");
    }
}
