//! Looking after an endpoint that is away: small requests until it is back, so that no job has to be risked to find out.
//!
//! One task for each such endpoint, begun by the next job that asks for a place. It ends when the endpoint is back, and when
//! there is no work any more: nobody looks at a server for nothing.

use std::sync::{Arc, Weak};

use ocelli_core::retry::backoff;
use tokio::time::{sleep, timeout};

use super::Pool;
use super::state::Endpoint;
use crate::probe;

/// Begins to look after those that are away and that nobody looks after.
pub(super) fn begin(pool: &Arc<Pool>, endpoints: &mut [Endpoint]) {
    for (index, endpoint) in endpoints.iter_mut().enumerate() {
        if endpoint.is_away() && !endpoint.watched {
            endpoint.watched = true;
            tokio::spawn(watch(Watched { pool: Arc::downgrade(pool), index }));
        }
    }
}

/// An endpoint that is looked after; no longer when dropped.
struct Watched {
    pool: Weak<Pool>,
    index: usize,
}

impl Drop for Watched {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.lock().endpoints[self.index].watched = false;
        }
    }
}

async fn watch(watched: Watched) {
    let (mut round, mut asked) = (0, 0);
    while let Some(pool) = watched.pool.upgrade() {
        let patience = pool.options.patience;
        let floor = patience.pause_floor.min(patience.return_cap);
        drop(pool);
        sleep(backoff(round, floor, patience.return_cap, rand::random())).await;
        round += 1;
        let Some(pool) = watched.pool.upgrade() else { return };
        let asked_before = asked;
        let wanted = {
            let state = pool.lock();
            asked = state.asked;
            let open = state.endpoints.iter().any(|endpoint| endpoint.open > 0);
            let work = open || state.waiting > 0 || asked > asked_before;
            work && state.endpoints[watched.index].is_away()
        };
        if !wanted || look(&pool, watched.index).await {
            return;
        }
    }
}

/// Whether it is back.
async fn look(pool: &Pool, index: usize) -> bool {
    let (client, options) = (&pool.clients[index], &pool.options);
    // Whoever is back answers a small question as fast as it accepts a connection.
    let seen = match timeout(options.timeouts.connect, probe::look(client, options)).await {
        Ok(Ok(seen)) => seen,
        Ok(Err(reason)) => {
            pool.lock().endpoints[index].still_away(&reason);
            return false;
        }
        Err(_) => return false,
    };
    let shown = client.shown();
    match pool.seen(index, seen.digest) {
        Ok(()) => {
            tracing::info!(analyzer = %options.name, endpoint = %shown, "a model server is back");
        }
        Err(reason) => {
            tracing::warn!(analyzer = %options.name, endpoint = %shown, "a model server is back, and {reason}");
        }
    }
    true
}
