//! The life of one analyzer in one process: wait until it can work, work until it cannot, drain at the end.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use ocelli_broker::{Broker, Consumer, trace};
use ocelli_core::retry::{RetryPolicy, backoff};
use ocelli_core::routing::Queue;
use ocelli_core::{AnalyzerName, Revision, chain};
use ocelli_media::{Fetcher, Manners, Polite};
use thiserror::Error;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use crate::announce::{Card, Condition, announce};
use crate::hand::Hand;
use crate::pipe::{Handled, Pipe};
use crate::places::Places;
use crate::{Analyzer, Ledger, WorkerMetrics};

/// What `main` wires together.
pub struct Parts<A> {
    /// The reader.
    pub analyzer: Arc<A>,
    /// Where jobs come from and partial results go.
    pub broker: Broker,
    /// Gets the bytes.
    pub fetcher: Fetcher,
    /// Knows what is done.
    pub ledger: Ledger,
    /// See [`WorkerOptions`].
    pub options: WorkerOptions,
    /// Registered once per process.
    pub metrics: WorkerMetrics,
}

/// Settings of the pipe.
#[derive(Debug, Clone)]
pub struct WorkerOptions {
    /// What happens after a failed attempt.
    pub policy: RetryPolicy,
    /// Longest time for one analysis; behind the analyzer's own deadlines.
    pub job_deadline: Duration,
    /// Longest time to finish what is in progress after a stop was asked for; the rest goes back to its queue.
    pub drain: Duration,
    /// Jobs taken beyond the slots, so that fetching overlaps with analyzing. Small: a job in hand is a job that no
    /// other worker can do.
    pub ahead: u16,
    /// How long a claim on a job counts without being renewed: as long may a job wait whose worker was killed. None when
    /// jobs are not claimed, because doing one twice costs nothing.
    pub lease: Option<Duration>,
    /// How long nobody else begins a job whose answer is on its way to the collector.
    pub answer_lease: Duration,
    /// How often the worker says that it is there.
    pub announce_every: Duration,
    /// Longest pause between two looks at an analyzer that cannot work.
    pub probe_cap: Duration,
    /// How the hosts of URLs are treated.
    pub manners: Manners,
    /// Whether a copy is kept of what a URL gave, when whoever enqueued it has not kept one.
    pub keep_urls: bool,
    /// Name of this process: `host:pid`.
    pub worker: String,
}

impl Default for WorkerOptions {
    fn default() -> Self {
        Self {
            policy: RetryPolicy::default(),
            job_deadline: Duration::from_secs(300),
            drain: Duration::from_secs(20),
            ahead: 2,
            lease: None,
            answer_lease: Duration::from_secs(600),
            announce_every: Duration::from_secs(5),
            probe_cap: Duration::from_secs(30),
            manners: Manners::default(),
            keep_urls: true,
            worker: format!("worker:{}", std::process::id()),
        }
    }
}

/// Why a worker ended before it was told to.
#[derive(Debug, Error)]
pub enum WorkerError {
    /// The broker was closed under it.
    #[error("the broker connection of analyzer '{0}' was closed")]
    Closed(String),
}

enum Ended {
    Shutdown,
    Outage(String),
    Paused(String),
    Closed,
}

