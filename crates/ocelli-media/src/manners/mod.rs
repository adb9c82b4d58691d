//! Fetching with the manners that the hosts of URLs may expect: whoever reads a URL, producer or worker, reads it through here.
//!
//! | module | room for |
//! |---|---|
//! | this | one try through all redirects, each asked for as a first address is |
//! | `hosts` | connections, requests a second, silence, hosts that are away |
//! | `rules` | `robots.txt` |

mod hosts;
mod rules;

use std::time::{Duration, Instant};

use async_recursion::async_recursion;
use bytes::Bytes;
use ocelli_core::SourceUri;

pub use hosts::Manners;
use hosts::{Hosts, Permission, Place};

use crate::fetch::error::FetchError;
use crate::fetch::{Answer, Fetcher, Validators};

/// Fetches from hosts without being a burden to them. One for all that a process fetches.
pub struct Polite {
    fetcher: Fetcher,
    hosts: Hosts,
}

/// What a try gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fetched {
    /// The bytes, and by what their server would know them again; nothing where a redirect led to them.
    Bytes(Bytes, Validators),
    /// The server says that nothing has changed since it gave these validators.
    Unchanged,
}

/// Why a try gave nothing, and which host said so.
pub struct Stopped {
    /// In words.
    pub error: FetchError,
    place: Option<Place>,
}

impl Polite {
    /// All that is fetched with this fetcher, in this way.
    #[must_use]
    pub fn new(fetcher: Fetcher, manners: Manners) -> Self {
        let hosts = Hosts::new(manners, &fetcher);
        Self { fetcher, hosts }
    }

    /// The fetcher, for what concerns no host.
    #[must_use]
    pub fn fetcher(&self) -> &Fetcher {
        &self.fetcher
    }

    /// One try, through all redirects. With validators a server may say that nothing has changed; they are sent to the first
    /// address alone, which gave them.
    ///
    /// # Errors
    /// [`Stopped`]; [`Self::wait`] says whether and when to try again.
    #[async_recursion]
    pub async fn follow(
        &self,
        source: &SourceUri,
        known: &Validators,
    ) -> Result<Fetched, Box<Stopped>> {
        let limits = self.fetcher.limits();
        let stopped = |error, place| Err(Box::new(Stopped { error, place }));
        let (mut at, mut left) = (source.clone(), limits.total_timeout);
        let nothing = Validators::default();
        for hop in 0..=limits.redirects {
            let place = self.hosts.place(&at).await;
            if let Some(place) = &place {
                let source_name = || source.to_string();
                if let Some((host, reason)) = self.hosts.away(place) {
                    let error = FetchError::Away { source_name: source_name(), host, reason };
                    return stopped(error, None);
                }
                match self.hosts.permission(place, &at).await {
                    Permission::Granted => {}
                    Permission::Denied => {
                        return stopped(
                            FetchError::Disallowed { source_name: source_name() },
                            None,
                        );
                    }
                    Permission::Unknown(reason) => {
                        let source_name = source_name();
                        return stopped(FetchError::RulesUnknown { source_name, reason }, None);
                    }
                }
                self.hosts.turn(place).await;
            }
            let asked = Instant::now();
            let validators = if hop == 0 { known } else { &nothing };
            let answer = self.fetcher.ask(source, &at, validators, left).await;
            if let (
                Some(place),
                Ok(_) | Err(FetchError::Status { .. } | FetchError::NotAnImage { .. }),
            ) = (&place, &answer)
            {
                self.hosts.answered(place);
            }
            match answer {
                Ok(Answer::Bytes(bytes, validators)) => {
                    let validators = if hop == 0 { validators } else { nothing };
                    return Ok(Fetched::Bytes(bytes, validators));
                }
                Ok(Answer::Unchanged) => return Ok(Fetched::Unchanged),
                Ok(Answer::Elsewhere(next)) => at = next,
                Err(error) => return stopped(error, place),
            }
            // Waiting for one's turn is no slowness of the host.
            left = left.saturating_sub(asked.elapsed());
        }
        let (source_name, limit) = (source.to_string(), limits.redirects);
        stopped(FetchError::Redirects { source_name, limit }, None)
    }

    /// How long to wait before another try: at least `backoff`, and all others that ask this host wait as long as it asks for. None
    /// when another one would not help, or the host asks for more than it is given.
    #[must_use]
    pub fn wait(&self, stopped: &Stopped, backoff: Duration) -> Option<Duration> {
        self.hosts.wait(stopped.place.as_ref(), &stopped.error, backoff)
    }

    /// Nobody tries this again. A host that took no connection in all of the tries, the first of which began then, is taken to be
    /// away for a while: so a list of a million addresses of it does not wait for each.
    pub fn gave_up(&self, stopped: &Stopped, first: tokio::time::Instant) {
        if let (Some(place), true) = (&stopped.place, stopped.error.is_no_connection()) {
            self.hosts.gave_up(place, &stopped.error, first);
        }
    }

    /// One try for whoever has an order of tries of his own. Waiting for the host counts as well: whoever has another image to do must
    /// not be kept by one that asks for silence.
    ///
    /// # Errors
    /// As [`Fetcher::fetch`], and when the host does not want it.
    #[async_recursion]
    pub async fn fetch(&self, source: &SourceUri) -> Result<Bytes, FetchError> {
        let limit = self.fetcher.limits().total_timeout;
        tokio::time::timeout(limit, self.try_once(source)).await.unwrap_or_else(|_| {
            let what = "no turn at its host, or not fetched as a whole";
            Err(FetchError::Timeout { source_name: source.to_string(), what, limit })
        })
    }

    async fn try_once(&self, source: &SourceUri) -> Result<Bytes, FetchError> {
        match self.follow(source, &Validators::default()).await {
            Ok(Fetched::Bytes(bytes, _)) => Ok(bytes),
            // Nothing was said that could be unchanged.
            Ok(Fetched::Unchanged) => {
                let source_name = source.to_string();
                Err(FetchError::Status { source_name, status: 304, retry_after: None })
            }
            Err(stopped) => {
                // A pause that the host asks for is one for all.
                let _ = self.wait(&stopped, Duration::ZERO);
                Err(stopped.error)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::limits::FetchLimits;

    #[tokio::test(start_paused = true)]
    async fn a_host_that_asks_for_silence_keeps_nobody_longer_than_a_fetch_may_take() {
        let limits =
            FetchLimits { total_timeout: Duration::from_secs(5), ..FetchLimits::default() };
        let manners = Manners { connections: 1, ..Manners::default() };
        let polite = Polite::new(Fetcher::new(limits).unwrap(), manners);
        let source: SourceUri = "http://tired/a".parse().unwrap();
        // Somebody has its only place, and waits for the end of a silence.
        let _place = polite.hosts.place(&source).await.unwrap();
        let begun = tokio::time::Instant::now();
        let error = polite.fetch(&source).await.unwrap_err();
        assert!(error.to_string().contains("no turn at its host"), "{error}");
        assert_eq!(error.class(), ocelli_core::FailureClass::Transient);
        assert_eq!(begun.elapsed(), Duration::from_secs(5));
    }
}
