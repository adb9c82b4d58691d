//! Manners towards the hosts that URLs are fetched from: so many connections at once, so many requests a second, silence for as long
//! as a host asks for it, and what its `robots.txt` allows.
//!
//! Whoever waits for its turn keeps one of the `fetchers` places meanwhile: where a list names one slow host again and again, it is
//! fetched at the pace of that host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_core::retry::backoff;
use ocelli_core::{FailureClass, SourceUri, chain};
use ocelli_media::{FetchError, FetchLimits, Fetcher, FetcherError};
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use crate::robots::{MAX_BYTES, Robots};

/// Hosts that are remembered before those are forgotten that nobody asks: a crawl meets millions.
const REMEMBERED: usize = 4096;

/// Tries for the rules of a host, the first wait between two, and the longest.
const RULES_ATTEMPTS: u32 = 3;
const RULES_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// How hosts are treated.
#[derive(Debug, Clone)]
pub struct Manners {
    /// URLs fetched at once from one host: a polite browser opens six connections.
    pub connections: usize,
    /// Requests a second to one host; 0: as many as the connections take.
    pub requests_per_second: f64,
    /// The longest silence that a host is given when it asks for one; a URL whose host asks for more is given up for this run.
    pub longest_silence: Duration,
    /// Whether `robots.txt` is obeyed.
    pub robots: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            connections: 6,
            requests_per_second: 0.0,
            longest_silence: Duration::from_secs(120),
            robots: true,
        }
    }
}

/// All hosts of a run.
pub(crate) struct Hosts {
    manners: Manners,
    robots: Fetcher,
    hosts: Mutex<HashMap<String, Arc<Host>>>,
}

struct Host {
    places: Arc<Semaphore>,
    /// When the next request may be sent.
    next: Mutex<Instant>,
    robots: OnceCell<Result<Robots, String>>,
}

/// Whether a host lets its images be fetched.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Permission {
    Granted,
    /// It says no.
    Denied,
    /// It cannot be asked: nobody knows.
    Unknown(String),
}

/// A place among those that ask one host at once.
pub(crate) struct Place {
    host: Arc<Host>,
    _permit: OwnedSemaphorePermit,
}

impl Hosts {
    pub(crate) fn new(manners: Manners, limits: &FetchLimits) -> Result<Self, FetcherError> {
        // What a host says about its images says nothing about its rules.
        let limits = FetchLimits { bytes: MAX_BYTES, robots_tags: false, ..limits.clone() };
        Ok(Self { manners, robots: Fetcher::new(limits)?, hosts: Mutex::default() })
    }

    fn host(&self, name: &str) -> Arc<Host> {
        let mut hosts = self.hosts.lock().unwrap_or_else(PoisonError::into_inner);
        if hosts.len() >= REMEMBERED && !hosts.contains_key(name) {
            hosts.retain(|_, host| Arc::strong_count(host) > 1);
        }
        let new = || {
            Arc::new(Host {
                places: Arc::new(Semaphore::new(self.manners.connections.max(1))),
                next: Mutex::new(Instant::now()),
                robots: OnceCell::new(),
            })
        };
        Arc::clone(hosts.entry(name.to_owned()).or_insert_with(new))
    }

    /// Waits for a place at the host of a source; none where it has no host.
    pub(crate) async fn place(&self, source: &SourceUri) -> Option<Place> {
        // A bucket is read by its key-holder, and has no rules.
        if !source.is_web() {
            return None;
        }
        // Scheme and port belong to it: rules and connections are theirs.
        let url = source.url();
        let (name, port) = (url.host_str()?, url.port_or_known_default().unwrap_or(0));
        let host = self.host(&format!("{}://{name}:{port}", url.scheme()));
        let permit = Arc::clone(&host.places).acquire_owned().await.ok()?;
        Some(Place { host, _permit: permit })
    }

    /// Whether the host lets this source be fetched. Asks for its rules once in a run.
    pub(crate) async fn permission(&self, place: &Place, source: &SourceUri) -> Permission {
        if !self.manners.robots {
            return Permission::Granted;
        }
        let url = source.url();
        let rules = place.host.robots.get_or_init(|| async { self.rules(place, source).await });
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        match rules.await {
            Ok(rules) if rules.allows(&path) => Permission::Granted,
            Ok(_) => Permission::Denied,
            Err(reason) => Permission::Unknown(reason.clone()),
        }
    }

