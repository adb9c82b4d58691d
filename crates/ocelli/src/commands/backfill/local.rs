//! A backfill without a fleet: this process reads, writes, and ends when everything that can be done is done.

use std::time::Duration;

use ocelli_runtime::ExitCode;
use ocelli_wiring::{Fault, Process};

use super::{Report, Wish, note, parts_of, sample};
use crate::embedded::{Embedded, HeldBack};

/// Jobs whose next attempt is later than this are left for the next run.
const PATIENCE: Duration = Duration::from_secs(90);

/// How often the catalog is asked whether everything is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(super) async fn run(process: Process, wish: &Wish) -> Result<ExitCode, Fault> {
    // A mistyped --data must not create an empty archive.
    crate::archive::open(&process.settings).await?.close().await;
    let mut fleet = Embedded::start(&process).await?;
    let worked = work(&process, &mut fleet, wish).await;
    let (report, held) = match worked {
        Ok(worked) => worked,
        Err(fault) => {
            fleet.stop().await?;
            return Err(fault);
        }
    };
    let interrupted = process.shutdown.is_cancelled();
    fleet.stop().await?;
    report.say(wish.json)?;
    for reason in &held.reasons {
        eprintln!("  {reason}");
    }
    process.end().await;
    Ok(if interrupted {
        eprintln!("interrupted: what was asked for is kept, run the same command again to go on");
        ExitCode::Interrupted
    } else if held.is_any() && report.open > 0 {
        ExitCode::Paused
    } else {
        ExitCode::Ok
    })
}

async fn work(
    process: &Process,
    fleet: &mut Embedded,
    wish: &Wish,
) -> Result<(Report, HeldBack), Fault> {
    let name = &wish.analyzer;
    let want = fleet.wants.iter().find(|want| want.analyzer == *name).cloned();
    let Some(revision) = want.and_then(|want| want.revision) else {
        let off = fleet.off.iter().find(|off| off.analyzer == *name);
        let reason = off.map_or("it is switched off, or does not answer", |off| &off.reason);
        return Err(Fault::new(
            ExitCode::ServiceAway,
            format!("'{name}' cannot be asked: {reason}"),
        ));
    };
    let settings = &process.settings;
    let backfill = note(&fleet.catalog, wish, &revision).await?;
    let parts = parts_of(settings, fleet.broker.clone(), &fleet.catalog, wish).await?;
    let enqueueing = ocelli_collector::backfill(&parts, &backfill, &process.shutdown);
    tokio::pin!(enqueueing);
    let (mut done, mut held) = (None, HeldBack::default());
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    while !process.shutdown.is_cancelled() {
        tokio::select! {
            biased;
            () = process.shutdown.cancelled() => break,
            ended = &mut enqueueing, if done.is_none() => {
                done = Some(ended.map_err(|error| Fault::caused(ExitCode::ServiceAway, &error))?);
            }
            _ = ticks.tick() => {}
        }
        fleet.check_requeue().await?;
        if done.is_none() {
            continue;
        }
        held = fleet.held_back(settings).await?;
        if held.is_any() && fleet.worker_metrics.in_progress() > 0 {
            continue;
        }
        if fleet.open_jobs(1, PATIENCE, &held).await?.now == 0 {
            break;
        }
    }
    let done = match done {
        Some(done) => done,
        // Told to stop: what was enqueued by then is noted.
        None => enqueueing.await.map_err(|error| Fault::caused(ExitCode::ServiceAway, &error))?,
    };
    if !process.shutdown.is_cancelled()
        && let Some(sample) = &parts.only
    {
        sample::print(settings, &fleet.catalog, &backfill, sample).await?;
    }
    fleet.drain().await;
    let report = Report::new(&fleet.catalog, &backfill, wish, &done).await?;
    Ok((report, held))
}
