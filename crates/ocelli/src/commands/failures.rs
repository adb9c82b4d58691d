//! `ocelli failures`

mod age;
mod detail;

pub(crate) use age::parse as parse_age;

use std::collections::BTreeSet;

use jiff::Timestamp;
use ocelli_broker::{Broker, BrokerMetrics};
use ocelli_catalog::{Catalog, DeadLetter, Failure, FailureFilter};
use ocelli_collector::{CollectorMetrics, needed_text, requeue_jobs};
use ocelli_core::routing::Queue;
use ocelli_core::wire::Problem;
use ocelli_core::{AnalyzerName, Digest};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};
use serde::Serialize;

use crate::arguments::{FailuresArgs, FailuresCommand};
use crate::table::table;
use crate::{archive, output};

/// Unreadable references shown beside failed analyses.
const PROBLEMS: u32 = 1000;

/// How many failures are reopened before their jobs are enqueued: whoever stops the command leaves few for the sweeper.
const AT_ONCE: u32 = 500;

pub(crate) async fn failures(
    settings: &Settings,
    command: &FailuresCommand,
) -> Result<ExitCode, Fault> {
    match command {
        FailuresCommand::List(arguments) => list(settings, arguments).await,
        FailuresCommand::Show(arguments) => detail::show(settings, arguments).await,
        FailuresCommand::Retry(arguments) => retry(settings, arguments).await,
        FailuresCommand::Discard(arguments) => discard(settings, arguments).await,
    }
}

fn filter(arguments: &FailuresArgs) -> FailureFilter {
    let now = Timestamp::now();
    let ago = |age: jiff::SignedDuration| now.saturating_sub(age).unwrap_or(Timestamp::MIN);
    FailureFilter {
        analyzer: arguments.analyzer.clone(),
        class: arguments.class,
        reason_contains: arguments.reason.clone(),
        batch: arguments.batch,
        after: arguments.newer_than.map(ago),
        before: arguments.older_than.map(ago),
        behind: None,
        limit: arguments.limit,
    }
}

/// Whether the filter asks for something that a message that died does not have.
fn asks_for_jobs(arguments: &FailuresArgs) -> bool {
    arguments.analyzer.is_some() || arguments.class.is_some() || arguments.batch.is_some()
}

