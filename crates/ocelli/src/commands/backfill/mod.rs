//! `ocelli backfill`: one analyzer, at its present revision, over images that are in the archive already.
//!
//! With a fleet this command enqueues and ends; without one it is the fleet, and ends when everything that can be done is done.

mod local;
mod sample;

use jiff::Timestamp;
use ocelli_broker::{Broker, BrokerMetrics};
use ocelli_catalog::query::Query;
use ocelli_catalog::{Backfill, BackfillProgress, BackfillState, Begun, Catalog};
use ocelli_collector::{BackfillParts, Backfilled, CollectorMetrics, needed_text};
use ocelli_core::routing::Queue;
use ocelli_core::spend::parse_micros;
use ocelli_core::{AnalyzerName, BatchId, Digest, Limit, Micros, Revision};
use ocelli_runtime::settings::Reader;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::rules::rules;
use ocelli_wiring::{Fault, Process, parts};
use serde::Serialize;

use crate::arguments::{BackfillArgs, BackfillCommand};
use crate::commands::plan::known;
use crate::commands::search::parse;
use crate::table::table;
use crate::{archive, output};

/// Jobs that are taken back in one transaction.
const WITHDRAWN_AT_ONCE: u32 = 500;

pub(crate) async fn backfill(
    process: Process,
    arguments: &BackfillArgs,
) -> Result<ExitCode, Fault> {
    let settings = process.settings.clone();
    match &arguments.command {
        None => begin(process, arguments).await,
        Some(BackfillCommand::List(arguments)) => list(&settings, arguments.json).await,
        Some(BackfillCommand::Pause(named)) => pause(&settings, &named.name).await,
        Some(BackfillCommand::Resume(named)) => resume(process, &named.name).await,
        Some(BackfillCommand::Cancel(named)) => cancel(&settings, &named.name).await,
    }
}

/// What is asked for.
struct Wish {
    analyzer: AnalyzerName,
    query: Query,
    name: Option<String>,
    cap: Option<Limit>,
    sample: Option<u32>,
    json: bool,
}

async fn begin(process: Process, arguments: &BackfillArgs) -> Result<ExitCode, Fault> {
    let analyzer =
        arguments.analyzer.clone().ok_or_else(|| usage("--analyzer names whom to ask"))?;
    known(&process.settings, &analyzer)?;
    let wish = Wish {
        query: parse(&process.settings, &arguments.query)?,
        name: arguments.name.as_deref().map(named).transpose()?,
        cap: cap(&process.settings, &analyzer, arguments)?,
        sample: arguments.sample,
        json: arguments.json,
        analyzer,
    };
    if process.settings.broker.is_memory() {
        local::run(process, &wish).await
    } else {
        enqueue(process, &wish).await
    }
}

/// `200`, `200 EUR`, or tokens.
fn cap(
    settings: &Settings,
    analyzer: &AnalyzerName,
    arguments: &BackfillArgs,
) -> Result<Option<Limit>, Fault> {
    if let Some(tokens) = arguments.max_tokens {
        return Ok(Some(Limit::Tokens(tokens)));
    }
    let Some(text) = &arguments.max_cost else { return Ok(None) };
    let llm = settings.analyzer(analyzer).and_then(|one| match &one.reader {
        Reader::Llm(llm) => Some(llm),
        Reader::Ocr(_) => None,
    });
    let Some(llm) = llm.filter(|llm| !llm.prices.is_empty() || !llm.endpoints.is_empty()) else {
        return Err(usage(&format!(
            "what '{analyzer}' reads costs nothing: --max-cost bounds nothing"
        )));
    };
    let priced = !llm.prices.is_empty() || llm.endpoints.iter().any(|one| one.prices.is_some());
    if !priced {
        return Err(usage(&format!(
            "'{analyzer}' has no prices in the settings, so --max-cost would never be reached; set analyzers.\"{analyzer}\".prices, \
             or bound the tokens with --max-tokens"
        )));
    }
    let text = text.trim();
    let (amount, currency) = text.split_once(' ').unwrap_or((text, &llm.currency));
    if currency != llm.currency {
        return Err(usage(&format!(
            "the prices of '{analyzer}' are in {}, not in {currency}",
            llm.currency
        )));
    }
    let micros = parse_micros(amount).ok_or_else(|| {
        usage(&format!("--max-cost takes an amount with at most six decimals, such as 200 or \"0.5 USD\", not '{text}'"))
    })?;
    Ok(Some(Limit::Money { micros, currency: currency.to_owned() }))
}

