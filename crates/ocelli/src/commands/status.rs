//! `ocelli status`

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::{SignedDuration, Timestamp};
use ocelli_catalog::{AnalyzerStatus, Catalog, Heard, ListenerState};
use ocelli_core::AnalyzerName;
use ocelli_core::wire::{Announcement, BatchReport};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, books};
use serde::Serialize;

use crate::arguments::StatusArgs;
use crate::commands::spend::Spending;
use crate::table::table;
use crate::{archive, output};

/// Workers that were silent for longer do not count as present.
pub(crate) const PRESENT: SignedDuration = SignedDuration::from_secs(20);

/// Batches shown.
const BATCHES: u32 = 5;

/// Everything `ocelli status` prints.
#[derive(Debug, Serialize)]
pub(crate) struct Overview {
    pub(crate) images: u64,
    pub(crate) complete: u64,
    pub(crate) refused: u64,
    pub(crate) sightings: u64,
    pub(crate) problems: u64,
    pub(crate) analyzers: Vec<Row>,
    pub(crate) batches: Vec<BatchReport>,
    #[serde(flatten, skip_serializing_if = "Option::is_none")]
    pub(crate) spending: Option<Spending>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) listeners: Vec<ListenerState>,
    /// Workers whose clocks differ from the database's.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) clocks: Vec<String>,
}

#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) analyzer: AnalyzerName,
    pub(crate) done: u64,
    pub(crate) empty: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    /// Of the waiting ones, those that wait for another attempt after a failure.
    pub(crate) deferred: u64,
    /// Outcomes in the last minute.
    pub(crate) per_minute: u64,
    /// Seconds until nothing waits, at the rate of the last minute.
    pub(crate) eta_seconds: Option<u64>,
    pub(crate) workers: usize,
    /// Whether it may not work: over budget, or paused by people.
    pub(crate) paused: bool,
    /// Why its workers do not work, or that there are none.
    pub(crate) note: Option<String>,
}

pub(crate) async fn status(settings: &Settings, arguments: &StatusArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let mut overview = Overview::read(settings, &catalog).await?;
    if arguments.spend {
        overview.spending = Some(Spending::read(settings, &catalog).await?);
    }
    overview.listeners = catalog.listeners().await?;
    catalog.close().await;
    if arguments.json {
        output::json(&overview)?;
    } else {
        let listeners = super::events::lines(settings, &overview.listeners);
        output::print(
            &[overview.text()].into_iter().chain(listeners).collect::<Vec<_>>().join("\n"),
        )?;
    }
    Ok(ExitCode::Ok)
}

impl Overview {
    pub(crate) async fn read(settings: &Settings, catalog: &Catalog) -> Result<Self, Fault> {
        let now = Timestamp::now();
        let status = catalog.status(now).await?;
        let heard = catalog.workers(PRESENT).await?;
        let workers: Vec<_> = heard.iter().map(|worker| &worker.said).collect();
        let mut counts: BTreeMap<_, _> = status.analyzers;
        let mut names = archive::order(settings);
        names.retain(|name| {
            counts.contains_key(name) || workers.iter().any(|worker| worker.analyzer == *name)
        });
        let others: Vec<_> = counts.keys().filter(|name| !names.contains(name)).cloned().collect();
        names.extend(others);
        let mut analyzers = Vec::with_capacity(names.len());
        for name in names {
            let count = counts.remove(&name).unwrap_or_default();
            let here: Vec<_> =
                workers.iter().copied().filter(|worker| worker.analyzer == name).collect();
            let paused = books::paused(catalog, &settings.budgets, &name).await?;
            analyzers.push(Row::new(name, &count, &here, paused));
        }
        Ok(Self {
            images: status.images,
            complete: status.complete,
            refused: status.refused,
            sightings: status.sightings,
            problems: status.problems,
            analyzers,
            batches: catalog.batches(BATCHES).await?,
            spending: None,
            listeners: Vec::new(),
            clocks: wrong_clocks(&heard, settings.collector.clock_skew),
        })
    }

