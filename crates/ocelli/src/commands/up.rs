//! `ocelli up`: stay, read what appears, and serve the archive. `ocelli web`: only serve it.

use ocelli_producer::{Parts, Progress, role as producing};
use ocelli_runtime::ExitCode;
use ocelli_web::{Listener, role, serve};
use ocelli_wiring::{Fault, Process, SourceArgs, parts};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::embedded::Embedded;

pub(crate) async fn up(process: Process, arguments: &SourceArgs) -> Result<ExitCode, Fault> {
    let sources = producing::sources(arguments)?;
    let starting = process.readiness.latch("embedded fleet");
    let mut fleet = Embedded::start(&process).await?;
    for line in parts::off_lines(&fleet.off) {
        tracing::info!("{line}");
    }
    if fleet.left_open > 0 {
        tracing::info!(analyses = fleet.left_open, "left open by earlier runs, they go first");
    }
    let (progress, _) = watch::channel(Progress::default());
    let parts = Parts {
        broker: fleet.broker.clone(),
        catalog: fleet.catalog.clone(),
        options: producing::options(&process.settings, arguments)?,
        wanted: fleet.wants.clone(),
        sources,
        progress,
        metrics: fleet.producer_metrics.clone(),
    };
    let site = site(&process, &fleet).await?;
    starting.release();
    tracing::info!("watching; stop with Ctrl-C");
    let ended = ocelli_producer::watch(parts, process.shutdown.clone()).await;
    let requeued = fleet.check_requeue().await;
    process.readiness.set_not_ready("stopping");
    // The site serves until then, also where a source could not be opened and nobody asked for the end.
    process.shutdown.cancel();
    if let Some(site) = site {
        drop(site.await);
    }
    fleet.stop().await?;
    process.end().await;
    requeued?;
    ended.map_err(|error| producing::fault(&error))?;
    Ok(ExitCode::Ok)
}

/// Serves the archive of this fleet, unless that is off. An address that somebody else has keeps nothing from being read.
async fn site(process: &Process, fleet: &Embedded) -> Result<Option<JoinHandle<()>>, Fault> {
    let Some(listen) = role::address(&process.settings) else { return Ok(None) };
    let listener = match Listener::bind(listen).await {
        Ok(listener) => listener,
        Err(error) => {
            tracing::warn!("{}", role::fault(&error));
            return Ok(None);
        }
    };
    let metrics = role::Metrics {
        collector: fleet.collector_metrics.clone(),
        producer: fleet.producer_metrics.clone(),
        broker: None,
    };
    let here = role::Fleet::Here(fleet.broker.clone(), fleet.wants.clone());
    let parts = role::parts(process, fleet.catalog.clone(), here, metrics)?;
    tracing::info!("the archive is at http://{}/", listener.address());
    Ok(Some(tokio::spawn(serve(listener, parts, process.shutdown.clone()))))
}

pub(crate) async fn web(process: Process) -> Result<ExitCode, Fault> {
    role::run(&process).await?;
    process.end().await;
    Ok(ExitCode::Ok)
}
