//! A man in the middle who says `connection.blocked` as RabbitMQ does when its disk is full: an alarm without having to
//! fill a disk.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;

/// See the module.
pub(crate) struct Injector {
    /// Where to connect.
    pub(crate) url: String,
    blocked: watch::Sender<Option<&'static str>>,
    _tasks: JoinSet<()>,
}

impl Injector {
    pub(crate) async fn start(upstream: &str) -> Self {
        let mut url: url::Url = upstream.parse().expect("an address");
        let upstream: SocketAddr = ([127, 0, 0, 1], url.port().expect("a port")).into();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        url.set_port(Some(port)).expect("can be set");
        let blocked = watch::Sender::new(None);
        let seen = blocked.subscribe();
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                connections.spawn(forward(client, upstream, seen.clone()));
            }
        });
        Self { url: url.to_string(), blocked, _tasks: tasks }
    }

    pub(crate) fn block(&self, reason: &'static str) {
        self.blocked.send_replace(Some(reason));
    }

    pub(crate) fn unblock(&self) {
        self.blocked.send_replace(None);
    }
}

/// Moves bytes both ways and tells the publishing connection about alarms. What it tells may only be put between two
/// frames of the server; that connection is quiet whenever a test changes the alarm.
async fn forward(
    client: TcpStream,
    upstream: SocketAddr,
    mut blocked: watch::Receiver<Option<&'static str>>,
) {
    let server = TcpStream::connect(upstream).await.expect("the test's broker");
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let (mut up, mut down) = (vec![0; 64 * 1024], vec![0; 64 * 1024]);
    let mut publishes = false;
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                publishes |= up[..count].windows(9).any(|bytes| bytes == b"(publish)");
                if to_server.write_all(&up[..count]).await.is_err() {
                    return;
                }
            }
            read = from_server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if to_client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
            Ok(()) = blocked.changed(), if publishes => {
                let now = *blocked.borrow_and_update();
                if to_client.write_all(&frame(now)).await.is_err() {
                    return;
                }
            }
        }
    }
}

/// `connection.blocked` (class 10, method 60) or `connection.unblocked` (method 61) on channel 0.
fn frame(blocked: Option<&str>) -> Vec<u8> {
    let mut payload = vec![0, 10, 0, if blocked.is_some() { 60 } else { 61 }];
    if let Some(reason) = blocked {
        payload.push(u8::try_from(reason.len()).expect("short"));
        payload.extend(reason.as_bytes());
    }
    let mut frame = vec![1, 0, 0];
    frame.extend(u32::try_from(payload.len()).expect("short").to_be_bytes());
    frame.extend(payload);
    frame.push(0xce);
    frame
}
