//! The state of both connections, folded into the one [`BrokerState`] that others watch.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;

use crate::BrokerState;

/// Which of the two connections.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Role {
    /// Publishes. May be blocked by the broker; then even acks on it would hang.
    Publish,
    /// Consumes, acks and declares. Never publishes, so it is never blocked.
    Consume,
}

impl Role {
    /// As written in connection names and logs.
    pub(super) fn word(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

/// How one connection is doing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum LinkState {
    Up,
    Blocked { reason: String },
    Down { reason: String, attempts: u32, next_in: Duration },
}

/// See the module.
#[derive(Debug)]
pub(super) struct Board {
    links: Mutex<Links>,
    state: watch::Sender<BrokerState>,
}

#[derive(Debug)]
struct Links {
    publish: LinkState,
    consume: LinkState,
    closed: bool,
}

impl Board {
    pub(super) fn new() -> Self {
        let links = Links { publish: LinkState::Up, consume: LinkState::Up, closed: false };
        Self { links: Mutex::new(links), state: watch::Sender::new(BrokerState::Connected) }
    }

    pub(super) fn subscribe(&self) -> watch::Receiver<BrokerState> {
        self.state.subscribe()
    }

    pub(super) fn set(&self, role: Role, state: LinkState) {
        self.update(|links| match role {
            Role::Publish => links.publish = state,
            Role::Consume => links.consume = state,
        });
    }

    pub(super) fn close(&self) {
        self.update(|links| links.closed = true);
    }

    fn update(&self, change: impl FnOnce(&mut Links)) {
        let mut links = self.links.lock().unwrap_or_else(PoisonError::into_inner);
        change(&mut links);
        let folded = fold(&links);
        // Under the lock, so that two changes cannot overtake each other.
        self.state.send_if_modified(|state| {
            let changed = *state != folded;
            if changed {
                *state = folded;
            }
            changed
        });
    }
}

/// The worst of the two.
fn fold(links: &Links) -> BrokerState {
    if links.closed {
        return BrokerState::Closed;
    }
    for link in [&links.publish, &links.consume] {
        if let LinkState::Down { reason, attempts, next_in } = link {
            let (reason, attempts, next_in) = (reason.clone(), *attempts, *next_in);
            return BrokerState::Reconnecting { reason, attempts, next_in };
        }
    }
    for link in [&links.publish, &links.consume] {
        if let LinkState::Blocked { reason } = link {
            return BrokerState::Blocked { reason: reason.clone() };
        }
    }
    BrokerState::Connected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_worst_connection_is_what_is_seen() {
        let board = Board::new();
        let state = board.subscribe();
        board.set(Role::Publish, LinkState::Blocked { reason: "disk".into() });
        assert_eq!(*state.borrow(), BrokerState::Blocked { reason: "disk".into() });
        let down = LinkState::Down { reason: "gone".into(), attempts: 1, next_in: Duration::ZERO };
        board.set(Role::Consume, down);
        assert!(matches!(*state.borrow(), BrokerState::Reconnecting { attempts: 1, .. }));
        board.set(Role::Consume, LinkState::Up);
        board.set(Role::Publish, LinkState::Up);
        assert_eq!(*state.borrow(), BrokerState::Connected);
        board.close();
        board.set(Role::Publish, LinkState::Up);
        assert_eq!(*state.borrow(), BrokerState::Closed);
    }
}