/// Names are those of batches, in which budgets take `*` for any characters.
fn named(name: &str) -> Result<String, Fault> {
    let fits = |c: char| c.is_alphanumeric() || "-_.+:/ ".contains(c);
    if (1..=100).contains(&name.chars().count()) && name.trim() == name && name.chars().all(fits) {
        return Ok(name.to_owned());
    }
    Err(usage("a backfill's --name has 1 to 100 letters, digits, blanks and - _ . + : /"))
}

/// Analyzer, revision and query make the name, so that the same command goes on with the same backfill.
fn name_of(analyzer: &AnalyzerName, revision: &Revision, query: &Query) -> String {
    let revision = revision.as_str();
    let short = revision.get(..8).unwrap_or(revision);
    let query = query.to_string();
    let which = if query.is_empty() {
        String::new()
    } else {
        format!("-{}", &Digest::of(query.as_bytes()).to_string()[..6])
    };
    format!("backfill-{analyzer}-{short}{which}")
}

/// Notes the backfill in the catalog.
async fn note(catalog: &Catalog, wish: &Wish, revision: &Revision) -> Result<Backfill, Fault> {
    let asked = Backfill {
        batch: BatchId::new(uuid::Uuid::now_v7()),
        name: wish.name.clone().unwrap_or_else(|| name_of(&wish.analyzer, revision, &wish.query)),
        analyzer: wish.analyzer.clone(),
        revision: revision.clone(),
        query: wish.query.to_string(),
        state: BackfillState::Running,
        cap: wish.cap.clone(),
        created_at: Timestamp::now(),
    };
    match catalog.begin_backfill(&asked).await? {
        Begun::Running(backfill) => Ok(backfill),
        Begun::Paused(backfill) => Err(usage(&format!(
            "the backfill '{0}' is paused; 'ocelli backfill resume {0}' lets it go on",
            backfill.name
        ))),
        Begun::Taken(other) => Err(usage(&format!(
            "there is a backfill '{}' for {} at revision {} over '{}'; give this one another --name",
            other.name, other.analyzer, other.revision, other.query
        ))),
    }
}

/// The images of a sample: the same ones each time, whether they have an answer or not.
async fn sampled(
    catalog: &Catalog,
    query: &Query,
    wish: &Wish,
) -> Result<Option<Vec<Digest>>, Fault> {
    Ok(match wish.sample {
        Some(most) => Some(catalog.lacking(query, None, None, most).await?),
        None => None,
    })
}

async fn parts_of(
    settings: &Settings,
    broker: Broker,
    catalog: &Catalog,
    wish: &Wish,
) -> Result<BackfillParts, Fault> {
    let query = rules(settings)?.narrow(&wish.query, &wish.analyzer);
    Ok(BackfillParts {
        broker,
        catalog: catalog.clone(),
        only: sampled(catalog, &query, wish).await?,
        query,
        needs: parts::needs(settings).remove(&wish.analyzer).unwrap_or_default(),
        needed_text: needed_text(settings),
        // Nobody asks this process for its numbers.
        metrics: CollectorMetrics::register(&prometheus::Registry::new())?,
    })
}