/// Runs the analyzer until `shutdown`.
///
/// An analyzer that cannot work is asked again with growing pauses, says why in its announcements, and takes no job
/// meanwhile. The first look is the caller's business too: it may call [`Analyzer::probe`] before, to refuse to start.
///
/// # Errors
/// [`WorkerError::Closed`].
pub async fn run<A: Analyzer>(
    parts: Parts<A>,
    shutdown: CancellationToken,
) -> Result<(), WorkerError> {
    let Parts { analyzer, broker, fetcher, ledger, options, metrics } = parts;
    let name = analyzer.name().clone();
    let first = u32::try_from(analyzer.slots().max(1)).unwrap_or(u32::MAX);
    let slots = Arc::new(AtomicU32::new(first));
    let most = u16::try_from(analyzer.most_slots().max(1)).unwrap_or(u16::MAX);
    let in_progress = Arc::new(AtomicU32::new(0));
    let (condition, watched) = watch::channel(Condition::Waiting("starting".to_owned(), None));
    let announcer = tokio::spawn(announce(
        broker.clone(),
        Card {
            analyzer: name.clone(),
            kind: analyzer.kind(),
            description: analyzer.description(),
            worker: options.worker.clone(),
            slots: Arc::clone(&slots),
            in_progress: Arc::clone(&in_progress),
        },
        watched,
        options.announce_every,
    ));
    metrics.open(name.as_str(), first);
    let life = Life {
        pipe: Arc::new(Pipe {
            hand: Hand::new(analyzer.bytes_in_hand()),
            analyzer,
            broker,
            polite: Polite::new(fetcher, options.manners.clone()),
            keep_urls: options.keep_urls,
            ledger,
            policy: options.policy.clone(),
            metrics,
            worker: options.worker.clone(),
            job_deadline: options.job_deadline,
            lease: options.lease,
            answer_lease: options.answer_lease,
            slots: Places::new(first as usize),
        }),
        slots,
        prefetch: most.saturating_add(options.ahead),
        in_progress,
        condition,
        options,
    };
    let ended = life.live(&shutdown).await;
    let last = match &*life.condition.borrow() {
        Condition::Ready(revision) | Condition::Paused(_, revision) => Some(revision.clone()),
        Condition::Waiting(_, revision) | Condition::Leaving(revision) => revision.clone(),
    };
    life.condition.send_replace(Condition::Leaving(last));
    drop(announcer.await);
    match ended {
        Ended::Closed => Err(WorkerError::Closed(name.to_string())),
        Ended::Shutdown | Ended::Outage(_) | Ended::Paused(_) => Ok(()),
    }
}

struct Life<A> {
    pipe: Arc<Pipe<A>>,
    slots: Arc<AtomicU32>,
    prefetch: u16,
    in_progress: Arc<AtomicU32>,
    condition: watch::Sender<Condition>,
    options: WorkerOptions,
}

