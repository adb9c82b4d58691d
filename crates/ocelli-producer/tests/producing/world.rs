//! A broker, a catalog and a folder for one test.

use std::path::{Path, PathBuf};
use std::time::Duration;

use ocelli_broker::{Broker, MemoryOptions};
use ocelli_catalog::{Catalog, CatalogOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::wire::{BatchReport, Intake, Message, Problem};
use ocelli_core::{
    Analysis, AnalyzerName, BatchId, Digest, Outcome, Provenance, Reading, Revision, Want,
};
use ocelli_producer::{
    Parts, ProducerError, ProducerMetrics, ProducerOptions, Progress, Source, Summary, run,
};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

/// No step of a test takes longer, also on a busy machine.
pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const ANALYZERS: [&str; 2] = ["tesseract-ocr", "gemma3-27b-vision"];

pub(crate) struct World {
    pub(crate) broker: Broker,
    pub(crate) catalog: Catalog,
    pub(crate) options: ProducerOptions,
    pub(crate) wanted: Vec<Want>,
    pub(crate) progress: watch::Sender<Progress>,
    folder: tempfile::TempDir,
}

/// What one run sent to the results queue.
#[derive(Debug, Default)]
pub(crate) struct Sent {
    pub(crate) intakes: Vec<Intake>,
    pub(crate) problems: Vec<Problem>,
    pub(crate) passed_over: Vec<Problem>,
    pub(crate) reports: Vec<BatchReport>,
}

impl Sent {
    pub(crate) fn refusals(&self) -> Vec<&str> {
        self.intakes.iter().filter_map(|intake| intake.refusal.as_deref()).collect()
    }

    pub(crate) fn jobs(&self) -> usize {
        self.intakes.iter().map(|intake| intake.wants.len()).sum()
    }

    pub(crate) fn problem(&self, reference: &str) -> &Problem {
        self.problems
            .iter()
            .find(|problem| problem.reference.ends_with(reference))
            .unwrap_or_else(|| panic!("no problem for {reference} in {:?}", self.problems))
    }
}

impl World {
    pub(crate) async fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        std::fs::create_dir(folder.path().join("images")).unwrap();
        let names: Vec<AnalyzerName> = ANALYZERS.iter().map(|name| name.parse().unwrap()).collect();
        let broker = Broker::memory(MemoryOptions { capacity_per_queue: 100_000 });
        broker.declare(&queues(&names, &[])).await.unwrap();
        let url = format!("sqlite:{}", folder.path().join("catalog.db").display());
        let catalog = Catalog::open(&url, CatalogOptions::default()).await.unwrap();
        Self {
            broker,
            catalog,
            options: ProducerOptions::default(),
            wanted: names.into_iter().map(|analyzer| Want { analyzer, revision: None }).collect(),
            progress: watch::Sender::new(Progress::default()),
            folder,
        }
    }

    /// The folder of images, as an absolute path.
    pub(crate) fn images(&self) -> PathBuf {
        self.folder.path().join("images")
    }

    pub(crate) fn at(&self, name: impl AsRef<Path>) -> PathBuf {
        self.images().join(name)
    }

    pub(crate) fn put(&self, name: impl AsRef<Path>, bytes: &[u8]) -> PathBuf {
        let path = self.at(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(&path, bytes).unwrap();
        path
    }

    /// Another PNG for every number.
    pub(crate) fn put_image(&self, name: impl AsRef<Path>, number: u32) -> PathBuf {
        self.put(name, &png(number))
    }

    pub(crate) fn parts(&self, sources: Vec<Source>) -> Parts {
        Parts {
            broker: self.broker.clone(),
            catalog: self.catalog.clone(),
            options: self.options.clone(),
            wanted: self.wanted.clone(),
            sources,
            progress: self.progress.clone(),
            metrics: ProducerMetrics::register(&prometheus::Registry::new()).unwrap(),
        }
    }

    pub(crate) async fn try_produce(
        &self,
        arguments: &[&Path],
    ) -> Result<(Summary, Sent), ProducerError> {
        let parse = |argument: &&Path| Source::parse(argument.as_os_str()).unwrap();
        self.try_sources(arguments.iter().map(parse).collect()).await
    }

    pub(crate) async fn try_sources(
        &self,
        sources: Vec<Source>,
    ) -> Result<(Summary, Sent), ProducerError> {
        let running = run(self.parts(sources), CancellationToken::new());
        let summary = tokio::time::timeout(PATIENCE, running).await.expect("the run ends")?;
        let sent = self.collect().await;
        assert!(summary.finished && sent.reports.last().unwrap().finished);
        // Of a file that has not changed nothing is sent, unless somebody asks something new about it.
        let told = sent.intakes.len();
        assert!(
            ((summary.accepted - summary.unread) as usize..=summary.accepted as usize)
                .contains(&told)
        );
        assert_eq!(summary.accepted, summary.enqueued + summary.known + summary.refused);
        assert_eq!(summary.problems as usize, sent.problems.len());
        assert_eq!(summary.skipped as usize, sent.passed_over.len());
        assert_eq!(summary.jobs as usize, sent.jobs());
        Ok((summary, sent))
    }

    pub(crate) async fn produce(&self, arguments: &[&Path]) -> (Summary, Sent) {
        self.try_produce(arguments).await.unwrap()
    }

    pub(crate) async fn produce_sources(&self, sources: Vec<Source>) -> (Summary, Sent) {
        self.try_sources(sources).await.unwrap()
    }

    /// Takes what a run sends until it has reported so often about itself.
    pub(crate) async fn reports_of(&self, batch: BatchId, most: usize) -> usize {
        let mut consumer = self.broker.consume(&Queue::Results, 1).await.unwrap();
        let mut reports = 0;
        while reports < most {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
            let delivery = next.expect("a message that comes").expect("an open queue");
            let message = Message::decode(&delivery.body).unwrap();
            reports +=
                usize::from(matches!(&message, Message::Batch(report) if report.batch == batch));
            self.catalog.apply(&[message]).await.unwrap();
            delivery.ack().await.unwrap();
        }
        consumer.cancel().await;
        reports
    }

    /// Writes everything in the results queue to the catalog, as the collector does.
    pub(crate) async fn collect(&self) -> Sent {
        let waiting = self.broker.depth(&Queue::Results).await.unwrap().ready;
        let mut consumer = self.broker.consume(&Queue::Results, 1000).await.unwrap();
        let mut sent = Sent::default();
        let mut messages = Vec::new();
        for _ in 0..waiting {
            let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
            let delivery = next.expect("a message that waits").expect("an open queue");
            messages.push(Message::decode(&delivery.body).unwrap());
            delivery.ack().await.unwrap();
        }
        consumer.cancel().await;
        if !messages.is_empty() {
            let applied = self.catalog.apply(&messages).await.unwrap();
            assert!(applied.rejected.is_empty(), "{:?}", applied.rejected);
        }
        for message in messages {
            match message {
                Message::Intake(intake) => sent.intakes.push(intake),
                Message::Problem(problem) if problem.rule.is_some() => {
                    sent.passed_over.push(problem);
                }
                Message::Problem(problem) => sent.problems.push(problem),
                Message::Batch(report) => sent.reports.push(report),
                other => panic!("a producer does not send {other:?}"),
            }
        }
        sent
    }

    /// Jobs waiting for an analyzer.
    pub(crate) async fn waiting(&self, analyzer: &str) -> u64 {
        let queue = Queue::Jobs(analyzer.parse().unwrap());
        self.broker.depth(&queue).await.unwrap().ready
    }

    /// Writes an answer, as if a worker had given it.
    pub(crate) async fn answer(&self, digest: Digest, analyzer: &str, revision: &Revision) {
        let now = jiff::Timestamp::now();
        let partial = ocelli_core::wire::Partial {
            digest,
            analysis: Analysis {
                analyzer: analyzer.parse().unwrap(),
                revision: revision.clone(),
                outcome: Outcome::Done(Reading::default()),
                attempts: 1,
                finished_at: now,
                provenance: Provenance::default(),
            },
            hash: None,
            image: None,
        };
        self.catalog.apply(&[Message::Partial(Box::new(partial))]).await.unwrap();
    }
}

/// A PNG of 8 × 8 pixels; other bytes for every number.
pub(crate) fn png(number: u32) -> Vec<u8> {
    let [a, b, c, d] = number.to_le_bytes();
    let picture = image::RgbImage::from_fn(8, 8, |x, y| {
        image::Rgb([a ^ x as u8, b ^ y as u8, if x > y { c } else { d }])
    });
    let mut bytes = std::io::Cursor::new(Vec::new());
    picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
    bytes.into_inner()
}
