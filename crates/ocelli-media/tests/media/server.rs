//! An HTTP server that misbehaves on purpose.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use ocelli_core::SourceUri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// What to do once a request has been read.
#[derive(Debug, Clone)]
pub(crate) enum Play {
    /// Send these bytes and close.
    Say(Vec<u8>),
    /// Send these bytes and keep the connection open without another word.
    SayAndHang(Vec<u8>),
    /// Send these bytes, then zeroes until the other side closes.
    SayAndPour(Vec<u8>),
    /// Send these bytes, then one more at every interval.
    SayAndDrip(Vec<u8>, std::time::Duration),
}

/// Stops with the value.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) requests: Arc<Mutex<Vec<String>>>,
    /// Bytes poured that the system took, whether the other side read them or not.
    pub(crate) poured: Arc<AtomicU64>,
    accepting: JoinHandle<()>,
}

impl Drop for Server {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

impl Server {
    /// `play` gets the path of each request.
    pub(crate) async fn start(play: impl Fn(&str) -> Play + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let requests = Arc::new(Mutex::new(Vec::new()));
        let play = Arc::new(play);
        let seen = Arc::clone(&requests);
        let poured = Arc::new(AtomicU64::new(0));
        let pouring = Arc::clone(&poured);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (play, seen) = (Arc::clone(&play), Arc::clone(&seen));
                tokio::spawn(talk(stream, play, seen, Arc::clone(&pouring)));
            }
        });
        Self { address, requests, poured, accepting }
    }

    pub(crate) fn uri(&self, path: &str) -> SourceUri {
        format!("http://{}{path}", self.address).parse().unwrap()
    }
}

/// An answer with a body of the right length.
pub(crate) fn answer(status: &str, headers: &str, body: &[u8]) -> Play {
    let head = format!(
        "HTTP/1.1 {status}\r\n{headers}Content-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    Play::Say([head.as_bytes(), body].concat())
}

async fn talk(
    mut stream: TcpStream,
    play: Arc<impl Fn(&str) -> Play>,
    seen: Arc<Mutex<Vec<String>>>,
    poured: Arc<AtomicU64>,
) {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        let Ok(byte) = stream.read_u8().await else { return };
        request.push(byte);
    }
    let request = String::from_utf8(request).unwrap();
    let path = request.split(' ').nth(1).unwrap_or_default().to_owned();
    seen.lock().unwrap().push(request);
    // The other side may go at any time; that is what most of these tests are about.
    let _ = act(&mut stream, play(&path), &poured).await;
}

async fn act(stream: &mut TcpStream, play: Play, poured: &AtomicU64) -> std::io::Result<()> {
    match play {
        Play::Say(bytes) => {
            stream.write_all(&bytes).await?;
            stream.shutdown().await
        }
        Play::SayAndHang(bytes) => {
            stream.write_all(&bytes).await?;
            stream.read_u8().await.map(|_| ())
        }
        Play::SayAndPour(bytes) => {
            stream.write_all(&bytes).await?;
            loop {
                stream.write_all(&[0; 8192]).await?;
                poured.fetch_add(8192, Ordering::Relaxed);
            }
        }
        Play::SayAndDrip(bytes, interval) => {
            stream.write_all(&bytes).await?;
            let mut ticks = tokio::time::interval(interval);
            loop {
                ticks.tick().await;
                stream.write_all(b"x").await?;
            }
        }
    }
}
