//! The producer as a program: opens broker and catalog, decides which analyzers are asked, runs, and reports. Shared by
//! the binary `ocelli-producer` and `ocelli produce`.

use std::time::Instant;

use async_recursion::async_recursion;
use ocelli_broker::BrokerMetrics;
use ocelli_catalog::CatalogMetrics;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, Process, SourceArgs, fault::chain, parts};
use serde::Serialize;
use tokio::sync::watch::channel;

use crate::{
    Parts, ProducerError, ProducerMetrics, ProducerOptions, Progress, Source, Summary, run, watch,
};

/// What a run of the producer did.
#[derive(Debug, Serialize)]
pub struct Produced {
    batch: String,
    name: String,
    finished: bool,
    accepted: u64,
    unread: u64,
    enqueued: u64,
    known: u64,
    refused: u64,
    jobs: u64,
    left_out: u64,
    not_images: u64,
    unreadable: u64,
    first_unreadable: Vec<String>,
    asked: Vec<String>,
    off: Vec<String>,
    seconds: f64,
    #[serde(skip)]
    interrupted: bool,
}

/// Parses all sources of a command line before anything is opened.
///
/// # Errors
/// With exit code 2 when one cannot be meant.
pub fn sources(arguments: &SourceArgs) -> Result<Vec<Source>, Fault> {
    let named = arguments.sources.iter().map(|argument| {
        Source::parse(argument).map_err(|error| {
            Fault::new(ExitCode::Usage, format!("{error}\nhint: {}", error.hint()))
        })
    });
    let failed = arguments.retry.and(arguments.of.clone()).map(|of| Ok(Source::Failed(of)));
    named.chain(failed).collect()
}

/// The options of a run with this command line: the archive's own folder is never taken for a source.
///
/// # Errors
/// When a setting cannot be meant.
pub fn options(settings: &Settings, arguments: &SourceArgs) -> Result<ProducerOptions, Fault> {
    let mut options = ProducerOptions::from_settings(settings)?;
    options.batch_name.clone_from(&arguments.batch);
    options.skip_unchanged &= !arguments.verify;
    options.include.extend(arguments.include.iter().cloned());
    options.exclude.extend(arguments.exclude.iter().cloned());
    options.exclude_dirs.push(settings.data.dir.clone());
    Ok(options)
}

/// Enqueues `sources` for the fleet of the settings; with `stays` also what appears in their folders, until a signal comes.
///
/// # Errors
/// When broker or catalog are away, or a source cannot be opened at all; nothing has been enqueued then.
#[async_recursion]
pub async fn produce(
    process: &Process,
    sources: Vec<Source>,
    options: ProducerOptions,
    stays: bool,
) -> Result<Produced, Fault> {
    let started = Instant::now();
    let settings = &process.settings;
    parts::needs_broker(settings, "the producer")?;
    let metrics = ProducerMetrics::register(&process.registry)?;
    let catalog =
        parts::catalog(settings, Some(CatalogMetrics::register(&process.registry)?)).await?;
    let broker =
        parts::broker(settings, "ocelli-producer", BrokerMetrics::register(&process.registry)?)
            .await?;
    broker.provide(&parts::topology(settings)).await?;
    process.follow_broker(&broker);
    let (wanted, off) = parts::wants(settings, &catalog).await?;
    for line in parts::off_lines(&off) {
        eprintln!("{line}");
    }
    let asked = wanted.iter().map(|want| want.analyzer.to_string()).collect();
    let (progress, _) = channel(Progress::default());
    let parts = Parts {
        broker: broker.clone(),
        catalog: catalog.clone(),
        options,
        wanted,
        sources,
        progress,
        metrics,
    };
    let ran = if stays {
        tracing::info!("watching; stop with Ctrl-C");
        watch(parts, process.shutdown.clone()).await
    } else {
        run(parts, process.shutdown.clone()).await
    };
    broker.close().await;
    catalog.close().await;
    let summary = ran.map_err(|error| fault(&error))?;
    let off = off.into_iter().map(|off| off.analyzer.to_string()).collect();
    // Whoever watches ends by a signal and by nothing else.
    let interrupted = process.shutdown.is_cancelled() && !stays;
    Ok(Produced::new(summary, asked, off, started.elapsed().as_secs_f64(), interrupted))
}

/// What a program says about a run that ended early.
#[must_use]
pub fn fault(error: &ProducerError) -> Fault {
    match error {
        ProducerError::Source(source) => {
            Fault::new(ExitCode::Usage, format!("{}\nhint: {}", chain(source), source.hint()))
        }
        ProducerError::Cancelled => Fault::caused(ExitCode::Paused, error),
        ProducerError::Thread(_) | ProducerError::Lister | ProducerError::Lost { .. } => {
            Fault::caused(ExitCode::Internal, error)
        }
        _ => Fault::caused(ExitCode::ServiceAway, error),
    }
}

impl Produced {
    fn new(
        summary: Summary,
        asked: Vec<String>,
        off: Vec<String>,
        seconds: f64,
        interrupted: bool,
    ) -> Self {
        Self {
            batch: summary.batch.to_string(),
            name: summary.name,
            finished: summary.finished,
            accepted: summary.accepted,
            unread: summary.unread,
            enqueued: summary.enqueued,
            known: summary.known,
            refused: summary.refused,
            jobs: summary.jobs,
            left_out: summary.left_out,
            not_images: summary.skipped,
            unreadable: summary.problems,
            first_unreadable: summary
                .first_problems
                .iter()
                .map(|problem| format!("{}: {}", problem.reference, problem.reason))
                .collect(),
            asked,
            off,
            seconds,
            interrupted,
        }
    }

    /// Prints the summary to standard error.
    pub fn say(&self) {
        eprintln!(
            "{} images accepted: {} enqueued as {} jobs for {}, {} known, {} refused",
            self.accepted,
            self.enqueued,
            self.jobs,
            if self.asked.is_empty() { "no analyzer".to_owned() } else { self.asked.join(", ") },
            self.known,
            self.refused
        );
        if self.unread > 0 {
            eprintln!(
                "{} of them not read again: unchanged files (--verify reads them)",
                self.unread
            );
        }
        if self.left_out > 0 {
            eprintln!("{} answers not asked for: rules leave them out", self.left_out);
        }
        if self.not_images > 0 {
            eprintln!("{} other files passed over (not images)", self.not_images);
        }
        if self.unreadable > 0 {
            eprintln!("{} references could not be read:", self.unreadable);
            for line in &self.first_unreadable {
                eprintln!("  {}", line.replace(|c: char| c.is_control(), " "));
            }
        }
        if self.interrupted {
            eprintln!("interrupted: run the same command again to enqueue what is missing");
        }
        eprintln!("{:.1} s", self.seconds);
    }

    /// What the program says to its caller.
    #[must_use]
    pub fn exit_code(&self) -> ExitCode {
        if self.interrupted {
            ExitCode::Interrupted
        } else if self.unreadable > 0 || self.refused > 0 {
            ExitCode::SomeFailed
        } else {
            ExitCode::Ok
        }
    }
}
