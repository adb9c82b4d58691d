//! Does this process still move? Answered by `/healthz`, and by ending the process when it does not.
//!
//! A part that can hang (a consumer, a publisher) owns a [`Mark`] and says on it when work is due and when a step is
//! done. "Work is due and nothing moved for longer than the limit" is a stall: the process is then worth less than a
//! fresh one, and its supervisor starts that. Waiting for work is never a stall.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::ExitCode;

/// All progress marks of one process. Clones share them.
#[derive(Debug, Clone, Default)]
pub struct Watchdog(Arc<Mutex<Vec<Entry>>>);

#[derive(Debug)]
struct Entry {
    name: &'static str,
    limit: Duration,
    /// When the mark last moved, or work became due; none while nothing is due.
    since: Option<Instant>,
}

/// One named progress mark. Clones are the same mark.
#[derive(Debug, Clone)]
pub struct Mark {
    index: usize,
    watchdog: Watchdog,
}

/// A mark on which work is due and nothing moved for longer than its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stall {
    /// The mark.
    pub name: &'static str,
    /// How long nothing has moved.
    pub still_for: Duration,
    /// The mark's limit.
    pub limit: Duration,
}

/// How often the marks are looked at; a stall is noticed at most this much late. Far below any useful limit.
const LOOK_EVERY: Duration = Duration::from_secs(1);

impl Watchdog {
    /// Without marks: never stalled.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds a mark that may stand still for `limit` while work is due. Idle at first.
    #[must_use]
    pub fn mark(&self, name: &'static str, limit: Duration) -> Mark {
        self.with(|entries| {
            entries.push(Entry { name, limit, since: None });
            Mark { index: entries.len() - 1, watchdog: self.clone() }
        })
    }

    /// The mark that has stood still longest beyond its limit, if any.
    #[must_use]
    pub fn stalled(&self) -> Option<Stall> {
        let now = Instant::now();
        self.with(|entries| {
            entries
                .iter()
                .filter_map(|entry| {
                    let still_for = now.saturating_duration_since(entry.since?);
                    let (name, limit) = (entry.name, entry.limit);
                    (still_for > limit).then_some(Stall { name, still_for, limit })
                })
                .max_by_key(|stall| stall.still_for)
        })
    }

    /// Waits for the first stall. Safe to drop at any time.
    pub async fn stall(&self) -> Stall {
        let mut ticks = tokio::time::interval(LOOK_EVERY);
        loop {
            ticks.tick().await;
            if let Some(stall) = self.stalled() {
                return stall;
            }
        }
    }

    /// Watches until `shutdown` is cancelled and over. On a stall: cancels `shutdown`, gives the parts that still live
    /// `grace` to drain, then calls `exit` (in a `main`: [`ExitCode::exit_now`]) with [`ExitCode::Internal`].
    pub async fn guard(
        self,
        shutdown: CancellationToken,
        grace: Duration,
        exit: impl FnOnce(ExitCode),
    ) {
        let stall = tokio::select! {
            stall = self.stall() => stall,
            () = shutdown.cancelled() => return,
        };
        tracing::error!(
            mark = stall.name,
            still_seconds = stall.still_for.as_secs(),
            limit_seconds = stall.limit.as_secs(),
            "work is due and nothing moves: stopping so that a supervisor can start a fresh process"
        );
        shutdown.cancel();
        tokio::time::sleep(grace).await;
        exit(ExitCode::Internal);
    }

    /// A panic elsewhere cannot leave an entry half-written (each change is one assignment), so poisoning is ignored.
    fn with<T>(&self, change: impl FnOnce(&mut Vec<Entry>) -> T) -> T {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Mark {
    /// Work waits from now on. Does not restart the time of work that was due already.
    pub fn due(&self) {
        self.set(|since| {
            since.get_or_insert_with(Instant::now);
        });
    }

    /// A step is done and more work is due.
    pub fn moved(&self) {
        self.set(|since| *since = Some(Instant::now()));
    }

    /// Nothing is due: standing still is right.
    pub fn idle(&self) {
        self.set(|since| *since = None);
    }

    fn set(&self, change: impl FnOnce(&mut Option<Instant>)) {
        self.watchdog.with(|entries| {
            if let Some(entry) = entries.get_mut(self.index) {
                change(&mut entry.since);
            }
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn due_work_that_does_not_move_is_a_stall() {
        let watchdog = Watchdog::new();
        let mark = watchdog.mark("consume", LIMIT);
        mark.due();
        let started = Instant::now();
        let stall = watchdog.stall().await;
        assert_eq!((stall.name, stall.limit), ("consume", LIMIT));
        assert!(started.elapsed() <= LIMIT + 2 * LOOK_EVERY, "{:?}", started.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn waiting_for_work_is_never_a_stall() {
        let watchdog = Watchdog::new();
        let mark = watchdog.mark("consume", LIMIT);
        mark.due();
        mark.idle();
        tokio::time::advance(LIMIT * 100).await;
        assert_eq!(watchdog.stalled(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn every_step_starts_the_time_again_and_more_due_work_does_not() {
        let watchdog = Watchdog::new();
        let mark = watchdog.mark("publish", LIMIT);
        for _ in 0..10 {
            mark.moved();
            tokio::time::advance(LIMIT).await;
            mark.due();
            assert_eq!(watchdog.stalled(), None);
        }
        tokio::time::advance(Duration::from_millis(1)).await;
        assert_eq!(watchdog.stalled().map(|stall| stall.name), Some("publish"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_stall_cancels_the_process_and_ends_it_after_the_grace() {
        let (watchdog, shutdown) = (Watchdog::new(), CancellationToken::new());
        watchdog.mark("consume", LIMIT).due();
        let (sender, exit) = tokio::sync::oneshot::channel();
        tokio::spawn(watchdog.guard(shutdown.clone(), Duration::from_secs(5), |code| {
            let _ = sender.send((code, Instant::now()));
        }));
        shutdown.cancelled().await;
        let cancelled_at = Instant::now();
        let (code, at) = exit.await.unwrap();
        assert_eq!((code, at - cancelled_at), (ExitCode::Internal, Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_process_that_drains_is_not_ended_by_the_watchdog() {
        let (watchdog, shutdown) = (Watchdog::new(), CancellationToken::new());
        watchdog.mark("consume", LIMIT).due();
        shutdown.cancel();
        watchdog.guard(shutdown, LIMIT, |_| panic!("must not exit")).await;
    }
}
