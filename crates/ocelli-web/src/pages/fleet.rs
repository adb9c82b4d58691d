//! The fleet: how far each analyzer is, how fast, who works for it, what it costs, and what holds it back.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use jiff::Timestamp;
use ocelli_catalog::{Heard, amount};
use ocelli_core::AnalyzerName;
use serde::Serialize;

use super::Frame;
use crate::app::{App, Site};
use crate::call::{Call, Press};
use crate::failure::WebError;
use crate::hands::QueueDepth;
use crate::live::{Look, SPANS, Texts};
use crate::reply::{Answer, see};
use crate::shown::{counted, duration, grouped, line, minute};

/// The longest reason that somebody may give for a pause.
const LONGEST_REASON: usize = 200;
/// Batches that are listed.
const BATCHES: u32 = 12;
/// The height of a sparkline in its own units; a span is four wide.
const SPARK: u64 = 24;

/// One analyzer.
#[derive(Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) analyzer: AnalyzerName,
    pub(crate) kind: &'static str,
    pub(crate) configured: bool,
    pub(crate) off: bool,
    pub(crate) wanted: u64,
    pub(crate) done: u64,
    pub(crate) empty: u64,
    pub(crate) skipped: u64,
    pub(crate) failed: u64,
    pub(crate) waiting: u64,
    pub(crate) running: u64,
    pub(crate) deferred: u64,
    pub(crate) per_minute: u64,
    pub(crate) eta_seconds: Option<u64>,
    pub(crate) workers: usize,
    pub(crate) slots: u64,
    /// How many of the slots are busy, in percent; none without a worker.
    pub(crate) utilisation: Option<u64>,
    /// Of those that ask servers: `closed`, or `open` while some worker asks none because they are away. As old as the last
    /// word of the workers.
    pub(crate) breaker: Option<&'static str>,
    /// How long ago one of its workers was heard last. All that is said of workers is not newer.
    pub(crate) heard_seconds: Option<u64>,
    pub(crate) paused: Option<String>,
    pub(crate) notes: Vec<String>,
    /// Outcomes of the last half hour, minute by minute.
    pub(crate) pulse: Vec<u64>,
    /// Jobs wait, and nobody would take them.
    pub(crate) deserted: bool,
}

#[derive(Debug, Serialize)]
struct BudgetRow {
    text: String,
    spent: String,
    percent: u64,
    reached: bool,
}

#[derive(Debug, Serialize)]
struct BatchRow {
    href: String,
    name: String,
    at: String,
    state: String,
}

#[derive(Debug, Serialize)]
struct WorkerRow {
    worker: String,
    analyzer: AnalyzerName,
    doing: String,
    description: String,
    note: String,
    /// That its clock is wrong; empty when it is not.
    clock: String,
}

/// A worker in JSON: what it said, when it was heard, and that its clock is wrong.
#[derive(Debug, Serialize)]
struct Word<'a> {
    #[serde(flatten)]
    heard: &'a Heard,
    clock: Option<String>,
}

#[derive(Debug, Serialize)]
struct Twin<'a> {
    at: Timestamp,
    status: &'a ocelli_catalog::Status,
    analyzers: &'a [Row],
    budgets: Vec<BudgetRow>,
    workers: Vec<Word<'a>>,
    /// Queues of the broker; null where there is no broker.
    queues: &'a Option<Vec<QueueDepth>>,
    broker_away: &'a Option<String>,
}

#[derive(Template)]
#[template(path = "fleet.html")]
struct FleetPage {
    frame: Frame,
    texts: Texts,
    rows: Vec<Row>,
    budgets: Vec<BudgetRow>,
    workers: Vec<WorkerRow>,
    batches: Vec<BatchRow>,
    queues: Vec<String>,
    broker_away: String,
    is_empty: bool,
}

impl FleetPage {
    /// What stands in a place that is kept up to date.
    fn text(&self, name: &str, row: &Row) -> &str {
        self.of(name, row.analyzer.as_str())
    }

    fn of(&self, name: &str, of: &str) -> &str {
        self.whole(&format!("{name} {of}"))
    }

    fn whole(&self, name: &str) -> &str {
        self.texts.get(name).map_or("", String::as_str)
    }
}

