//! The endpoints of one analyzer: which one is asked next, how many requests each gets at once, and what is known about
//! the trouble each of them is in. One that is away is looked after ([`watch`]) while there is work.

pub(crate) mod breaker;
mod bucket;
mod lease;
mod limit;
mod state;
mod watch;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::{Instant, sleep_until};

use crate::http::{ClientError, Http};
use crate::options::LlmOptions;
use bucket::Bucket;
pub(crate) use lease::Lease;
use state::{Endpoint, Standing};

/// All endpoints of one analyzer.
#[derive(Debug)]
pub(crate) struct Pool {
    clients: Vec<Http>,
    options: Arc<LlmOptions>,
    state: Mutex<State>,
    changed: Notify,
}

/// Why an endpoint is not used whose model has another digest than the one that answers are filed under.
const OTHER_MODEL: &str =
    "it has another version of the model than the one these answers are filed under";

#[derive(Debug)]
struct State {
    endpoints: Vec<Endpoint>,
    /// Jobs that wait for a place.
    waiting: usize,
    /// Jobs that ever asked for a place.
    asked: u64,
    requests: Option<Bucket>,
    tokens: Option<Bucket>,
    /// Digest of the model that the current revision stands for.
    model_digest: Option<String>,
}

/// Endpoints, by how they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Standings {
    pub(crate) free: i64,
    pub(crate) full: i64,
    pub(crate) away: i64,
    pub(crate) blocked: i64,
}

/// Why no endpoint could be asked. Always an outage: nothing is wrong with the job.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NoEndpoint {
    pub(crate) reason: String,
}

impl Pool {
    pub(crate) fn new(options: Arc<LlmOptions>) -> Result<Arc<Self>, ClientError> {
        let client = |endpoint| Http::new(endpoint, options.timeouts, options.response_bytes);
        let clients = options.endpoints.iter().map(client).collect::<Result<Vec<_>, _>>()?;
        let endpoints = options
            .endpoints
            .iter()
            .map(|endpoint| Endpoint::new(endpoint.in_flight, &options.patience))
            .collect();
        let now = Instant::now();
        let bucket = |rate: Option<u32>| rate.map(|rate| Bucket::new(rate, now));
        let state = State {
            endpoints,
            waiting: 0,
            asked: 0,
            requests: bucket(options.requests_per_minute),
            tokens: bucket(options.tokens_per_minute),
            model_digest: None,
        };
        let (state, changed) = (Mutex::new(state), Notify::new());
        Ok(Arc::new(Self { clients, options, state, changed }))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn clients(&self) -> &[Http] {
        &self.clients
    }

    /// Requests that may be under way at once now, at endpoints that can be asked.
    pub(crate) fn places(&self) -> usize {
        let now = Instant::now();
        self.lock().endpoints.iter().map(|endpoint| endpoint.places(now)).sum()
    }

    /// How many endpoints stand how now.
    pub(crate) fn standings(&self) -> Standings {
        let now = Instant::now();
        let mut all = Standings::default();
        for endpoint in &self.lock().endpoints {
            *match endpoint.standing(now) {
                Standing::Free { .. } => &mut all.free,
                Standing::Full => &mut all.full,
                Standing::Away { .. } => &mut all.away,
                Standing::Blocked(_) => &mut all.blocked,
            } += 1;
        }
        all
    }

    /// Requests under way.
    pub(crate) fn open(&self) -> usize {
        self.lock().endpoints.iter().map(|endpoint| endpoint.open).sum()
    }

    /// The right to send one request, to the least loaded endpoint that may be asked; `avoid` only when there is no other.
    ///
    /// Waits for a free place until `deadline`. While no endpoint may be asked at all it waits at most until `give_up`,
    /// which is set when that begins. When only a person can help it does not wait.
    pub(crate) async fn lease(
        self: &Arc<Self>,
        deadline: Instant,
        give_up: &mut Option<Instant>,
        avoid: Option<usize>,
    ) -> Result<Lease, NoEndpoint> {
        let mut waiting = None;
        self.lock().asked += 1;
        loop {
            let changed = self.changed.notified();
            tokio::pin!(changed);
            // From here on a change is not missed, even one that comes before the wait below.
            changed.as_mut().enable();
            let now = Instant::now();
            let wait = match self.choose(now, avoid) {
                Ok(lease) => return Ok(lease),
                Err(wait) => wait,
            };
            let end = match wait.cause {
                Cause::Person => return Err(NoEndpoint { reason: wait.reason }),
                Cause::Place => deadline,
                Cause::Trouble => {
                    deadline.min(*give_up.get_or_insert(now + self.options.patience.outage))
                }
            };
            if now >= end {
                return Err(NoEndpoint { reason: wait.reason });
            }
            waiting.get_or_insert_with(|| Waiting::new(self));
            let until = wait.until.map_or(end, |until| until.min(end));
            tokio::select! {
                () = changed => {}
                () = sleep_until(until) => {}
            }
        }
    }

    fn choose(self: &Arc<Self>, now: Instant, avoid: Option<usize>) -> Result<Lease, Wait> {
        let mut state = self.lock();
        for what in ["requests", "tokens"] {
            let bucket = if what == "requests" { &mut state.requests } else { &mut state.tokens };
            if let Some(at) = bucket.as_mut().and_then(|bucket| bucket.ready_at(now)) {
                let reason = format!("the limit of {what} a minute is reached");
                return Err(Wait { until: Some(at), reason, cause: Cause::Place });
            }
        }
        watch::begin(self, &mut state.endpoints);
        let standings: Vec<_> =
            state.endpoints.iter().map(|endpoint| endpoint.standing(now)).collect();
        let best = standings
            .iter()
            .enumerate()
            .filter(|(_, standing)| matches!(standing, Standing::Free { .. }))
            .min_by(|(a, _), (b, _)| {
                let load = |i: usize| (avoid == Some(i), state.endpoints[i].load());
                let (x, y) = (load(*a), load(*b));
                x.0.cmp(&y.0)
                    .then(x.1.total_cmp(&y.1))
                    .then_with(|| state.endpoints[*a].usual.cmp(&state.endpoints[*b].usual))
            })
            .map(|(index, standing)| (index, *standing == Standing::Free { trial: true }));
        let Some((index, trial)) = best else { return Err(self.wait(&standings)) };
        let endpoint = &mut state.endpoints[index];
        endpoint.open += 1;
        if trial {
            endpoint.breaker.begin_trial();
        }
        if let Some(bucket) = &mut state.requests {
            bucket.take(1, now);
        }
        drop(state);
        Ok(Lease::new(Arc::clone(self), index, trial, now))
    }

    /// Why nothing could be chosen, and when to look again.
    fn wait(&self, standings: &[Standing]) -> Wait {
        let mut until = None;
        let mut reasons = Vec::new();
        let mut cause = Cause::Person;
        for (standing, client) in standings.iter().zip(&self.clients) {
            match standing {
                Standing::Free { .. } => {}
                Standing::Full => cause = Cause::Place,
                Standing::Blocked(reason) => reasons.push(format!("{}: {reason}", client.shown())),
                Standing::Away { again, reason } => {
                    if cause == Cause::Person {
                        cause = Cause::Trouble;
                    }
                    if let Some(again) = again {
                        until = Some(until.map_or(*again, |u: Instant| u.min(*again)));
                    }
                    reasons.push(format!("{}: {reason}", client.shown()));
                }
            }
        }
        let reason = if cause == Cause::Place {
            "no place at a model server came free before the deadline of the job".to_owned()
        } else {
            format!("no model server can be asked: {}", reasons.join("; "))
        };
        Wait { until, reason, cause }
    }

    /// What a probe learned about an endpoint.
    pub(crate) fn looked(&self, index: usize, digest: Option<String>) {
        let mut state = self.lock();
        state.endpoints[index].looked(Instant::now(), digest);
        drop(state);
        self.changed.notify_waiters();
    }

    /// What a look in between learned about an endpoint; an error when it has another model now.
    pub(crate) fn seen(&self, index: usize, digest: Option<String>) -> Result<(), &'static str> {
        let pinned = self.pinned();
        let other = pinned.is_some() && digest.is_some() && pinned != digest;
        self.looked(index, digest);
        if other {
            self.block(index, OTHER_MODEL.to_owned());
            return Err(OTHER_MODEL);
        }
        Ok(())
    }

