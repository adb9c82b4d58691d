//! A broker, a catalog, and messages between them.

use std::time::{Duration, Instant};

use jiff::Timestamp;
use ocelli_broker::{Broker, MemoryOptions, Outgoing};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_collector::{CollectorError, CollectorMetrics, CollectorOptions, Parts, run};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{Intake, Message, Partial};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Digest, ImageFacts, Outcome, Provenance, Revision,
    RevisionBuilder, Sighting, Want,
};
use prometheus::Registry;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longest time for anything that a test waits for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) catalog: Catalog,
    pub(crate) metrics: CollectorMetrics,
    pub(crate) registry: Registry,
    pub(crate) folder: tempfile::TempDir,
}

pub(crate) fn ocr() -> AnalyzerName {
    "tesseract-ocr".parse().unwrap()
}

pub(crate) fn revision() -> Revision {
    RevisionBuilder::new("test").build()
}

pub(crate) fn intake(image: &str) -> Intake {
    let source: ocelli_core::SourceUri = format!("file:///in/{image}").parse().unwrap();
    let now = Timestamp::now();
    Intake {
        image: ImageFacts {
            digest: Digest::of(image.as_bytes()),
            bytes: 5,
            format: None,
            width: None,
            height: None,
        },
        sources: vec![source.clone()],
        sighting: Some(Sighting { source, seen_at: now, batch: BatchId::new(uuid::Uuid::nil()) }),
        wants: vec![Want { analyzer: ocr(), revision: Some(revision()) }],
        refusal: None,
        enqueued_at: now,
        dependence: ocelli_core::Dependence::default(),
        hash: None,
        meta: ocelli_core::Meta::default(),
    }
}

pub(crate) fn partial(image: &str) -> Message {
    Message::Partial(Box::new(Partial {
        digest: Digest::of(image.as_bytes()),
        analysis: Analysis {
            analyzer: ocr(),
            revision: revision(),
            outcome: Outcome::Empty,
            attempts: 1,
            finished_at: Timestamp::now(),
            provenance: Provenance::default(),
        },
        hash: None,
        image: None,
    }))
}

impl World {
    pub(crate) async fn new() -> Self {
        Self::with(MemoryOptions::default(), &[ocr()]).await
    }

    /// A broker with queues of this length, for these analyzers.
    pub(crate) async fn with(options: MemoryOptions, analyzers: &[AnalyzerName]) -> Self {
        let broker = Broker::memory(options);
        let folder = tempfile::tempdir().unwrap();
        let options =
            CatalogOptions { busy_timeout: Duration::from_millis(50), ..CatalogOptions::default() };
        let url = format!("sqlite:{}", folder.path().join("c.db").display());
        let registry = Registry::new();
        let world = Self {
            broker,
            catalog: Catalog::open(&url, options).await.unwrap(),
            metrics: CollectorMetrics::register(&registry).unwrap(),
            registry,
            folder,
        };
        world.broker.declare(&queues(analyzers, &[])).await.unwrap();
        world
    }

    /// Starts a collector; the token stops it.
    pub(crate) fn collector(&self) -> (CancellationToken, JoinHandle<Result<(), CollectorError>>) {
        let stop = CancellationToken::new();
        let parts = Parts {
            broker: self.broker.clone(),
            catalog: self.catalog.clone(),
            options: CollectorOptions {
                retry_cap: Duration::from_millis(200),
                ..CollectorOptions::default()
            },
            metrics: self.metrics.clone(),
        };
        (stop.clone(), tokio::spawn(run(parts, stop)))
    }

    pub(crate) async fn send(&self, queue: Queue, id: &str, body: Vec<u8>) {
        let outgoing = Outgoing {
            id: id.to_owned(),
            body: body.into(),
            routes: vec![queue],
            attempts: 0,
            traceparent: None,
        };
        self.broker.publish(outgoing).await.unwrap();
    }

    pub(crate) async fn results(&self, messages: &[Message]) {
        for message in messages {
            self.send(Queue::Results, &message.id(), message.encode().unwrap()).await;
        }
    }

    pub(crate) async fn ready(&self, queue: &Queue) -> u64 {
        self.broker.depth(queue).await.unwrap().ready
    }

    /// Takes everything out of a queue.
    pub(crate) async fn drain(&self, queue: &Queue) -> Vec<Message> {
        let mut consumer = self.broker.consume(queue, 1).await.unwrap();
        let mut messages = Vec::new();
        while self.ready(queue).await > 0 {
            let delivery = consumer.next().await.unwrap();
            messages.push(Message::decode(&delivery.body).unwrap());
            delivery.ack().await.unwrap();
        }
        consumer.cancel().await;
        messages
    }

    /// The value of a metric, all labels added up.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        let families = self.registry.gather();
        let family = families.iter().find(|family| family.name() == name);
        family.map_or(0.0, |family| {
            family.get_metric().iter().map(|metric| metric.get_counter().get_value()).sum()
        })
    }
}

/// Asks until the answer is yes.
pub(crate) async fn until(what: &str, mut condition: impl AsyncFnMut() -> bool) {
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}