/// `GET /fleet`, `/fleet.json`
pub(crate) async fn page(call: Call) -> Answer {
    let app = &call.app;
    let look = app.live.look().await?;
    let rows = rows(app, &look);
    if call.wants_json() {
        return call.json(&Twin {
            at: look.at,
            status: &look.status,
            analyzers: &rows,
            budgets: budgets(&look),
            workers: look
                .workers
                .iter()
                .map(|heard| Word { heard, clock: heard.wrong_clock(app.options.clock_skew) })
                .collect(),
            queues: &look.queues,
            broker_away: &look.broker_away,
        });
    }
    let batches = app.catalog.batches(BATCHES).await?;
    let page = FleetPage {
        frame: call.frame("fleet"),
        texts: texts(app, &look),
        is_empty: look.status.images == 0 && batches.is_empty(),
        budgets: budgets(&look),
        workers: look.workers.iter().map(|heard| worker(heard, app.options.clock_skew)).collect(),
        queues: look.queues.iter().flatten().map(|one| one.queue.clone()).collect(),
        broker_away: look.broker_away.clone().unwrap_or_default(),
        batches: batches
            .into_iter()
            .map(|report| BatchRow {
                href: format!("/batch/{}", report.batch),
                name: line(&report.name, 80),
                at: minute(report.started_at),
                state: format!(
                    "{}{}",
                    counted(report.accepted, "image", "images"),
                    if report.finished { "" } else { ", still listing" }
                ),
            })
            .collect(),
        rows,
    };
    call.page(&page)
}

/// Every analyzer that is configured or wanted, in the order of display.
pub(crate) fn rows(site: &Site, look: &Look) -> Vec<Row> {
    let configured = site
        .options
        .analyzers
        .iter()
        .filter(|line| !line.off || look.status.analyzers.contains_key(&line.name));
    let mut rows: Vec<Row> =
        configured.map(|line| row(look, &line.name, line.kind, true, line.off)).collect();
    for name in look.status.analyzers.keys().filter(|name| !site.options.knows(name)) {
        rows.push(row(look, name, "", false, false));
    }
    rows
}

fn row(look: &Look, name: &AnalyzerName, kind: &'static str, configured: bool, off: bool) -> Row {
    let count = look.status.analyzers.get(name).cloned().unwrap_or_default();
    let heard: Vec<_> = look.workers.iter().filter(|one| one.said.analyzer == *name).collect();
    let here: Vec<_> = heard.iter().map(|one| &one.said).collect();
    let in_hand: u64 = here.iter().map(|worker| u64::from(worker.in_progress)).sum();
    let running = in_hand.min(count.open);
    let mut notes: Vec<String> = Vec::new();
    let paused = look.pauses.get(name).map(|reason| line(reason, 300));
    let over = look.budgets.iter().filter(|state| state.is_reached() && state.budget.covers(name));
    notes.extend(over.map(ocelli_catalog::BudgetState::reason));
    for (needs, jobs) in &count.waiting_for {
        notes.push(format!("{} for {needs}", counted(*jobs, "job waits", "jobs wait")));
    }
    if count.deferred > 0 {
        notes.push(counted(
            count.deferred,
            "job waits for another attempt",
            "jobs wait for another attempt",
        ));
    }
    let waits: std::collections::BTreeSet<&str> =
        here.iter().filter_map(|worker| worker.waiting.as_deref()).collect();
    notes.extend(waits.into_iter().take(3).map(|reason| line(reason, 300)));
    let per_minute = count.finished_last_minute;
    let slots: u64 = here.iter().map(|worker| u64::from(worker.slots)).sum();
    // A worker that waits, and nobody told it to, waits for a server.
    let is_open = here.iter().any(|worker| worker.waiting.is_some() && !worker.paused);
    Row {
        utilisation: (running.min(slots) * 100).checked_div(slots),
        breaker: (kind == "llm" && !here.is_empty()).then_some(if is_open {
            "open"
        } else {
            "closed"
        }),
        // A clock of the database that was set back makes it less than nothing.
        heard_seconds: heard
            .iter()
            .map(|one| u64::try_from(one.silent.as_secs()).unwrap_or(0))
            .min(),
        analyzer: name.clone(),
        kind,
        configured,
        off,
        wanted: count.wanted,
        done: count.done,
        empty: count.empty,
        skipped: count.skipped,
        failed: count.failed,
        waiting: count.open - running,
        running,
        deferred: count.deferred,
        per_minute,
        eta_seconds: (count.open > 0 && per_minute > 0)
            .then(|| (count.open * 60).div_ceil(per_minute)),
        workers: here.len(),
        slots,
        deserted: count.open > 0 && here.is_empty(),
        paused,
        notes,
        pulse: look.pulse.get(name).cloned().unwrap_or_else(|| vec![0; SPANS as usize]),
    }
}

