//! Accepting connections that can all be cut at once, as when a server's machine goes away.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::serve::Listener;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpSocket, TcpStream};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use super::state::Shared;
use super::{Protocol, ollama, openai};

/// Serves until `stop`; answers with the address bound.
pub(super) async fn spawn(
    address: SocketAddr,
    shared: Shared,
    stop: CancellationToken,
) -> io::Result<SocketAddr> {
    let listener = bind(address)?;
    let address = listener.local_addr()?;
    let protocol = shared.read(|state| state.options.protocol);
    let app: Router = match protocol {
        Protocol::Ollama => ollama::routes(shared),
        Protocol::OpenAi => openai::routes(shared),
    };
    let cuttable = CuttableListener { listener, stop: stop.clone() };
    tokio::spawn(async move {
        let serve = axum::serve(cuttable, app).into_future();
        tokio::select! {
            () = stop.cancelled() => {}
            _ = serve => {}
        }
    });
    Ok(address)
}

/// With `SO_REUSEADDR`, so that a double can come back while old connections linger in TIME_WAIT.
fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.bind(address)?;
    socket.listen(1024)
}

struct CuttableListener {
    listener: TcpListener,
    stop: CancellationToken,
}

impl Listener for CuttableListener {
    type Io = Cuttable;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Cuttable, SocketAddr) {
        loop {
            match self.listener.accept().await {
                Ok((stream, address)) => {
                    let stop = Box::pin(self.stop.clone().cancelled_owned());
                    return (Cuttable { stream, stop }, address);
                }
                // Out of descriptors: others must close first.
                Err(_) => tokio::time::sleep(Duration::from_millis(20)).await,
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.listener.local_addr()
    }
}

/// A connection that fails once its double has gone down.
struct Cuttable {
    stream: TcpStream,
    stop: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Cuttable {
    fn check(&mut self, context: &mut Context<'_>) -> io::Result<()> {
        match self.stop.as_mut().poll(context) {
            Poll::Ready(()) => Err(io::ErrorKind::ConnectionReset.into()),
            Poll::Pending => Ok(()),
        }
    }
}

impl AsyncRead for Cuttable {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl AsyncWrite for Cuttable {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(context)?;
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
