//! Bytes from `http:` and `https:`, with every bound enforced while reading.
//!
//! Redirects are followed here and not by the client, so that each target is judged like a first address. Absent on purpose:
//! cookies, credentials, decompression, and proxies from the environment (a proxy would resolve names where the
//! guard cannot see it).

use std::error::Error;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use ocelli_core::SourceUri;
use reqwest::header::{
    ACCEPT, ACCEPT_ENCODING, CONTENT_ENCODING, DATE, HeaderMap, LOCATION, RETRY_AFTER,
};
use reqwest::{Client, Response, StatusCode, redirect};
use url::Url;

use super::beginning::Beginning;
use super::error::{FetchError, FetcherError, NO_CONNECTION};
use super::guard::{self, NotPublic, Pattern, PublicOnly};
use super::robots;
use super::validators::Validators;
use crate::limits::FetchLimits;

/// Said to every server, so that its people can see who asks.
pub(super) const USER_AGENT: &str = concat!("ocelli/", env!("CARGO_PKG_VERSION"));

/// What is decoded here comes first: hosts that choose by this would send AVIF to `image/*`, which takes a program of its own.
const ACCEPTED: &str =
    "image/png,image/jpeg,image/webp,image/gif,image/tiff,image/bmp;q=0.9,*/*;q=0.5";

/// The first reservation for a body: most images fit, and a server's word about the length is no reason for more.
const FIRST_BUFFER: u64 = 256 * 1024;

/// The longest pause that a server's `Retry-After` is believed.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

/// What was found at one address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The bytes, and by what the server would know them again.
    Bytes(Bytes, Validators),
    /// They are those that the server knows by the validators that it was asked with.
    Unchanged,
    /// Another address, which was checked as a source is; nobody has asked there yet.
    Elsewhere(SourceUri),
}

/// Two clients with apart connection pools: one that connects only to public addresses, and one for allowed hosts.
#[derive(Debug)]
pub(crate) struct Http {
    clients: Result<(Client, Client), String>,
    allowed: Vec<Pattern>,
}

impl Http {
    pub(crate) fn new(limits: &FetchLimits) -> Result<Self, FetcherError> {
        Self::resolving(limits, PublicOnly::default())
    }

    /// As [`Self::new`], with somebody else's word on where names lead.
    pub(crate) fn resolving(
        limits: &FetchLimits,
        resolver: PublicOnly,
    ) -> Result<Self, FetcherError> {
        let allowed = limits
            .allowed_hosts
            .iter()
            .map(|text| Pattern::parse(text))
            .collect::<Result<_, _>>()?;
        // Another part of the process may have chosen a provider already; any is fine.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let builder = || {
            Client::builder()
                .user_agent(USER_AGENT)
                .connect_timeout(limits.connect_timeout)
                .read_timeout(limits.read_timeout)
                .redirect(redirect::Policy::none())
                .referer(false)
                .no_proxy()
                // Idle connections are given up before servers usually do.
                .pool_idle_timeout(Duration::from_secs(30))
                // More than are used at once: while a body is looked at, its connection is idle and must not be closed for that.
                .pool_max_idle_per_host(128)
        };
        // A machine without certificates can still read files: the reason is told when a URL is fetched.
        let clients = builder()
            .dns_resolver(Arc::new(resolver))
            .build()
            .and_then(|public| Ok((public, builder().build()?)))
            .map_err(|error| root_cause(&error));
        Ok(Self { clients, allowed })
    }

    /// The body of `source`.
    pub(crate) async fn fetch(
        &self,
        source: &SourceUri,
        limits: &FetchLimits,
    ) -> Result<Bytes, FetchError> {
        let mut at = source.clone();
        for _ in 0..=limits.redirects {
            match self.hop(source, &at, &Validators::default(), limits).await? {
                Answer::Elsewhere(next) => at = next,
                Answer::Bytes(bytes, _) => return Ok(bytes),
                // Nobody asked whether.
                Answer::Unchanged => break,
            }
        }
        Err(FetchError::Redirects { source_name: source.to_string(), limit: limits.redirects })
    }

    /// What is at one of the addresses that `source` leads to.
    pub(crate) async fn hop(
        &self,
        source: &SourceUri,
        at: &SourceUri,
        known: &Validators,
        limits: &FetchLimits,
    ) -> Result<Answer, FetchError> {
        let response = self.ask(source, at.url(), known, limits).await?;
        if let Some(next) = redirected(source, at.url(), &response)? {
            return Ok(Answer::Elsewhere(next));
        }
        if response.status() == StatusCode::NOT_MODIFIED && !known.is_empty() {
            is_wanted(source, response.headers(), limits)?;
            return Ok(Answer::Unchanged);
        }
        let validators = Validators::of(response.headers());
        body(source, response, limits).await.map(|bytes| Answer::Bytes(bytes, validators))
    }

    async fn ask(
        &self,
        source: &SourceUri,
        url: &Url,
        known: &Validators,
        limits: &FetchLimits,
    ) -> Result<Response, FetchError> {
        let (public, open) = self.clients.as_ref().map_err(|reason| FetchError::NoClient {
            source_name: source.to_string(),
            reason: reason.clone(),
        })?;
        let host = || url.host_str().unwrap_or_default().to_owned();
        let allowed =
            limits.allow_private_hosts || self.allowed.iter().any(|pattern| pattern.matches(url));
        if !allowed
            && let Some(address) = guard::literal(url)
            && !guard::is_public(address)
        {
            let source_name = source.to_string();
            return Err(FetchError::PrivateHost { source_name, host: host(), address });
        }
        let client = if allowed { open } else { public };
        let request = client
            .get(url.clone())
            .headers(known.conditions())
            .header(ACCEPT, ACCEPTED)
            // The digest is that of the bytes as they are stored, not as a transport squeezes them.
            .header(ACCEPT_ENCODING, "identity");
        request.send().await.map_err(|error| not_answered(source, host(), limits, &error))
    }
}

