//! Waiting for a condition instead of sleeping for a guess.

use std::time::{Duration, Instant};

/// How often the condition is asked: often enough that a test loses no time, seldom enough to leave the cores to the
/// programs it waits for.
const PERIOD: Duration = Duration::from_millis(20);

/// Asks `condition` until it answers `true`.
///
/// # Panics
/// With `what` when `timeout` has passed first.
pub async fn wait_until<F, Fut>(what: &str, timeout: Duration, mut condition: F)
where
    F: FnMut() -> Fut,
    Fut: Future<Output = bool>,
{
    let started = Instant::now();
    while !condition().await {
        assert!(started.elapsed() < timeout, "waited {timeout:?} in vain until {what}");
        tokio::time::sleep(PERIOD).await;
    }
}
