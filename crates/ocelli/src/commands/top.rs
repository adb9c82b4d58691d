//! `ocelli top`: the fleet at a glance, again and again, with keys to pause, resume and retry.
//!
//! Everything shown is read from the catalog and the broker; nothing is asked of the programs, which may run anywhere.

mod screen;
mod view;

use std::io::IsTerminal as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use ocelli_broker::{Broker, BrokerMetrics};
use ocelli_catalog::{Catalog, FailureFilter};
use ocelli_core::routing::Queue;
use ocelli_core::spend::month;
use ocelli_core::wire::Announcement;
use ocelli_runtime::settings::Kind;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::{Fault, parts};
use ratatui::crossterm::event::{self, Event, KeyEvent, KeyEventKind};
use tokio::sync::mpsc;

use crate::arguments::TopArgs;
use crate::commands::spend::Spending;
use crate::commands::{failures, pause, status};
use crate::{archive, output};
use screen::{Action, Breaker, Depth, Model, Screen, Sight};

/// How often the keyboard is looked at for whether to stop.
const LOOK: Duration = Duration::from_millis(200);
/// Keys that may wait while a question is asked: nobody types further ahead.
const KEYS: usize = 32;
/// Failures shown, the latest.
const FAILURES: u32 = 8;

pub(crate) async fn top(settings: &Settings, arguments: &TopArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let broker = join(settings).await?;
    if arguments.once {
        let screen = Screen::new(Sight::read(settings, &catalog, broker.as_ref()).await?);
        output::print(&view::text(&screen, 120, 40))?;
    } else {
        if !std::io::stdout().is_terminal() {
            return Err(Fault::new(
                ExitCode::Usage,
                "'ocelli top' needs a terminal; for scripts there are 'ocelli top --once' and 'ocelli status --json'",
            ));
        }
        watch(settings, &catalog, broker.as_ref(), arguments.every).await?;
    }
    if let Some(broker) = broker {
        broker.close().await;
    }
    catalog.close().await;
    Ok(ExitCode::Ok)
}

/// The broker of a fleet; none where the queues are in another process's memory.
async fn join(settings: &Settings) -> Result<Option<Broker>, Fault> {
    if settings.broker.is_memory() {
        return Ok(None);
    }
    Ok(Some(parts::broker(settings, "ocelli-top", BrokerMetrics::default()).await?))
}

async fn watch(
    settings: &Settings,
    catalog: &Catalog,
    broker: Option<&Broker>,
    every: Duration,
) -> Result<(), Fault> {
    let mut screen = Screen::new(Sight::read(settings, catalog, broker).await?);
    let io = |error: std::io::Error| Fault::caused(ExitCode::Internal, &error);
    let mut terminal = ratatui::try_init().map_err(io)?;
    let keyboard = Keyboard::start();
    let ended = async {
        let mut keys = keyboard.keys;
        let mut ticks = tokio::time::interval(every);
        ticks.tick().await;
        loop {
            terminal.draw(|frame| view::draw(frame, &screen)).map_err(io)?;
            let key = tokio::select! {
                key = keys.recv() => key,
                _ = ticks.tick() => None,
            };
            match key.and_then(|key| screen.press(key.code, key.modifiers)) {
                Some(Action::Quit) => return Ok(()),
                Some(action) => {
                    screen.say(
                        act(settings, catalog, &action).await.unwrap_or_else(|fault| fault.message),
                    );
                }
                // A key that only moved something needs no new look.
                None if key.is_some() => continue,
                None => {}
            }
            match Sight::read(settings, catalog, broker).await {
                Ok(sight) => screen.see(sight),
                // What was seen last stays: an outage is no reason to go blind.
                Err(fault) => screen.say(fault.message),
            }
        }
    }
    .await;
    keyboard.stop.store(true, Ordering::Relaxed);
    ratatui::restore();
    ended
}

