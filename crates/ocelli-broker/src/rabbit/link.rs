//! The supervisor of one connection: makes it, watches it, makes it again, for ever.
//!
//! Everybody else takes the current [`Session`] from here and brings no connection of their own. A session that
//! misbehaves (an answer that does not come) is condemned by whoever noticed; the supervisor then throws it away.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use lapin::{Channel, Connection, Event};
use ocelli_core::retry::backoff;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::RabbitOptions;
use super::address::Address;
use super::board::{Board, LinkState, Role};
use super::dial::{Socket, dial};
use crate::{BrokerMetrics, ConnectError};

/// How often a connection is looked at besides listening to its events: they are a courtesy of the library, this is the
/// proof. Also the step in which blocked time is counted.
const LOOK: Duration = Duration::from_millis(500);

/// One connection, from its handshake to its end.
#[derive(Debug)]
pub(super) struct Session {
    connection: Connection,
    socket: Socket,
    condemned: watch::Sender<Option<String>>,
}

impl Session {
    /// Opens a channel within `timeout`; a connection that does not answer is condemned.
    pub(super) async fn channel(&self, timeout: Duration) -> Result<Channel, String> {
        match tokio::time::timeout(timeout, self.connection.create_channel()).await {
            Ok(Ok(channel)) => Ok(channel),
            Ok(Err(error)) => Err(error.to_string()),
            Err(_elapsed) => {
                let reason = format!("no channel within {timeout:?}");
                self.condemn(&reason);
                Err(reason)
            }
        }
    }

    /// Says that this connection is not to be trusted any more.
    pub(super) fn condemn(&self, reason: &str) {
        self.condemned.send_replace(Some(reason.to_owned()));
    }

    /// Whether the library still believes in it.
    pub(super) fn connected(&self) -> bool {
        self.connection.status().connected() && self.condemned.borrow().is_none()
    }
}

impl Drop for Session {
    fn drop(&mut self) {
        self.socket.shut();
    }
}

/// A handle on the supervised connection.
#[derive(Debug, Clone)]
pub(super) struct Link {
    current: watch::Receiver<Option<Arc<Session>>>,
}

/// What a supervisor works with.
pub(super) struct Supervisor {
    pub(super) role: Role,
    pub(super) address: Address,
    pub(super) options: RabbitOptions,
    pub(super) board: Arc<Board>,
    /// True while the broker blocks publishers.
    pub(super) blocked: watch::Sender<bool>,
    pub(super) closed: CancellationToken,
}

impl Link {
    /// The current connection; waits while there is none. `None` when the broker was closed.
    pub(super) async fn session(&self) -> Option<Arc<Session>> {
        let mut current = self.current.clone();
        let session = current.wait_for(Option::is_some).await.ok()?;
        session.clone()
    }
}

impl Supervisor {
    /// Makes the first connection and starts watching it.
    pub(super) async fn start(
        self,
        tasks: &tokio_util::task::TaskTracker,
    ) -> Result<Link, ConnectError> {
        let first = self.connect(self.options.connect_timeout).await?;
        let (sessions, current) = watch::channel(None);
        tasks.spawn(self.supervise(first, sessions));
        Ok(Link { current })
    }

    async fn connect(&self, timeout: Duration) -> Result<Arc<Session>, ConnectError> {
        let name = format!("{} ({})", self.options.connection_name, self.role.word());
        let (connection, socket) = dial(&self.address, &name, timeout).await?;
        Ok(Arc::new(Session { connection, socket, condemned: watch::Sender::new(None) }))
    }

