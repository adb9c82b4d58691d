//! A worker with a queue that never runs empty, and what came out of it when.

use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::ensure;
use bytes::Bytes;
use jiff::Timestamp;
use ocelli_broker::{Broker, Consumer, MemoryOptions, Outgoing};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Intake, Message};
use ocelli_core::{Digest, ImageFacts, Outcome, SourceUri, Want};
use ocelli_llm::{
    EndpointOptions, InFlight, LlmAnalyzer, LlmMetrics, LlmOptions, Preparation, PromptSource,
};
use ocelli_media::{FetchLimits, Fetcher};
use ocelli_worker::{Analyzer, Ledger, Parts, WorkerMetrics, WorkerOptions, run};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use url::Url;

/// Messages in the queue: always more than a worker can take.
const QUEUE: usize = 2000;

/// An answer, and the endpoint that gave it.
type Answer = (Instant, String);

/// A worker at work.
pub(crate) struct Fleet {
    pub(crate) analyzer: Arc<LlmAnalyzer>,
    answers: Arc<Mutex<Vec<Answer>>>,
    /// Attempts that did not end in an answer.
    failed: Arc<AtomicUsize>,
    shutdown: CancellationToken,
    tasks: Vec<JoinHandle<()>>,
    _folder: Option<TempDir>,
}

/// Options for the doubles at `urls`.
pub(crate) fn options(urls: &[&Url], in_flight: InFlight) -> LlmOptions {
    let endpoint =
        |url: &&Url| EndpointOptions { in_flight, ..EndpointOptions::new((*url).clone()) };
    LlmOptions {
        name: "bench".parse().expect("a name"),
        model: "gemma3:27b".to_owned(),
        endpoints: urls.iter().map(endpoint).collect(),
        prompt: PromptSource::Named { name: "explain-meme".to_owned(), directory: None },
        ..LlmOptions::default()
    }
}

/// A small image: what is measured here is not decoding.
pub(crate) fn small_image() -> anyhow::Result<(TempDir, std::path::PathBuf)> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("small.png");
    image::RgbImage::from_fn(64, 48, |x, y| image::Rgb([80, (x * 3) as u8, (y * 5) as u8]))
        .save(&path)?;
    Ok((folder, path))
}

impl Fleet {
    /// Starts a worker that gets one small image again and again.
    pub(crate) async fn start(options: LlmOptions) -> anyhow::Result<Self> {
        let (folder, path) = small_image()?;
        let mut fleet = Self::start_with(options, &path).await?;
        fleet._folder = Some(folder);
        Ok(fleet)
    }

    /// Starts a worker that gets the image at `path` again and again.
    pub(crate) async fn start_with(options: LlmOptions, path: &Path) -> anyhow::Result<Self> {
        let analyzer =
            Arc::new(LlmAnalyzer::new(options, Preparation::default(), &LlmMetrics::default())?);
        let name = analyzer.name().clone();
        let broker = Broker::memory(MemoryOptions { capacity_per_queue: QUEUE });
        let steps = WorkerOptions::default().policy.steps;
        broker.declare(&queues(std::slice::from_ref(&name), &steps)).await?;
        let (digest, length) = {
            let bytes = std::fs::read(path)?;
            (Digest::of(&bytes), bytes.len() as u64)
        };
        let job = Message::Intake(Intake {
            image: ImageFacts { digest, bytes: length, format: None, width: None, height: None },
            sources: vec![SourceUri::from_path(path)?],
            sighting: None,
            wants: vec![Want { analyzer: name.clone(), revision: None }],
            refusal: None,
            enqueued_at: Timestamp::now(),
            dependence: ocelli_core::Dependence::default(),
            hash: None,
            meta: ocelli_core::Meta::default(),
        });
        let body = Bytes::from(job.encode()?);
        let (answers, failed) = (Arc::default(), Arc::default());
        let shutdown = CancellationToken::new();
        let results = broker.consume(&Queue::Results, 1000).await?;
        let parts = Parts {
            analyzer: Arc::clone(&analyzer),
            broker: broker.clone(),
            fetcher: Fetcher::new(FetchLimits::default())?,
            ledger: Ledger::new(|_, _, _| async { Ok(false) }),
            options: WorkerOptions { drain: Duration::from_millis(1), ..WorkerOptions::default() },
            metrics: WorkerMetrics::register(&prometheus::Registry::new())?,
        };
        let stop = shutdown.clone();
        let tasks = vec![
            tokio::spawn(async move {
                if let Err(error) = run(parts, stop).await {
                    eprintln!("the worker ended: {error}");
                }
            }),
            tokio::spawn(collect(results, Arc::clone(&answers), Arc::clone(&failed))),
            tokio::spawn(async move {
                for number in 0_u64.. {
                    let outgoing = Outgoing {
                        id: number.to_string(),
                        body: body.clone(),
                        routes: vec![Queue::Jobs(name.clone())],
                        attempts: 0,
                        traceparent: None,
                    };
                    if broker.publish(outgoing).await.is_err() {
                        return;
                    }
                }
            }),
        ];
        Ok(Self { analyzer, answers, failed, shutdown, tasks, _folder: None })
    }

    pub(crate) fn failed(&self) -> usize {
        self.failed.load(Ordering::Relaxed)
    }

    /// Answers a second between two moments, of one endpoint or of all. From the first answer after the one moment to
    /// the first after the other: answers of equal length come in bursts, and a window must hold whole ones.
    pub(crate) fn rate(
        &self,
        from: Instant,
        to: Instant,
        endpoint: Option<&Url>,
    ) -> anyhow::Result<f64> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let times: Vec<Instant> = answers
            .iter()
            .filter(|(_, by)| endpoint.is_none_or(|url| url.as_str() == by))
            .map(|(at, _)| *at)
            .collect();
        let first = times.partition_point(|at| *at < from);
        let last = times.partition_point(|at| *at < to).min(times.len().saturating_sub(1));
        ensure!(first < last, "too few answers to measure a rate");
        Ok((last - first) as f64 / (times[last] - times[first]).as_secs_f64())
    }

    /// Waits for the first answer of an endpoint after a moment; how long that took.
    pub(crate) async fn answer_after(
        &self,
        moment: Instant,
        endpoint: &Url,
        most: Duration,
    ) -> Option<Duration> {
        while moment.elapsed() < most {
            let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let of_it = |(at, by): &&Answer| *at > moment && endpoint.as_str() == by;
            if let Some((at, _)) = answers.iter().find(of_it) {
                return Some(*at - moment);
            }
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        None
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        for task in self.tasks {
            task.abort();
            let _ = task.await;
        }
    }
}

async fn collect(
    mut results: Consumer,
    answers: Arc<Mutex<Vec<Answer>>>,
    failed: Arc<AtomicUsize>,
) {
    while let Some(delivery) = results.next().await {
        match Message::decode(&delivery.body) {
            Ok(Message::Partial(partial)) => {
                let analysis = partial.analysis;
                if matches!(analysis.outcome, Outcome::Done(_)) {
                    let by = analysis.provenance.endpoint.unwrap_or_default();
                    let mut answers = answers.lock().unwrap_or_else(PoisonError::into_inner);
                    answers.push((Instant::now(), by));
                } else {
                    failed.fetch_add(1, Ordering::Relaxed);
                }
            }
            Ok(Message::Deferred(_)) => _ = failed.fetch_add(1, Ordering::Relaxed),
            _ => {}
        }
        if delivery.ack().await.is_err() {
            return;
        }
    }
}
