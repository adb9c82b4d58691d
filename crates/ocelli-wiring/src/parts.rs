//! Opening what several roles need.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use async_recursion::async_recursion;
use ocelli_broker::{Broker, BrokerMetrics, ConnectError, MemoryOptions, RabbitOptions};
use ocelli_catalog::query::QueryLimits;
use ocelli_catalog::rules::Rules;
use ocelli_catalog::{Catalog, CatalogMetrics, CatalogOptions};
use ocelli_core::routing::{Queue, queues};
use ocelli_core::{AnalyzerName, SourceUri, Want};
use ocelli_media::{
    ConvertLimits, Converter, DecodeLimits, FetchLimits, Kept, Manners, ObjectOptions,
};
use ocelli_runtime::Settings;
use ocelli_runtime::settings::{AnalyzerSettings, Enabled, Kind};
use ocelli_worker::WorkerOptions;
use secrecy::{ExposeSecret, SecretString};

use crate::fault::Fault;
use crate::rules;

/// Connects to the broker of the settings. `role` shows in the broker's list of connections.
///
/// # Errors
/// When the broker is away or refuses; the message names its address without the password.
#[async_recursion]
pub async fn broker(
    settings: &Settings,
    role: &str,
    metrics: BrokerMetrics,
) -> Result<Broker, ConnectError> {
    let broker = &settings.broker;
    if broker.is_memory() {
        // A message is about a kilobyte, and these queues are this process's memory: the producer waits instead.
        let most = MemoryOptions::default().capacity_per_queue;
        let capacity = usize::try_from(broker.queue_capacity).map_or(most, |all| all.min(most));
        let options = MemoryOptions { capacity_per_queue: capacity };
        return Ok(Broker::memory_with(options, metrics));
    }
    Broker::rabbitmq(RabbitOptions {
        namespace: broker.namespace.clone(),
        connection_name: format!("{role}@{}", worker_name()),
        connect_timeout: broker.connect_timeout,
        operation_timeout: broker.operation_timeout,
        heartbeat: broker.heartbeat,
        confirm_window: broker.confirm_window,
        max_length: broker.queue_capacity,
        metrics,
        ..RabbitOptions::new(broker.url.expose())
    })
    .await
}

/// Opens the catalog of the settings and brings its schema up to date. Creates the data folder for an SQLite file.
///
/// # Errors
/// When the database is away, refuses, or is of a newer schema.
#[async_recursion]
pub async fn catalog(
    settings: &Settings,
    metrics: Option<CatalogMetrics>,
) -> Result<Catalog, Fault> {
    let url = settings.catalog.url.expose();
    if let Some(folder) = catalog_folder(settings) {
        std::fs::create_dir_all(folder).map_err(|error| {
            Fault::new(
                ocelli_runtime::ExitCode::ServiceAway,
                format!(
                    "cannot create the data folder '{}': {error}; choose another one with --data or data.dir",
                    folder.display()
                ),
            )
        })?;
    }
    let options = CatalogOptions {
        connect_timeout: settings
            .catalog
            .operation_timeout
            .min(CatalogOptions::default().connect_timeout),
        operation_timeout: settings.catalog.operation_timeout,
        connections: settings.catalog.connections,
        cache: settings.catalog.cache.0,
        log_size: settings.catalog.log_size.0,
        counted: settings.search.counted,
        near_distance: settings.near.distance,
        metrics,
        ..CatalogOptions::default()
    };
    Ok(Catalog::open(url, options).await?)
}

/// Where the catalog's file lies; none when it is a server's.
#[must_use]
pub fn catalog_folder(settings: &Settings) -> Option<&Path> {
    let url = settings.catalog.url.expose();
    let path = url.strip_prefix("sqlite://").or_else(|| url.strip_prefix("sqlite:"))?;
    Path::new(path).parent()
}

/// What a query may ask at most.
#[must_use]
pub fn query_limits(settings: &Settings) -> QueryLimits {
    let search = &settings.search;
    QueryLimits {
        characters: search.query_characters,
        terms: search.query_terms,
        depth: search.query_depth,
        term_characters: search.term_characters,
    }
}