    /// A probe found that an endpoint cannot serve this analyzer.
    pub(crate) fn block(&self, index: usize, reason: String) {
        self.lock().endpoints[index].blocked = Some(reason);
    }

    /// The reason why key or quota stopped an endpoint: only a question to the model shows that this is over.
    pub(crate) fn blocked(&self, index: usize) -> Option<String> {
        self.lock().endpoints[index].blocked.clone()
    }

    /// From now on answers count for the revision with this model.
    pub(crate) fn pin(&self, digest: Option<String>) {
        self.lock().model_digest = digest;
    }

    /// Digest of the model that the current revision stands for.
    pub(crate) fn pinned(&self) -> Option<String> {
        self.lock().model_digest.clone()
    }

    /// Tokens that an answer took.
    pub(crate) fn spend_tokens(&self, tokens: u64) {
        if let Some(bucket) = &mut self.lock().tokens {
            bucket.take(tokens, Instant::now());
        }
    }

    pub(crate) fn retry_pause(&self) -> (Duration, Duration) {
        (self.options.patience.pause_floor, self.options.patience.pause_cap)
    }
}

struct Wait {
    until: Option<Instant>,
    reason: String,
    cause: Cause,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cause {
    /// All places are taken, or a rate limit is reached: work goes on.
    Place,
    /// Endpoints are away and may come back.
    Trouble,
    /// Every endpoint needs a person.
    Person,
}

/// One job that waits for a place; no longer when dropped.
struct Waiting<'a>(&'a Pool);

impl<'a> Waiting<'a> {
    fn new(pool: &'a Pool) -> Self {
        pool.lock().waiting += 1;
        Self(pool)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.lock().waiting -= 1;
    }
}
