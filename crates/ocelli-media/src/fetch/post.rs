//! Sends bytes to somebody's address, behind the same guard as fetching: the address is somebody's word too.
//!
//! Absent on purpose: redirects (what is signed for one host is not handed to another), the body of the answer (nobody needs
//! it), and proxies from the environment (a proxy would resolve names where the guard cannot see it).

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use async_recursion::async_recursion;
use bytes::Bytes;
use reqwest::{Client, StatusCode, redirect};
use thiserror::Error;
use url::Url;

use super::guard::{self, NotPublic, PublicOnly};
use super::http::{USER_AGENT, in_chain, retry_after, root_cause};

/// Of an answer so much is read, so that its connection can be used again.
const LONGEST_ANSWER: usize = 16 * 1024;

/// Sends to one address. Cheap to clone; connections are shared.
#[derive(Debug, Clone)]
pub struct Poster {
    client: Client,
    url: Url,
    timeout: Duration,
    allow_private: bool,
}

/// Why nothing can be sent at all.
#[derive(Debug, Error)]
#[error("no HTTP client can be made: {0}")]
pub struct NoClient(String);

/// Why something was not taken. Each text can be understood alone, and shows no more of the address than its host.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PostError {
    /// The address is inside one's own network.
    #[error(
        "{host} has the address {address}, which is not public; allow_private = true sends there all the same"
    )]
    PrivateHost {
        /// As in the address.
        host: String,
        /// The first one that was refused.
        address: IpAddr,
    },
    /// Another place was named.
    #[error(
        "{host} redirects (HTTP {status}), which is not followed; set the address that it redirects to"
    )]
    Redirected {
        /// As in the address.
        host: String,
        /// HTTP status.
        status: u16,
    },
    /// It was not taken.
    #[error("{host} answered HTTP {status}")]
    Refused {
        /// As in the address.
        host: String,
        /// HTTP status.
        status: u16,
        /// How long to leave it alone, in its own words.
        retry_after: Option<Duration>,
    },
    /// No answer in time.
    #[error("{host} gave no answer within {limit:?}")]
    Timeout {
        /// As in the address.
        host: String,
        /// The bound.
        limit: Duration,
    },
    /// No connection, or it broke.
    #[error("{host} cannot be reached: {reason}")]
    Unreachable {
        /// As in the address.
        host: String,
        /// In words.
        reason: String,
    },
}

impl PostError {
    /// How long the other side asked to be left alone.
    #[must_use]
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Refused { retry_after, .. } => *retry_after,
            _ => None,
        }
    }
}

impl Poster {
    /// Sends to `url`, each time within `timeout`. Addresses that are not public are refused unless `allow_private`.
    ///
    /// # Errors
    /// When this machine has no certificates to judge others by.
    pub fn new(url: Url, timeout: Duration, allow_private: bool) -> Result<Self, NoClient> {
        // Another part of the process may have chosen a provider already; any is fine.
        let _chosen = rustls::crypto::ring::default_provider().install_default();
        let mut builder = Client::builder()
            .user_agent(USER_AGENT)
            .timeout(timeout)
            .redirect(redirect::Policy::none())
            .referer(false)
            .no_proxy()
            .pool_idle_timeout(Duration::from_secs(30));
        if !allow_private {
            builder = builder.dns_resolver(Arc::new(PublicOnly::default()));
        }
        let client = builder.build().map_err(|error| NoClient(root_cause(&error)))?;
        Ok(Self { client, url, timeout, allow_private })
    }

    /// Sends a body. It was taken when the answer is a success (2xx).
    ///
    /// # Errors
    /// [`PostError`]; it may have been taken all the same.
    #[async_recursion]
    pub async fn post(
        &self,
        headers: &[(&'static str, String)],
        body: Bytes,
    ) -> Result<(), PostError> {
        let host = || self.url.host_str().unwrap_or_default().to_owned();
        if !self.allow_private
            && let Some(address) = guard::literal(&self.url)
            && !guard::is_public(address)
        {
            return Err(PostError::PrivateHost { host: host(), address });
        }
        let mut request = self.client.post(self.url.clone()).body(body);
        for (name, value) in headers {
            request = request.header(*name, value);
        }
        let mut response = request.send().await.map_err(|error| {
            if let Some(NotPublic { address }) = in_chain::<NotPublic>(&error) {
                return PostError::PrivateHost { host: host(), address: *address };
            }
            match error.is_timeout() {
                true => PostError::Timeout { host: host(), limit: self.timeout },
                false => PostError::Unreachable { host: host(), reason: root_cause(&error) },
            }
        })?;
        let status = response.status();
        let number = status.as_u16();
        if status.is_redirection() && status != StatusCode::NOT_MODIFIED {
            return Err(PostError::Redirected { host: host(), status: number });
        }
        if !status.is_success() {
            let retry_after = retry_after(response.headers());
            return Err(PostError::Refused { host: host(), status: number, retry_after });
        }
        let mut read = 0;
        while read < LONGEST_ANSWER {
            match response.chunk().await {
                Ok(Some(chunk)) => read += chunk.len(),
                Ok(None) | Err(_) => break,
            }
        }
        Ok(())
    }
}
