//! The site as a program: opens the catalog and the listener, and lends it the hands of the fleet. Shared by the binary
//! `ocelli-web` and `ocelli up`.

use std::path::Path;
use std::sync::Arc;

use async_recursion::async_recursion;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use ocelli_broker::{Broker, BrokerMetrics};
use ocelli_catalog::{Catalog, CatalogMetrics};
use ocelli_collector::{CollectorMetrics, needed_text, requeue_jobs};
use ocelli_core::routing::Queue;
use ocelli_core::{AnalyzerName, BatchId, Digest, Want};
use ocelli_media::Fetcher;
use ocelli_producer::{ProducerMetrics, ProducerOptions, Progress, Source};
use ocelli_runtime::connections::{self, Limits};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, Process, fault::chain, parts};
use tokio::sync::{OnceCell, watch};
use tokio_util::sync::CancellationToken;

use crate::server::{CONNECTION_LIFE, EXPORT_LIFE, HEADER_BYTES, HEADER_TIMEOUT, is_stream};
use crate::{
    Delivery, Hand, Hands, ListenError, Listener, Parts, QueueDepth, Requeued, WebOptions, app,
};

/// Why nothing can be brought in where no broker is.
const NOBODY: &str = "nothing reads images here: start 'ocelli up', which serves the archive too, or set broker.url to the \
                      RabbitMQ of the fleet";

/// Whom jobs are given to.
#[derive(Clone)]
pub enum Fleet {
    /// The fleet in this process, and what it is asked for.
    Here(Broker, Vec<Want>),
    /// Whoever listens at the broker of the settings; it is joined when there is something to give.
    Elsewhere,
    /// Nobody: queues live in other processes only while these run.
    Nobody,
}

/// Opens everything and serves until the process is told to stop.
///
/// # Errors
/// When the address is taken or the catalog is away; nothing was served then.
#[async_recursion]
pub async fn run(process: &Process) -> Result<(), Fault> {
    let settings = &process.settings;
    let listen = address(settings).ok_or_else(|| {
        Fault::new(
            ExitCode::Usage,
            "web.listen is \"off\"; set it to ADDRESS:PORT, such as 127.0.0.1:8080",
        )
    })?;
    let starting = process.readiness.latch("web site");
    let listener = Listener::bind(listen).await.map_err(|error| fault(&error))?;
    let catalog = catalog(process).await?;
    let fleet = if settings.broker.is_memory() { Fleet::Nobody } else { Fleet::Elsewhere };
    // What is enqueued here stands in the log of actions; a collector's numbers are not ours to tell. Nor is a broker's where
    // there is none.
    let untold = prometheus::Registry::new();
    let told = if settings.broker.is_memory() { &untold } else { &process.registry };
    let metrics = Metrics {
        collector: CollectorMetrics::register(&untold)?,
        producer: ProducerMetrics::register(told)?,
        broker: Some(BrokerMetrics::register(told)?),
    };
    let parts = parts(process, catalog.clone(), fleet, metrics)?;
    starting.release();
    tracing::info!("the archive is at http://{}/", listener.address());
    serve(listener, parts, process.shutdown.clone()).await;
    catalog.close().await;
    Ok(())
}

/// Serves the site until `shutdown` is cancelled, and waits for answers under way.
#[async_recursion]
pub async fn serve(listener: Listener, parts: Parts, shutdown: CancellationToken) {
    let limits = Limits {
        connections: parts.options.connections,
        life: CONNECTION_LIFE,
        long_life: EXPORT_LIFE,
        is_long: is_stream,
        header_timeout: HEADER_TIMEOUT,
        header_bytes: HEADER_BYTES,
    };
    let router = app::router(parts, listener.address(), &shutdown);
    connections::serve(listener.listener, router, limits, shutdown).await;
}

/// Where to listen; none when the site is off.
#[must_use]
pub fn address(settings: &Settings) -> Option<&str> {
    (settings.web.listen != "off").then_some(settings.web.listen.as_str())
}

