//! `ocelli batch`: how far a batch is, what became of its references, and orders about it.

use std::collections::BTreeMap;

use clap::{Args, Subcommand};
use jiff::Timestamp;
use ocelli_catalog::{
    BatchCount, BatchOrder, Catalog, Order, Reference, ReferenceCursor, ReferenceOutcome,
};
use ocelli_core::wire::BatchReport;
use ocelli_core::{AnalyzerName, BatchId};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::commands::status::duration;
use crate::table::table;
use crate::{archive, output};

/// References read and printed at once.
const PAGE: u32 = 1000;

/// Batches of one name that are told apart.
const SAME_NAME: u32 = 50;

#[derive(Debug, Subcommand)]
pub(crate) enum BatchCommand {
    /// The latest batches, with what is ordered about them.
    List(ListArgs),
    /// How far a batch is; or what became of each of its references.
    Show(ShowArgs),
    /// Let its jobs wait; other batches go on.
    Pause(NameArgs),
    /// Let a paused batch go on.
    Resume(NameArgs),
    /// End a batch: what has not begun is taken back. What has an answer keeps it.
    Cancel(NameArgs),
}

#[derive(Debug, Args)]
pub(crate) struct ListArgs {
    /// At most this many.
    #[arg(long, default_value_t = 20)]
    limit: u32,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ShowArgs {
    #[command(flatten)]
    name: NameArgs,
    /// Print what became of each reference, one JSON object per line.
    #[arg(long, conflicts_with = "json")]
    references: bool,
    /// With --references: only those that failed.
    #[arg(long, requires = "references")]
    failed: bool,
    /// Print JSON.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
pub(crate) struct NameArgs {
    /// Its name (the latest of that name is meant) or its id.
    #[arg(value_name = "BATCH")]
    batch: String,
}

pub(crate) async fn batch(settings: &Settings, command: &BatchCommand) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let done = match command {
        BatchCommand::List(arguments) => list(&catalog, arguments).await,
        BatchCommand::Show(arguments) => show(&catalog, arguments).await,
        BatchCommand::Pause(arguments) => order(&catalog, arguments, BatchOrder::Paused).await,
        BatchCommand::Resume(arguments) => order(&catalog, arguments, BatchOrder::Resumed).await,
        BatchCommand::Cancel(arguments) => order(&catalog, arguments, BatchOrder::Cancelled).await,
    };
    catalog.close().await;
    done.map(|()| ExitCode::Ok)
}

/// The batch that a person means.
pub(crate) async fn find(catalog: &Catalog, text: &str) -> Result<BatchReport, Fault> {
    let mut found = catalog.find_batches(text, SAME_NAME).await?;
    if found.is_empty() {
        let text: String = text.chars().filter(|c| !c.is_control()).take(200).collect();
        return Err(Fault::new(
            ExitCode::Usage,
            format!("there is no batch '{text}'; 'ocelli batch list' names them"),
        ));
    }
    let latest = found.swap_remove(0);
    if !found.is_empty() {
        eprintln!(
            "{} batches are called '{}'; the latest is meant, {}",
            found.len() + 1,
            one_line(&latest.name),
            latest.batch
        );
    }
    Ok(latest)
}

async fn order(catalog: &Catalog, arguments: &NameArgs, order: BatchOrder) -> Result<(), Fault> {
    let report = find(catalog, &arguments.batch).await?;
    let changed = catalog.order_batch(report.batch, order, Timestamp::now()).await?;
    let now = catalog.batch_order(report.batch).await?;
    let name = one_line(&report.name);
    let said = match (order, changed, now) {
        (BatchOrder::Paused | BatchOrder::Resumed, false, Some(BatchOrder::Cancelled)) => {
            return Err(Fault::new(
                ExitCode::Usage,
                format!(
                    "'{name}' was cancelled, which is final; produce its sources again to go on with it"
                ),
            ));
        }
        (BatchOrder::Paused, true, _) => {
            "is paused: what has begun is finished, and nothing else begins"
        }
        (BatchOrder::Paused, false, _) => "was paused already",
        (BatchOrder::Resumed, true, _) => "goes on within seconds",
        (BatchOrder::Resumed, false, _) => "was not paused",
        (BatchOrder::Cancelled, true, _) => {
            "is cancelled: what has begun is finished, and the rest is taken back"
        }
        (BatchOrder::Cancelled, false, _) => "was cancelled already",
    };
    output::print(&format!("'{name}' {said}"))
}

/// A batch with what is ordered about it.
#[derive(Debug, Serialize)]
struct Row {
    #[serde(flatten)]
    report: BatchReport,
    state: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    order: Option<Order>,
}

impl Row {
    fn new(report: BatchReport, order: Option<Order>) -> Self {
        let state = match order.map(|order| order.state) {
            Some(BatchOrder::Paused) => "paused",
            Some(BatchOrder::Cancelled) => "cancelled",
            _ if report.finished => "listed",
            _ => "open",
        };
        Self { report, state, order }
    }