/// Where the answer sends us, after the same checks as for a source; `None` when this is the answer.
fn redirected(
    source: &SourceUri,
    from: &Url,
    response: &Response,
) -> Result<Option<SourceUri>, FetchError> {
    use StatusCode as S;
    let status = response.status();
    if !matches!(
        status,
        S::MOVED_PERMANENTLY
            | S::FOUND
            | S::SEE_OTHER
            | S::TEMPORARY_REDIRECT
            | S::PERMANENT_REDIRECT
    ) {
        return Ok(None);
    }
    let location = response.headers().get(LOCATION).map(|value| value.as_bytes());
    let target = String::from_utf8_lossy(location.unwrap_or_default());
    let bad = |reason: String| FetchError::BadRedirect {
        source_name: source.to_string(),
        target: target.chars().filter(|c| !c.is_control()).take(200).collect(),
        reason,
    };
    if target.is_empty() {
        return Err(bad("no target given".to_owned()));
    }
    let next = from.join(&target).map_err(|error| bad(error.to_string()))?;
    if !matches!(next.scheme(), "http" | "https") {
        return Err(bad(format!("'{}:' is not followed", next.scheme())));
    }
    let next = SourceUri::from_url(next).map_err(|error| bad(error.to_string()))?;
    tracing::debug!(source = %source, target = %next, status = status.as_u16(), "redirected");
    Ok(Some(next))
}

async fn body(
    source: &SourceUri,
    mut response: Response,
    limits: &FetchLimits,
) -> Result<Bytes, FetchError> {
    let source_name = || source.to_string();
    let status = response.status();
    // 203: as a proxy between changed it. Other successes bring no image or a part of one.
    if !matches!(status, StatusCode::OK | StatusCode::NON_AUTHORITATIVE_INFORMATION) {
        return Err(FetchError::Status {
            source_name: source_name(),
            status: status.as_u16(),
            retry_after: retry_after(response.headers()),
        });
    }
    is_wanted(source, response.headers(), limits)?;
    if let Some(encoding) = compression(response.headers()) {
        return Err(FetchError::Compressed { source_name: source_name(), encoding });
    }
    let too_large = || FetchError::TooLarge { source_name: source_name(), limit: limits.bytes };
    let announced = response.content_length();
    if announced.is_some_and(|length| length > limits.bytes) {
        return Err(too_large());
    }
    let first = announced.unwrap_or(0).min(FIRST_BUFFER);
    let mut bytes = BytesMut::with_capacity(usize::try_from(first).unwrap_or(0));
    let mut beginning = Beginning::new(limits.images_only);
    loop {
        let received = bytes.len() as u64;
        match response.chunk().await {
            Ok(Some(chunk)) if received + chunk.len() as u64 > limits.bytes => {
                return Err(too_large());
            }
            Ok(Some(chunk)) => {
                bytes.extend_from_slice(&chunk);
                if let Some(looks_like) = beginning.no_image(&bytes) {
                    return Err(FetchError::NotAnImage { source_name: source_name(), looks_like });
                }
            }
            Ok(None) => return Ok(bytes.freeze()),
            Err(error) if error.is_timeout() => {
                return Err(FetchError::Timeout {
                    source_name: source_name(),
                    what: "no further piece of the body",
                    limit: limits.read_timeout,
                });
            }
            Err(error) => {
                let reason = root_cause(&error);
                let source_name = source_name();
                return Err(FetchError::Interrupted { source_name, received, reason });
            }
        }
    }
}

