//! Workers and the books that the catalog keeps: a real SQLite catalog, real queues in memory, and a reader that counts.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use jiff::Timestamp;
use ocelli_broker::{Broker, MemoryOptions, Outgoing};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::retry::RetryPolicy;
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Deferred, Intake, Message};
use ocelli_core::{
    AnalyzerName, Budget, Digest, FailureClass, ImageFacts, Limit, Outcome, Period, Provenance,
    Reading, Revision, RevisionBuilder, SourceUri, Want,
};
use ocelli_media::{FetchLimits, Fetcher};
use ocelli_wiring::Books;
use ocelli_worker::{
    AnalyzeError, Analyzer, Answer, Job, Parts, Unavailable, WorkerMetrics, WorkerOptions, run,
};
use tempfile::TempDir;
use tokio::sync::Semaphore;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

const PATIENCE: Duration = Duration::from_secs(60);

/// Answers when it is told to. Each answer costs a dollar and a hundred tokens; bad ones do too.
#[derive(Clone)]
struct Model {
    name: AnalyzerName,
    calls: Arc<AtomicU32>,
    answers: Arc<Semaphore>,
    bad: Arc<AtomicU32>,
}

impl Analyzer for Model {
    fn name(&self) -> &AnalyzerName {
        &self.name
    }
    fn kind(&self) -> &'static str {
        "llm"
    }
    fn description(&self) -> String {
        "a model that counts".into()
    }
    fn slots(&self) -> usize {
        2
    }
    async fn probe(&self) -> Result<Revision, Unavailable> {
        Ok(RevisionBuilder::new("model").build())
    }
    async fn analyze(&self, _: Job) -> Result<Answer, AnalyzeError> {
        self.calls.fetch_add(1, Ordering::SeqCst);
        self.answers.acquire().await.unwrap().forget();
        let provenance = Provenance {
            calls: 1,
            tokens_in: Some(60),
            tokens_out: Some(40),
            cost_micros: Some(1_000_000),
            currency: Some("USD".into()),
            ..Provenance::default()
        };
        let is_bad = |bad: u32| bad.checked_sub(1);
        if self.bad.fetch_update(Ordering::SeqCst, Ordering::SeqCst, is_bad).is_ok() {
            return Err(AnalyzeError {
                class: FailureClass::Transient,
                reason: "as told".into(),
                provenance: Some(Box::new(provenance)),
            });
        }
        let reading = Reading { text: "text".into(), ..Reading::default() };
        Ok(Answer { outcome: Outcome::Done(reading), provenance, hash: None })
    }
}

struct World {
    folder: TempDir,
    broker: Broker,
    catalog: Catalog,
    model: Model,
    budgets: Vec<Budget>,
}

struct Worker {
    books: Books,
    stop: CancellationToken,
    running: JoinHandle<()>,
}

impl Worker {
    async fn stop(self) {
        self.stop.cancel();
        self.running.await.unwrap();
        self.books.close().await;
    }
}

fn policy() -> RetryPolicy {
    RetryPolicy { steps: vec![Duration::from_millis(50)], ..RetryPolicy::default() }
}