impl<A: Analyzer> Life<A> {
    async fn live(&self, shutdown: &CancellationToken) -> Ended {
        let mut revision = None;
        let mut looks = 0;
        loop {
            let ready = tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ended::Shutdown,
                ready = self.pipe.analyzer.probe() => ready,
            };
            let waits = match ready {
                Ok(current) => {
                    revision = Some(current.clone());
                    match self.may_work(&current, shutdown, &mut looks).await {
                        Ok(waits) => waits,
                        Err(ended) => return ended,
                    }
                }
                Err(unavailable) => Condition::Waiting(unavailable.reason, revision.clone()),
            };
            self.set(waits);
            let pause =
                backoff(looks, Duration::from_millis(500), self.options.probe_cap, rand::random());
            looks = looks.saturating_add(1);
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return Ended::Shutdown,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// Works, unless the ledger says that no job may be done. Answers why it waits now.
    async fn may_work(
        &self,
        revision: &Revision,
        shutdown: &CancellationToken,
        looks: &mut u32,
    ) -> Result<Condition, Ended> {
        let waits = |reason| Condition::Waiting(reason, Some(revision.clone()));
        match self.pipe.ledger.paused(self.pipe.analyzer.name()).await {
            Ok(None) => {}
            Ok(Some(reason)) => return Ok(Condition::Paused(reason, revision.clone())),
            Err(error) => return Ok(waits(error.to_string())),
        }
        self.set(Condition::Ready(revision.clone()));
        match self.work(revision.clone(), shutdown, looks).await {
            Ended::Outage(reason) => Ok(waits(reason)),
            Ended::Paused(reason) => Ok(Condition::Paused(reason, revision.clone())),
            ended => Err(ended),
        }
    }

    fn set(&self, condition: Condition) {
        let name = self.pipe.analyzer.name().as_str();
        let ready = matches!(condition, Condition::Ready(_));
        self.pipe.metrics.ready.with_label_values(&[name]).set(i64::from(ready));
        let paused = matches!(condition, Condition::Paused(..));
        self.pipe.metrics.paused.with_label_values(&[name]).set(i64::from(paused));
        self.condition.send_if_modified(|current| {
            if *current == condition {
                return false;
            }
            match &condition {
                Condition::Ready(revision) => {
                    tracing::info!(analyzer = name, %revision, "analyzer is ready");
                }
                Condition::Waiting(reason, _) => {
                    tracing::warn!(analyzer = name, "analyzer waits, no job is lost: {reason}");
                }
                Condition::Paused(reason, _) => {
                    tracing::warn!(analyzer = name, "analyzer is paused, no job is lost: {reason}");
                }
                Condition::Leaving(_) => {}
            }
            *current = condition;
            true
        });
    }

    /// Asks the analyzer how many jobs it can do at once, and answers how many may be in hand.
    fn follow_slots(&self) -> usize {
        let slots = self.pipe.analyzer.slots().max(1);
        let shown = u32::try_from(slots).unwrap_or(u32::MAX);
        if self.slots.swap(shown, Ordering::Relaxed) != shown {
            self.pipe.slots.resize(slots);
            let name = self.pipe.analyzer.name().as_str();
            self.pipe.metrics.slots.with_label_values(&[name]).set(shown.into());
        }
        slots + usize::from(self.options.ahead)
    }

    /// Takes jobs until shutdown or an outage; afterwards nothing of it is in progress.
    async fn work(
        &self,
        revision: Revision,
        shutdown: &CancellationToken,
        looks: &mut u32,
    ) -> Ended {
        let name = self.pipe.analyzer.name().clone();
        let (mut fresh, mut bulk) = match (
            self.consume(&Queue::Jobs(name.clone())).await,
            self.consume(&Queue::Bulk(name)).await,
        ) {
            (Ok(fresh), Ok(bulk)) => (fresh, bulk),
            (Err(reason), _) | (_, Err(reason)) => return Ended::Outage(reason),
        };
        let mut jobs = JoinSet::new();
        let ended = loop {
            // What the last job taught the analyzer counts for the next one.
            let may_take = jobs.len() < self.follow_slots();
            let delivery = tokio::select! {
                biased;
                () = shutdown.cancelled() => break Ended::Shutdown,
                Some(handled) = jobs.join_next() => match handled {
                    Ok(Handled::Outage(reason)) => break Ended::Outage(reason),
                    Ok(Handled::Paused(reason)) => break Ended::Paused(reason),
                    _ => { *looks = 0; continue }
                },
                delivery = fresh.next(), if may_take => delivery,
                delivery = bulk.next(), if may_take => delivery,
            };
            let Some(delivery) = delivery else { break Ended::Closed };
            let busy = Busy::new(&self.in_progress, &self.pipe.metrics, self.pipe.analyzer.name());
            let (pipe, revision) = (Arc::clone(&self.pipe), revision.clone());
            jobs.spawn(async move {
                let name = pipe.analyzer.name().as_str();
                let handle = |delivery| pipe.handle(delivery, &revision);
                let handled = trace::within(delivery, name, handle).await;
                drop(busy);
                handled
            });
        };
        fresh.cancel().await;
        bulk.cancel().await;
        if matches!(ended, Ended::Paused(_)) {
            // What is in progress is being paid for.
            let finish = async { while jobs.join_next().await.is_some() {} };
            tokio::select! {
                () = finish => {}
                () = shutdown.cancelled() => {}
            }
        }
        let finish = async { while jobs.join_next().await.is_some() {} };
        if tokio::time::timeout(self.options.drain, finish).await.is_err() {
            tracing::warn!(
                jobs = jobs.len(),
                drain_seconds = self.options.drain.as_secs(),
                "jobs in progress were interrupted and went back to their queue, uncounted"
            );
            self.pipe.metrics.returned(self.pipe.analyzer.name().as_str(), jobs.len());
            jobs.shutdown().await;
        }
        ended
    }

    async fn consume(&self, queue: &Queue) -> Result<Consumer, String> {
        self.pipe.broker.consume(queue, self.prefetch).await.map_err(|error| chain(&error))
    }
}

/// Counts a job as in progress for as long as it lives, however it ends.
struct Busy {
    count: Arc<AtomicU32>,
    metrics: WorkerMetrics,
    name: AnalyzerName,
}

impl Busy {
    fn new(count: &Arc<AtomicU32>, metrics: &WorkerMetrics, name: &AnalyzerName) -> Self {
        count.fetch_add(1, Ordering::Relaxed);
        metrics.begin(name.as_str());
        Self { count: Arc::clone(count), metrics: metrics.clone(), name: name.clone() }
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.count.fetch_sub(1, Ordering::Relaxed);
        self.metrics.end(self.name.as_str());
    }
}
