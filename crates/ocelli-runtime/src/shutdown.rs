//! SIGTERM and SIGINT as a [`CancellationToken`].
//!
//! The first signal asks every part to drain; a second one ends the process at once, because somebody who presses
//! Ctrl-C twice means it. Whatever was unfinished then is found again by the sweeper.

use thiserror::Error;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::ExitCode;

/// The operating system refused to hand over a signal.
#[derive(Debug, Error)]
#[error("cannot listen for {signal}")]
pub struct SignalError {
    /// `SIGTERM` or `SIGINT`.
    pub signal: &'static str,
    /// What the operating system said.
    #[source]
    pub source: std::io::Error,
}

/// A token that is cancelled by the first SIGTERM or SIGINT; the second signal exits with 130 at once.
///
/// Call once, early in `main`, inside the tokio runtime.
///
/// # Errors
/// When a signal handler cannot be installed.
pub fn token() -> Result<CancellationToken, SignalError> {
    let mut terminate = listen(SignalKind::terminate(), "SIGTERM")?;
    let mut interrupt = listen(SignalKind::interrupt(), "SIGINT")?;
    let token = CancellationToken::new();
    let first = token.clone();
    tokio::spawn(async move {
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::info!(
            signal = name,
            "stopping: finishing what is in hand; a second signal stops at once"
        );
        first.cancel();
        let name = next(&mut terminate, &mut interrupt).await;
        tracing::warn!(signal = name, "second signal: stopping at once");
        ExitCode::Interrupted.exit_now()
    });
    Ok(token)
}

fn listen(kind: SignalKind, name: &'static str) -> Result<Signal, SignalError> {
    signal(kind).map_err(|source| SignalError { signal: name, source })
}

async fn next(terminate: &mut Signal, interrupt: &mut Signal) -> &'static str {
    tokio::select! {
        _ = terminate.recv() => "SIGTERM",
        _ = interrupt.recv() => "SIGINT",
    }
}
