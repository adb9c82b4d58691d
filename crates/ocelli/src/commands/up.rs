//! `ocelli up`: stay, and read what appears.

use ocelli_producer::{Parts, Progress};
use ocelli_runtime::ExitCode;
use ocelli_wiring::{Fault, Process, parts};
use tokio::sync::watch;

use crate::arguments::SourceArgs;
use crate::commands::run::{producer_options, sources};
use crate::embedded::Embedded;

pub(crate) async fn up(process: Process, arguments: &SourceArgs) -> Result<ExitCode, Fault> {
    let sources = sources(arguments)?;
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
        options: producer_options(&process.settings, arguments),
        wanted: fleet.wants.clone(),
        sources,
        progress,
        metrics: fleet.producer_metrics.clone(),
    };
    starting.release();
    tracing::info!("watching; stop with Ctrl-C");
    let ended = ocelli_producer::watch(parts, process.shutdown.clone()).await;
    let requeued = fleet.check_requeue().await;
    process.readiness.set_not_ready("stopping");
    fleet.stop().await?;
    process.end().await;
    requeued?;
    ended.map_err(|error| ocelli_producer::role::fault(&error))?;
    Ok(ExitCode::Ok)
}
