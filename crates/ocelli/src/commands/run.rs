//! `ocelli run`: read everything, then end.

use std::ffi::OsStr;
use std::path::Path;
use std::time::{Duration, Instant};

use ocelli_core::OutcomeKind;
use ocelli_producer::{Parts, Progress, Source, Summary, role};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, Process, SourceArgs, parts};
use serde::Serialize;
use tokio::sync::watch;

use crate::arguments::RunArgs;
use crate::embedded::{Embedded, HeldBack, Open};
use crate::progress::Meter;
use crate::{archive, layout, output};

/// Jobs whose next attempt is later than this are left for the next run.
const PATIENCE: Duration = Duration::from_secs(90);

/// Open jobs that are counted one by one; beyond, the summary says too few.
const OPEN_COUNTED: u32 = 1_000_000;

/// How often the catalog is asked whether everything is done.
const LOOK_EVERY: Duration = Duration::from_millis(100);

pub(crate) async fn run(process: Process, arguments: &RunArgs) -> Result<ExitCode, Fault> {
    let started = Instant::now();
    let sources = role::sources(&arguments.sources)?;
    let mut fleet = Embedded::start(&process).await?;
    let mut meter = Meter::new();
    for line in parts::off_lines(&fleet.off) {
        meter.say(&line);
    }
    if fleet.left_open > 0 {
        let open = fleet.left_open;
        meter.say(&format!("{open} analyses were left open by earlier runs and go first"));
    }
    let before = counts(&fleet).await?;
    let finished = work(&process, &mut fleet, &arguments.sources, sources, &mut meter).await;
    meter.clear();
    let (summary, left, mut held) = match finished {
        Ok(finished) => finished,
        Err(fault) => {
            fleet.stop().await?;
            return Err(fault);
        }
    };
    let interrupted = process.shutdown.is_cancelled();
    fleet.drain().await;
    let after = counts(&fleet).await?;
    let left = if interrupted {
        held = HeldBack::default();
        fleet.open_jobs(OPEN_COUNTED, PATIENCE, &held).await?
    } else {
        left
    };
    let mut report =
        Report::new(&process.settings, &summary, &before, &after, left, started.elapsed());
    if left.paused > 0 {
        report.paused_because = held.reasons;
    }
    let page = match &arguments.show {
        Some(image) if !interrupted => Some(page(&process.settings, &fleet, image).await),
        _ => None,
    };
    fleet.stop().await?;
    match page {
        Some(Ok(page)) => output::print(&format!("{page}\n"))?,
        // The work is done all the same: the summary follows.
        Some(Err(fault)) => eprintln!("{fault}"),
        None => {}
    }
    if arguments.json {
        output::json(&report)?;
    } else {
        report.say(&arguments.sources);
    }
    process.end().await;
    Ok(if interrupted {
        eprintln!("interrupted: what was accepted is kept, run the same command again to go on");
        ExitCode::Interrupted
    } else if left.paused > 0 {
        ExitCode::Paused
    } else if report.failed() > 0 || summary.problems > 0 || summary.refused > 0 {
        ExitCode::SomeFailed
    } else {
        ExitCode::Ok
    })
}

async fn page(settings: &Settings, fleet: &Embedded, image: &OsStr) -> Result<String, Fault> {
    let digest = archive::resolve(settings, &fleet.catalog, image).await?;
    let record = fleet.catalog.record(&digest).await?;
    let order = archive::order(settings);
    Ok(record.map(|record| layout::text(&record, &order)).unwrap_or_default())
}

/// Lists and waits until everything that can be done is done, or a signal came.
async fn work(
    process: &Process,
    fleet: &mut Embedded,
    arguments: &SourceArgs,
    sources: Vec<Source>,
    meter: &mut Meter,
) -> Result<(Summary, Open, HeldBack), Fault> {
    let (progress, watched) = watch::channel(Progress::default());
    let parts = Parts {
        broker: fleet.broker.clone(),
        catalog: fleet.catalog.clone(),
        options: role::options(&process.settings, arguments)?,
        wanted: fleet.wants.clone(),
        sources,
        progress,
        metrics: fleet.producer_metrics.clone(),
    };
    let producing = ocelli_producer::run(parts, process.shutdown.clone());
    tokio::pin!(producing);
    let mut ticks = tokio::time::interval(LOOK_EVERY);
    let summary = loop {
        tokio::select! {
            ended = &mut producing => break ended.map_err(|error| role::fault(&error))?,
            _ = ticks.tick() => show(fleet, meter, &watched),
        }
    };
    loop {
        tokio::select! {
            biased;
            () = process.shutdown.cancelled() => {
                return Ok((summary, Open::default(), HeldBack::default()));
            }
            _ = ticks.tick() => {}
        }
        show(fleet, meter, &watched);
        fleet.check_requeue().await?;
        if !fleet.is_listed(summary.batch).await? {
            continue;
        }
        let held = fleet.held_back(&process.settings).await?;
        // What is in hand when a budget is used up is finished.
        if held.is_any() && fleet.worker_metrics.in_progress() > 0 {
            continue;
        }
        if fleet.open_jobs(1, PATIENCE, &held).await?.now == 0 {
            // The page above looked at one job of each analyzer; those behind it are counted now.
            let open = fleet.open_jobs(OPEN_COUNTED, PATIENCE, &held).await?;
            if open.now == 0 {
                return Ok((summary, open, held));
            }
        }
    }
}