    async fn rules(&self, place: &Place, source: &SourceUri) -> Result<Robots, String> {
        let address = source.url().join("/robots.txt").map_err(|error| error.to_string())?;
        let address = SourceUri::from_url(address).map_err(|error| error.to_string())?;
        let mut attempt = 0;
        loop {
            self.turn(place).await;
            let error = match self.robots.fetch(&address).await {
                Ok(text) => return Ok(Robots::parse(&text)),
                // What is not there forbids nothing (RFC 9309, 2.3.1.3).
                Err(FetchError::Status {
                    status: 400..=407 | 409..=424 | 426..=428 | 430..=499,
                    ..
                }) => {
                    return Ok(Robots::default());
                }
                Err(error) => error,
            };
            attempt += 1;
            let pause = backoff(attempt, RULES_BACKOFF.0, RULES_BACKOFF.1, rand::random());
            match self.wait(Some(place), &error, pause).filter(|_| attempt < RULES_ATTEMPTS) {
                Some(wait) => tokio::time::sleep(wait).await,
                None => return Err(chain(&error)),
            }
        }
    }

    /// Waits until this host may be asked again.
    pub(crate) async fn turn(&self, place: &Place) {
        let pause = if self.manners.requests_per_second > 0.0 {
            Duration::from_secs_f64((1.0 / self.manners.requests_per_second).min(3600.0))
        } else {
            Duration::ZERO
        };
        loop {
            let at = {
                let mut next = place.host.next.lock().unwrap_or_else(PoisonError::into_inner);
                let now = Instant::now();
                if *next <= now {
                    *next = now + pause;
                    return;
                }
                *next
            };
            tokio::time::sleep_until(at).await;
        }
    }

    /// How long to wait before this error is tried again: at least `backoff`, and all others that ask this host wait as long as it asks
    /// for. None when it asks for more than is given.
    pub(crate) fn wait(
        &self,
        place: Option<&Place>,
        error: &FetchError,
        backoff: Duration,
    ) -> Option<Duration> {
        if !matches!(error.class(), FailureClass::Transient | FailureClass::Outage) {
            return None;
        }
        let asked = error.retry_after().unwrap_or_default();
        if asked > self.manners.longest_silence {
            return None;
        }
        if let (Some(place), false) = (place, asked.is_zero()) {
            let mut next = place.host.next.lock().unwrap_or_else(PoisonError::into_inner);
            *next = (*next).max(Instant::now() + asked);
        }
        Some(backoff.max(asked))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hosts(manners: Manners) -> Hosts {
        Hosts::new(manners, &FetchLimits::default()).unwrap()
    }

    fn source(text: &str) -> SourceUri {
        text.parse().unwrap()
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_is_asked_no_faster_than_it_may_and_others_do_not_wait_for_it() {
        let hosts = hosts(Manners { requests_per_second: 2.0, ..Manners::default() });
        let begun = Instant::now();
        let place = hosts.place(&source("http://slow/a")).await.unwrap();
        for _ in 0..5 {
            hosts.turn(&place).await;
        }
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
        let other = hosts.place(&source("http://other/a")).await.unwrap();
        hosts.turn(&other).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_asks_for_silence_gets_it_from_everybody_up_to_a_limit() {
        let hosts = hosts(Manners::default());
        let place = hosts.place(&source("http://tired/a")).await.unwrap();
        let error = |seconds| FetchError::Status {
            source_name: "http://tired/a".to_owned(),
            status: 429,
            retry_after: Some(Duration::from_secs(seconds)),
        };
        let backoff = Duration::from_millis(500);
        assert_eq!(hosts.wait(Some(&place), &error(7), backoff), Some(Duration::from_secs(7)));
        let begun = Instant::now();
        let neighbour = hosts.place(&source("http://tired/b")).await.unwrap();
        hosts.turn(&neighbour).await;
        assert_eq!(begun.elapsed(), Duration::from_secs(7));
        assert_eq!(hosts.wait(Some(&place), &error(3600), backoff), None, "for another run");
    }

    #[tokio::test]
    async fn so_many_at_once_and_ports_are_hosts_of_their_own() {
        let hosts = hosts(Manners { connections: 1, ..Manners::default() });
        let first = hosts.place(&source("http://h:1/a")).await.unwrap();
        let other = hosts.place(&source("http://h:2/a")).await;
        assert!(other.is_some());
        let second = source("http://h:1/b");
        let second = tokio::time::timeout(Duration::from_millis(20), hosts.place(&second));
        assert!(second.await.is_err(), "there is one place");
        drop(first);
        assert!(hosts.place(&source("http://h:1/b")).await.is_some());
        assert!(hosts.place(&source("file:///a")).await.is_none());
    }
}
