//! The role: `run` lists its sources once, `watch` stays with its folders. Both are one pipeline with another lister.
//!
//! ```text
//! lister (a thread) → readers (bounded tasks) → decision (catalog, in bulk) → publisher (bounded window)
//! ```
//!
//! Every arrow is a bounded channel, so the slowest part sets the pace and memory does not depend on the number of
//! references. Nothing is needed of the run before: what a killed one had published, the next one finds in the catalog.

use std::sync::Arc;
use std::time::Duration;

use async_recursion::async_recursion;
use ocelli_broker::Broker;
use ocelli_catalog::Catalog;
use ocelli_core::{BatchId, Want};
use ocelli_failpoint::{Failpoint, reached};
use ocelli_media::{Fetcher, Polite};
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::AbortOnDropHandle;

use crate::ProducerOptions;
use crate::again::Records;
use crate::backlog::Backlog;
use crate::clock::{self, Stamps};
use crate::decide::Decider;
use crate::error::ProducerError;
use crate::listing::{Listed, Lister, Out};
use crate::metrics::ProducerMetrics;
use crate::orders::Gate;
use crate::publisher::Publisher;
use crate::read::Reader;
use crate::readers::read_all;
use crate::recent::Recent;
use crate::remembering::remember_all;
use crate::report::Reporter;
use crate::source::{self, Opened, Source};
use crate::tally::{Progress, Summary, Tally};
use crate::watching::{Watched, watch_folders};

/// How long the last report may take after a shutdown was asked or the run failed.
const LAST_REPORT: Duration = Duration::from_secs(2);

/// What a producer is made of.
pub struct Parts {
    /// Where messages go. Its queues are declared by the caller.
    pub broker: Broker,
    /// Where known images are looked up.
    pub catalog: Catalog,
    /// How.
    pub options: ProducerOptions,
    /// The analyzers every image should have an answer of.
    pub wanted: Vec<Want>,
    /// What to list.
    pub sources: Vec<Source>,
    /// Told about every change.
    pub progress: watch::Sender<Progress>,
    /// Counters.
    pub metrics: ProducerMetrics,
}

/// Lists the sources to their end and enqueues what the catalog lacks.
///
/// When `shutdown` is cancelled, listing stops, what was sent is waited for, and the summary says `finished: false`.
///
/// # Errors
/// [`ProducerError::Source`] before anything is enqueued, when one source cannot be opened at all; others later, when
/// the broker or the catalog cannot go on. Whatever was accepted then stays accepted.
#[async_recursion]
pub async fn run(parts: Parts, shutdown: CancellationToken) -> Result<Summary, ProducerError> {
    let opened = open(&parts).await?;
    let stop = shutdown.child_token();
    let (listed, lister) =
        Lister::spawn(parts.options.listed_ahead.max(1), parts.options.meta, &stop, move |out| {
            list(out, opened);
        })?;
    drive(parts, listed, lister, stop, false).await
}

/// Like [`run`], and then stays: new and moved-in files of the folders among the sources are enqueued when they are
/// fully written, until `shutdown` is cancelled.
///
/// # Errors
/// As [`run`]; and [`ProducerError::Watch`] when the system does not let the folders be watched.
#[async_recursion]
pub async fn watch(parts: Parts, shutdown: CancellationToken) -> Result<Summary, ProducerError> {
    let (folders, others): (Vec<_>, Vec<_>) =
        open(&parts).await?.into_iter().partition(|source| matches!(source, Opened::Folder(_)));
    let filters = folders
        .into_iter()
        .filter_map(|source| if let Opened::Folder(filter) = source { Some(*filter) } else { None })
        .collect();
    let options = parts.options.clone().sane();
    // Watching begins before listing, so that nothing that appears meanwhile is missed.
    let watched = tokio::task::spawn_blocking(move || Watched::begin(filters, &options))
        .await
        .map_err(|_| ProducerError::Lister)??;
    let stop = shutdown.child_token();
    let (listed, lister) =
        Lister::spawn(parts.options.listed_ahead.max(1), parts.options.meta, &stop, move |out| {
            let _ = watch_folders(out, watched, others);
        })?;
    drive(parts, listed, lister, stop, true).await
}

/// Opens the sources on a blocking thread: a network filesystem may take its time.
async fn open(parts: &Parts) -> Result<Vec<Opened>, ProducerError> {
    let (sources, options) = (parts.sources.clone(), parts.options.clone());
    let records = Records::new(parts.catalog.clone());
    tokio::task::spawn_blocking(move || source::open(&sources, &options, &records))
        .await
        .map_err(|_| ProducerError::Lister)?
        .map_err(ProducerError::Source)
}

fn list(out: &Out, sources: Vec<Opened>) {
    for source in sources {
        if out.source(source).is_break() {
            return;
        }
    }
    let _ = out.send(Listed::End);
}

