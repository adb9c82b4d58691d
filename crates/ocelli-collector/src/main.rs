//! `ocelli-collector`: writes sightings and partial results into the catalog, and enqueues lost jobs again.

use std::time::Duration;

use clap::Parser;
use ocelli_broker::{Broker, BrokerMetrics};
use ocelli_catalog::{Catalog, CatalogMetrics};
use ocelli_collector::{CollectorMetrics, CollectorOptions, Parts, SweepOptions, run, sweep};
use ocelli_runtime::ExitCode;
use ocelli_wiring::{CommonArgs, Fault, Listening, Process, fault::chain, parse, parts, start};
use tokio_util::sync::CancellationToken;

/// Assembles records: takes sightings and partial results from the queue and writes them into the catalog.
#[derive(Parser)]
#[command(name = "ocelli-collector", version)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> std::process::ExitCode {
    let arguments: Arguments = parse();
    start("ocelli-collector", &arguments.common, collect)
}

async fn collect(process: Process) -> Result<(Process, ExitCode), Fault> {
    let starting = process.readiness.latch("collector");
    let settings = &process.settings;
    parts::needs_broker(settings, "ocelli-collector")?;
    let metrics = CollectorMetrics::register(&process.registry)?;
    let catalog =
        parts::catalog(settings, Some(CatalogMetrics::register(&process.registry)?)).await?;
    let broker =
        parts::broker(settings, "ocelli-collector", BrokerMetrics::register(&process.registry)?)
            .await?;
    broker.provide(&parts::topology(settings)).await?;
    broker.check_dead_lettering().await?;
    let listening = Listening::start(settings, &broker, &catalog, &process.registry).await?;
    process.follow_broker(&broker);
    starting.release();

    let sweeper = tokio::spawn(keep_sweeping(
        (broker.clone(), catalog.clone(), metrics.clone()),
        SweepOptions::from_settings(settings),
        settings.collector.sweep_every,
        process.shutdown.clone(),
    ));
    let options = CollectorOptions::from_settings(settings);
    let collector = Parts { broker: broker.clone(), catalog: catalog.clone(), options, metrics };
    let ended = run(collector, process.shutdown.clone()).await;
    // One that ends by itself, because it may not read its queue, takes the sweeper along.
    process.shutdown.cancel();
    drop(sweeper.await);
    listening.end().await;
    broker.close().await;
    catalog.close().await;
    ended.map_err(|error| Fault::caused(ExitCode::ServiceAway, &error))?;
    Ok((process, ExitCode::Ok))
}

/// Sweeps until `shutdown`, which may come at any point of a sweep.
async fn keep_sweeping(
    (broker, catalog, metrics): (Broker, Catalog, CollectorMetrics),
    options: SweepOptions,
    every: Duration,
    shutdown: CancellationToken,
) {
    loop {
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(every) => {}
        }
        let swept = tokio::select! {
            () = shutdown.cancelled() => return,
            swept = sweep(&broker, &catalog, &options, &metrics) => swept,
        };
        if let Err(error) = swept {
            tracing::warn!("the sweep stopped half way, the next one goes on: {}", chain(&error));
        }
    }
}