/// What changes on the page, by the names of its places.
pub(crate) fn texts(site: &Site, look: &Look) -> Texts {
    let mut texts = Texts::new();
    for row in rows(site, look) {
        let mut put =
            |name: &str, text: String| texts.insert(format!("{name} {}", row.analyzer), text);
        put("done", grouped(row.done));
        put("empty", grouped(row.empty));
        put("skipped", grouped(row.skipped));
        put("failed", grouped(row.failed));
        put("waiting", grouped(row.waiting));
        put("running", grouped(row.running));
        put("rate", grouped(row.per_minute));
        put("eta", row.eta_seconds.map_or_else(|| "–".to_owned(), duration));
        put(
            "workers",
            match (row.workers, row.slots) {
                (0, _) => "none".to_owned(),
                (workers, slots) => {
                    let busy = row.utilisation.unwrap_or(0);
                    format!("{workers} · {}/{slots} busy, {busy} %", row.running.min(slots))
                }
            },
        );
        put("spark", spark(&row.pulse));
        put("notes", row.notes.join("\n"));
        put("breaker", row.breaker.unwrap_or_default().to_owned());
        put("heard", row.heard_seconds.map_or_else(|| "–".to_owned(), duration));
        put("bar", bar(&row));
        let warning = if row.deserted {
            "No worker is listening: its jobs wait until one is started."
        } else {
            ""
        };
        put("warning", warning.to_owned());
    }
    for (place, budget) in budgets(look).into_iter().enumerate() {
        texts.insert(format!("spent {place}"), budget.spent);
        texts.insert(format!("spent bar {place}"), format!("M0 0H{}V4H0Z", budget.percent));
    }
    for queue in look.queues.iter().flatten() {
        let ready = queue.ready.map_or_else(|| "not there".to_owned(), grouped);
        let consumers = queue.consumers.map_or_else(|| "–".to_owned(), grouped);
        texts.insert(format!("ready {}", queue.queue), ready);
        texts.insert(format!("consumers {}", queue.queue), consumers);
    }
    for heard in &look.workers {
        let WorkerRow { worker, analyzer, doing, clock, .. } =
            worker(heard, site.options.clock_skew);
        texts.insert(format!("doing {worker} {analyzer}"), doing);
        texts.insert(format!("clock {worker} {analyzer}"), clock);
    }
    texts.insert("shape".to_owned(), shape(site, &rows(site, look), look));
    let status = &look.status;
    texts.insert("images".to_owned(), counted(status.images, "image", "images"));
    let left = status.images - status.complete.min(status.images);
    let complete = if left == 0 {
        "all complete".to_owned()
    } else {
        format!("{} not complete", grouped(left))
    };
    texts.insert("complete".to_owned(), complete);
    texts
}

/// Changes whenever something on the page comes or goes that has no place for its text: a worker, a pause, a queue.
fn shape(site: &Site, rows: &[Row], look: &Look) -> String {
    let mut hasher = DefaultHasher::new();
    for row in rows {
        let there = (row.breaker.is_some(), row.heard_seconds.is_some(), row.deserted);
        (&row.analyzer, row.off, row.configured, &row.paused, there).hash(&mut hasher);
    }
    for heard in &look.workers {
        let WorkerRow { worker, analyzer, description, note, clock, .. } =
            worker(heard, site.options.clock_skew);
        (worker, analyzer, description, note, clock.is_empty()).hash(&mut hasher);
    }
    for budget in budgets(look) {
        (budget.text, budget.reached).hash(&mut hasher);
    }
    for queue in look.queues.iter().flatten() {
        queue.queue.hash(&mut hasher);
    }
    look.broker_away.hash(&mut hasher);
    format!("{:016x}", hasher.finish())
}