/// The name of a batch that got none.
fn batch_name(parts: &Parts) -> String {
    if let Some(name) = &parts.options.batch_name {
        return source::clip(name);
    }
    match &parts.sources[..] {
        [] => "nothing".to_owned(),
        [only] => only.name(),
        [first, others @ ..] => format!("{} and {} more", first.name(), others.len()),
    }
}

async fn drive(
    parts: Parts,
    listed: mpsc::Receiver<Listed>,
    lister: Lister,
    stop: CancellationToken,
    stays: bool,
) -> Result<Summary, ProducerError> {
    let name = batch_name(&parts);
    let Parts { broker, catalog, options, wanted, sources: _, progress, metrics } = parts;
    let options = Arc::new(options.sane());
    let fetcher = Fetcher::new(options.fetch.clone())?;
    let sweeping = fetcher.clone();
    tokio::task::spawn_blocking(move || sweeping.sweep(std::time::SystemTime::now()));
    let polite = Polite::new(fetcher, options.manners.clone());
    let batch = BatchId::new(uuid::Uuid::now_v7());
    tracing::info!(%batch, name, analyzers = wanted.len(), "batch begins");
    // Should this future be dropped, everything it started ends too.
    let _ends_with_us = stop.clone().drop_guard();

    let tally = Tally::new(progress, batch);
    let stamps = Arc::new(Stamps::new());
    let broker_of_results = broker.clone();
    let publisher = Publisher::new(broker, options.publish_window, stop.clone(), metrics.clone());
    let reporter = Arc::new(Reporter {
        batch,
        name: name.clone(),
        started_at: clock::now(),
        stamps: Arc::clone(&stamps),
        tally: tally.clone(),
        publisher: publisher.clone(),
    });
    let reported = CancellationToken::new();
    let reports = AbortOnDropHandle::new(tokio::spawn({
        let (reporter, reported) = (Arc::clone(&reporter), reported.clone());
        let period = options.report_every;
        async move { reporter.every(period, &reported).await }
    }));

    // Lists that come from elsewhere name files that only reading may tell apart from those that came along.
    let listed = if options.skip_unchanged && options.within.is_none() {
        let (sender, looked_up) = mpsc::channel(options.lookup_batch);
        tokio::spawn(remember_all(
            catalog.clone(),
            Arc::clone(&options),
            listed,
            sender,
            stop.clone(),
        ));
        looked_up
    } else {
        listed
    };
    let reader = Arc::new(Reader::new(polite, &options, metrics.clone()));
    let (sender, loaded) = mpsc::channel(options.lookup_batch);
    let readers = AbortOnDropHandle::new(tokio::spawn(read_all(
        reader,
        Arc::clone(&options),
        tally.clone(),
        listed,
        sender,
        stop.clone(),
    )));
    let period = options.report_every;
    let gate = Gate::of(catalog.clone(), batch, period, publisher.clone(), tally.clone());
    let backlog = Backlog::new(broker_of_results, options.results_ahead);
    let decider = Decider {
        backlog,
        catalog,
        gate,
        stays,
        fresh: 0,
        wanted,
        batch,
        batch_name: name.clone(),
        stamps,
        recent: Recent::new(options.remember),
        publisher: publisher.clone(),
        tally: tally.clone(),
        metrics,
        stop: stop.clone(),
        options: Arc::clone(&options),
    };
    let deciding = async {
        // The first report names the batch. No job goes out before the broker holds it: jobs of a batch without a name
        // wait where a budget is about batches.
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            _ = reporter.report(false) => {}
        }
        decider.run(loaded).await;
    };
    let ((), listing) = tokio::join!(deciding, lister.end());
    drop(readers);
    publisher.drain(options.drain).await;
    reported.cancel();
    drop(reports.await);

    if let Err(error) = listing {
        publisher.fail(error);
    }
    let progress = tally.progress();
    let stopped = stop.is_cancelled();
    if !stopped && !progress.is_finished() {
        publisher.fail(ProducerError::Lost { count: progress.listed - progress.settled() });
    }
    reached(Failpoint::ProducerListed);
    let finished = !stop.is_cancelled() || (progress.is_finished() && !publisher.has_failed());
    let last = reporter.report(finished);
    if stop.is_cancelled() {
        if tokio::time::timeout(LAST_REPORT, last).await.is_err() {
            tracing::warn!(%batch, "the last report of the batch was not confirmed in time");
        }
    } else {
        // A shutdown that comes only now does not undo what is finished.
        tokio::select! {
            _ = last => {}
            () = async { stop.cancelled().await; tokio::time::sleep(LAST_REPORT).await } => {}
        }
    }
    reached(Failpoint::ProducerReported);
    match publisher.failure() {
        Some(error) => Err(error),
        None => {
            let summary = tally.summary(batch, name, finished);
            tracing::info!(
                %batch, finished, accepted = summary.accepted, jobs = summary.jobs, known = summary.known,
                refused = summary.refused, skipped = summary.skipped, problems = summary.problems, "batch ends"
            );
            Ok(summary)
        }
    }
}