    async fn supervise(self, first: Arc<Session>, sessions: watch::Sender<Option<Arc<Session>>>) {
        let mut session = first;
        loop {
            sessions.send_replace(Some(Arc::clone(&session)));
            self.board.set(self.role, LinkState::Up);
            let reason = tokio::select! {
                () = self.closed.cancelled() => {
                    sessions.send_replace(None);
                    self.end(&session).await;
                    return;
                }
                reason = self.watch(&session) => reason,
            };
            sessions.send_replace(None);
            session.socket.shut();
            self.blocked.send_replace(false);
            tracing::warn!(
                connection = self.role.word(), address = %self.address.shown, reason,
                "the connection to the broker is lost, making it again"
            );
            let Some(next) = self.reconnect(reason).await else { return };
            self.options.metrics.reconnects.inc();
            tracing::info!(
                connection = self.role.word(), address = %self.address.shown,
                "the connection to the broker stands again"
            );
            session = next;
        }
    }

    /// Waits for the end of a connection and says why it ended; keeps the board informed meanwhile.
    async fn watch(&self, session: &Session) -> String {
        let mut events = std::pin::pin!(session.connection.events_listener());
        let mut condemned = session.condemned.subscribe();
        let mut look = tokio::time::interval(LOOK);
        let mut blocked = Blocked { since: None, metrics: self.options.metrics.clone() };
        loop {
            tokio::select! {
                event = events.next() => match event {
                    Some(Event::ConnectionBlocked(reason)) => {
                        blocked.begin();
                        tracing::warn!(address = %self.address.shown, reason, "the broker takes no messages");
                        self.board.set(self.role, LinkState::Blocked { reason });
                        self.blocked.send_replace(true);
                    }
                    Some(Event::ConnectionUnblocked) => {
                        blocked.count();
                        blocked.since = None;
                        tracing::info!(address = %self.address.shown, "the broker takes messages again");
                        self.board.set(self.role, LinkState::Up);
                        self.blocked.send_replace(false);
                    }
                    // Also sent for errors of single channels, whose users see them themselves.
                    Some(Event::Error(error)) if !session.connection.status().connected() => {
                        return error.to_string();
                    }
                    Some(_) => {}
                    None => return "its events ended".to_owned(),
                },
                Ok(reason) = condemned.wait_for(Option::is_some) => {
                    return reason.clone().unwrap_or_default();
                }
                _ = look.tick() => {
                    blocked.count();
                    if !session.connection.status().connected() {
                        return "it is no longer connected".to_owned();
                    }
                }
            }
        }
    }

    /// Tries until it works or the broker is closed.
    async fn reconnect(&self, mut reason: String) -> Option<Arc<Session>> {
        for attempt in 0_u32.. {
            let (floor, cap) = (self.options.reconnect_floor, self.options.reconnect_cap);
            let next_in = backoff(attempt, floor, cap, rand::random());
            self.board.set(
                self.role,
                LinkState::Down { reason: reason.clone(), attempts: attempt, next_in },
            );
            let attempted = async {
                tokio::time::sleep(next_in).await;
                self.connect(self.options.connect_timeout).await
            };
            let error = tokio::select! {
                () = self.closed.cancelled() => return None,
                result = attempted => match result {
                    Ok(session) => return Some(session),
                    Err(error) => error,
                },
            };
            reason = error.to_string();
            tracing::warn!(
                connection = self.role.word(),
                attempt,
                reason,
                "cannot reach the broker yet"
            );
        }
        None
    }

    /// An orderly end, bounded; the socket is shut whatever comes.
    async fn end(&self, session: &Session) {
        let closing = session.connection.close(200, "closing".into());
        if !matches!(tokio::time::timeout(Duration::from_secs(2), closing).await, Ok(Ok(()))) {
            tracing::debug!(connection = self.role.word(), "the connection did not close in order");
        }
        session.socket.shut();
    }
}

/// Counts blocked time as it passes, so that a long alarm shows while it lasts.
struct Blocked {
    since: Option<Instant>,
    metrics: BrokerMetrics,
}

impl Blocked {
    fn begin(&mut self) {
        self.since.get_or_insert_with(Instant::now);
    }

    fn count(&mut self) {
        if let Some(since) = &mut self.since {
            let now = Instant::now();
            self.metrics.blocked_seconds.inc_by((now - *since).as_secs_f64());
            *since = now;
        }
    }
}
