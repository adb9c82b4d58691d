//! Places that can become more or fewer while some of them are taken: an analyzer learns how many jobs at once help.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// A semaphore that can be resized. Whoever waits longest comes first.
#[derive(Debug)]
pub(crate) struct Places {
    semaphore: Arc<Semaphore>,
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    size: usize,
    /// Taken places that vanish when they are given back: there were not enough free ones to take away.
    owed: usize,
}

impl Places {
    pub(crate) fn new(size: usize) -> Arc<Self> {
        let state = Mutex::new(State { size, owed: 0 });
        Arc::new(Self { semaphore: Arc::new(Semaphore::new(size)), state })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on there are `size` places. Nobody who has one loses it.
    pub(crate) fn resize(&self, size: usize) {
        let mut state = self.lock();
        if size > state.size {
            let more = size - state.size;
            let repaid = more.min(state.owed);
            state.owed -= repaid;
            self.semaphore.add_permits(more - repaid);
        } else {
            let fewer = state.size - size;
            state.owed += fewer - self.semaphore.forget_permits(fewer);
        }
        state.size = size;
    }

    /// Waits for a place.
    pub(crate) async fn take(self: &Arc<Self>) -> Place {
        // The semaphore is never closed, so there always is a permit.
        let permit = Arc::clone(&self.semaphore).acquire_owned().await.ok();
        Place { places: Arc::clone(self), permit }
    }
}

/// One place; given back when dropped.
#[derive(Debug)]
pub(crate) struct Place {
    places: Arc<Places>,
    permit: Option<OwnedSemaphorePermit>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = self.places.lock();
        if state.owed > 0
            && let Some(permit) = self.permit.take()
        {
            state.owed -= 1;
            permit.forget();
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn free(places: &Arc<Places>) -> Vec<Place> {
        std::iter::from_fn(|| places.take().now_or_never()).collect()
    }

    #[test]
    fn more_places_can_be_taken_at_once() {
        let places = Places::new(1);
        let first = free(&places);
        assert_eq!(first.len(), 1);
        places.resize(4);
        assert_eq!(free(&places).len(), 3);
    }

    #[test]
    fn fewer_places_are_reached_as_taken_ones_come_back() {
        let places = Places::new(4);
        let mut taken = free(&places);
        assert_eq!(taken.len(), 4);
        places.resize(2);
        for _ in 0..2 {
            taken.pop();
            assert_eq!(free(&places).len(), 0, "this place vanished");
        }
        taken.pop();
        assert_eq!(free(&places).len(), 1);
    }

    #[test]
    fn places_that_were_to_vanish_are_kept_when_there_shall_be_more_again() {
        let places = Places::new(4);
        let taken = free(&places);
        places.resize(1);
        places.resize(3);
        drop(taken);
        assert_eq!(free(&places).len(), 3);
        places.resize(5);
        assert_eq!(free(&places).len(), 5);
    }
}