/// What a program says when the address cannot be listened on.
#[must_use]
pub fn fault(error: &ListenError) -> Fault {
    Fault::new(ExitCode::Usage, format!("{}\nhint: {}", chain(error), error.hint()))
}

/// Where what the hands do is counted.
#[derive(Clone)]
pub struct Metrics {
    /// Jobs enqueued again.
    pub collector: CollectorMetrics,
    /// Images brought in.
    pub producer: ProducerMetrics,
    /// What is sent to a fleet elsewhere.
    pub broker: Option<BrokerMetrics>,
}

/// The parts of a site over this catalog and fleet.
///
/// # Errors
/// When a setting of the fetcher cannot be meant.
pub fn parts(
    process: &Process,
    catalog: Catalog,
    fleet: Fleet,
    metrics: Metrics,
) -> Result<Parts, Fault> {
    let settings = &process.settings;
    let fetcher = Fetcher::new(parts::fetch_limits(settings))
        .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
    let reach = Reach {
        settings: Arc::new(settings.clone()),
        catalog: catalog.clone(),
        fleet,
        joined: Arc::default(),
        provided: Arc::default(),
        metrics,
        shutdown: process.shutdown.clone(),
    };
    let options = WebOptions::from_settings(settings);
    Ok(Parts { catalog, fetcher, hands: Hands::of(reach), options })
}

/// Opens an archive that exists. A mistyped `data.dir` must not create an empty one.
async fn catalog(process: &Process) -> Result<Catalog, Fault> {
    let settings = &process.settings;
    let url = settings.catalog.url.expose();
    if let Some(path) = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))
        && !Path::new(path).exists()
    {
        return Err(Fault::new(
            ExitCode::Usage,
            format!(
                "there is no archive at '{path}' yet; start one with 'ocelli run FOLDER', or name another with data.dir"
            ),
        ));
    }
    // A catalog that does not answer is told as what it is, before the request itself is given up.
    let mut patient = settings.clone();
    let longest = settings.web.request_timeout * 2 / 3;
    patient.catalog.operation_timeout = patient.catalog.operation_timeout.min(longest);
    parts::catalog(&patient, Some(CatalogMetrics::register(&process.registry)?)).await
}

/// What the site may set in motion.
#[derive(Clone)]
struct Reach {
    settings: Arc<Settings>,
    catalog: Catalog,
    fleet: Fleet,
    joined: Arc<OnceCell<Broker>>,
    provided: Arc<OnceCell<()>>,
    metrics: Metrics,
    shutdown: CancellationToken,
}

impl Reach {
    /// The broker of the fleet.
    async fn broker(&self) -> Result<Option<Broker>, String> {
        match &self.fleet {
            Fleet::Here(broker, _) => Ok(Some(broker.clone())),
            Fleet::Nobody => Ok(None),
            Fleet::Elsewhere => {
                let join = || async {
                    let metrics = self.metrics.broker.clone().ok_or(NOBODY)?;
                    let broker = parts::broker(&self.settings, "ocelli-web", metrics).await;
                    broker.map_err(|error| chain(&error))
                };
                self.joined.get_or_try_init(join).await.cloned().map(Some)
            }
        }
    }

    /// The same with its queues, for whoever gives it something: looking makes none.
    async fn broker_with_queues(&self) -> Result<Option<Broker>, String> {
        let Some(broker) = self.broker().await? else { return Ok(None) };
        if matches!(self.fleet, Fleet::Elsewhere) {
            let queues = parts::topology(&self.settings);
            let provide = || async { broker.provide(&queues).await };
            self.provided.get_or_try_init(provide).await.map_err(|error| chain(&error))?;
        }
        Ok(Some(broker))
    }

