//! Whoever is told of complete records, as the settings name them.

use async_recursion::async_recursion;
use ocelli_broker::Broker;
use ocelli_catalog::Catalog;
use ocelli_catalog::query::Query;
use ocelli_events::{EventMetrics, EventOptions, Listener, Parts, Secret, enlist, run};
use ocelli_media::Poster;
use ocelli_runtime::settings::WebhookSettings;
use ocelli_runtime::{ExitCode, Settings};
use prometheus::Registry;
use secrecy::ExposeSecret as _;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::{Fault, parts};

/// Tells them until it is ended. Costs nothing when nobody listens.
pub struct Listening {
    task: JoinHandle<()>,
    stop: CancellationToken,
}

impl Listening {
    /// Makes the listeners known and begins to tell them. Before anything can become complete.
    ///
    /// # Errors
    /// When a webhook cannot be meant, or broker or catalog do not take it.
    #[async_recursion]
    pub async fn start(
        settings: &Settings,
        broker: &Broker,
        catalog: &Catalog,
        registry: &Registry,
    ) -> Result<Self, Fault> {
        let metrics = EventMetrics::register(registry)?;
        let mut listeners = Vec::new();
        if settings.events.publish {
            broker.declare_events().await?;
            listeners.push(Listener::exchange(broker.clone()));
        }
        for webhook in &settings.webhooks {
            listeners.push(of(webhook, settings)?);
        }
        for listener in &listeners {
            metrics.open(listener.name());
        }
        let options = EventOptions {
            record_bytes: settings.events.record_bytes.as_usize(),
            lease: settings.events.lease,
            retry_first: settings.events.retry_first,
            retry_longest: settings.events.retry_longest,
            give_up_after: settings.events.give_up_after,
            drain: settings.worker.drain,
            count_every: settings.collector.count_every,
        };
        let parts = Parts { catalog: catalog.clone(), listeners, options, metrics };
        enlist(&parts).await?;
        let stop = CancellationToken::new();
        Ok(Self { task: tokio::spawn(run(parts, stop.clone())), stop })
    }

    /// Tells what is due, and ends. After the last record has become complete.
    #[async_recursion]
    pub async fn end(self) {
        self.stop.cancel();
        drop(self.task.await);
    }
}

fn of(webhook: &WebhookSettings, settings: &Settings) -> Result<Listener, Fault> {
    let name = &webhook.name;
    let fault = |field: &str, reason: String| {
        Fault::new(ExitCode::Usage, format!("settings: {field} of the webhook '{name}': {reason}"))
    };
    let secret = Secret::parse(webhook.secret.expose_secret())
        .map_err(|error| fault("secret", error.to_string()))?;
    let query = webhook.query.as_deref().map(|text| {
        Query::parse_within(text, &parts::query_limits(settings))
            .map_err(|error| fault("where", error.to_string()))
    });
    let url = webhook.url.expose().parse().map_err(|error| fault("url", format!("{error}")))?;
    let poster = Poster::new(url, webhook.timeout, webhook.allow_private)
        .map_err(|error| fault("url", error.to_string()))?;
    Ok(Listener::webhook(name.clone(), poster, secret, query.transpose()?, webhook.in_flight))
}