/// For a fleet.
async fn enqueue(process: Process, wish: &Wish) -> Result<ExitCode, Fault> {
    let settings = &process.settings;
    let catalog = archive::open(settings).await?;
    let revision = catalog.revisions().await?.remove(&wish.analyzer).ok_or_else(|| {
        usage(&format!(
            "the revision of '{}' is not known: no worker has announced it yet; start one, then try again",
            wish.analyzer
        ))
    })?;
    let registry = prometheus::Registry::new();
    let metrics = BrokerMetrics::register(&registry)?;
    let broker = parts::broker(settings, "ocelli-backfill", metrics).await?;
    broker.provide(&parts::topology(settings)).await?;
    let queues = [Queue::Jobs(wish.analyzer.clone()), Queue::Bulk(wish.analyzer.clone())];
    broker.provide(&queues).await?;
    let backfill = note(&catalog, wish, &revision).await?;
    let work = parts_of(settings, broker.clone(), &catalog, wish).await?;
    let done = ocelli_collector::backfill(&work, &backfill, &process.shutdown)
        .await
        .map_err(|error| Fault::caused(ExitCode::ServiceAway, &error))?;
    let interrupted = process.shutdown.is_cancelled();
    if let Some(sample) = work.only.filter(|_| !interrupted)
        && sample::wait(&catalog, &backfill, &sample, &process.shutdown).await?
    {
        sample::print(settings, &catalog, &backfill, &sample).await?;
    }
    let report = Report::new(&catalog, &backfill, wish, &done).await?;
    broker.close().await;
    catalog.close().await;
    report.say(wish.json)?;
    process.end().await;
    Ok(if interrupted { ExitCode::Interrupted } else { ExitCode::Ok })
}

/// What one run of the command did.
#[derive(Debug, Serialize)]
struct Report {
    backfill: String,
    analyzer: AnalyzerName,
    revision: Revision,
    state: BackfillState,
    enqueued: u64,
    left_behind: u64,
    waiting_for_others: u64,
    images: u64,
    open: u64,
    listed: bool,
}

impl Report {
    async fn new(
        catalog: &Catalog,
        backfill: &Backfill,
        wish: &Wish,
        done: &Backfilled,
    ) -> Result<Self, Fault> {
        let all = catalog.backfills().await?;
        let now = all.into_iter().find(|one| one.backfill.batch == backfill.batch);
        let (images, open, state) =
            now.map_or((0, 0, backfill.state), |now| (now.images, now.open, now.backfill.state));
        Ok(Self {
            backfill: backfill.name.clone(),
            analyzer: backfill.analyzer.clone(),
            revision: backfill.revision.clone(),
            state,
            enqueued: done.enqueued,
            left_behind: done.left_behind,
            waiting_for_others: done.held,
            images,
            open,
            listed: done.listed && wish.sample.is_none(),
        })
    }

    fn say(&self, json: bool) -> Result<(), Fault> {
        if json {
            return output::json(self);
        }
        let name = &self.backfill;
        let mut line =
            format!("{} jobs enqueued for {}", self.enqueued + self.left_behind, self.analyzer);
        if self.waiting_for_others > 0 {
            line.push_str(&format!(", {} more wait for other analyzers", self.waiting_for_others));
        }
        eprintln!("{line}; backfill '{name}': {} images, {} open", self.images, self.open);
        eprintln!(
            "next: ocelli backfill list | ocelli backfill pause '{name}' | ocelli backfill cancel '{name}'"
        );
        Ok(())
    }
}