    async fn depths(self, analyzers: Vec<AnalyzerName>) -> Result<Option<Vec<QueueDepth>>, String> {
        let Some(broker) = self.broker().await? else { return Ok(None) };
        let of_jobs =
            analyzers.into_iter().flat_map(|name| [Queue::Jobs(name.clone()), Queue::Bulk(name)]);
        let mut depths = Vec::new();
        for queue in of_jobs.chain([Queue::Results, Queue::Dead]) {
            // One that nobody has declared yet is not there.
            let depth = broker.depth(&queue).await.ok();
            depths.push(QueueDepth {
                queue: queue.to_string(),
                ready: depth.as_ref().map(|depth| depth.ready),
                consumers: depth.map(|depth| depth.consumers),
            });
        }
        Ok(Some(depths))
    }

    async fn requeue_all(self, jobs: Vec<(Digest, AnalyzerName)>) -> Result<Requeued, String> {
        let Some(broker) = self.broker_with_queues().await? else {
            return Ok(Requeued::NextRun);
        };
        // Also of analyzers that are switched off here: their jobs wait until a worker comes.
        let mut names: Vec<AnalyzerName> = jobs.iter().map(|(_, name)| name.clone()).collect();
        names.sort();
        names.dedup();
        let queues: Vec<_> = names
            .into_iter()
            .flat_map(|name| [Queue::Jobs(name.clone()), Queue::Bulk(name)])
            .collect();
        broker.provide(&queues).await.map_err(|error| chain(&error))?;
        let most = needed_text(&self.settings);
        requeue_jobs(&broker, &self.catalog, &jobs, most, &self.metrics.collector)
            .await
            .map(Requeued::Enqueued)
            .map_err(|error| chain(&error))
    }

    async fn produce(self, delivery: Delivery) -> Result<BatchId, String> {
        let broker = self.broker_with_queues().await?.ok_or(NOBODY)?;
        let wanted = match &self.fleet {
            Fleet::Here(_, wants) => wants.clone(),
            _ => {
                let wants = parts::wants(&self.settings, &self.catalog).await;
                wants.map_err(|error| error.to_string())?.0
            }
        };
        let mut options =
            ProducerOptions::from_settings(&self.settings).map_err(|fault| fault.message)?;
        options.batch_name = Some(delivery.name);
        options.within = Some(delivery.folder);
        let files = delivery
            .files
            .iter()
            .map(|path| Source::parse(path.as_os_str()).map_err(|error| chain(&error)));
        let mut sources = files.collect::<Result<Vec<_>, _>>()?;
        sources.extend(delivery.urls.into_iter().map(Source::Url));
        let (progress, mut watched) = watch::channel(Progress::default());
        let parts = ocelli_producer::Parts {
            broker,
            catalog: self.catalog.clone(),
            options,
            wanted,
            sources,
            progress,
            metrics: self.metrics.producer.clone(),
        };
        let mut running = tokio::spawn(ocelli_producer::run(parts, self.shutdown.clone()));
        loop {
            if let Some(batch) = watched.borrow_and_update().batch {
                tokio::spawn(async move {
                    if let Ok(Err(error)) = running.await {
                        tracing::error!(%batch, "images that were brought in: {}", chain(&error));
                    }
                });
                return Ok(batch);
            }
            tokio::select! {
                ended = &mut running => {
                    let summary = ended.map_err(|error| error.to_string())?;
                    return summary.map(|summary| summary.batch).map_err(|error| chain(&error));
                }
                Ok(()) = watched.changed() => {}
            }
        }
    }
}

impl Hand for Reach {
    fn requeue(
        &self,
        jobs: Vec<(Digest, AnalyzerName)>,
    ) -> BoxFuture<'static, Result<Requeued, String>> {
        self.clone().requeue_all(jobs).boxed()
    }

    fn queues(
        &self,
        analyzers: Vec<AnalyzerName>,
    ) -> BoxFuture<'static, Result<Option<Vec<QueueDepth>>, String>> {
        self.clone().depths(analyzers).boxed()
    }

    fn bring(&self, delivery: Delivery) -> BoxFuture<'static, Result<BatchId, String>> {
        self.clone().produce(delivery).boxed()
    }

    fn cannot_bring(&self) -> Option<&'static str> {
        matches!(self.fleet, Fleet::Nobody).then_some(NOBODY)
    }
}