/// Does what a key asked for; what to say about it.
async fn act(settings: &Settings, catalog: &Catalog, action: &Action) -> Result<String, Fault> {
    match action {
        Action::Quit => Ok(String::new()),
        Action::Pause(name) => {
            let reason = pause::reason(name, None);
            catalog.set_pause(name, Some((&reason, Timestamp::now()))).await?;
            Ok(format!("{name} finishes what it has in hand and takes no more"))
        }
        Action::Resume(name) => {
            let was = catalog.set_pause(name, None).await?;
            let said = if was {
                "goes on, unless a budget holds it back"
            } else {
                "was not paused by people"
            };
            Ok(format!("{name} {said}"))
        }
        Action::Retry(name) => {
            let filter = FailureFilter {
                analyzer: Some(name.clone()),
                limit: u32::MAX,
                ..FailureFilter::default()
            };
            let (reopened, enqueued) = failures::reopen(settings, catalog, &filter).await?;
            Ok(match enqueued {
                Some(enqueued) => format!(
                    "{reopened} failures of {name} are open again, {enqueued} jobs enqueued"
                ),
                None => format!(
                    "{reopened} failures of {name} are open again, for the next 'ocelli run'"
                ),
            })
        }
    }
}

impl Sight {
    async fn read(
        settings: &Settings,
        catalog: &Catalog,
        broker: Option<&Broker>,
    ) -> Result<Self, Fault> {
        let overview = status::Overview::read(settings, catalog).await?;
        let now = Timestamp::now();
        let filter = FailureFilter { limit: FAILURES, ..FailureFilter::default() };
        let mut queues = Vec::new();
        if let Some(broker) = broker {
            let names = overview.analyzers.iter().map(|row| &row.analyzer);
            let of_jobs =
                names.flat_map(|name| [Queue::Jobs(name.clone()), Queue::Bulk(name.clone())]);
            for queue in of_jobs.chain([Queue::Results, Queue::Dead]) {
                // One that is not there, or a broker that is away: nothing is known of it.
                let depth = broker.depth(&queue).await.ok();
                let depth =
                    depth.map(|depth| Depth { ready: depth.ready, consumers: depth.consumers });
                queues.push((queue.to_string(), depth));
            }
        }
        let heard = catalog.workers(status::PRESENT).await?;
        let workers: Vec<_> = heard.into_iter().map(|worker| worker.said).collect();
        let spending = Spending::read(settings, catalog).await?;
        Ok(Self {
            at: now,
            models: models(settings, &overview, &workers, &spending, now),
            workers,
            failures: catalog.failures(&filter).await?,
            budgets: spending.used(),
            dead_letters: catalog.status(now).await?.dead_letters,
            overview,
            queues,
        })
    }
}

/// What is known of model servers, and what was paid this month.
fn models(
    settings: &Settings,
    overview: &status::Overview,
    workers: &[Announcement],
    spending: &Spending,
    now: Timestamp,
) -> Vec<Model> {
    let mut spent = spending.of_month(month(now));
    let model = |row: &status::Row| {
        let spent = spent.remove(&row.analyzer);
        let asks = settings.analyzer(&row.analyzer).is_some_and(|one| one.kind() == Kind::Llm);
        if !asks && spent.is_none() {
            return None;
        }
        let here: Vec<_> = workers.iter().filter(|one| one.analyzer == row.analyzer).collect();
        let breaker = Breaker::of(&here, row.paused);
        Some(Model { analyzer: row.analyzer.clone(), breaker, spent })
    };
    overview.analyzers.iter().filter_map(model).collect()
}

/// Reads keys on a thread of its own: waiting for one blocks.
struct Keyboard {
    keys: mpsc::Receiver<KeyEvent>,
    stop: Arc<AtomicBool>,
}

impl Keyboard {
    fn start() -> Self {
        let (sender, keys) = mpsc::channel(KEYS);
        let stop = Arc::new(AtomicBool::new(false));
        let stopped = Arc::clone(&stop);
        std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if !event::poll(LOOK).unwrap_or(false) {
                    continue;
                }
                match event::read() {
                    Ok(Event::Key(key)) if key.kind == KeyEventKind::Press => {
                        if sender.blocking_send(key).is_err() {
                            return;
                        }
                    }
                    Ok(_) => {}
                    Err(_) => return,
                }
            }
        });
        Self { keys, stop }
    }
}