async fn list(settings: &Settings, json: bool) -> Result<ExitCode, Fault> {
    #[derive(Serialize)]
    struct Line<'a> {
        name: &'a str,
        batch: BatchId,
        analyzer: &'a AnalyzerName,
        revision: &'a Revision,
        query: &'a str,
        state: BackfillState,
        images: u64,
        open: u64,
        withdrawn: u64,
        cap: &'a Option<Limit>,
        spent: Option<u64>,
        created_at: Timestamp,
    }
    let catalog = archive::open(settings).await?;
    let all = catalog.backfills().await?;
    catalog.close().await;
    if json {
        for BackfillProgress { backfill, images, open, withdrawn, spent } in &all {
            output::json_line(&Line {
                name: &backfill.name,
                batch: backfill.batch,
                analyzer: &backfill.analyzer,
                revision: &backfill.revision,
                query: &backfill.query,
                state: backfill.state,
                images: *images,
                open: *open,
                withdrawn: *withdrawn,
                cap: &backfill.cap,
                spent: *spent,
                created_at: backfill.created_at,
            })?;
        }
    } else if all.is_empty() {
        output::print("no backfill was begun yet")?;
    } else {
        let rows: Vec<_> = all.iter().map(cells).collect();
        let header = ["backfill", "state", "images", "open", "taken back", "spent", "cap"];
        output::print(&table(&header, &rows, true))?;
    }
    Ok(ExitCode::Ok)
}

fn cells(one: &BackfillProgress) -> Vec<String> {
    let amount = |value: u64| match &one.backfill.cap {
        Some(Limit::Money { currency, .. }) => format!("{} {currency}", Micros(value)),
        _ => format!("{value} tokens"),
    };
    let most = one.backfill.budget().map(|budget| budget.most());
    let state = match (one.backfill.state, one.open) {
        (BackfillState::Running, 0) => "done",
        (BackfillState::Running, _)
            if one.spent.zip(most).is_some_and(|(spent, most)| spent >= most) =>
        {
            "at its cap"
        }
        (state, _) => state.name(),
    };
    let known = |value: Option<u64>| value.map_or_else(|| "-".to_owned(), amount);
    vec![
        one.backfill.name.clone(),
        state.to_owned(),
        one.images.to_string(),
        one.open.to_string(),
        one.withdrawn.to_string(),
        known(one.spent),
        known(most),
    ]
}

async fn pause(settings: &Settings, name: &str) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let found = catalog.set_backfill(name, BackfillState::Paused).await?;
    catalog.close().await;
    there(found, name)?;
    output::print(&format!(
        "'{name}' is paused: what is in hand is finished, and nothing of it is begun"
    ))?;
    Ok(ExitCode::Ok)
}

/// Goes on with what was asked for, and with listing.
async fn resume(process: Process, name: &str) -> Result<ExitCode, Fault> {
    let catalog = archive::open(&process.settings).await?;
    let found = catalog.backfill(name).await?;
    let found = there(found, name)?;
    if found.state == BackfillState::Cancelled {
        catalog.close().await;
        return Err(usage(&format!(
            "'{name}' was cancelled; begin it again with the command that began it"
        )));
    }
    catalog.set_backfill(name, BackfillState::Running).await?;
    catalog.close().await;
    let wish = Wish {
        query: parse(&process.settings, &found.query)?,
        name: Some(found.name),
        cap: None,
        sample: None,
        json: false,
        analyzer: found.analyzer,
    };
    if process.settings.broker.is_memory() {
        local::run(process, &wish).await
    } else {
        enqueue(process, &wish).await
    }
}

async fn cancel(settings: &Settings, name: &str) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let found = catalog.set_backfill(name, BackfillState::Cancelled).await?;
    let found = there(found, name)?;
    let mut taken = 0;
    loop {
        let some = catalog.withdraw_backfill(&found, WITHDRAWN_AT_ONCE, Timestamp::now()).await?;
        if some == 0 {
            break;
        }
        taken += some;
    }
    catalog.close().await;
    output::print(&format!(
        "'{name}' is cancelled: {taken} jobs that had no answer yet were taken back"
    ))?;
    Ok(ExitCode::Ok)
}

fn there(found: Option<Backfill>, name: &str) -> Result<Backfill, Fault> {
    found.ok_or_else(|| {
        usage(&format!("there is no backfill '{name}'; 'ocelli backfill list' shows them"))
    })
}

fn usage(message: &str) -> Fault {
    Fault::new(ExitCode::Usage, message.to_owned())
}