async fn list(settings: &Settings, arguments: &FailuresArgs) -> Result<ExitCode, Fault> {
    #[derive(Serialize)]
    #[serde(tag = "what", rename_all = "snake_case")]
    enum Line<'a> {
        Analysis(&'a Failure),
        Message(&'a DeadLetter),
        Reference(&'a Problem),
    }
    let catalog = archive::open(settings).await?;
    let filter = filter(arguments);
    let failures = catalog.failures(&filter).await?;
    let letters =
        if asks_for_jobs(arguments) { Vec::new() } else { catalog.dead_letters(&filter).await? };
    let narrowed = arguments.analyzer.is_some()
        || arguments.class.is_some()
        || arguments.reason.is_some()
        || arguments.older_than.is_some()
        || arguments.newer_than.is_some();
    let problems =
        if narrowed { Vec::new() } else { catalog.problems(arguments.batch, PROBLEMS).await? };
    catalog.close().await;
    if arguments.json {
        for failure in &failures {
            output::json_line(&Line::Analysis(failure))?;
        }
        for letter in &letters {
            output::json_line(&Line::Message(letter))?;
        }
        for problem in &problems {
            output::json_line(&Line::Reference(problem))?;
        }
        return Ok(ExitCode::Ok);
    }
    let mut blocks = Vec::new();
    if !failures.is_empty() {
        let rows: Vec<_> = failures.iter().map(failure_cells).collect();
        let header = ["image", "analyzer", "class", "attempts", "source", "reason"];
        blocks.push(table(&header, &rows, false));
    }
    if !letters.is_empty() {
        let rows: Vec<_> = letters.iter().map(letter_cells).collect();
        blocks.push(table(&["message died in", "when", "id", "bytes", "reason"], &rows, false));
    }
    if !problems.is_empty() {
        let rows: Vec<_> = problems
            .iter()
            .map(|problem| vec![one_line(&problem.reference), one_line(&problem.reason)])
            .collect();
        blocks.push(table(&["unreadable reference", "reason"], &rows, false));
    }
    if blocks.is_empty() {
        blocks.push("nothing failed".to_owned());
    } else if !failures.is_empty() {
        blocks.push(
            "everything about one of them: ocelli failures show IMAGE\n\
             try them again with: ocelli failures retry (same options)"
                .to_owned(),
        );
    }
    output::print(&blocks.join("\n\n"))?;
    Ok(ExitCode::Ok)
}

fn failure_cells(failure: &Failure) -> Vec<String> {
    vec![
        failure.digest.short(),
        failure.analyzer.to_string(),
        failure.class.to_string(),
        failure.attempts.to_string(),
        failure.source.as_ref().map(ToString::to_string).unwrap_or_default(),
        one_line(&failure.reason),
    ]
}

fn letter_cells(letter: &DeadLetter) -> Vec<String> {
    vec![
        one_line(&letter.queue),
        crate::layout::time(letter.at),
        if letter.message_id.is_empty() { "-".to_owned() } else { one_line(&letter.message_id) },
        letter.size.to_string(),
        one_line(&letter.reason),
    ]
}

async fn retry(settings: &Settings, arguments: &FailuresArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let (reopened, enqueued) = reopen(settings, &catalog, &filter(arguments)).await?;
    catalog.close().await;
    if arguments.json {
        let enqueued = enqueued.unwrap_or(0);
        let summary = serde_json::json!({ "reopened": reopened, "enqueued": enqueued });
        output::json_line(&summary)?;
    } else {
        let next = match enqueued {
            None => "the next 'ocelli run' does them again".to_owned(),
            Some(enqueued) => format!("{enqueued} jobs were enqueued for the fleet"),
        };
        output::print(&format!("{reopened} failed analyses are open again; {next}"))?;
    }
    Ok(ExitCode::Ok)
}

/// Opens failures again and enqueues their jobs: how many, and how many jobs where there is a fleet to enqueue them for.
pub(crate) async fn reopen(
    settings: &Settings,
    catalog: &Catalog,
    filter: &FailureFilter,
) -> Result<(u64, Option<u64>), Fault> {
    // The broker first: a failure that is opened again and then enqueued nowhere would wait for the sweeper.
    let fleet = if settings.broker.is_memory() { None } else { Some(Fleet::join(settings).await?) };
    let (mut reopened, mut enqueued, mut left) = (0_u64, 0_u64, filter.limit);
    while left > 0 {
        let part = FailureFilter { limit: left.min(AT_ONCE), ..filter.clone() };
        let jobs = catalog.reopen_failures(&part).await?;
        if jobs.is_empty() {
            break;
        }
        left = left.saturating_sub(part.limit);
        reopened += jobs.len() as u64;
        ocelli_failpoint::reached(ocelli_failpoint::Failpoint::FailuresReopened);
        if let Some(fleet) = &fleet {
            enqueued += fleet.enqueue(catalog, &jobs).await?;
        }
    }
    let Some(fleet) = fleet else { return Ok((reopened, None)) };
    fleet.broker.close().await;
    Ok((reopened, Some(enqueued)))
}

async fn discard(settings: &Settings, arguments: &FailuresArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let filter = filter(arguments);
    let discarded = catalog.discard_failures(&filter).await?;
    let letters =
        if asks_for_jobs(arguments) { 0 } else { catalog.discard_letters(&filter).await? };
    catalog.close().await;
    if arguments.json {
        output::json_line(&serde_json::json!({ "discarded": discarded, "messages": letters }))?;
    } else {
        output::print(&format!(
            "{discarded} failed analyses now count as skipped by the rule 'discarded'; {letters} dead messages are \
             marked as seen"
        ))?;
    }
    Ok(ExitCode::Ok)
}

/// The broker of a fleet, for enqueueing.
struct Fleet {
    broker: Broker,
    metrics: CollectorMetrics,
    needed_text: usize,
}

impl Fleet {
    async fn join(settings: &Settings) -> Result<Self, Fault> {
        // Nobody asks this process for its numbers.
        let registry = prometheus::Registry::new();
        let metrics = BrokerMetrics::register(&registry)?;
        let broker = parts::broker(settings, "ocelli-failures", metrics).await?;
        broker.provide(&parts::topology(settings)).await?;
        let metrics = CollectorMetrics::register(&registry)?;
        Ok(Self { broker, metrics, needed_text: needed_text(settings) })
    }

    async fn enqueue(
        &self,
        catalog: &Catalog,
        jobs: &[(Digest, AnalyzerName)],
    ) -> Result<u64, Fault> {
        // Also of analyzers that are switched off here: their jobs wait until a worker comes.
        let names: BTreeSet<_> = jobs.iter().map(|(_, analyzer)| analyzer.clone()).collect();
        let queues: Vec<_> = names
            .into_iter()
            .flat_map(|name| [Queue::Jobs(name.clone()), Queue::Bulk(name)])
            .collect();
        self.broker.provide(&queues).await?;
        requeue_jobs(&self.broker, catalog, jobs, self.needed_text, &self.metrics)
            .await
            .map_err(|error| Fault::caused(ExitCode::ServiceAway, &error))
    }
}

fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
