//! Counting what is in the catalog, for metrics: records and jobs by state, the age of the oldest open job, how budgets
//! stand, and now and then whether everything adds up.
//!
//! A count reads many rows. It is done again after a pause that is many times as long as it took, however often it was
//! asked for, so that a large archive is counted more seldom and not slowed down.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_catalog::{AnalyzerStatus, CatalogError, Heard};
use ocelli_core::chain;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::collect::Parts;
use crate::metrics::seconds;

/// A pause is at least so many times as long as what it follows: counting takes at most a twentieth of one connection.
const IDLE: u32 = 20;

/// What is on its way when an audit looks is no difference: one that was found is looked for once more.
const SECOND_LOOK: Duration = Duration::from_secs(60);

/// Workers that were silent for longer do not count as present.
const PRESENT: SignedDuration = SignedDuration::from_secs(20);

/// Counts, and audits, until `shutdown`.
pub(crate) async fn run(parts: &Parts, shutdown: &CancellationToken) {
    tokio::select! {
        biased;
        () = shutdown.cancelled() => {}
        // Reading alone: what is cut off has changed nothing.
        _ = async { tokio::join!(keep_counting(parts), keep_auditing(parts)) } => {}
    }
}

async fn keep_counting(parts: &Parts) {
    let mut warned = BTreeSet::new();
    while !parts.options.count_every.is_zero() {
        let started = Instant::now();
        if let Err(error) = count(parts, &mut warned).await {
            tracing::debug!("the catalog could not be counted: {}", chain(&error));
        }
        rest(parts.options.count_every, started).await;
    }
}

async fn keep_auditing(parts: &Parts) {
    let (mut found, mut every) = (false, parts.options.audit_every);
    while !every.is_zero() {
        // First of all a pause: a fleet that starts has other things to do.
        tokio::time::sleep(every).await;
        let started = Instant::now();
        match audit(parts, found).await {
            Ok(first_time) => found = first_time,
            Err(error) => tracing::debug!("the catalog could not be audited: {}", chain(&error)),
        }
        every = if found { SECOND_LOOK } else { parts.options.audit_every };
        rest(Duration::ZERO, started).await;
    }
}

/// Waits, and longer than `time` after something that took long.
async fn rest(time: Duration, started: Instant) {
    tokio::time::sleep(time.max(started.elapsed() * IDLE)).await;
}

/// `warned`: workers whose clocks are wrong, as it was said already.
async fn count(parts: &Parts, warned: &mut BTreeSet<String>) -> Result<(), CatalogError> {
    let (catalog, stock) = (&parts.catalog, &parts.metrics.stock);
    let now = Timestamp::now();
    let status = catalog.status(now).await?;
    let incomplete = status.images.saturating_sub(status.complete);
    let whole = status.complete.saturating_sub(status.refused);
    for (state, count) in
        [("complete", whole), ("incomplete", incomplete), ("refused", status.refused)]
    {
        stock.records.with_label_values(&[state]).set(signed(count));
    }
    let mut oldest = catalog.oldest_open().await?;
    let heard = catalog.workers(PRESENT).await?;
    warn_of_clocks(&heard, parts.options.clock_skew, warned);
    let mut names: Vec<_> = parts.options.analyzers.clone();
    names.extend(
        status.analyzers.keys().filter(|name| !parts.options.analyzers.contains(name)).cloned(),
    );
    for name in names {
        let label = name.as_str();
        let counts = status.analyzers.get(&name).cloned().unwrap_or_default();
        for (state, count) in states(&counts) {
            stock.jobs.with_label_values(&[label, state]).set(signed(count));
        }
        let age = oldest
            .remove(&name)
            .map_or(0.0, |asked| now.duration_since(asked).as_secs_f64().max(0.0));
        stock.oldest.with_label_values(&[label]).set(age);
        let here = heard.iter().map(|worker| &worker.said).filter(|word| word.analyzer == name);
        let (mut ready, mut waiting, mut paused) = (0, 0, 0);
        for word in here {
            match (&word.waiting, word.paused) {
                (_, true) => paused += 1,
                (Some(_), false) => waiting += 1,
                (None, false) => ready += 1,
            }
        }
        for (state, count) in [("ready", ready), ("waiting", waiting), ("paused", paused)] {
            stock.workers.with_label_values(&[label, state]).set(count);
        }
    }
    stock.dead.set(signed(status.dead_letters));
    stock.unreadable.set(signed(status.problems));
    for state in catalog.budgets(&parts.options.budgets).await? {
        let used = state.spent as f64 / state.budget.most().max(1) as f64;
        stock.budgets.with_label_values(&[&state.budget.to_string()]).set(used);
    }
    stock.counted.set(seconds(now));
    Ok(())
}

/// Says of each worker whose clock is wrong that it is: once, until it is right again or the worker gone.
fn warn_of_clocks(heard: &[Heard], most: Duration, warned: &mut BTreeSet<String>) {
    let wrong: BTreeMap<&str, String> = heard
        .iter()
        .filter_map(|one| Some((one.said.worker.as_str(), one.wrong_clock(most)?)))
        .collect();
    warned.retain(|worker| wrong.contains_key(worker.as_str()));
    for (worker, clock) in wrong {
        if warned.insert(worker.to_owned()) {
            tracing::warn!(worker, "a worker's {clock}: times that it notes are off by as much");
        }
    }
}

/// Every job of an analyzer in one state.
fn states(count: &AnalyzerStatus) -> [(&'static str, u64); 8] {
    let needing: u64 = count.waiting_for.values().sum();
    let open = count.open.saturating_sub(count.deferred).saturating_sub(needing);
    [
        ("open", open),
        ("deferred", count.deferred),
        ("needing", needing),
        ("done", count.done),
        ("empty", count.empty),
        ("skipped", count.skipped),
        ("failed", count.failed),
        ("refused", count.refused),
    ]
}

/// Whether something did not add up. `before`: it did not in the look before this one.
async fn audit(parts: &Parts, before: bool) -> Result<bool, CatalogError> {
    let audit = parts.catalog.audit().await?;
    let found = !audit.problems.is_empty();
    if found && before {
        tracing::error!(
            differences = audit.problems.len(),
            "the catalog does not add up, see 'ocelli audit': {}",
            audit.problems.join("; ")
        );
    }
    if before || !found {
        let stock = &parts.metrics.stock;
        stock.differences.set(signed(audit.problems.len() as u64));
        stock.audited.set(seconds(Timestamp::now()));
    }
    Ok(found && !before)
}

fn signed(count: u64) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}
