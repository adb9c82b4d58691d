//! Manners towards the hosts that URLs are fetched from: so many connections at once, so many requests a second, silence for as long
//! as a host asks for it, and what its `robots.txt` allows.
//!
//! Whoever waits for its turn keeps its place meanwhile: where a list names one slow host again and again, it is fetched at the pace of
//! that host.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use ocelli_core::retry::backoff;
use ocelli_core::{FailureClass, SourceUri, chain};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::rules::{MAX_BYTES, Robots};
use crate::fetch::Fetcher;
use crate::fetch::error::FetchError;
use crate::limits::FetchLimits;

/// Hosts that are remembered before those are forgotten that nobody asks: a crawl meets millions.
const REMEMBERED: usize = 4096;

/// Tries for the rules of a host, the first wait between two, and the longest.
const RULES_ATTEMPTS: u32 = 3;
const RULES_BACKOFF: (Duration, Duration) = (Duration::from_millis(500), Duration::from_secs(20));

/// How long rules count (RFC 9309, 2.4: a day at most), and how long nobody asks again a host that did not tell them.
const RULES_COUNT: Duration = Duration::from_secs(24 * 3600);
const RULES_FAILED: Duration = Duration::from_secs(60);

/// How hosts are treated.
#[derive(Debug, Clone)]
pub struct Manners {
    /// URLs fetched at once from one host: a polite browser opens six connections.
    pub connections: usize,
    /// Requests a second to one host; 0: as many as the connections take.
    pub requests_per_second: f64,
    /// The longest silence that a host is given when it asks for one; a URL whose host asks for more is given up for this run.
    pub longest_silence: Duration,
    /// How long a host is taken to be away that took no connection in any of the tries for a URL: others of it fail at once meanwhile.
    pub away: Duration,
    /// Whether `robots.txt` is obeyed.
    pub robots: bool,
}

impl Default for Manners {
    fn default() -> Self {
        Self {
            connections: 6,
            requests_per_second: 0.0,
            longest_silence: Duration::from_secs(120),
            away: Duration::from_secs(10),
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
    contact: Mutex<Contact>,
    /// What it allows, and until when that counts. Whoever comes while it is asked waits for the answer.
    robots: tokio::sync::Mutex<Option<(Instant, Result<Robots, String>)>>,
}

/// Whether a host is there.
#[derive(Debug, Default)]
struct Contact {
    /// When it answered last.
    answered: Option<Instant>,
    /// Until when it is taken to be away, and why.
    away: Option<(Instant, String)>,
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
    name: String,
    _permit: OwnedSemaphorePermit,
}

impl Hosts {
    pub(crate) fn new(manners: Manners, fetcher: &Fetcher) -> Self {
        // What a host says about its images says nothing about its rules.
        let limits = fetcher.limits().clone();
        let limits =
            FetchLimits { bytes: MAX_BYTES, robots_tags: false, images_only: false, ..limits };
        Self { manners, robots: fetcher.with_limits(limits), hosts: Mutex::default() }
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
                contact: Mutex::default(),
                robots: tokio::sync::Mutex::default(),
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
        Some(Place { host, name: name.to_owned(), _permit: permit })
    }

    /// Its name and the reason, while the host is taken to be away.
    pub(crate) fn away(&self, place: &Place) -> Option<(String, String)> {
        let contact = place.host.contact.lock().unwrap_or_else(PoisonError::into_inner);
        let (until, reason) = contact.away.as_ref()?;
        (*until > Instant::now()).then(|| (place.name.clone(), reason.clone()))
    }

    /// The host is there.
    pub(crate) fn answered(&self, place: &Place) {
        let mut contact = place.host.contact.lock().unwrap_or_else(PoisonError::into_inner);
        *contact = Contact { answered: Some(Instant::now()), away: None };
    }

    /// A URL had no connection since `first`: unless another one had, the host is away.
    pub(crate) fn gave_up(&self, place: &Place, error: &FetchError, first: Instant) {
        let mut contact = place.host.contact.lock().unwrap_or_else(PoisonError::into_inner);
        if contact.answered.is_none_or(|at| at < first) {
            let reason = match error {
                FetchError::Connect { reason, .. } => reason.clone(),
                FetchError::Timeout { what, .. } => (*what).to_owned(),
                other => chain(other),
            };
            contact.away = Some((Instant::now() + self.manners.away, reason));
        }
    }

    /// Whether the host lets this source be fetched. Asks for its rules once a day.
    pub(crate) async fn permission(&self, place: &Place, source: &SourceUri) -> Permission {
        if !self.manners.robots {
            return Permission::Granted;
        }
        let url = source.url();
        let path = match url.query() {
            Some(query) => format!("{}?{query}", url.path()),
            None => url.path().to_owned(),
        };
        let mut known = place.host.robots.lock().await;
        let rules = match known.take() {
            Some((until, rules)) if until > Instant::now() => known.insert((until, rules)),
            _ => {
                let rules = self.rules(place, source).await;
                let counts = if rules.is_ok() { RULES_COUNT } else { RULES_FAILED };
                known.insert((Instant::now() + counts, rules))
            }
        };
        match &rules.1 {
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
        // Of those nobody knows more a moment later.
        let is_told = matches!(error, FetchError::Away { .. } | FetchError::RulesUnknown { .. });
        if is_told || !matches!(error.class(), FailureClass::Transient | FailureClass::Outage) {
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
        Hosts::new(manners, &Fetcher::new(FetchLimits::default()).unwrap())
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

    #[tokio::test(start_paused = true)]
    async fn a_host_that_took_no_connection_is_left_for_a_while_unless_it_answered_another() {
        let hosts = hosts(Manners { away: Duration::from_secs(10), ..Manners::default() });
        let place = hosts.place(&source("http://gone/a")).await.unwrap();
        let error = FetchError::Connect {
            source_name: "http://gone/a".to_owned(),
            host: "gone".to_owned(),
            reason: "nobody there".to_owned(),
        };
        let first = Instant::now();
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(hosts.away(&place), None);
        hosts.gave_up(&place, &error, first);
        let neighbour = hosts.place(&source("http://gone/b")).await.unwrap();
        let expected = ("gone".to_owned(), "nobody there".to_owned());
        assert_eq!(hosts.away(&neighbour), Some(expected));
        tokio::time::advance(Duration::from_secs(10)).await;
        assert_eq!(hosts.away(&neighbour), None, "it is tried again");
        hosts.answered(&neighbour);
        hosts.gave_up(&place, &error, first);
        assert_eq!(hosts.away(&place), None, "it answered meanwhile");
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
