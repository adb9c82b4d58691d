//! A worker over queues in memory and files in a folder of its own, whose reader of images does what a script says.

use std::collections::VecDeque;
use std::path::PathBuf;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, MemoryOptions, Outgoing};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Deferred, Intake, Message};
use ocelli_core::{
    Analysis, AnalyzerName, Digest, FailureClass, ImageFacts, Outcome, Provenance, Reading,
    Revision, RevisionBuilder, SourceUri, Want,
};
use ocelli_media::{FetchLimits, Fetcher};
use ocelli_worker::{
    AnalyzeError, Analyzer, Answer, Job, Ledger, Parts, Unavailable, WorkerMetrics, WorkerOptions,
    run,
};
use tempfile::TempDir;
use tokio::sync::{Notify, Semaphore};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// What the scripted reader does with its next job.
#[derive(Debug, Clone)]
pub(crate) enum Act {
    Read(&'static str),
    Fail(FailureClass),
    Panic,
    Hang,
    Await(Arc<Semaphore>),
}

/// How many jobs a reader has in its hands.
#[derive(Default)]
pub(crate) struct Load {
    pub(crate) now: AtomicUsize,
    pub(crate) most: AtomicUsize,
    pub(crate) ended: AtomicUsize,
}

#[derive(Clone)]
pub(crate) struct Scripted {
    pub(crate) name: AnalyzerName,
    acts: Arc<Mutex<VecDeque<Act>>>,
    pub(crate) probes: Arc<Mutex<VecDeque<Result<u8, &'static str>>>>,
    pub(crate) begun: Arc<Notify>,
    pub(crate) calls: Arc<Mutex<u32>>,
    pub(crate) slots: Arc<AtomicUsize>,
    pub(crate) bytes: u64,
    pub(crate) load: Arc<Load>,
}

pub(crate) fn revision(n: u8) -> Revision {
    RevisionBuilder::new("scripted").part("n", n).build()
}

impl Analyzer for Scripted {
    fn name(&self) -> &AnalyzerName {
        &self.name
    }
    fn kind(&self) -> &'static str {
        "ocr"
    }
    fn description(&self) -> String {
        "scripted".into()
    }
    fn slots(&self) -> usize {
        self.slots.load(Ordering::SeqCst)
    }
    fn most_slots(&self) -> usize {
        8
    }
    fn bytes_in_hand(&self) -> u64 {
        self.bytes
    }
    async fn probe(&self) -> Result<Revision, Unavailable> {
        match self.probes.lock().unwrap().pop_front().unwrap_or(Ok(1)) {
            Ok(n) => Ok(revision(n)),
            Err(reason) => Err(Unavailable { reason: reason.into() }),
        }
    }
    async fn analyze(&self, job: Job) -> Result<Answer, AnalyzeError> {
        assert_eq!(Digest::of(&job.bytes), job.image.digest);
        *self.calls.lock().unwrap() += 1;
        let act = self.acts.lock().unwrap().pop_front().unwrap_or(Act::Read("text"));
        self.begun.notify_one();
        match act {
            Act::Read(text) => Ok(Answer {
                outcome: Outcome::Done(Reading { text: text.into(), ..Reading::default() }),
                provenance: Provenance::default(),
                hash: None,
            }),
            Act::Fail(class) => {
                Err(AnalyzeError { class, reason: "as scripted".into(), provenance: None })
            }
            Act::Panic => panic!("as scripted"),
            Act::Hang => std::future::pending().await,
            Act::Await(gate) => {
                let now = self.load.now.fetch_add(1, Ordering::SeqCst) + 1;
                self.load.most.fetch_max(now, Ordering::SeqCst);
                gate.acquire().await.unwrap().forget();
                self.load.now.fetch_sub(1, Ordering::SeqCst);
                self.load.ended.fetch_add(1, Ordering::SeqCst);
                Ok(Answer {
                    outcome: Outcome::Empty,
                    provenance: Provenance::default(),
                    hash: None,
                })
            }
        }
    }
}

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) reader: Scripted,
    pub(crate) folder: TempDir,
    pub(crate) done: Arc<Mutex<Vec<Digest>>>,
    shutdown: CancellationToken,
    worker: Option<JoinHandle<()>>,
    /// What is said about the size of images; 0: nobody has read them.
    pub(crate) size: u64,
}