/// Limits for decoders.
#[must_use]
pub fn decode_limits(settings: &Settings) -> DecodeLimits {
    let limits = &settings.limits;
    DecodeLimits {
        bytes: limits.image_bytes.bytes(),
        side: limits.image_side,
        pixels: limits.image_pixels,
        pages: limits.image_pages,
        memory: limits.decode_memory.bytes(),
    }
}

/// What makes PNG of AVIF and HEIC.
#[must_use]
pub fn converter(settings: &Settings) -> Converter {
    let limits = &settings.limits;
    Converter::find(ConvertLimits {
        deadline: limits.convert_deadline,
        memory: limits.convert_memory.bytes(),
    })
}

/// Limits for fetching.
#[must_use]
pub fn fetch_limits(settings: &Settings) -> FetchLimits {
    let limits = &settings.limits;
    FetchLimits {
        bytes: limits.image_bytes.bytes(),
        archive_bytes: limits.archive_bytes.bytes(),
        connect_timeout: limits.http_connect_timeout,
        read_timeout: limits.http_read_timeout,
        total_timeout: limits.http_total_timeout,
        redirects: limits.http_redirects,
        allow_private_hosts: limits.allow_private_hosts,
        robots_tags: settings.producer.obey_robots,
        images_only: true,
        objects: objects(settings),
        kept: Some(kept(settings)),
        allowed_hosts: limits.allowed_hosts.clone(),
    }
}

/// How the hosts of URLs are treated, by whoever fetches from them.
#[must_use]
pub fn manners(settings: &Settings) -> Manners {
    let producer = &settings.producer;
    Manners {
        connections: producer.host_connections,
        requests_per_second: producer.host_requests_per_second,
        longest_silence: producer.host_silence,
        away: producer.host_away,
        robots: producer.obey_robots,
    }
}

/// Where copies of images are kept: a checked setting.
#[must_use]
pub fn kept(settings: &Settings) -> Kept {
    let Some(text) = &settings.data.kept else {
        return Kept::Folder(settings.data.dir.join("kept"));
    };
    let uri: Option<SourceUri> = text.parse().ok();
    match uri.and_then(|uri| uri.object()) {
        Some(prefix) => Kept::Bucket(prefix),
        None => Kept::Folder(text.into()),
    }
}

/// Who reads and writes which buckets.
fn objects(settings: &Settings) -> ObjectOptions {
    let objects = &settings.objects;
    let secret = |secret: &Option<SecretString>| {
        secret.as_ref().map(|secret| secret.expose_secret().trim().to_owned())
    };
    let key = objects.access_key.as_ref().map(|key| key.trim().to_owned());
    ObjectOptions {
        endpoint: objects.endpoint.clone(),
        region: objects.region.clone(),
        credentials: key.zip(secret(&objects.secret_key)),
        gs_endpoint: objects.gs_endpoint.clone(),
        gs_key: secret(&objects.gs_key),
        az_endpoint: objects.az_endpoint.clone(),
        az_account: objects.az_account.clone(),
        az_key: secret(&objects.az_key),
        buckets: objects.buckets.clone(),
    }
}

/// The pipe's options for one analyzer.
#[must_use]
pub fn worker_options(settings: &Settings, analyzer: &AnalyzerSettings) -> WorkerOptions {
    WorkerOptions {
        policy: settings.retry_policy(),
        job_deadline: analyzer.job_deadline,
        drain: settings.worker.drain,
        lease: analyzer.claim.then_some(settings.worker.claim_lease),
        answer_lease: settings.worker.answer_lease,
        announce_every: settings.worker.announce_every,
        probe_cap: settings.worker.probe_every,
        manners: manners(settings),
        keep_urls: settings.producer.keep_urls,
        worker: worker_name(),
        ..WorkerOptions::default()
    }
}

/// `host:pid`: how a process names itself to people.
#[must_use]
pub fn worker_name() -> String {
    worker_name_of(&std::process::id().to_string())
}

/// What the process with this id on this host calls, or called, itself.
#[must_use]
pub fn worker_name_of(process: &str) -> String {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let host = host.trim();
    format!("{}:{process}", if host.is_empty() { "host" } else { host })
}

