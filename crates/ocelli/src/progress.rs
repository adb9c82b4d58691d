//! How a run looks while it runs: a bar on a terminal, plain lines elsewhere.

use std::io::IsTerminal as _;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use ocelli_producer::Progress;

/// Time between two plain lines.
const LINE_EVERY: Duration = Duration::from_secs(5);

/// Bar or lines, both on standard error.
pub(crate) struct Meter {
    bar: Option<ProgressBar>,
    last_line: Instant,
    last_text: String,
}

impl Meter {
    /// A bar on a terminal.
    pub(crate) fn new() -> Self {
        let bar = std::io::stderr().is_terminal().then(|| {
            let bar =
                ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(10));
            let style = ProgressStyle::with_template(
                "{bar:30} {pos}/{len} analyses  {per_sec}  ETA {eta}  {msg}",
            );
            if let Ok(style) = style {
                bar.set_style(style);
            }
            bar
        });
        Self { bar, last_line: Instant::now(), last_text: String::new() }
    }

    /// Shows how far the run is. `settled` and `jobs` count analyses.
    pub(crate) fn show(&mut self, progress: &Progress, settled: u64, jobs: u64) {
        let listing = if progress.all_listed { "" } else { ", still listing" };
        let text = format!("{} images{listing}", progress.accepted);
        match &self.bar {
            Some(bar) => {
                bar.set_length(jobs);
                bar.set_position(settled.min(jobs));
                bar.set_message(text);
            }
            None => {
                let line = format!("{settled}/{jobs} analyses, {text}");
                if self.last_line.elapsed() >= LINE_EVERY && line != self.last_text {
                    eprintln!("{line}");
                    self.last_line = Instant::now();
                    self.last_text = line;
                }
            }
        }
    }

    /// Prints a line above the bar.
    pub(crate) fn say(&self, text: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| eprintln!("{text}")),
            None => eprintln!("{text}"),
        }
    }

    /// Takes the bar away.
    pub(crate) fn clear(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