    fn cells(&self) -> Vec<String> {
        let report = &self.report;
        vec![
            crate::layout::time(report.started_at),
            self.state.to_owned(),
            report.accepted.to_string(),
            report.known.to_string(),
            report.skipped.to_string(),
            report.problems.to_string(),
            one_line(&report.name),
            report.batch.to_string(),
        ]
    }
}

async fn list(catalog: &Catalog, arguments: &ListArgs) -> Result<(), Fault> {
    let orders = catalog.batch_orders().await?;
    let reports = catalog.batches(arguments.limit).await?;
    let row = |report: BatchReport| {
        let order = orders.get(&report.batch).copied();
        Row::new(report, order)
    };
    let rows: Vec<Row> = reports.into_iter().map(row).collect();
    if arguments.json {
        return output::json(&rows);
    }
    if rows.is_empty() {
        return output::print("no batch yet; 'ocelli run FOLDER' makes one");
    }
    let cells: Vec<_> = rows.iter().map(Row::cells).collect();
    let header = ["batch", "state", "accepted", "known", "passed over", "failed", "name", "id"];
    output::print(&table(&header, &cells, false))
}

/// How far a batch is.
#[derive(Debug, Serialize)]
struct Account {
    #[serde(flatten)]
    row: Row,
    /// References a second while it was listed.
    references_per_second: f64,
    analyzers: BTreeMap<AnalyzerName, Part>,
    /// When the slowest analyzer is through with it, at the speed of the last minute and if it did nothing else.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_seconds: Option<u64>,
}

#[derive(Debug, Serialize)]
struct Part {
    #[serde(flatten)]
    count: BatchCount,
    per_minute: u64,
}

impl Part {
    fn eta(&self) -> Option<u64> {
        let open = self.count.open;
        (open > 0 && self.per_minute > 0).then(|| (open * 60).div_ceil(self.per_minute))
    }
}

impl Account {
    async fn read(catalog: &Catalog, report: BatchReport) -> Result<Self, Fault> {
        let batch = report.batch;
        let order = catalog.batch_orders().await?.get(&batch).copied();
        let mut speeds = catalog.status(Timestamp::now()).await?.analyzers;
        let counts = catalog.batch_counts(batch).await?;
        let part = |(name, count): (AnalyzerName, BatchCount)| {
            let speed = speeds.remove(&name).unwrap_or_default().finished_last_minute;
            (name, Part { count, per_minute: speed })
        };
        let analyzers: BTreeMap<_, _> = counts.into_iter().map(part).collect();
        let seconds = report.at.duration_since(report.started_at).as_secs_f64();
        let references = report.accepted + report.skipped + report.problems;
        let eta_seconds = analyzers.values().filter_map(Part::eta).max();
        Ok(Self {
            references_per_second: if seconds > 0.0 { references as f64 / seconds } else { 0.0 },
            analyzers,
            eta_seconds: eta_seconds
                .filter(|_| order.is_none_or(|order| order.state == BatchOrder::Resumed)),
            row: Row::new(report, order),
        })
    }

    fn text(&self) -> String {
        let report = &self.row.report;
        let mut lines = vec![
            format!("{} ({}), {}", one_line(&report.name), report.batch, self.row.state),
            format!(
                "{} accepted ({} known), {} passed over, {} failed; {:.0} references/s",
                report.accepted,
                report.known,
                report.skipped,
                report.problems,
                self.references_per_second
            ),
        ];
        if let Some(order) = self.row.order.filter(|order| order.withdrawn > 0) {
            lines.push(format!("{} jobs were taken back", order.withdrawn));
        }
        if !self.analyzers.is_empty() {
            let cells = |(name, part): (&AnalyzerName, &Part)| {
                let count = &part.count;
                let counts = [count.done, count.empty, count.skipped, count.failed, count.open];
                let mut cells = vec![name.to_string()];
                cells.extend(counts.map(|count| count.to_string()));
                cells.push(part.eta().map_or_else(|| "-".to_owned(), duration));
                cells
            };
            let rows: Vec<_> = self.analyzers.iter().map(cells).collect();
            let header = ["analyzer", "done", "empty", "skipped", "failed", "open", "ETA"];
            lines.push(String::new());
            lines.push(table(&header, &rows, true));
        }
        if report.problems > 0 {
            lines.push(String::new());
            lines.push(format!(
                "what failed: ocelli batch show {id} --references --failed\n\
                 try that again with: ocelli produce --retry failed --of {id}",
                id = report.batch
            ));
        }
        lines.join("\n")
    }
}

async fn show(catalog: &Catalog, arguments: &ShowArgs) -> Result<(), Fault> {
    let report = find(catalog, &arguments.name.batch).await?;
    if arguments.references {
        return references(catalog, report.batch, arguments.failed).await;
    }
    let account = Account::read(catalog, report).await?;
    if arguments.json { output::json(&account) } else { output::print(&account.text()) }
}

async fn references(catalog: &Catalog, batch: BatchId, failed: bool) -> Result<(), Fault> {
    let mut after: Option<ReferenceCursor> = None;
    loop {
        let page = catalog.references(batch, after.as_ref(), failed, PAGE).await?;
        let wanted = |one: &&Reference| !failed || one.outcome == ReferenceOutcome::Failed;
        let mut text = String::new();
        for reference in page.references.iter().filter(wanted) {
            let line = serde_json::to_string(reference)
                .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
            text.push_str(&line);
            text.push('\n');
        }
        output::print(&text)?;
        after = page.next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn one_line(text: &str) -> String {
    text.chars().filter(|c| !c.is_control()).take(80).collect()
}