/// The analyzers of a kind that are not switched off, in the order of display; narrowed to `only` when names are given.
///
/// # Errors
/// When a name in `only` is not configured, of another kind, or switched off.
pub fn chosen<'a>(
    settings: &'a Settings,
    kind: Kind,
    only: &[AnalyzerName],
) -> Result<Vec<&'a AnalyzerSettings>, Fault> {
    let usage = |message| Fault::new(ocelli_runtime::ExitCode::Usage, message);
    let known = || {
        let names: Vec<_> = settings
            .analyzers
            .iter()
            .filter(|analyzer| analyzer.kind() == kind)
            .map(|analyzer| analyzer.name.as_str())
            .collect();
        names.join(", ")
    };
    for name in only {
        match settings.analyzer(name) {
            Some(analyzer) if analyzer.kind() != kind => {
                return Err(usage(format!(
                    "the analyzer '{name}' is of kind '{}'; this program runs those of kind '{}': {}",
                    analyzer.kind().name(),
                    kind.name(),
                    known()
                )));
            }
            Some(analyzer) if analyzer.enabled == Enabled::No => {
                return Err(usage(format!(
                    "the analyzer '{name}' is switched off; set analyzers.\"{name}\".enabled to true or \"auto\""
                )));
            }
            Some(_) => {}
            None => {
                return Err(usage(format!(
                    "there is no analyzer '{name}' in the settings; there are: {}",
                    known()
                )));
            }
        }
    }
    let chosen: Vec<_> = settings
        .analyzers
        .iter()
        .filter(|analyzer| analyzer.kind() == kind && analyzer.enabled != Enabled::No)
        .filter(|analyzer| only.is_empty() || only.contains(&analyzer.name))
        .collect();
    if chosen.is_empty() {
        return Err(usage(format!(
            "no analyzer of kind '{}' is switched on; there are: {}",
            kind.name(),
            known()
        )));
    }
    Ok(chosen)
}

/// All queues of the fleet: those of every analyzer that is not switched off.
#[must_use]
pub fn topology(settings: &Settings) -> Vec<Queue> {
    let analyzers: BTreeSet<_> = settings
        .analyzers
        .iter()
        .filter(|analyzer| analyzer.enabled != Enabled::No)
        .map(|analyzer| analyzer.name.clone())
        .collect();
    queues(&analyzers.into_iter().collect::<Vec<_>>(), &settings.broker.delay_steps)
}

/// Refuses the in-process queues for a program that shares its queues with others.
///
/// # Errors
/// When `broker.url` is `memory:`.
pub fn needs_broker(settings: &Settings, program: &str) -> Result<(), Fault> {
    if settings.broker.is_memory() {
        return Err(Fault::new(
            ocelli_runtime::ExitCode::Usage,
            format!(
                "{program} needs a RabbitMQ that it shares with the other programs, but broker.url is 'memory:'; \
                 set broker.url = \"amqp://user:password@host:5672/vhost\", or use 'ocelli run', which needs no server"
            ),
        ));
    }
    Ok(())
}

/// What each dependent analyzer needs.
#[must_use]
pub fn needs(settings: &Settings) -> BTreeMap<AnalyzerName, Vec<AnalyzerName>> {
    let dependent = settings.analyzers.iter().filter(|analyzer| !analyzer.needs().is_empty());
    dependent.map(|analyzer| (analyzer.name.clone(), analyzer.needs().to_vec())).collect()
}

/// The analyzers that are asked of the first of near-identical images only.
#[must_use]
pub fn only_first(settings: &Settings) -> BTreeSet<AnalyzerName> {
    let wanted = settings.analyzers.iter().filter(|one| one.enabled != Enabled::No);
    wanted.filter(|one| one.only_first).map(|one| one.name.clone()).collect()
}

/// The wanted analyzers, each behind those that it waits for.
#[must_use]
pub fn by_need<'a>(settings: &'a Settings, rules: &Rules) -> Vec<&'a AnalyzerSettings> {
    // Settings with a circle were refused.
    rules::ordered(settings, rules).unwrap_or_else(|_| {
        settings.analyzers.iter().filter(|one| one.enabled != Enabled::No).collect()
    })
}

