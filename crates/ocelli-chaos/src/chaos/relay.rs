//! What stands between clients and broker nodes in a data centre: each connection goes to the next node that answers,
//! can be cut, slowed down, and go dead without a word while new ones work.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{mpsc, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

/// Connections made before these generations are cut, or dead.
#[derive(Debug, Clone, Copy, Default)]
struct State {
    generation: u64,
    cut_before: u64,
    dead_before: u64,
    /// How much later everything arrives.
    delay: Duration,
}

#[derive(Debug)]
pub(super) struct Relay {
    address: SocketAddr,
    opened: Arc<AtomicUsize>,
    state: watch::Sender<State>,
    _tasks: JoinSet<()>,
}

impl Relay {
    pub(super) async fn start(upstreams: Vec<SocketAddr>) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let (state, seen) = watch::channel(State::default());
        let opened = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&opened);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let (upstreams, next) = (Arc::new(upstreams), Arc::new(AtomicUsize::new(0)));
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                counted.fetch_add(1, Ordering::Relaxed);
                let (upstreams, next) = (Arc::clone(&upstreams), Arc::clone(&next));
                connections.spawn(forward(client, upstreams, next, seen.clone()));
                while connections.try_join_next().is_some() {}
            }
        });
        Ok(Self { address, opened, state, _tasks: tasks })
    }

    /// `amqp://…` with the relay's address.
    pub(super) fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }

    /// Connections that were made so far.
    pub(super) fn opened(&self) -> usize {
        self.opened.load(Ordering::Relaxed)
    }

    /// Everything that is sent from here on arrives this much later, in both directions.
    pub(super) fn delay(&self, by: Duration) {
        self.state.send_modify(|state| state.delay = by);
    }

    /// Ends every open connection.
    pub(super) fn cut(&self) {
        self.state.send_modify(|state| {
            state.generation += 1;
            state.cut_before = state.generation;
        });
    }

    /// Open connections stay open and move nothing any more; new ones work.
    pub(super) fn deaden(&self) {
        self.state.send_modify(|state| {
            state.generation += 1;
            state.dead_before = state.generation;
        });
    }
}

async fn forward(
    client: TcpStream,
    upstreams: Arc<Vec<SocketAddr>>,
    next: Arc<AtomicUsize>,
    mut state: watch::Receiver<State>,
) {
    let born = state.borrow_and_update().generation;
    let first = next.fetch_add(1, Ordering::Relaxed);
    let mut server = None;
    for offset in 0..upstreams.len() {
        let upstream = upstreams[(first + offset) % upstreams.len()];
        if let Ok(stream) = TcpStream::connect(upstream).await {
            server = Some(stream);
            break;
        }
    }
    let Some(server) = server else { return };
    let (client_read, client_write) = client.into_split();
    let (server_read, server_write) = server.into_split();
    let moved = async {
        tokio::try_join!(
            pump(client_read, server_write, state.clone(), born),
            pump(server_read, client_write, state.clone(), born)
        )
    };
    let mut cut = state.clone();
    tokio::select! {
        _ = moved => {}
        _ = cut.wait_for(|state| born < state.cut_before) => {}
    }
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    state: watch::Receiver<State>,
    born: u64,
) -> io::Result<()> {
    // What is on its way. A link that is slow to deliver still takes as much as before, within reason.
    let (sent, mut arriving) = mpsc::channel::<(Instant, Vec<u8>)>(256);
    let sending = async {
        let mut buffer = vec![0; 16 * 1024];
        loop {
            let length = from.read(&mut buffer).await?;
            let at = Instant::now() + state.borrow().delay;
            if sent.send((at, buffer[..length].to_vec())).await.is_err() || length == 0 {
                return io::Result::Ok(());
            }
        }
    };
    let delivering = async {
        while let Some((at, bytes)) = arriving.recv().await {
            tokio::time::sleep_until(at).await;
            if born < state.borrow().dead_before {
                // Swallowed, and nobody is told.
                std::future::pending::<()>().await;
            }
            if bytes.is_empty() {
                return to.shutdown().await;
            }
            to.write_all(&bytes).await?;
        }
        Ok(())
    };
    tokio::try_join!(sending, delivering).map(drop)
}