impl World {
    pub(crate) async fn new(acts: &[Act]) -> Self {
        let name: AnalyzerName = "reader".parse().unwrap();
        let broker = Broker::memory(MemoryOptions::default());
        let steps = WorkerOptions::default().policy.steps;
        broker.declare(&queues(std::slice::from_ref(&name), &steps)).await.unwrap();
        Self {
            broker,
            reader: Scripted {
                name,
                acts: Arc::new(Mutex::new(acts.iter().cloned().collect())),
                probes: Arc::default(),
                begun: Arc::default(),
                calls: Arc::default(),
                slots: Arc::new(AtomicUsize::new(1)),
                bytes: u64::MAX,
                load: Arc::default(),
            },
            folder: tempfile::tempdir().unwrap(),
            done: Arc::default(),
            shutdown: CancellationToken::new(),
            worker: None,
            size: 1,
        }
    }

    pub(crate) fn start(&mut self) {
        let done = Arc::clone(&self.done);
        let parts = Parts {
            analyzer: Arc::new(self.reader.clone()),
            broker: self.broker.clone(),
            fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
            ledger: Ledger::new(move |digest, _, _| {
                let known = done.lock().unwrap().contains(&digest);
                async move { Ok(known) }
            }),
            options: WorkerOptions { drain: Duration::from_secs(1), ..WorkerOptions::default() },
            metrics: WorkerMetrics::register(&prometheus::Registry::new()).unwrap(),
        };
        let shutdown = self.shutdown.clone();
        self.worker = Some(tokio::spawn(async move { run(parts, shutdown).await.unwrap() }));
    }

    pub(crate) async fn stop(&mut self) {
        self.shutdown.cancel();
        self.worker.take().unwrap().await.unwrap();
        self.shutdown = CancellationToken::new();
    }

    pub(crate) fn file(&self, name: &str, bytes: &[u8]) -> (PathBuf, Digest) {
        let path = self.folder.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        (path, Digest::of(bytes))
    }

    pub(crate) async fn enqueue(
        &self,
        digest: Digest,
        sources: &[&PathBuf],
        wanted: Option<Revision>,
    ) {
        let message = Message::Intake(Intake {
            image: ImageFacts { digest, bytes: self.size, format: None, width: None, height: None },
            sources: sources.iter().map(|path| SourceUri::from_path(path).unwrap()).collect(),
            sighting: None,
            wants: vec![Want { analyzer: self.reader.name.clone(), revision: wanted }],
            refusal: None,
            enqueued_at: Timestamp::now(),
            dependence: ocelli_core::Dependence::default(),
            hash: None,
            meta: ocelli_core::Meta::default(),
        });
        self.send(message.encode().unwrap()).await;
    }

    pub(crate) async fn send(&self, body: Vec<u8>) {
        let routes = vec![Queue::Jobs(self.reader.name.clone())];
        let outgoing = Outgoing {
            id: "test".into(),
            body: body.into(),
            routes,
            attempts: 0,
            traceparent: None,
        };
        self.broker.publish(outgoing).await.unwrap();
    }

    /// The next message for the collector that is no announcement.
    pub(crate) async fn next(&self) -> Message {
        let mut consumer = self.broker.consume(&Queue::Results, 1).await.unwrap();
        loop {
            let delivery = tokio::time::timeout(Duration::from_secs(7200), consumer.next())
                .await
                .expect("a message for the collector")
                .unwrap();
            let message = Message::decode(&delivery.body).unwrap();
            delivery.ack().await.unwrap();
            if !matches!(message, Message::Announcement(_)) {
                consumer.cancel().await;
                return message;
            }
        }
    }

    pub(crate) async fn next_analysis(&self) -> Analysis {
        match self.next().await {
            Message::Partial(partial) => partial.analysis,
            other => panic!("expected a partial result, got {other:?}"),
        }
    }

    pub(crate) async fn next_deferred(&self) -> Deferred {
        match self.next().await {
            Message::Deferred(deferred) => deferred,
            other => panic!("expected a note about another attempt, got {other:?}"),
        }
    }

    pub(crate) async fn ready(&self, queue: Queue) -> u64 {
        self.broker.depth(&queue).await.unwrap().ready
    }

    pub(crate) fn jobs(&self) -> Queue {
        Queue::Jobs(self.reader.name.clone())
    }
}
