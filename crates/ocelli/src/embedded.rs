//! The embedded tier: producer, workers and collector in one process, with queues in memory.
//!
//! It composes the very same `run(parts, shutdown)` functions that the separate programs run. Its queues die with it;
//! the catalog knows what is still wanted, and [`Embedded::start`] enqueues that first.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, TryLockError};
use std::io::{Read as _, Seek as _, Write as _};
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, BrokerMetrics};
use ocelli_catalog::{BackfillState, Catalog, CatalogMetrics, Hold, OpenJob, OpenJobs};
use ocelli_collector::{
    CollectorMetrics, CollectorOptions, EnqueueError, needed_text, requeue_open,
};
use ocelli_core::{AnalyzerName, BatchId, Want};
use ocelli_llm::{LlmAnalyzer, LlmMetrics, Preparation};
use ocelli_media::Fetcher;
use ocelli_ocr::{OcrMetrics, TesseractAnalyzer};
use ocelli_producer::ProducerMetrics;
use ocelli_runtime::settings::{AnalyzerSettings, Enabled, Reader};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::parts::{self, Off};
use ocelli_wiring::rules::rules;
use ocelli_wiring::{Books, Fault, Listening, Process, books, fault::chain};
use ocelli_worker::{Analyzer, Ledger, WorkerMetrics};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// How long an analyzer may take to say whether it can work, before `auto` leaves it out.
const PROBE: Duration = Duration::from_secs(20);

/// A running embedded fleet.
pub(crate) struct Embedded {
    pub(crate) catalog: Catalog,
    pub(crate) broker: Broker,
    /// What new images are asked for.
    pub(crate) wants: Vec<Want>,
    /// Configured, but not asked.
    pub(crate) off: Vec<Off>,
    /// Jobs that earlier runs left open and that are enqueued again.
    pub(crate) left_open: u64,
    pub(crate) worker_metrics: WorkerMetrics,
    pub(crate) producer_metrics: ProducerMetrics,
    pub(crate) collector_metrics: CollectorMetrics,
    ocr_metrics: OcrMetrics,
    llm_metrics: LlmMetrics,
    preparation: Preparation,
    requeue: tokio::task::JoinHandle<Result<u64, EnqueueError>>,
    books: Option<Books>,
    workers: JoinSet<Result<(), String>>,
    faults: Vec<String>,
    collector: tokio::task::JoinHandle<Result<(), String>>,
    listening: Listening,
    stop_workers: CancellationToken,
    stop_collector: CancellationToken,
    _lock: File,
}

impl Embedded {
    /// Opens the archive, starts collector and workers, and enqueues what earlier runs left open.
    pub(crate) async fn start(process: &Process) -> Result<Self, Fault> {
        let settings = &process.settings;
        if !settings.broker.is_memory() {
            return Err(Fault::new(
                ExitCode::Usage,
                format!(
                    "'run' and 'up' do everything in this process, but broker.url names {}; use 'ocelli produce' \
                     to enqueue for that fleet, or add --set broker.url=memory:",
                    settings.broker.url.masked()
                ),
            ));
        }
        let (lock, before) = lock(settings)?;
        let registry = &process.registry;
        let catalog = parts::catalog(settings, Some(CatalogMetrics::register(registry)?)).await?;
        if let Some(before) = before {
            // Its queues died with it, and so did its answers that had not been written.
            catalog.forget_claims(&parts::worker_name_of(&before)).await?;
        }
        let books = Books::open(catalog.clone(), settings.budgets.clone());
        let broker = parts::broker(settings, "ocelli", BrokerMetrics::register(registry)?).await?;
        broker.declare(&parts::topology(settings)).await?;
        let listening = Listening::start(settings, &broker, &catalog, registry).await?;
        let worker_metrics = WorkerMetrics::register(registry)?;
        let collector_metrics = CollectorMetrics::register(registry)?;
        let mut fleet = Self {
            wants: Vec::new(),
            off: Vec::new(),
            left_open: 0,
            requeue: tokio::spawn(std::future::ready(Ok(0))),
            producer_metrics: ProducerMetrics::register(registry)?,
            collector_metrics: collector_metrics.clone(),
            ocr_metrics: OcrMetrics::register(registry)?,
            llm_metrics: LlmMetrics::register(registry)?,
            preparation: Preparation::from_settings(settings),
            books: Some(books),
            workers: JoinSet::new(),
            faults: Vec::new(),
            // Independent of the process's token: the last to stop, so that what the workers publish while draining
            // is still written.
            stop_collector: CancellationToken::new(),
            stop_workers: process.shutdown.child_token(),
            collector: tokio::spawn(std::future::ready(Ok(()))),
            listening,
            worker_metrics,
            catalog,
            broker,
            _lock: lock,
        };
        let collector = ocelli_collector::Parts {
            broker: fleet.broker.clone(),
            catalog: fleet.catalog.clone(),
            options: collector_options(settings),
            metrics: collector_metrics.clone(),
        };
        let stop = fleet.stop_collector.clone();
        fleet.collector = tokio::spawn(async move {
            ocelli_collector::run(collector, stop).await.map_err(|error| error.to_string())
        });
        let rules = rules(settings)?;
        for analyzer in parts::by_need(settings, &rules) {
            match parts::off_with_its_needs(analyzer, &rules, &fleet.off) {
                Some(off) => fleet.off.push(off),
                None => fleet.add(settings, analyzer).await?,
            }
        }
        parts::in_configured_order(settings, &mut fleet.wants);
        fleet.left_open = fleet.count_open().await?;
        let names: BTreeSet<_> = fleet.wants.iter().map(|want| want.analyzer.clone()).collect();
        let (broker, catalog) = (fleet.broker.clone(), fleet.catalog.clone());
        let (stop, most) = (process.shutdown.clone(), needed_text(settings));
        // Beside the work and not before it: the queues are bounded, and there may be more open jobs than they hold.
        fleet.requeue = tokio::spawn(async move {
            let done =
                requeue_open(&broker, &catalog, &names, Timestamp::MAX, most, &collector_metrics)
                    .await;
            if let Err(error) = &done {
                tracing::error!("open jobs could not be enqueued, stopping: {}", chain(error));
                stop.cancel();
            }
            done
        });
        process.watch_worker(fleet.worker_metrics.clone(), &fleet.broker);
        Ok(fleet)
    }

