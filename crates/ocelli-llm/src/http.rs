//! One request with all its deadlines and bounds. Knows nothing of models.

use std::time::Duration;

use bytes::Bytes;
use jiff::Timestamp;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderName, HeaderValue};
use reqwest::{Client, Method, StatusCode, redirect};
use secrecy::ExposeSecret;
use thiserror::Error;
use tokio::time::{Instant, timeout_at};
use url::Url;

use crate::endpoint::{below, shown};
use crate::failure::{CallError, Kind};
use crate::options::{EndpointOptions, Timeouts};
use crate::retry_after;
use crate::wire::headers_in;

/// Why no client could be built.
#[derive(Debug, Error)]
pub(crate) enum ClientError {
    /// A header that HTTP does not allow.
    #[error("header {0}")]
    Header(String),
    /// Certificates of a private authority that cannot be read; with the address they are for.
    #[error("certificates for {0}")]
    Certificates(String),
    /// TLS could not be set up.
    #[error("cannot set up HTTP")]
    Build(#[source] reqwest::Error),
}

/// A client for one endpoint.
#[derive(Debug, Clone)]
pub(crate) struct Http {
    client: Client,
    base: Url,
    timeouts: Timeouts,
    response_bytes: usize,
}

/// A response whose body was read completely.
#[derive(Debug)]
pub(crate) struct Response {
    pub(crate) status: StatusCode,
    pub(crate) html: bool,
    pub(crate) retry_after: Option<Duration>,
    pub(crate) body: Vec<u8>,
}

impl Response {
    /// The body of a response with status 200.
    pub(crate) fn ok(self) -> Result<(Vec<u8>, bool), CallError> {
        if self.status == StatusCode::OK {
            Ok((self.body, self.html))
        } else {
            let in_body = || retry_after::parse(&headers_in(&self.body), Timestamp::now());
            let retry_after = self.retry_after.or_else(in_body);
            Err(CallError::from_status(self.status, &self.body, retry_after))
        }
    }
}

impl Http {
    pub(crate) fn new(
        endpoint: &EndpointOptions,
        timeouts: Timeouts,
        response_bytes: usize,
    ) -> Result<Self, ClientError> {
        // Whoever was first in this process has installed it; all of ocelli uses ring.
        let _ = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .connect_timeout(timeouts.connect)
            .default_headers(headers(endpoint)?)
            .user_agent(concat!("ocelli/", env!("CARGO_PKG_VERSION")))
            // A redirected POST arrives as a GET somewhere else: better to say so.
            .redirect(redirect::Policy::none())
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_keepalive(Duration::from_secs(30));
        if let Some(pem) = &endpoint.authorities {
            let authorities = reqwest::Certificate::from_pem_bundle(pem).unwrap_or_default();
            if authorities.is_empty() {
                return Err(ClientError::Certificates(shown(&endpoint.url)));
            }
            builder = builder.tls_certs_merge(authorities);
        }
        if is_loopback(&endpoint.url) {
            builder = builder.no_proxy();
        }
        let client = builder.build().map_err(ClientError::Build)?;
        let mut base = endpoint.url.clone();
        base.set_query(None);
        base.set_fragment(None);
        Ok(Self { client, base, timeouts, response_bytes })
    }

    /// Without credentials.
    pub(crate) fn shown(&self) -> String {
        shown(&self.base)
    }

    /// How long a question to the model may wait for the first byte of its answer.
    pub(crate) fn patience(&self) -> Duration {
        self.timeouts.first_byte.min(self.timeouts.total)
    }

    /// A question to the model; ends by `deadline` or earlier.
    pub(crate) async fn post(
        &self,
        path: &str,
        body: Bytes,
        deadline: Instant,
    ) -> Result<Response, CallError> {
        let now = Instant::now();
        let total = deadline.min(now + self.timeouts.total);
        self.send(Method::POST, path, Some(body), total, now + self.timeouts.first_byte).await
    }

