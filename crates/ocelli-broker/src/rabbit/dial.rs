//! Making one connection: resolve, connect, TLS, AMQP handshake, all within one deadline, each failure told apart.
//!
//! The socket is opened here rather than by lapin for one reason: a duplicate of it is kept, and shutting that down ends
//! lapin's connection for certain. Without it a peer that accepts and then says nothing would leave a thread and a
//! socket behind with every attempt, and a hung connection could not be thrown away.

use std::io;
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::uri::AMQPScheme;
use lapin::{AsyncTcpStream, Connection, ConnectionProperties, ErrorKind};

use super::address::Address;
use super::answer;
use crate::ConnectError;

/// How far a connection attempt has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    Resolve,
    Connect,
    Tls,
    Handshake,
}

impl Stage {
    fn words(self) -> &'static str {
        match self {
            Self::Resolve => "resolving the name",
            Self::Connect => "connecting",
            Self::Tls => "during the TLS handshake",
            Self::Handshake => "connected, but no AMQP answer",
        }
    }
}

/// Shared with lapin's thread, which runs the connecting.
struct Progress {
    stage: Stage,
    /// The failure of a stage before AMQP, with its own words.
    failed: Option<io::Error>,
    socket: Option<Socket>,
    /// Nobody waits any more: whatever is opened now is shut again.
    abandoned: bool,
}

/// Ends what was opened unless it was taken over: on failure, on timeout, and when the caller's future is dropped.
struct Guard(Arc<Mutex<Progress>>);

impl Drop for Guard {
    fn drop(&mut self) {
        let mut progress = lock(&self.0);
        progress.abandoned = true;
        if let Some(socket) = progress.socket.take() {
            socket.shut();
        }
    }
}

/// A duplicate of the connection's socket, to end it for certain.
#[derive(Debug)]
pub(super) struct Socket(TcpStream);

impl Socket {
    /// Ends the connection under lapin: its pending operations fail, its thread ends.
    pub(super) fn shut(&self) {
        // Fails when it is shut already: fine.
        let _already = self.0.shutdown(Shutdown::Both);
    }
}

/// Connects. `name` is shown on the broker's pages.
pub(super) async fn dial(
    address: &Address,
    name: &str,
    timeout: Duration,
) -> Result<(Connection, Socket), ConnectError> {
    // Fails when the process has chosen a provider already: fine.
    let _chosen = rustls::crypto::ring::default_provider().install_default();
    let progress = Arc::new(Mutex::new(Progress {
        stage: Stage::Resolve,
        failed: None,
        socket: None,
        abandoned: false,
    }));
    let _guard = Guard(Arc::clone(&progress));
    let shared = Arc::clone(&progress);
    let properties = ConnectionProperties::default().with_connection_name(name.into());
    let runtime = lapin::runtime::default_runtime().map_err(|error| protocol(address, error))?;
    let connecting = Connection::connector(
        address.uri.clone(),
        runtime,
        async move |uri, runtime| {
            let at = |stage| lock(&shared).stage = stage;
            let open = async {
                let target = (uri.authority.host.as_str(), uri.authority.port);
                let found: Vec<SocketAddr> = tokio::net::lookup_host(target).await?.collect();
                at(Stage::Connect);
                let mut stream = Err(io::Error::new(io::ErrorKind::NotFound, "no address"));
                for target in found {
                    stream = AsyncTcpStream::connect(&runtime, target).await;
                    if stream.is_ok() {
                        break;
                    }
                }
                let stream = stream?;
                if let AsyncTcpStream::Plain(plain) = &stream {
                    let copy = plain.get_ref().as_fd().try_clone_to_owned()?;
                    let mut progress = lock(&shared);
                    if progress.abandoned {
                        return Err(io::Error::from(io::ErrorKind::ConnectionAborted));
                    }
                    progress.socket = Some(Socket(TcpStream::from(copy)));
                }
                if uri.scheme == AMQPScheme::AMQP {
                    at(Stage::Handshake);
                    return Ok(stream);
                }
                at(Stage::Tls);
                let config = lapin::tcp::OwnedTLSConfig::default();
                let stream = stream.into_tls(&uri.authority.host, config.as_ref()).await?;
                at(Stage::Handshake);
                Ok(stream)
            };
            // Its own timeout: the caller's cannot reach into lapin's thread.
            match tokio::time::timeout(timeout, open).await {
                Ok(Ok(stream)) => Ok(stream),
                Ok(Err(error)) => {
                    let kept = io::Error::new(error.kind(), error.to_string());
                    lock(&shared).failed = Some(kept);
                    Err(lapin::Error::from(error))
                }
                Err(_elapsed) => Err(lapin::Error::from(io::Error::from(io::ErrorKind::TimedOut))),
            }
        },
        properties,
    );
    let result = tokio::time::timeout(timeout, connecting).await;
    let mut progress = lock(&progress);
    match result {
        Ok(Ok(connection)) => match progress.socket.take() {
            Some(socket) => Ok((connection, socket)),
            None => Err(protocol(address, io::Error::other("the connection has no socket"))),
        },
        Ok(Err(error)) => Err(classify(address, timeout, &mut progress, error)),
        Err(_elapsed) => Err(silent(address, timeout, progress.stage)),
    }
}

fn lock(progress: &Mutex<Progress>) -> std::sync::MutexGuard<'_, Progress> {
    progress.lock().unwrap_or_else(PoisonError::into_inner)
}

fn silent(address: &Address, timeout: Duration, stage: Stage) -> ConnectError {
    ConnectError::Silent { address: address.shown.clone(), timeout, stage: stage.words() }
}

fn protocol(
    address: &Address,
    source: impl std::error::Error + Send + Sync + 'static,
) -> ConnectError {
    ConnectError::Protocol { address: address.shown.clone(), source: Box::new(source) }
}

/// From the stage and the error to what a person can do about it.
fn classify(
    address: &Address,
    timeout: Duration,
    progress: &mut Progress,
    error: lapin::Error,
) -> ConnectError {
    let shown = address.shown.clone();
    if let Some(source) = progress.failed.take() {
        return match progress.stage {
            Stage::Resolve => ConnectError::Resolve {
                address: shown,
                host: address.uri.authority.host.clone(),
                source,
            },
            Stage::Tls => ConnectError::Tls { address: shown, source },
            Stage::Connect | Stage::Handshake
                if source.kind() == io::ErrorKind::ConnectionRefused =>
            {
                ConnectError::Refused { address: shown, source }
            }
            Stage::Connect | Stage::Handshake => {
                ConnectError::Unreachable { address: shown, source }
            }
        };
    }
    match error.kind() {
        ErrorKind::IOError(source) if source.kind() == io::ErrorKind::TimedOut => {
            silent(address, timeout, progress.stage)
        }
        _ if answer::code(&error) == Some(answer::ACCESS_REFUSED) => ConnectError::Credentials {
            address: shown,
            user: address.uri.authority.userinfo.username.clone(),
            source: Box::new(error),
        },
        _ if answer::code(&error) == Some(answer::NOT_ALLOWED) => ConnectError::VirtualHost {
            address: shown,
            vhost: address.uri.vhost.clone(),
            source: Box::new(error),
        },
        ErrorKind::IOError(source) => ConnectError::Unreachable {
            address: shown,
            source: io::Error::new(source.kind(), source.to_string()),
        },
        _ => protocol(address, error),
    }
}