    async fn add(&mut self, settings: &Settings, analyzer: &AnalyzerSettings) -> Result<(), Fault> {
        match &analyzer.reader {
            Reader::Ocr(_) => {
                let options = ocelli_ocr::OcrOptions::from_settings(settings, analyzer)
                    .map_err(|message| Fault::new(ExitCode::Usage, message))?;
                let reader = TesseractAnalyzer::new(options, self.ocr_metrics.clone());
                self.launch(settings, analyzer, reader).await
            }
            Reader::Llm(_) => {
                let options = ocelli_llm::LlmOptions::from_settings(settings, analyzer)
                    .map_err(|message| Fault::new(ExitCode::Usage, message))?;
                let llm = LlmAnalyzer::new(options, self.preparation.clone(), &self.llm_metrics)
                    .map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
                self.launch(settings, analyzer, llm).await
            }
        }
    }

    /// Asks the analyzer whether it can work, and starts its worker when it is wanted.
    async fn launch<A: Analyzer>(
        &mut self,
        settings: &Settings,
        configured: &AnalyzerSettings,
        analyzer: A,
    ) -> Result<(), Fault> {
        let name = configured.name.clone();
        let revision = match tokio::time::timeout(PROBE, analyzer.probe()).await {
            Ok(Ok(revision)) => Some(revision),
            Ok(Err(unavailable)) if configured.enabled == Enabled::Auto => {
                self.off.push(Off { analyzer: name, reason: unavailable.reason });
                return Ok(());
            }
            Err(_) if configured.enabled == Enabled::Auto => {
                let reason = format!("no answer within {} s", PROBE.as_secs());
                self.off.push(Off { analyzer: name, reason });
                return Ok(());
            }
            // The engine of this process: it will not come by itself, so a run that waits for it would wait for ever.
            Ok(Err(unavailable)) if configured.ocr().is_some() => {
                return Err(Fault::new(
                    ExitCode::ServiceAway,
                    format!("the analyzer '{name}' cannot work: {}", unavailable.reason),
                ));
            }
            Ok(Err(unavailable)) => {
                tracing::warn!(analyzer = %name, "waiting for it, its jobs are kept: {}", unavailable.reason);
                None
            }
            Err(_) => None,
        };
        self.wants.push(Want { analyzer: name, revision });
        let fetcher = Fetcher::new(parts::fetch_limits(settings))
            .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
        let worker = ocelli_worker::Parts {
            analyzer: Arc::new(analyzer),
            broker: self.broker.clone(),
            fetcher,
            ledger: self.ledger(),
            options: parts::worker_options(settings, configured),
            metrics: self.worker_metrics.clone(),
        };
        let stop = self.stop_workers.clone();
        self.workers.spawn(async move {
            ocelli_worker::run(worker, stop).await.map_err(|error| error.to_string())
        });
        Ok(())
    }

    fn ledger(&self) -> Ledger {
        // The books are closed last.
        self.books
            .as_ref()
            .map_or_else(|| Ledger::new(|_, _, _| async { Ok(false) }), Books::ledger)
    }

