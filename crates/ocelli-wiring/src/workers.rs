//! The role that every worker program plays, whatever its analyzers are.

use std::sync::Arc;

use ocelli_broker::BrokerMetrics;
use ocelli_core::AnalyzerName;
use ocelli_media::Fetcher;
use ocelli_runtime::settings::{AnalyzerSettings, Kind};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_worker::{Analyzer, Parts, WorkerError, WorkerMetrics, run};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::{Books, Fault, Process, parts};

/// Runs one worker for each chosen analyzer until a signal comes.
///
/// `program` is the binary's name, `only` narrows to some analyzers, `build` makes one from its settings.
///
/// # Errors
/// When broker or catalog are away at the start, or the settings name analyzers that cannot run here.
pub async fn work<A: Analyzer>(
    process: Process,
    program: &str,
    kind: Kind,
    only: &[AnalyzerName],
    build: impl Fn(&Settings, &AnalyzerSettings) -> Result<A, Fault>,
) -> Result<(Process, ExitCode), Fault> {
    let starting = process.readiness.latch("worker");
    let settings = &process.settings;
    parts::needs_broker(settings, program)?;
    let chosen = parts::chosen(settings, kind, only)?;
    let analyzers = chosen
        .into_iter()
        .map(|configured| Ok((configured, build(settings, configured)?)))
        .collect::<Result<Vec<_>, Fault>>()?;
    let metrics = WorkerMetrics::register(&process.registry)?;
    let broker_metrics = BrokerMetrics::register(&process.registry)?;
    let catalog = parts::catalog(settings, None).await?;
    let broker = parts::broker(settings, program, broker_metrics).await?;
    broker.provide(&parts::topology(settings)).await?;
    process.follow_broker(&broker);
    process.watch_worker(metrics.clone(), &broker);
    let books = Books::open(catalog.clone(), settings.budgets.clone());
    let mut workers = JoinSet::new();
    for (configured, analyzer) in analyzers {
        let fetcher = Fetcher::new(parts::fetch_limits(settings))
            .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
        let parts = Parts {
            analyzer: Arc::new(analyzer),
            broker: broker.clone(),
            fetcher,
            ledger: books.ledger(),
            options: parts::worker_options(settings, configured),
            metrics: metrics.clone(),
        };
        workers.spawn(run(parts, process.shutdown.clone()));
    }
    starting.release();
    let ended = all(workers, &process.shutdown).await;
    books.close().await;
    broker.close().await;
    catalog.close().await;
    ended?;
    Ok((process, ExitCode::Ok))
}

/// Waits until all workers have ended. When one ends by itself, the others are told to.
async fn all(
    mut workers: JoinSet<Result<(), WorkerError>>,
    shutdown: &CancellationToken,
) -> Result<(), Fault> {
    let mut first = Ok(());
    while let Some(ended) = workers.join_next().await {
        let fault = match ended {
            Ok(Ok(())) => continue,
            Ok(Err(error)) => Fault::caused(ExitCode::ServiceAway, &error),
            Err(error) => Fault::caused(ExitCode::Internal, &error),
        };
        shutdown.cancel();
        first = first.and(Err(fault));
    }
    first
}