    /// One of the small requests of a probe.
    pub(crate) async fn small(
        &self,
        path: &str,
        body: Option<Bytes>,
    ) -> Result<Response, CallError> {
        let method = if body.is_some() { Method::POST } else { Method::GET };
        let total = Instant::now() + self.timeouts.probe;
        self.send(method, path, body, total, total).await
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<Bytes>,
        total: Instant,
        first_byte: Instant,
    ) -> Result<Response, CallError> {
        let begun = Instant::now();
        let mut request = self.client.request(method, below(&self.base, path));
        if let Some(body) = body {
            request = request.header(CONTENT_TYPE, "application/json").body(body);
        }
        let head_by = total.min(first_byte);
        let mut response = match timeout_at(head_by, request.send()).await {
            Ok(Ok(response)) => response,
            Ok(Err(error)) => return Err(from_reqwest(&error)),
            Err(_) => return Err(silent("no answer", begun)),
        };
        let status = response.status();
        let retry_after = retry_after::parse(response.headers(), Timestamp::now());
        let html = is_html(response.headers());
        let mut body = Vec::new();
        loop {
            let piece_by = total.min(Instant::now() + self.timeouts.idle);
            match timeout_at(piece_by, response.chunk()).await {
                Ok(Ok(Some(piece))) => {
                    if body.len() + piece.len() > self.response_bytes {
                        let reason = format!("a body of more than {} bytes", self.response_bytes);
                        return Err(CallError::new(Kind::Garbled, reason));
                    }
                    body.extend_from_slice(&piece);
                }
                Ok(Ok(None)) => break,
                Ok(Err(_)) => {
                    return Err(CallError::new(
                        Kind::Broke,
                        format!("the connection broke after {} bytes of the answer", body.len()),
                    ));
                }
                Err(_) => return Err(silent("the answer stopped coming", begun)),
            }
        }
        Ok(Response { status, html, retry_after, body })
    }
}

fn silent(what: &str, begun: Instant) -> CallError {
    let waited = begun.elapsed();
    CallError::new(Kind::Silent, format!("{what} within {:.1} s", waited.as_secs_f64()))
}

/// Errors of reqwest hold the address, which is shown elsewhere; their sources say what happened.
fn from_reqwest(error: &reqwest::Error) -> CallError {
    let mut reason = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(inner) = source {
        reason = inner.to_string();
        source = inner.source();
    }
    let reason = crate::wire::clip(&reason);
    if error.is_connect() {
        return CallError::new(Kind::Unreachable, format!("cannot connect: {reason}"));
    }
    if error.is_timeout() {
        return CallError::new(Kind::Unreachable, "cannot connect: timed out");
    }
    CallError::new(Kind::Broke, format!("the connection broke before an answer: {reason}"))
}

fn headers(endpoint: &EndpointOptions) -> Result<HeaderMap, ClientError> {
    let mut headers = HeaderMap::new();
    let mut insert = |name: &str, value: &str| {
        let bad = || ClientError::Header(name.to_owned());
        let name = HeaderName::from_bytes(name.as_bytes()).map_err(|_| bad())?;
        let mut value = HeaderValue::from_str(value).map_err(|_| bad())?;
        value.set_sensitive(true);
        headers.insert(name, value);
        Ok(())
    };
    if let Some(key) = &endpoint.api_key {
        insert(AUTHORIZATION.as_str(), &format!("Bearer {}", key.expose_secret().trim()))?;
    }
    for (name, value) in &endpoint.headers {
        insert(name, value.expose_secret())?;
    }
    Ok(headers)
}

fn is_html(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .is_some_and(|value| value.trim_start().to_ascii_lowercase().starts_with("text/html"))
}

fn is_loopback(url: &Url) -> bool {
    match url.host() {
        Some(url::Host::Ipv4(address)) => address.is_loopback(),
        Some(url::Host::Ipv6(address)) => address.is_loopback(),
        Some(url::Host::Domain(name)) => name == "localhost",
        None => false,
    }
}