impl World {
    async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        let name: AnalyzerName = "model".parse().unwrap();
        let broker = Broker::memory(MemoryOptions::default());
        broker.declare(&queues(std::slice::from_ref(&name), &policy().steps)).await.unwrap();
        let model = Model {
            name,
            calls: Arc::default(),
            answers: Arc::new(Semaphore::new(0)),
            bad: Arc::default(),
        };
        Self { folder, broker, catalog, model, budgets: Vec::new() }
    }

    fn start(&self, lease: Duration) -> Worker {
        let books = Books::open(self.catalog.clone(), self.budgets.clone());
        let parts = Parts {
            analyzer: Arc::new(self.model.clone()),
            broker: self.broker.clone(),
            fetcher: Fetcher::new(FetchLimits::default()).unwrap(),
            ledger: books.ledger(),
            options: WorkerOptions {
                policy: policy(),
                lease: Some(lease),
                drain: Duration::from_millis(100),
                announce_every: Duration::from_millis(50),
                probe_cap: Duration::from_millis(100),
                ..WorkerOptions::default()
            },
            metrics: WorkerMetrics::register(&prometheus::Registry::new()).unwrap(),
        };
        let stop = CancellationToken::new();
        let running = run(parts, stop.clone());
        let running = tokio::spawn(async move { running.await.unwrap() });
        Worker { books, stop, running }
    }

    async fn enqueue(&self, image: &str) {
        let path = self.folder.path().join(image);
        // A worker that already reads it for another copy of the job must not find it half written.
        if !path.exists() {
            std::fs::write(&path, image).unwrap();
        }
        let digest = Digest::of(image.as_bytes());
        let message = Message::Intake(Intake {
            image: ImageFacts { digest, bytes: 1, format: None, width: None, height: None },
            sources: vec![SourceUri::from_path(&path).unwrap()],
            sighting: None,
            wants: vec![Want { analyzer: self.model.name.clone(), revision: None }],
            refusal: None,
            enqueued_at: Timestamp::now(),
            dependence: ocelli_core::Dependence::default(),
            hash: None,
            meta: ocelli_core::Meta::default(),
        });
        let outgoing = Outgoing {
            id: "test".into(),
            body: message.encode().unwrap().into(),
            routes: vec![Queue::Jobs(self.model.name.clone())],
            attempts: 0,
            traceparent: None,
        };
        self.broker.publish(outgoing).await.unwrap();
    }

    fn calls(&self) -> u32 {
        self.model.calls.load(Ordering::SeqCst)
    }

    async fn until(&self, what: &str, mut condition: impl FnMut() -> bool) {
        let started = Instant::now();
        while !condition() {
            assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Takes what lies in the results queue, as a collector would, until a message is the one looked for. Only what is about
    /// costs and answers is written down: the rest comes faster than a loaded disk takes it one by one.
    async fn collect(&self, mut found: impl FnMut(&Message) -> bool) -> Message {
        let mut consumer = self.broker.consume(&Queue::Results, 1).await.unwrap();
        loop {
            let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
            let message = Message::decode(&delivery.body).unwrap();
            if is_partial(&message)
                || matches!(&message, Message::Deferred(note) if note.spent.is_some())
            {
                self.catalog.apply(std::slice::from_ref(&message)).await.unwrap();
            }
            delivery.ack().await.unwrap();
            if found(&message) {
                consumer.cancel().await;
                return message;
            }
        }
    }

    /// The next note that says this.
    async fn put_off(&self, reason: &str) -> Deferred {
        let says = |message: &Message| matches!(message, Message::Deferred(note) if note.reason.contains(reason));
        match self.collect(says).await {
            Message::Deferred(note) => note,
            _ => unreachable!(),
        }
    }

    async fn waiting(&self) -> u64 {
        self.broker.depth(&Queue::Jobs(self.model.name.clone())).await.unwrap().ready
    }
}

fn is_partial(message: &Message) -> bool {
    matches!(message, Message::Partial(_))
}

#[tokio::test(flavor = "multi_thread")]
async fn copies_of_a_job_wait_for_the_first_one_spend_nothing_and_stop_no_other() {
    let world = World::new().await;
    // So short that it ends many times while the model thinks, unless it is renewed.
    let workers = [Duration::from_millis(500); 2].map(|lease| world.start(lease));
    for _ in 0..6 {
        world.enqueue("a").await;
    }
    // At least twenty rounds of the delay: two leases.
    for _ in 0..100 {
        let note = world.put_off("works on it").await;
        assert_eq!((note.class, note.attempts, note.spent), (FailureClass::Outage, 0, None));
    }
    world.enqueue("b").await;
    world.until("the other image is asked about", || world.calls() == 2).await;
    world.model.answers.add_permits(100);
    for _ in 0..2 {
        world.collect(is_partial).await;
    }
    let started = Instant::now();
    while world.waiting().await > 0 {
        assert!(started.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    for worker in workers {
        worker.stop().await;
    }
    assert_eq!(world.calls(), 2, "one call for each image");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_failed_attempt_cost_is_not_lost_and_its_claim_is_given_back() {
    let world = World::new().await;
    world.model.bad.store(2, Ordering::SeqCst);
    world.model.answers.add_permits(100);
    let worker = world.start(PATIENCE);
    world.enqueue("a").await;
    for attempts in 1..=2 {
        let note = world.put_off("as told").await;
        assert_eq!(note.attempts, attempts);
        let spent = note.spent.unwrap();
        assert_eq!((spent.calls, spent.cost_micros, spent.tokens_in), (1, 1_000_000, 60));
    }
    // The next attempt does not wait for the lease of the one before.
    world.collect(is_partial).await;
    worker.stop().await;
    let rows = world.catalog.spend().await.unwrap();
    assert_eq!((rows[0].calls, rows[0].micros, rows[0].wasted_micros), (3, 3_000_000, 2_000_000));
    assert_eq!((rows.len(), rows[0].wasted_tokens), (1, 200));
    assert_eq!(world.catalog.audit().await.unwrap().rows["claims"], 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_stops_gives_its_claims_back() {
    let world = World::new().await;
    let worker = world.start(PATIENCE);
    world.enqueue("a").await;
    world.until("the model is asked", || world.calls() == 1).await;
    worker.stop().await;
    let worker = world.start(PATIENCE);
    world.until("the next worker asks", || world.calls() == 2).await;
    world.model.answers.add_permits(2);
    world.collect(is_partial).await;
    worker.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_budget_stops_a_worker_also_while_the_collector_is_away() {
    let mut world = World::new().await;
    let dollars = |dollars: u64| Budget {
        analyzer: None,
        batch: None,
        period: Period::Total,
        limit: Limit::Money { micros: dollars * 1_000_000, currency: "USD".into() },
    };
    world.budgets = vec![dollars(5)];
    world.model.answers.add_permits(100);
    let worker = world.start(PATIENCE);
    for image in 0..30 {
        world.enqueue(&image.to_string()).await;
    }
    // Nothing is collected. What is in hand when the budget is used up: two slots, and two jobs ahead.
    world.until("the budget is used up", || world.calls() >= 5).await;
    let says = |message: &Message| matches!(message, Message::Announcement(said) if said.paused && said.revision.is_some());
    let mut consumer = world.broker.consume(&Queue::Results, 1000).await.unwrap();
    let mut kept = Vec::new();
    loop {
        let delivery = tokio::time::timeout(PATIENCE, consumer.next()).await.unwrap().unwrap();
        let message = Message::decode(&delivery.body).unwrap();
        delivery.ack().await.unwrap();
        let is_paused = says(&message);
        kept.push(message);
        if is_paused {
            break;
        }
    }
    consumer.cancel().await;
    let calls = world.calls();
    assert!((5..=5 + 4).contains(&calls), "{calls}");
    worker.stop().await;
    assert_eq!(world.calls(), calls);
    world.catalog.apply(&kept).await.unwrap();
    world.budgets = vec![dollars(100)];
    let worker = world.start(PATIENCE);
    world.until("all are asked about", || world.calls() == 30).await;
    worker.stop().await;
}
