//! A worker on queues in memory, with real children: what becomes of an image that every child dies of.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, Consumer, MemoryOptions, Outgoing};
use ocelli_core::retry::RetryPolicy;
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    AnalyzerName, Dependence, Digest, FailureClass, ImageFacts, Meta, Outcome, SourceUri, Want,
};
use ocelli_media::{FetchLimits, Fetcher};
use ocelli_ocr::{OcrMetrics, OcrOptions, Pool, TesseractAnalyzer};
use ocelli_worker::{Ledger, Parts, WorkerError, WorkerMetrics, WorkerOptions, run};
use prometheus::Registry;
use rustix::process::Signal;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use crate::{counted, options, picture, png, signal, until};

/// Longer than any test: nobody but the test ends a child or gives up a job.
const NEVER: Duration = Duration::from_secs(600);

struct World {
    broker: Broker,
    results: Consumer,
    analyzer: Arc<TesseractAnalyzer>,
    name: AnalyzerName,
    registry: Registry,
    folder: TempDir,
    shutdown: CancellationToken,
    worker: JoinHandle<Result<(), WorkerError>>,
}

impl World {
    /// A worker with two children.
    async fn start() -> Self {
        let options = OcrOptions { hard_deadline: NEVER, ..options(2) };
        let name = options.name.clone();
        let registry = Registry::new();
        let metrics = OcrMetrics::register(&registry).expect("metrics");
        let analyzer = Arc::new(TesseractAnalyzer::new(options, metrics));
        let steps = vec![Duration::from_millis(50)];
        let broker = Broker::memory(MemoryOptions::default());
        let all = queues(std::slice::from_ref(&name), &steps);
        broker.declare(&all).await.expect("declared");
        let results = broker.consume(&Queue::Results, 1).await.expect("a consumer");
        let parts = Parts {
            analyzer: Arc::clone(&analyzer),
            broker: broker.clone(),
            fetcher: Fetcher::new(FetchLimits::default()).expect("a fetcher"),
            ledger: Ledger::new(|_, _, _| async { Ok(false) }),
            options: WorkerOptions {
                policy: RetryPolicy { steps, ..RetryPolicy::default() },
                job_deadline: NEVER,
                ..WorkerOptions::default()
            },
            metrics: WorkerMetrics::register(&Registry::new()).expect("metrics"),
        };
        let shutdown = CancellationToken::new();
        let worker = tokio::spawn(run(parts, shutdown.clone()));
        let folder = tempfile::tempdir().expect("temporary folder");
        Self { broker, results, analyzer, name, registry, folder, shutdown, worker }
    }

    /// Process ids of the children that wait for work; none before they were started.
    fn idle(&self) -> Vec<u32> {
        self.analyzer.pool().map(Pool::idle_pids).unwrap_or_default()
    }

    async fn enqueue(&self, text: &str) -> Digest {
        let bytes = png(&picture(text));
        let digest = Digest::of(&bytes);
        let path = self.folder.path().join(format!("{digest}.png"));
        std::fs::write(&path, &bytes).expect("written");
        let size = bytes.len() as u64;
        let message = Message::Intake(Intake {
            image: ImageFacts { digest, bytes: size, format: None, width: None, height: None },
            sources: vec![SourceUri::from_path(&path).expect("an absolute path")],
            sighting: None,
            wants: vec![Want { analyzer: self.name.clone(), revision: None }],
            refusal: None,
            enqueued_at: Timestamp::now(),
            dependence: Dependence::default(),
            hash: None,
            meta: Meta::default(),
        });
        let outgoing = Outgoing {
            id: "test".to_owned(),
            body: message.encode().expect("a message").into(),
            routes: vec![Queue::Jobs(self.name.clone())],
            attempts: 0,
            traceparent: None,
        };
        self.broker.publish(outgoing).await.expect("published");
        digest
    }

    /// The next message for the collector that is no announcement.
    async fn next(&mut self) -> Message {
        loop {
            let delivery = timeout(Duration::from_secs(60), self.results.next()).await;
            let delivery = delivery.expect("a message for the collector").expect("an open queue");
            let message = Message::decode(&delivery.body).expect("a message");
            delivery.ack().await.expect("settled");
            if !matches!(message, Message::Announcement(_)) {
                return message;
            }
        }
    }

    async fn next_partial(&mut self) -> Box<Partial> {
        match self.next().await {
            Message::Partial(partial) => partial,
            other => panic!("expected an outcome, got {other:?}"),
        }
    }

    /// Lets the worker read an image, and checks what it read.
    async fn reads(&mut self, text: &str) {
        let digest = self.enqueue(text).await;
        let partial = self.next_partial().await;
        assert_eq!(partial.digest, digest);
        let Outcome::Done(reading) = &partial.analysis.outcome else { panic!("{partial:?}") };
        assert_eq!(reading.text, text);
    }
}

/// Lets a child that was stopped die as of an assertion of the engine.
fn abort(pid: u32) {
    signal(pid, Signal::ABORT);
    signal(pid, Signal::CONT);
}

/// Children that are stopped keep the image that they were given until they die of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_image_that_two_children_die_of_fails_as_crash_and_its_neighbours_are_done() {
    let mut world = World::start().await;
    until("both children are ready", || world.idle().len() == 2).await;
    // The last one in is the next one out.
    let first = world.idle()[1];
    signal(first, Signal::STOP);
    let deadly = world.enqueue("HOTEL").await;
    until("the first child has the image", || !world.idle().contains(&first)).await;
    world.reads("HELLO").await;
    world.reads("THE FILE").await;

    let second = world.idle()[0];
    assert_eq!(world.idle().len(), 1);
    signal(second, Signal::STOP);
    abort(first);
    let Message::Deferred(note) = world.next().await else { panic!("one attempt is left") };
    assert_eq!((note.digest, note.class, note.attempts), (deadly, FailureClass::Crash, 1));
    until("the second child has the image", || world.idle().is_empty()).await;
    abort(second);
    let partial = world.next_partial().await;
    assert_eq!((partial.digest, partial.analysis.attempts), (deadly, 2));
    let Outcome::Failed { class, reason } = &partial.analysis.outcome else {
        panic!("{partial:?}")
    };
    assert_eq!(*class, FailureClass::Crash);
    assert!(reason.contains("aborted"), "{reason}");

    world.reads("FILE").await;
    let lost = |reason: &str| {
        counted(&world.registry, &format!("ocelli_ocr_children_lost_total{{reason=\"{reason}\"}}"))
    };
    assert_eq!([lost("died"), lost("deadline"), lost("idle")], [2.0, 0.0, 0.0]);
    assert_eq!(counted(&world.registry, "ocelli_ocr_children_started_total"), 3.0);
    world.shutdown.cancel();
    world.worker.await.expect("no panic").expect("a worker that was told to stop");
}