/// A sparkline as the path of an SVG.
fn spark(pulse: &[u64]) -> String {
    let most = pulse.iter().copied().max().unwrap_or(0).max(1);
    let mut path = String::new();
    for (place, count) in pulse.iter().enumerate() {
        let height = SPARK - (count * (SPARK - 2)).div_ceil(most).min(SPARK - 2) - 1;
        path.push_str(&format!("{}{} {height}", if place == 0 { 'M' } else { 'L' }, place * 4));
    }
    path
}

/// How far it is, as the path of a bar 100 wide.
fn bar(row: &Row) -> String {
    let settled = row.done + row.empty + row.skipped + row.failed;
    let percent = (settled.min(row.wanted) * 100).checked_div(row.wanted).unwrap_or(0);
    format!("M0 0H{percent}V4H0Z")
}

fn budgets(look: &Look) -> Vec<BudgetRow> {
    let states = look.budgets.iter();
    states
        .map(|state| {
            let most = state.budget.most().max(1);
            BudgetRow {
                text: line(&state.budget.to_string(), 200),
                spent: amount(&state.budget.limit, state.spent),
                percent: (u128::from(state.spent) * 100 / u128::from(most)).min(100) as u64,
                reached: state.is_reached(),
            }
        })
        .collect()
}

fn worker(heard: &Heard, clock_skew: Duration) -> WorkerRow {
    let said = &heard.said;
    WorkerRow {
        worker: line(&said.worker, 80),
        analyzer: said.analyzer.clone(),
        doing: format!("{}/{}", said.in_progress, said.slots),
        description: line(&said.description, 160),
        note: said.waiting.as_deref().map(|reason| line(reason, 300)).unwrap_or_default(),
        clock: heard.wrong_clock(clock_skew).unwrap_or_default(),
    }
}

/// `POST /fleet/pause`
pub(crate) async fn pause(State(app): State<App>, Press(form): Press) -> Answer {
    let name = known(&app, form.get("analyzer"))?;
    set_pause(&app, &name, form.get("reason")).await?;
    Ok(see("/fleet"))
}

/// `POST /fleet/resume`
pub(crate) async fn resume(State(app): State<App>, Press(form): Press) -> Answer {
    let name = known(&app, form.get("analyzer"))?;
    let_go_on(&app, &name).await?;
    Ok(see("/fleet"))
}

/// Lets an analyzer take no more jobs.
pub(crate) async fn set_pause(app: &App, name: &AnalyzerName, given: &str) -> Result<(), WebError> {
    let given: String =
        given.trim().chars().filter(|c| !c.is_control()).take(LONGEST_REASON).collect();
    let by = "paused on the web site";
    let reason = if given.is_empty() { by.to_owned() } else { format!("{by}: {given}") };
    let now = Timestamp::now();
    app.catalog.set_pause(name, Some((&reason, now))).await?;
    let detail = serde_json::json!({ "reason": reason });
    app.catalog.note_deed(now, "analyzer paused", Some(name), &detail).await?;
    app.live.forget().await;
    Ok(())
}

/// Lets a paused analyzer go on.
pub(crate) async fn let_go_on(app: &App, name: &AnalyzerName) -> Result<(), WebError> {
    if app.catalog.set_pause(name, None).await? {
        let (now, detail) = (Timestamp::now(), serde_json::json!({}));
        app.catalog.note_deed(now, "analyzer resumed", Some(name), &detail).await?;
    }
    app.live.forget().await;
    Ok(())
}

/// An analyzer of the settings.
pub(crate) fn known(app: &App, name: &str) -> Result<AnalyzerName, WebError> {
    let name: AnalyzerName = name
        .parse()
        .map_err(|error: ocelli_core::ids::IdError| WebError::Bad(error.to_string()))?;
    if app.options.knows(&name) {
        return Ok(name);
    }
    Err(WebError::Missing(format!("there is no analyzer '{name}' in the settings")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sparkline_stays_in_its_place_whatever_the_numbers() {
        assert_eq!(spark(&[0, 5, 10]), "M0 23L4 12L8 1");
        assert_eq!(spark(&[0, 0]), "M0 23L4 23");
        assert_eq!(spark(&[1_000_000, 1]), "M0 1L4 22");
    }
}