/// Whether the server lets its image be used.
fn is_wanted(
    source: &SourceUri,
    headers: &HeaderMap,
    limits: &FetchLimits,
) -> Result<(), FetchError> {
    match robots::refusal(headers).filter(|_| limits.robots_tags) {
        Some(directive) => Err(FetchError::Unwanted { source_name: source.to_string(), directive }),
        None => Ok(()),
    }
}

fn not_answered(
    source: &SourceUri,
    host: String,
    limits: &FetchLimits,
    error: &reqwest::Error,
) -> FetchError {
    let source_name = source.to_string();
    if let Some(NotPublic { address }) = in_chain::<NotPublic>(error) {
        return FetchError::PrivateHost { source_name, host, address: *address };
    }
    match (error.is_timeout(), error.is_connect()) {
        (true, true) => {
            FetchError::Timeout { source_name, what: NO_CONNECTION, limit: limits.connect_timeout }
        }
        (true, false) => FetchError::Timeout {
            source_name,
            what: "no answer from the server",
            limit: limits.read_timeout,
        },
        (false, true) => FetchError::Connect { source_name, host, reason: root_cause(error) },
        (false, false) => {
            FetchError::Interrupted { source_name, received: 0, reason: root_cause(error) }
        }
    }
}

pub(super) fn in_chain<'a, E: Error + 'static>(error: &'a (dyn Error + 'static)) -> Option<&'a E> {
    let mut next = Some(error);
    while let Some(error) = next {
        if let Some(found) = error.downcast_ref::<E>() {
            return Some(found);
        }
        next = error.source();
    }
    None
}

/// The innermost error says what happened; those around it say only where.
pub(super) fn root_cause(error: &(dyn Error + 'static)) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    crate::decode::error::clip(&innermost.to_string())
}

fn compression(headers: &HeaderMap) -> Option<&'static str> {
    let value = headers.get(CONTENT_ENCODING)?.to_str().ok()?.to_ascii_lowercase();
    ["gzip", "deflate", "br", "zstd", "compress"]
        .into_iter()
        .find(|name| value.split(',').any(|part| part.trim().trim_start_matches("x-") == *name))
}

/// In seconds, or as a date (RFC 9110, 10.2.3), which is read against the server's own clock: whether ours goes right, it cannot know.
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get(RETRY_AFTER)?.to_str().ok()?.trim();
    let wait = match text.parse() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let until = httpdate::parse_http_date(text).ok()?;
            let now = httpdate::parse_http_date(headers.get(DATE)?.to_str().ok()?.trim()).ok()?;
            until.duration_since(now).unwrap_or_default()
        }
    };
    Some(wait.min(LONGEST_RETRY_AFTER))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn asked(retry_after: &str, date: Option<&str>) -> Option<Duration> {
        let mut headers = HeaderMap::new();
        headers.insert(RETRY_AFTER, retry_after.parse().unwrap());
        if let Some(date) = date {
            headers.insert(DATE, date.parse().unwrap());
        }
        super::retry_after(&headers)
    }

    #[test]
    fn a_pause_is_asked_for_in_seconds_or_until_a_date_of_the_server() {
        let now = Some("Sun, 06 Nov 1994 08:49:37 GMT");
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(asked("7", None), seconds(7));
        assert_eq!(asked("Sun, 06 Nov 1994 08:51:07 GMT", now), seconds(90));
        assert_eq!(
            asked("Sunday, 06-Nov-94 08:51:07 GMT", now),
            seconds(90),
            "as it was written once"
        );
        assert_eq!(asked("Sun, 06 Nov 1994 08:00:00 GMT", now), seconds(0), "it has passed");
        assert_eq!(asked("Sat, 06 Nov 2094 08:00:00 GMT", now), Some(LONGEST_RETRY_AFTER));
        assert_eq!(
            asked("Sun, 06 Nov 1994 08:51:07 GMT", None),
            None,
            "nobody says what time it is"
        );
        for nothing in ["soon", "-1", "", "Sun, 06 Nov 1994"] {
            assert_eq!(asked(nothing, now), None, "{nothing}");
        }
    }
}
