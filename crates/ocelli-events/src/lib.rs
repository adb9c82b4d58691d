//! Tells others of records that are complete: queues that are bound to the broker's exchange of events, and webhooks.
//!
//! The catalog notes what a listener is to be told in the transaction that completes a record ([`Catalog::take_due`]); here it is told, and
//! the note taken out. So whatever dies and whenever, a listener is told of every record at least once, and of each in the state it has then.
//! Any number of processes may do this beside each other. `docs/EVENTS.md` describes what is told.
//!
//! | module | room for |
//! |---|---|
//! | this | what a program wires together; [`run`] |
//! | `event` | what is told, as JSON |
//! | `signature` | [`Secret`], and what a webhook's receiver can trust |
//! | `listener` | [`Listener`]: one who is told, and how |
//! | `telling` | the loop: take, tell, note |
//! | `metrics` | [`EventMetrics`] |
//!
//! Absent on purpose: settings, and any way to hear of a record but from the catalog.

mod event;
mod listener;
mod metrics;
mod signature;
mod telling;

use std::time::Duration;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_catalog::{Catalog, CatalogError};
use tokio_util::sync::CancellationToken;

pub use listener::{EXCHANGE, Listener};
pub use metrics::EventMetrics;
pub use signature::{NotASecret, Secret};

/// What a program wires together.
pub struct Parts {
    /// Where notes are and records come from.
    pub catalog: Catalog,
    /// Who is told.
    pub listeners: Vec<Listener>,
    /// See [`EventOptions`].
    pub options: EventOptions,
    /// Registered once per process.
    pub metrics: EventMetrics,
}

/// Bounds of telling.
#[derive(Debug, Clone)]
pub struct EventOptions {
    /// The largest record that is told whole; of a larger one only its digest is.
    pub record_bytes: usize,
    /// For so long nobody else tells what one process has taken; as long waits what a killed one had.
    pub lease: Duration,
    /// The first pause after something was not told.
    pub retry_first: Duration,
    /// The longest one.
    pub retry_longest: Duration,
    /// What could not be told for this long is given up until people say otherwise.
    pub give_up_after: Duration,
    /// How long a stopping process may still tell what is due.
    pub drain: Duration,
    /// How often what waits is counted for metrics; never when zero.
    pub count_every: Duration,
}

/// Makes the listeners known to the catalog, so that from now on nothing is complete without being told to them. Before anything can
/// become complete.
///
/// # Errors
/// When the catalog does not take it.
#[async_recursion]
pub async fn enlist(parts: &Parts) -> Result<(), CatalogError> {
    for listener in &parts.listeners {
        if parts.catalog.listen(listener.name(), Timestamp::now()).await? {
            tracing::info!(listener = listener.name(), "is told of records from now on");
        }
    }
    Ok(())
}

/// Tells until `shutdown`, and then what is still due, for [`EventOptions::drain`] at most. Returns at once when nobody listens.
#[async_recursion]
pub async fn run(parts: Parts, shutdown: CancellationToken) {
    let telling = parts.listeners.iter().map(|one| telling::keep_telling(&parts, one, &shutdown));
    futures_util::join!(
        futures_util::future::join_all(telling),
        telling::keep_counting(&parts, &shutdown)
    );
}
