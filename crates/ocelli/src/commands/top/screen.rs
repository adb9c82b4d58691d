//! What is seen, what is selected, and what a key does: no terminal and no clock.

use jiff::Timestamp;
use ocelli_catalog::Failure;
use ocelli_core::AnalyzerName;
use ocelli_core::wire::Announcement;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};

use crate::commands::status::{Overview, Row};

/// One look at everything.
#[derive(Debug)]
pub(crate) struct Sight {
    pub(crate) at: Timestamp,
    pub(crate) overview: Overview,
    pub(crate) workers: Vec<Announcement>,
    pub(crate) failures: Vec<Failure>,
    /// In words, and the part that is spent.
    pub(crate) budgets: Vec<(String, f64)>,
    pub(crate) models: Vec<Model>,
    pub(crate) dead_letters: u64,
    /// By name; none where the broker has not answered.
    pub(crate) queues: Vec<(String, Option<Depth>)>,
}

/// An analyzer that asks model servers, or has cost something.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Model {
    pub(crate) analyzer: AnalyzerName,
    pub(crate) breaker: Breaker,
    /// This month, in words.
    pub(crate) spent: Option<String>,
}

/// Whether model servers are asked, as far as workers say.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Breaker {
    /// No worker is here to say it.
    Unknown,
    Closed,
    /// A worker waits for a server.
    Open,
}

impl Breaker {
    /// Of an analyzer with these workers. One that waits, and neither people nor a budget told it to, waits for a server.
    pub(crate) fn of(workers: &[&Announcement], paused: bool) -> Self {
        let waits = |worker: &&Announcement| worker.waiting.is_some() && !worker.paused;
        match workers {
            [] => Self::Unknown,
            here if !paused && here.iter().any(waits) => Self::Open,
            _ => Self::Closed,
        }
    }

    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unknown => "not known",
            Self::Closed => "closed",
            Self::Open => "open",
        }
    }
}

/// A queue of the broker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Depth {
    pub(crate) ready: u64,
    pub(crate) consumers: u64,
}

/// What a key asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Action {
    Quit,
    Pause(AnalyzerName),
    Resume(AnalyzerName),
    Retry(AnalyzerName),
}

/// The state of the screen.
#[derive(Debug)]
pub(crate) struct Screen {
    pub(crate) sight: Sight,
    pub(crate) selected: usize,
    /// What happened last, or what is asked.
    pub(crate) message: String,
    /// What `y` does.
    asked: Option<Action>,
}

impl Screen {
    pub(crate) const fn new(sight: Sight) -> Self {
        Self { sight, selected: 0, message: String::new(), asked: None }
    }

    pub(crate) fn see(&mut self, sight: Sight) {
        self.sight = sight;
        self.selected = self.selected.min(self.sight.overview.analyzers.len().saturating_sub(1));
    }

    pub(crate) fn say(&mut self, message: String) {
        self.message = message.replace(|c: char| c.is_control(), " ");
    }

    fn row(&self) -> Option<&Row> {
        self.sight.overview.analyzers.get(self.selected)
    }

    pub(crate) fn press(&mut self, key: KeyCode, modifiers: KeyModifiers) -> Option<Action> {
        let asked = self.asked.take();
        if asked.is_some() {
            self.message.clear();
            return asked.filter(|_| matches!(key, KeyCode::Char('y' | 'Y')));
        }
        let last = self.sight.overview.analyzers.len().saturating_sub(1);
        match key {
            KeyCode::Char('c') if modifiers.contains(KeyModifiers::CONTROL) => {
                return Some(Action::Quit);
            }
            KeyCode::Char('q') | KeyCode::Esc => return Some(Action::Quit),
            KeyCode::Up | KeyCode::Char('k') => self.selected = self.selected.saturating_sub(1),
            KeyCode::Down | KeyCode::Char('j') => self.selected = (self.selected + 1).min(last),
            KeyCode::Char('p') => return self.row().map(|row| Action::Pause(row.analyzer.clone())),
            KeyCode::Char('r') => {
                return self.row().map(|row| Action::Resume(row.analyzer.clone()));
            }
            KeyCode::Char('t') => self.ask_to_retry(),
            _ => {}
        }
        None
    }

    fn ask_to_retry(&mut self) {
        let Some(row) = self.row() else { return };
        let (name, failed) = (row.analyzer.clone(), row.failed);
        if failed == 0 {
            self.message = format!("nothing of {name} has failed");
        } else {
            self.message = format!("try all {failed} failures of {name} again? y/n");
            self.asked = Some(Action::Retry(name));
        }
    }
}
