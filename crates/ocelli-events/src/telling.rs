//! The loop of one listener: take what is due, tell it, note what came of it.
//!
//! A listener that takes nothing is asked more and more seldom, whatever waits for it; one record that it does not take holds no other up, since
//! that comes due again later than these. Everything about this is in the catalog, so it goes on where it was after a restart, here or elsewhere.

use std::time::Duration;

use futures_util::future::join_all;
use ocelli_catalog::search::Detail;
use ocelli_catalog::{CatalogError, Due, Retry};
use ocelli_core::retry::backoff;
use ocelli_core::trace::TraceId;
use ocelli_core::{Record, chain};
use ocelli_failpoint::{Failpoint, reached};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::event::Event;
use crate::listener::{Listener, Untold};
use crate::metrics::Outcome;
use crate::{EventOptions, Parts};

/// How often it is looked whether something is due.
const LOOK: Duration = Duration::from_millis(500);
/// The longest pause of a listener that takes nothing: it is told again within a minute after its return.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);
/// The pause after the catalog gave no answer.
const CATALOG_PAUSE: Duration = Duration::from_secs(10);
/// The longest that a listener's own wish for a pause is believed.
const LONGEST_WISH: Duration = Duration::from_secs(24 * 3600);

/// What a round came to.
enum Round {
    /// Nothing was due.
    Idle,
    /// Some was told, or needed not be.
    Told,
    /// Nothing of it was taken.
    Refused,
}

/// Tells one listener until `shutdown`, and then what is due, which may take its time but not for ever: a broker that takes nothing would hold
/// the process.
pub(crate) async fn keep_telling(parts: &Parts, listener: &Listener, shutdown: &CancellationToken) {
    let late = async {
        shutdown.cancelled().await;
        tokio::time::sleep(parts.options.drain).await;
    };
    tokio::select! {
        () = tell_on(parts, listener, shutdown) => {}
        () = late => {
            tracing::info!(listener = listener.name(), "what is still to be told waits for the next start");
        }
    }
}

async fn tell_on(parts: &Parts, listener: &Listener, shutdown: &CancellationToken) {
    let mut refused = 0_u32;
    while !shutdown.is_cancelled() {
        // A round is not cut off: what it has told must be noted.
        let pause = match round(parts, listener).await {
            Ok(Round::Told) => {
                refused = 0;
                continue;
            }
            Ok(Round::Idle) => LOOK,
            Ok(Round::Refused) => {
                refused = refused.saturating_add(1);
                let longest = parts.options.retry_longest.min(LONGEST_PAUSE);
                backoff(refused, parts.options.retry_first / 5, longest, rand::random())
            }
            Err(error) => {
                tracing::warn!(
                    listener = listener.name(),
                    "what is to be told is not known, nothing of it is lost: {}",
                    chain(&error)
                );
                CATALOG_PAUSE
            }
        };
        tokio::select! {
            () = shutdown.cancelled() => {}
            () = tokio::time::sleep(pause) => {}
        }
    }
    while let Ok(Round::Told) = round(parts, listener).await {}
}

async fn round(parts: &Parts, listener: &Listener) -> Result<Round, CatalogError> {
    let (catalog, name) = (&parts.catalog, listener.name());
    let due = catalog.take_due(name, parts.options.lease, listener.at_once).await?;
    if due.is_empty() {
        return Ok(Round::Idle);
    }
    reached(Failpoint::EventsTaken);
    let digests: Vec<_> = due.iter().map(|one| one.digest).collect();
    let records = catalog.records(&digests, Detail::Whole).await?;
    let matching = match &listener.query {
        Some(query) => Some(catalog.matching(query, &digests).await?),
        None => None,
    };
    let (mut told, mut telling) = (Vec::new(), Vec::new());
    for one in due {
        let is_asked = matching.as_ref().is_none_or(|matching| matching.contains(&one.digest));
        match records.get(&one.digest).filter(|_| is_asked) {
            Some(record) => {
                let event = Event::completed(record, &one, parts.options.record_bytes);
                telling.push(tell(parts, listener, one, trace_of(record), event));
            }
            None => {
                parts.metrics.count(name, Outcome::LeftOut);
                told.push(one);
            }
        }
    }
    let mut not_told = Vec::new();
    for (one, trace, outcome) in join_all(telling).await {
        match outcome {
            Ok(()) => told.push(one),
            Err(untold) => not_told.push(put_off(parts, name, one, trace, untold)),
        }
    }
    reached(Failpoint::EventsTold);
    catalog.note_told(name, &told, &not_told).await?;
    Ok(if told.is_empty() { Round::Refused } else { Round::Told })
}

async fn tell(
    parts: &Parts,
    listener: &Listener,
    due: Due,
    trace: Option<TraceId>,
    event: Result<Event, serde_json::Error>,
) -> (Due, Option<TraceId>, Result<(), Untold>) {
    let started = Instant::now();
    let told = match event {
        Ok(event) => listener.tell(event).await,
        Err(error) => {
            let reason = format!("the record cannot be written as JSON: {error}");
            Err(Untold { reason, retry_after: None })
        }
    };
    parts.metrics.observe(listener.name(), started.elapsed());
    if told.is_ok() {
        parts.metrics.count(listener.name(), Outcome::Told);
    }
    (due, trace, told)
}

/// The trace of the latest answer: the one that completed the record.
fn trace_of(record: &Record) -> Option<TraceId> {
    let latest = record.answers().max_by_key(|analysis| analysis.finished_at);
    latest.and_then(|analysis| analysis.provenance.trace)
}

/// When something is tried again that was not told.
fn put_off(
    parts: &Parts,
    listener: &str,
    due: Due,
    trace: Option<TraceId>,
    untold: Untold,
) -> (Due, String, Retry) {
    let (digest, trace_id) = (due.digest, trace.map(tracing::field::display));
    let Untold { reason, retry_after } = untold;
    if due.waits >= parts.options.give_up_after {
        parts.metrics.count(listener, Outcome::GivenUp);
        tracing::error!(
            listener, %digest, trace_id, reason,
            "an event is given up; 'ocelli events retry {listener}' tells it after all"
        );
        return (due, reason, Retry::Never);
    }
    parts.metrics.count(listener, Outcome::Refused);
    tracing::warn!(
        listener, %digest, trace_id, attempts = due.attempts + 1, reason,
        "an event is not taken yet"
    );
    let EventOptions { retry_first, retry_longest, .. } = parts.options;
    let pause = backoff(due.attempts, retry_first, retry_longest, rand::random());
    let wish = retry_after.unwrap_or_default().min(LONGEST_WISH);
    (due, reason, Retry::After(pause.max(wish)))
}

/// Counts what waits until `shutdown`, also for listeners that nobody serves any more.
pub(crate) async fn keep_counting(parts: &Parts, shutdown: &CancellationToken) {
    let every = parts.options.count_every;
    if every.is_zero() || parts.listeners.is_empty() {
        return;
    }
    loop {
        match parts.catalog.listeners().await {
            Ok(states) => parts.metrics.show(&states, jiff::Timestamp::now()),
            Err(error) => tracing::debug!("what waits is not counted: {}", chain(&error)),
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
    }
}