fn show(fleet: &Embedded, meter: &mut Meter, watched: &watch::Receiver<Progress>) {
    let progress = watched.borrow();
    meter.show(&progress, fleet.worker_metrics.settled(), fleet.left_open + progress.jobs);
}

/// Outcomes by analyzer, in the order of display.
type Counts = Vec<(String, [u64; 4])>;

async fn counts(fleet: &Embedded) -> Result<Counts, Fault> {
    let status = fleet.catalog.status(jiff::Timestamp::now()).await?;
    Ok(fleet
        .names()
        .into_iter()
        .map(|name| {
            let count = status.analyzers.get(&name).cloned().unwrap_or_default();
            (name.to_string(), [count.done, count.empty, count.skipped, count.failed])
        })
        .collect())
}

/// What a run did, for people and scripts.
#[derive(Debug, Serialize)]
struct Report {
    batch: String,
    images: u64,
    /// Of these, files that were not read, because nothing about them had changed.
    unread: u64,
    enqueued: u64,
    known: u64,
    refused: u64,
    /// Answers that rules leave out.
    left_out: u64,
    not_images: u64,
    unreadable: u64,
    first_unreadable: Vec<String>,
    analyzers: Vec<Outcomes>,
    waiting_for_another_attempt: u64,
    paused: u64,
    paused_because: Vec<String>,
    left_open: u64,
    seconds: f64,
    /// Images with a new outcome of at least one analyzer.
    read: u64,
    images_per_second: f64,
    archive: String,
}

#[derive(Debug, Serialize)]
struct Outcomes {
    analyzer: String,
    done: u64,
    empty: u64,
    skipped: u64,
    failed: u64,
}

impl Outcomes {
    const fn sum(&self) -> u64 {
        self.done + self.empty + self.skipped + self.failed
    }
}

impl Report {
    fn new(
        settings: &Settings,
        summary: &Summary,
        before: &Counts,
        after: &Counts,
        left: Open,
        took: Duration,
    ) -> Self {
        let analyzers = after.iter().zip(before).map(|((name, after), (_, before))| {
            let new = |kind: OutcomeKind| {
                let index = OutcomeKind::ALL.iter().position(|one| *one == kind).unwrap_or(0);
                after[index].saturating_sub(before[index])
            };
            Outcomes {
                analyzer: name.clone(),
                done: new(OutcomeKind::Done),
                empty: new(OutcomeKind::Empty),
                skipped: new(OutcomeKind::Skipped),
                failed: new(OutcomeKind::Failed),
            }
        });
        let analyzers: Vec<_> = analyzers.collect();
        let seconds = took.as_secs_f64();
        let read = analyzers.iter().map(Outcomes::sum).max().unwrap_or(0);
        Self {
            batch: summary.name.clone(),
            images: summary.accepted,
            unread: summary.unread,
            enqueued: summary.enqueued,
            known: summary.known,
            refused: summary.refused,
            left_out: summary.left_out,
            not_images: summary.skipped,
            unreadable: summary.problems,
            first_unreadable: summary
                .first_problems
                .iter()
                .map(|problem| format!("{}: {}", problem.reference, problem.reason))
                .collect(),
            analyzers,
            waiting_for_another_attempt: left.later,
            paused: left.paused,
            paused_because: Vec::new(),
            left_open: left.now,
            seconds,
            read,
            images_per_second: if seconds > 0.0 { read as f64 / seconds } else { 0.0 },
            archive: settings.catalog.url.masked(),
        }
    }

    fn failed(&self) -> u64 {
        self.analyzers.iter().map(|outcomes| outcomes.failed).sum()
    }

    fn say(&self, arguments: &SourceArgs) {
        let mut parts = vec![format!("{} new", self.enqueued), format!("{} known", self.known)];
        for (count, what) in [
            (self.unread, "unchanged and not read"),
            (self.refused, "refused"),
            (self.not_images, "other files passed over"),
            (self.unreadable, "unreadable"),
        ] {
            if count > 0 {
                parts.push(format!("{count} {what}"));
            }
        }
        eprintln!("{} images: {}", self.images, parts.join(", "));
        if self.left_out > 0 {
            eprintln!("  {} answers not asked for: rules leave them out", self.left_out);
        }
        for one in &self.analyzers {
            eprintln!(
                "  {}: {} done, {} empty, {} skipped, {} failed",
                one.analyzer, one.done, one.empty, one.skipped, one.failed
            );
        }
        for problem in &self.first_unreadable {
            eprintln!("  {}", problem.replace(|c: char| c.is_control(), " "));
        }
        if self.waiting_for_another_attempt > 0 {
            eprintln!(
                "  {} analyses wait for another attempt later; run again to go on with them",
                self.waiting_for_another_attempt
            );
        }
        if self.paused > 0 {
            eprintln!("  {} analyses are held back and kept for another run:", self.paused);
            for reason in &self.paused_because {
                eprintln!("    {reason}");
            }
        }
        if self.left_open > 0 {
            eprintln!("  {} analyses are still open", self.left_open);
        }
        if self.read > 0 {
            eprintln!("{:.1} s, {:.1} images/s", self.seconds, self.images_per_second);
        } else if self.left_open == 0 && self.paused == 0 {
            eprintln!("{:.1} s, nothing was left to do", self.seconds);
        }
        let example = arguments.sources.first().map(Path::new).filter(|path| path.is_file());
        let example = example.map_or_else(|| "IMAGE".to_owned(), |path| path.display().to_string());
        eprintln!(
            "next: ocelli show {example} | ocelli search WORDS | ocelli web | ocelli failures list"
        );
    }
}
