//! Keeps the accounts small and whole while there is a collector: see [`Catalog::tidy_accounts`].

use std::time::Duration;

use ocelli_catalog::Catalog;
use ocelli_core::chain;
use tokio_util::sync::CancellationToken;

/// How often: seldom enough to cost nothing, often enough that little is to be done at once.
const EVERY: Duration = Duration::from_secs(60);

/// Tidies at once and then by timer, until `shutdown`.
pub(crate) async fn run(catalog: &Catalog, keep: Duration, shutdown: &CancellationToken) {
    loop {
        let tidied = tokio::select! {
            biased;
            () = shutdown.cancelled() => return,
            tidied = catalog.tidy_accounts(keep) => tidied,
        };
        match tidied {
            Ok(tidied) if tidied.lost > 0 => {
                tracing::warn!(
                    attempts = tidied.lost,
                    "attempts that cost something were never heard of again: they are written down as waste"
                );
            }
            Ok(_) => {}
            Err(error) => {
                tracing::debug!("the accounts are tidied later: {}", chain(&error));
            }
        }
        tokio::select! {
            () = shutdown.cancelled() => return,
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
