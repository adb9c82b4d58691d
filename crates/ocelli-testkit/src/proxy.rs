//! A TCP proxy that breaks connections the ways networks do: cut, frozen, slow, refused.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// Bytes moved at once. Small, so that freezing and delaying also bite in the middle of a message.
const CHUNK: usize = 16 * 1024;

/// What the proxy does to the bytes that pass through it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Mode {
    /// Moves them.
    Pass,
    /// Moves each piece this much later.
    Delay(Duration),
    /// Accepts connections and moves nothing: a half-open link, a firewall that drops.
    Freeze,
    /// Nobody listens: connections are refused at once.
    Refuse,
}

#[derive(Debug, Clone, Copy)]
struct State {
    mode: Mode,
    /// Connections made under a smaller number are cut.
    generation: u64,
}

/// A proxy on 127.0.0.1 in front of one server. Gone, with all its connections, when dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    state: Arc<watch::Sender<State>>,
    listening: watch::Receiver<bool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Listens on a free port and forwards to `upstream`, which need not be there yet.
    ///
    /// # Panics
    /// When it cannot listen.
    pub async fn start(upstream: SocketAddr) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, crate::ports::free()))
            .await
            .expect("a free port can be listened on");
        let address = listener.local_addr().expect("a listener has an address");
        let (state, seen) = watch::channel(State { mode: Mode::Pass, generation: 0 });
        let (listens, listening) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(serve(listener, address, upstream, seen, listens));
        Self { address, state: Arc::new(state), listening, _tasks: tasks }
    }

    /// Where clients connect.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// `url` with its host and port replaced by the proxy's.
    ///
    /// # Panics
    /// When `url` is no URL with a host.
    #[must_use]
    pub fn url(&self, url: &str) -> String {
        let mut url = url::Url::parse(url).expect("the server's URL is one");
        url.set_ip_host(self.address.ip()).expect("the server's URL has a host");
        url.set_port(Some(self.address.port())).expect("the server's URL has a port");
        url.to_string()
    }

    /// Ends every connection that is open now. New ones are treated as before.
    pub fn cut(&self) {
        self.state.send_modify(|state| state.generation += 1);
    }

    /// Stops moving bytes, in open connections and new ones. Nobody is told.
    pub fn freeze(&self) {
        self.set(Mode::Freeze);
    }

    /// Moves every piece of at most 16 KiB this much later.
    pub fn delay(&self, by: Duration) {
        self.set(Mode::Delay(by));
    }

    /// Ends every open connection and refuses new ones.
    pub async fn refuse(&self) {
        self.state.send_modify(|state| {
            state.mode = Mode::Refuse;
            state.generation += 1;
        });
        self.listening_is(false).await;
    }

    /// Back to normal. Bytes held by [`Proxy::freeze`] go on.
    pub async fn restore(&self) {
        self.set(Mode::Pass);
        self.listening_is(true).await;
    }

    fn set(&self, mode: Mode) {
        self.state.send_modify(|state| state.mode = mode);
    }

    async fn listening_is(&self, wanted: bool) {
        let mut listening = self.listening.clone();
        listening
            .wait_for(|now| *now == wanted)
            .await
            .expect("the proxy runs as long as it is held");
    }
}

/// Accepts until dropped; closes and reopens the listening socket as the mode says.
async fn serve(
    listener: TcpListener,
    address: SocketAddr,
    upstream: SocketAddr,
    mut state: watch::Receiver<State>,
    listens: watch::Sender<bool>,
) {
    let mut connections = JoinSet::new();
    let mut listener = Some(listener);
    loop {
        let mode = state.borrow_and_update().mode;
        if mode == Mode::Refuse {
            listener = None;
            listens.send_replace(false);
        } else if listener.is_none() {
            match TcpListener::bind(address).await {
                Ok(again) => listener = Some(again),
                Err(error) => panic!("the proxy could not listen on {address} again: {error}"),
            }
            listens.send_replace(true);
        }
        let accepted = async {
            match &listener {
                Some(listener) => listener.accept().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            changed = state.changed() => if changed.is_err() { return },
            accepted = accepted => if let Ok((client, _)) = accepted {
                connections.spawn(forward(client, upstream, state.clone()));
            },
            Some(_) = connections.join_next(), if !connections.is_empty() => {}
        }
    }
}

/// One connection, until a side ends it or it is cut.
async fn forward(client: TcpStream, upstream: SocketAddr, state: watch::Receiver<State>) {
    let born = state.borrow().generation;
    let mut cut = state.clone();
    let moved = async {
        let mut frozen = state.clone();
        passing(&mut frozen).await?;
        let server = TcpStream::connect(upstream).await?;
        let (client_read, client_write) = client.into_split();
        let (server_read, server_write) = server.into_split();
        tokio::try_join!(
            pump(client_read, server_write, state.clone()),
            pump(server_read, client_write, state)
        )
    };
    tokio::select! {
        _ = moved => {}
        _ = cut.wait_for(|state| state.generation > born) => {}
    }
}

/// Waits while frozen; answers how long to wait before moving a piece.
async fn passing(state: &mut watch::Receiver<State>) -> io::Result<Duration> {
    let gone = |_| io::Error::from(io::ErrorKind::ConnectionAborted);
    let state = state.wait_for(|state| state.mode != Mode::Freeze).await.map_err(gone)?;
    Ok(if let Mode::Delay(by) = state.mode { by } else { Duration::ZERO })
}

async fn pump(
    mut from: tokio::net::tcp::OwnedReadHalf,
    mut to: tokio::net::tcp::OwnedWriteHalf,
    mut state: watch::Receiver<State>,
) -> io::Result<()> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let length = from.read(&mut buffer).await?;
        let delay = passing(&mut state).await?;
        tokio::time::sleep(delay).await;
        // A mode that changed during the delay holds for this piece too.
        passing(&mut state).await?;
        if length == 0 {
            return to.shutdown().await;
        }
        to.write_all(&buffer[..length]).await?;
    }
}