/// Why an analyzer is off although it could work: something that it needs is, or that a rule about it asks about.
#[must_use]
pub fn off_with_its_needs(analyzer: &AnalyzerSettings, rules: &Rules, off: &[Off]) -> Option<Off> {
    let because = |one: &Off, why: String| Off {
        analyzer: analyzer.name.clone(),
        reason: format!("{why}, which is off: {}", one.reason),
    };
    let missing = off.iter().find(|off| analyzer.needs().contains(&off.analyzer));
    if let Some(missing) = missing {
        return Some(because(missing, format!("it needs {}", missing.analyzer)));
    }
    rules.of(&analyzer.name).find_map(|rule| {
        let missing = off.iter().find(|off| rule.after().contains(&off.analyzer))?;
        let why = format!("its rule '{}' asks about {}", rule.text().name, missing.analyzer);
        Some(because(missing, why))
    })
}

/// An analyzer that is configured but not asked, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Off {
    /// Which.
    pub analyzer: AnalyzerName,
    /// Why, and how to turn it on.
    pub reason: String,
}

/// One line per reason: a model server that is away switches all of its analyzers off.
#[must_use]
pub fn off_lines(off: &[Off]) -> Vec<String> {
    let mut by_reason: Vec<(&str, Vec<&str>)> = Vec::new();
    for one in off {
        match by_reason.iter_mut().find(|(reason, _)| *reason == one.reason) {
            Some((_, names)) => names.push(one.analyzer.as_str()),
            None => by_reason.push((&one.reason, vec![one.analyzer.as_str()])),
        }
    }
    let line = |(reason, names): (&str, Vec<&str>)| {
        let verb = if names.len() == 1 { "is" } else { "are" };
        format!("{} {verb} off: {reason}", names.join(" and "))
    };
    by_reason.into_iter().map(line).collect()
}

/// How long a worker may have been silent to count as present.
const PRESENT: jiff::SignedDuration = jiff::SignedDuration::from_secs(20);

/// Which analyzers a producer asks, at which revision, and which it leaves out. An analyzer with `enabled = "auto"` is
/// asked when a worker has lately said that it can work.
///
/// # Errors
/// When the catalog does not answer.
#[async_recursion]
pub async fn wants(settings: &Settings, catalog: &Catalog) -> Result<(Vec<Want>, Vec<Off>), Fault> {
    let revisions = catalog.revisions().await?;
    let workers = catalog.workers(PRESENT).await?;
    let (mut wants, mut off) = (Vec::new(), Vec::new());
    let rules = rules::rules(settings)?;
    for analyzer in by_need(settings, &rules) {
        let name = &analyzer.name;
        if let Some(missing) = off_with_its_needs(analyzer, &rules, &off) {
            off.push(missing);
            continue;
        }
        let said = workers.iter().map(|worker| &worker.said);
        let here: Vec<_> = said.filter(|worker| worker.analyzer == *name).collect();
        // A worker that is paused could work: what it is asked waits for it.
        let ready = here.iter().any(|worker| worker.waiting.is_none() || worker.paused);
        match analyzer.enabled {
            Enabled::No => continue,
            Enabled::Auto if !ready => {
                let reason = match here.first().and_then(|worker| worker.waiting.as_ref()) {
                    Some(waiting) => waiting.clone(),
                    None => format!(
                        "no worker has announced it; start ocelli-{}-worker, then produce again",
                        analyzer.kind().name()
                    ),
                };
                off.push(Off { analyzer: name.clone(), reason });
            }
            Enabled::Auto | Enabled::Yes => {
                wants.push(Want { analyzer: name.clone(), revision: revisions.get(name).cloned() });
            }
        }
    }
    in_configured_order(settings, &mut wants);
    Ok((wants, off))
}

/// Puts wants into the order of display.
pub fn in_configured_order(settings: &Settings, wants: &mut [Want]) {
    let place = |want: &Want| settings.analyzers.iter().position(|one| one.name == want.analyzer);
    wants.sort_by_key(place);
}