    /// What may not be done at the moment: whoever waits for it could wait for a month.
    pub(crate) async fn held_back(&self, settings: &Settings) -> Result<HeldBack, Fault> {
        let mut held = HeldBack::default();
        for want in &self.wants {
            let name = &want.analyzer;
            if let Some(reason) = books::paused(&self.catalog, &settings.budgets, name).await? {
                held.note(name, &reason);
                held.analyzers.insert(name.clone());
            }
        }
        for (name, open) in self.catalog.open_of_paused_batches().await? {
            if self.wants.iter().any(|want| want.analyzer == name)
                && !held.analyzers.contains(&name)
            {
                held.note(&name, "its batch is paused; 'ocelli batch resume' lets it go on");
                *held.jobs.entry(name).or_default() += open;
            }
        }
        let of_batches: Vec<_> =
            settings.budgets.iter().filter(|budget| budget.batch.is_some()).cloned().collect();
        for state in self.catalog.budgets(&of_batches).await? {
            let Some(pattern) = state.budget.batch.as_deref().filter(|_| state.is_reached()) else {
                continue;
            };
            for want in self.wants.iter().filter(|want| state.budget.covers(&want.analyzer)) {
                let name = &want.analyzer;
                let claims = settings.analyzer(name).is_some_and(|one| one.claim);
                if !claims || held.analyzers.contains(name) {
                    continue;
                }
                let open = self.catalog.open_of_batches(name, pattern).await?;
                if open > 0 {
                    held.note(name, &state.reason());
                    *held.jobs.entry(name.clone()).or_default() += open;
                }
            }
        }
        for backfill in self.catalog.all_backfills().await? {
            let caps = self.catalog.budgets(backfill.budget().as_slice()).await?;
            let reason = match backfill.state {
                BackfillState::Paused => "is paused",
                BackfillState::Running if caps.iter().any(|cap| cap.is_reached()) => {
                    "is at its cap"
                }
                _ => continue,
            };
            let name = &backfill.analyzer;
            let open = self.catalog.open_of_batches(name, &backfill.name).await?;
            if open > 0 && !held.analyzers.contains(name) {
                held.note(name, &format!("the backfill '{}' {reason}", backfill.name));
                *held.jobs.entry(name.clone()).or_default() += open;
            }
        }
        Ok(held)
    }

    /// Whether the collector has written everything of `batch`: its final report comes last through the one queue.
    pub(crate) async fn is_listed(&self, batch: BatchId) -> Result<bool, Fault> {
        let batches = self.catalog.batches(20).await?;
        Ok(batches.iter().any(|report| report.batch == batch && report.finished))
    }

    /// Open jobs of the running analyzers, as far as `limit`: those to wait for, and those whose next attempt is later
    /// than `patience` from now.
    pub(crate) async fn open_jobs(
        &self,
        limit: u32,
        patience: Duration,
        held: &HeldBack,
    ) -> Result<Open, Fault> {
        let horizon = jiff::SignedDuration::try_from(patience)
            .ok()
            .and_then(|patience| Timestamp::now().checked_add(patience).ok())
            .unwrap_or(Timestamp::MAX);
        let mut open = Open::default();
        for want in &self.wants {
            let paused = held.jobs.get(&want.analyzer).copied().unwrap_or(0);
            let least = u32::try_from(paused.saturating_add(1)).unwrap_or(u32::MAX);
            let jobs = self
                .catalog
                .open_jobs(&OpenJobs {
                    analyzer: Some(want.analyzer.clone()),
                    enqueued_before: Timestamp::MAX,
                    after: None,
                    limit: limit.max(least),
                })
                .await?;
            let all = jobs.len() as u64;
            // One that needs another's answer moves when that does, and that one is among these jobs too.
            let is_later = |job: &OpenJob| {
                job.hold == Some(Hold::Needs) || job.next_at.is_some_and(|at| at > horizon)
            };
            let later = jobs.iter().filter(|job| is_later(job)).count() as u64;
            let paused =
                if held.analyzers.contains(&want.analyzer) { all } else { paused.min(all) };
            open.paused += paused;
            // Jobs that wait for a budget wait long: they are among the later ones first.
            let later_left = later.saturating_sub(paused);
            open.later += later_left;
            open.now += all - paused - later_left;
        }
        Ok(open)
    }

    async fn count_open(&self) -> Result<u64, Fault> {
        let status = self.catalog.status(Timestamp::now()).await?;
        let open = |want: &Want| status.analyzers.get(&want.analyzer).map_or(0, |count| count.open);
        Ok(self.wants.iter().map(open).sum())
    }

