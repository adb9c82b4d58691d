//! `/metrics`, `/healthz` and `/readyz` over real HTTP.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::time::Duration;

use ocelli_runtime::http::{HttpError, HttpServer, State};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

/// Longer than anything here takes; only a hang gets there.
const PATIENCE: Duration = Duration::from_secs(20);

struct Door {
    parts: State,
    address: String,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Door {
    async fn open() -> Self {
        let parts = State {
            registry: ocelli_runtime::metrics::registry("ocelli-test").unwrap(),
            ..State::default()
        };
        let server = HttpServer::bind("127.0.0.1:0").await.unwrap();
        let (address, shutdown) = (server.address().to_string(), CancellationToken::new());
        let task = tokio::spawn(server.serve(parts.clone(), shutdown.clone()));
        Self { parts, address, shutdown, task }
    }

    async fn get(&self, path: &str) -> (u16, String, String) {
        let answer = client().get(format!("http://{}{path}", self.address)).send().await.unwrap();
        let content_type =
            answer.headers().get("content-type").map(|value| value.to_str().unwrap());
        let content_type = content_type.unwrap_or_default().to_owned();
        (answer.status().as_u16(), content_type, answer.text().await.unwrap())
    }

    async fn close(self) {
        self.shutdown.cancel();
        tokio::time::timeout(PATIENCE, self.task).await.unwrap().unwrap();
    }
}

fn client() -> reqwest::Client {
    // Plain HTTP, but the client wants a TLS provider to exist.
    let _ = rustls::crypto::ring::default_provider().install_default();
    reqwest::Client::builder().no_proxy().build().unwrap()
}

#[tokio::test]
async fn metrics_are_served_in_the_text_format() {
    let door = Door::open().await;
    let (status, content_type, text) = door.get("/metrics").await;
    assert_eq!((status, content_type.as_str()), (200, "text/plain; version=0.0.4"));
    assert!(text.contains("ocelli_build_info{binary=\"ocelli-test\","), "{text}");
    #[cfg(target_os = "linux")]
    assert!(text.contains("process_resident_memory_bytes "), "{text}");
    door.close().await;
}

#[tokio::test]
async fn a_process_is_ready_after_its_last_latch_and_not_while_it_drains() {
    let door = Door::open().await;
    let latch = door.parts.readiness.latch("broker");
    let (status, _, text) = door.get("/readyz").await;
    assert_eq!((status, text.as_str()), (503, "broker is starting\n"));
    latch.release();
    assert_eq!(door.get("/readyz").await.0, 200);
    door.parts.readiness.set_draining();
    let (status, _, text) = door.get("/readyz").await;
    assert_eq!((status, text.as_str()), (503, "draining\n"));
    assert_eq!(door.get("/healthz").await.0, 200, "draining is healthy");
    door.close().await;
}

#[tokio::test]
async fn a_stalled_process_is_not_healthy_and_says_what_stands_still() {
    let door = Door::open().await;
    let mark = door.parts.watchdog.mark("publish", Duration::ZERO);
    assert_eq!(door.get("/healthz").await.0, 200);
    mark.due();
    let (status, _, text) = door.get("/healthz").await;
    assert_eq!(status, 503);
    assert!(text.starts_with("publish: work is due and nothing moved for"), "{text}");
    mark.idle();
    assert_eq!(door.get("/healthz").await.0, 200);
    door.close().await;
}

#[tokio::test]
async fn only_reading_is_allowed() {
    let door = Door::open().await;
    let url = format!("http://{}/metrics", door.address);
    assert_eq!(client().post(&url).body("x").send().await.unwrap().status(), 405);
    assert_eq!(client().head(&url).send().await.unwrap().status(), 200);
    assert_eq!(door.get("/secrets").await.0, 404);
    door.close().await;
}

#[tokio::test]
async fn a_port_in_use_is_named_with_the_way_out() {
    let first = HttpServer::bind("127.0.0.1:0").await.unwrap();
    let address = first.address().to_string();
    let error = HttpServer::bind(&address).await.unwrap_err();
    assert!(matches!(error, HttpError::InUse { .. }), "{error:?}");
    let expected = format!("cannot listen on {address}: another process already does");
    assert_eq!(error.to_string(), expected);
    assert!(error.hint().contains("http.listen") && error.hint().contains(&address));
    let error = HttpServer::bind("192.0.2.1:80").await.unwrap_err();
    assert!(matches!(error, HttpError::Bind { .. }), "{error:?}");
}

#[tokio::test]
async fn a_client_that_says_nothing_does_not_hold_up_the_stop() {
    let door = Door::open().await;
    let mut silent = TcpStream::connect(&door.address).await.unwrap();
    silent.write_all(b"GET /metr").await.unwrap();
    assert_eq!(door.get("/healthz").await.0, 200, "others are served meanwhile");
    door.close().await;
    let mut rest = Vec::new();
    let _ = tokio::time::timeout(PATIENCE, silent.read_to_end(&mut rest)).await.unwrap();
}