    fn text(&self) -> String {
        let mut lines = vec![format!(
            "{} images, {} complete, seen at {} places; {} refused, {} unreadable references",
            self.images, self.complete, self.sightings, self.refused, self.problems
        )];
        if !self.analyzers.is_empty() {
            let rows: Vec<_> = self.analyzers.iter().map(Row::cells).collect();
            let header = [
                "analyzer", "done", "empty", "skipped", "failed", "waiting", "running", "workers",
                "per min", "ETA",
            ];
            lines.push(String::new());
            lines.push(table(&header, &rows, true));
        }
        let notes = self
            .analyzers
            .iter()
            .filter_map(|row| row.note.as_ref().map(|note| format!("{}: {note}", row.analyzer)));
        let notes: Vec<_> = notes.chain(self.clocks.iter().cloned()).collect();
        if !notes.is_empty() {
            lines.push(String::new());
            lines.extend(notes);
        }
        if !self.batches.is_empty() {
            let rows: Vec<_> = self
                .batches
                .iter()
                .map(|batch| {
                    vec![
                        crate::layout::time(batch.started_at),
                        if batch.finished { "listed" } else { "open" }.to_owned(),
                        batch.accepted.to_string(),
                        batch.known.to_string(),
                        batch.skipped.to_string(),
                        batch.problems.to_string(),
                        batch.name.chars().filter(|c| !c.is_control()).take(60).collect(),
                    ]
                })
                .collect();
            lines.push(String::new());
            lines.push(table(
                &["batch", "state", "accepted", "known", "no image", "unreadable", "name"],
                &rows,
                false,
            ));
        }
        if let Some(spending) = &self.spending {
            lines.push(String::new());
            lines.push(spending.text());
        }
        lines.join("\n")
    }
}

/// Of each worker whose clock differs from the database's by more than `most`, a line. One process works for several analyzers and
/// has one clock.
fn wrong_clocks(heard: &[Heard], most: Duration) -> Vec<String> {
    let wrong: BTreeMap<&str, String> = heard
        .iter()
        .filter_map(|one| Some((one.said.worker.as_str(), one.wrong_clock(most)?)))
        .collect();
    wrong
        .into_iter()
        .map(|(worker, clock)| {
            let worker: String = worker.chars().filter(|c| !c.is_control()).take(80).collect();
            format!("worker {worker}: {clock}")
        })
        .collect()
}

/// Open jobs that ready workers are doing, by their own word. Announcements are a few seconds old; the catalog's count of
/// open jobs is the truth.
pub(crate) fn running(count: &AnalyzerStatus, workers: &[&Announcement]) -> u64 {
    let ready = workers.iter().filter(|worker| worker.waiting.is_none());
    let running: u64 = ready.map(|worker| u64::from(worker.in_progress)).sum();
    running.min(count.open.saturating_sub(count.deferred))
}

impl Row {
    fn new(
        analyzer: AnalyzerName,
        count: &AnalyzerStatus,
        workers: &[&Announcement],
        paused: Option<String>,
    ) -> Self {
        let ready: Vec<_> = workers.iter().filter(|worker| worker.waiting.is_none()).collect();
        let running = running(count, workers);
        let waiting = count.open - running;
        let is_paused = paused.is_some();
        let note = if is_paused {
            paused
        } else if ready.is_empty() && !workers.is_empty() {
            workers.iter().find_map(|worker| worker.waiting.clone())
        } else if workers.is_empty() && count.open > 0 {
            Some(
                "no worker is listening; 'ocelli run' does what is waiting, or start a worker"
                    .into(),
            )
        } else {
            let deferred = (count.deferred > 0)
                .then(|| format!("{} jobs wait for another attempt", count.deferred));
            let needs = count
                .waiting_for
                .iter()
                .map(|(needs, jobs)| format!("{jobs} jobs wait for {needs}"));
            let notes: Vec<String> = needs.chain(deferred).collect();
            (!notes.is_empty()).then(|| notes.join("; "))
        };
        let per_minute = count.finished_last_minute;
        Self {
            analyzer,
            done: count.done,
            empty: count.empty,
            skipped: count.skipped,
            failed: count.failed,
            waiting,
            running,
            deferred: count.deferred,
            per_minute,
            eta_seconds: (count.open > 0 && per_minute > 0)
                .then(|| (count.open * 60).div_ceil(per_minute)),
            workers: workers.len(),
            paused: is_paused,
            note,
        }
    }

    fn cells(&self) -> Vec<String> {
        let mut cells = vec![self.analyzer.to_string()];
        cells.extend(
            [self.done, self.empty, self.skipped, self.failed, self.waiting, self.running]
                .map(|count| count.to_string()),
        );
        cells.push(self.workers.to_string());
        cells.push(self.per_minute.to_string());
        cells.push(self.eta_seconds.map_or_else(|| "-".to_owned(), duration));
        cells
    }
}

/// Seconds as people say them: `42 s`, `7 min`, `3.5 h`, `12 d`.
pub(crate) fn duration(seconds: u64) -> String {
    match seconds {
        0..120 => format!("{seconds} s"),
        120..7200 => format!("{} min", seconds.div_ceil(60)),
        7200..172_800 => format!("{:.1} h", seconds as f64 / 3600.0),
        _ => format!("{} d", seconds.div_ceil(86_400)),
    }
}