    /// Fails when what earlier runs left open could not be enqueued: waiting for it would never end.
    pub(crate) async fn check_requeue(&mut self) -> Result<(), Fault> {
        if !self.requeue.is_finished() {
            return Ok(());
        }
        let done = std::mem::replace(&mut self.requeue, tokio::spawn(std::future::ready(Ok(0))));
        match done.await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(error)) => Err(Fault::caused(ExitCode::ServiceAway, &error)),
            Err(error) => Err(Fault::caused(ExitCode::Internal, &error)),
        }
    }

    /// Names of the analyzers that run.
    pub(crate) fn names(&self) -> Vec<AnalyzerName> {
        self.wants.iter().map(|want| want.analyzer.clone()).collect()
    }

    /// Stops the workers and waits until the collector has what they published while draining.
    pub(crate) async fn drain(&mut self) {
        self.requeue.abort();
        self.stop_workers.cancel();
        while let Some(ended) = self.workers.join_next().await {
            match ended {
                Ok(Ok(())) => {}
                Ok(Err(message)) => self.faults.push(message),
                Err(error) => self.faults.push(error.to_string()),
            }
        }
        if let Some(books) = self.books.take() {
            books.close().await;
        }
        self.drained().await;
    }

    /// Closes everything, last of all the collector.
    pub(crate) async fn stop(mut self) -> Result<(), Fault> {
        self.drain().await;
        self.stop_collector.cancel();
        match self.collector.await {
            Ok(Ok(())) => {}
            Ok(Err(message)) => self.faults.push(message),
            Err(error) => self.faults.push(error.to_string()),
        }
        self.listening.end().await;
        self.broker.close().await;
        self.catalog.close().await;
        match self.faults.as_slice() {
            [] => Ok(()),
            faults => Err(Fault::new(ExitCode::Internal, faults.join("; "))),
        }
    }

    /// Waits, bounded, until the results queue is empty; what is left then is made again by the next run.
    async fn drained(&self) {
        let empty = async {
            while self
                .broker
                .depth(&ocelli_core::routing::Queue::Results)
                .await
                .is_ok_and(|depth| depth.ready > 0)
            {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        };
        if tokio::time::timeout(Duration::from_secs(10), empty).await.is_err() {
            tracing::warn!(
                "the catalog was too slow to take the last results; the next run makes them again"
            );
        }
    }
}

/// Open jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Open {
    /// To be waited for.
    pub(crate) now: u64,
    /// Waiting for an attempt far in the future.
    pub(crate) later: u64,
    /// Held back by a budget, or by people.
    pub(crate) paused: u64,
}

/// What may not be done at the moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct HeldBack {
    /// Analyzers of which no job may be done.
    analyzers: BTreeSet<AnalyzerName>,
    /// Of others, how many jobs may not be done.
    jobs: BTreeMap<AnalyzerName, u64>,
    /// Why, one line for each analyzer and reason.
    pub(crate) reasons: Vec<String>,
}

impl HeldBack {
    fn note(&mut self, analyzer: &AnalyzerName, reason: &str) {
        self.reasons.push(format!("{analyzer}: {reason}"));
    }

    /// Whether anything is held back.
    pub(crate) fn is_any(&self) -> bool {
        !self.reasons.is_empty()
    }
}

/// Where nobody can ask for metrics, nothing is counted for them.
fn collector_options(settings: &Settings) -> CollectorOptions {
    let mut options = CollectorOptions::from_settings(settings);
    if settings.http.address().is_none() {
        options.count_every = Duration::ZERO;
        options.audit_every = Duration::ZERO;
    }
    options
}

/// One embedded fleet per data folder: two would both believe that they hold all open jobs.
/// Answers the lock, and the process id of the fleet before this one.
fn lock(settings: &Settings) -> Result<(File, Option<String>), Fault> {
    let dir = &settings.data.dir;
    let away = |what: &str, error: &std::io::Error| {
        Fault::new(
            ExitCode::ServiceAway,
            format!(
                "cannot {what} in the data folder '{}': {error}; choose another one with --data",
                dir.display()
            ),
        )
    };
    std::fs::create_dir_all(dir).map_err(|error| away("write", &error))?;
    let path = dir.join("lock");
    let mut file = File::options()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .open(&path)
        .map_err(|error| away("write", &error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut holder = String::new();
            drop(file.read_to_string(&mut holder));
            return Err(Fault::new(
                ExitCode::Usage,
                format!(
                    "another ocelli (process {}) works on the data folder '{}'; wait for it, stop it, or use another folder with --data",
                    holder.trim(),
                    dir.display()
                ),
            ));
        }
        Err(TryLockError::Error(error)) => return Err(away("lock", &error)),
    }
    let mut before = String::new();
    file.read_to_string(&mut before).map_err(|error| away("read", &error))?;
    // The number is for the message above and for claims; the lock itself ends with the process, however it ends.
    let noted = file
        .set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| write!(file, "{}", std::process::id()));
    noted.map_err(|error| away("write", &error))?;
    let before = before.trim();
    Ok((file, (!before.is_empty()).then(|| before.to_owned())))
}
