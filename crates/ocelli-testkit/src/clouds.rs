//! Servers of the protocols of Google's and Azure's buckets: the programs that others test with, too, pinned and installed into the
//! build folder by `deploy/local/clouds.sh`.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::hmac;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

use crate::program::{Program, bound};
use crate::{ports, wait_until};

/// A loaded machine takes its time to start Node.
const UP: Duration = Duration::from_secs(60);

/// The storage account of [`Azure`].
pub const ACCOUNT: &str = "accountofatest";

/// Its key, in Base64.
pub const ACCOUNT_KEY: &str = "a2V5LW9mLWEtdGVzdC10aGF0LWlzLXNob3duLW5vd2hlcmUtYXQtYWxs";

/// The key of a service account that signs nothing: the server of Google's protocol checks none.
pub const SERVICE_KEY: &str =
    r#"{"private_key":"","private_key_id":"","client_email":"a@example.org","disable_oauth":true}"#;

/// Where they are installed; installs them the first time.
#[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
fn installed() -> PathBuf {
    // target/debug/deps/TEST
    let test = std::env::current_exe().unwrap();
    let target = test.ancestors().nth(3).unwrap().to_owned();
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../deploy/local/clouds.sh");
    let output = Command::new(script).env("CARGO_TARGET_DIR", &target).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    target.join("clouds")
}

/// A server of Google's protocol, with one bucket. It lists and gives, and takes objects in a way of its own alone.
#[derive(Debug)]
pub struct Google {
    address: String,
    bucket: String,
    _server: Program,
    _folder: tempfile::TempDir,
}

impl Google {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
    pub async fn start(bucket: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = bound("KILL", &installed().join("fake-gcs-server"));
        let (host, port) = address.split_once(':').unwrap();
        command.args(["-scheme", "http", "-backend", "memory", "-host", host, "-port", port]);
        // Else it serves only what the JSON protocol asks for.
        command.args(["-public-host", &address]);
        let server = Program::start(command, &folder.path().join("log")).unwrap();
        listening(&address, &folder.path().join("log")).await;
        let this = Self { address, bucket: bucket.to_owned(), _server: server, _folder: folder };
        let body = format!("{{\"name\":\"{bucket}\"}}");
        this.post("/storage/v1/b?project=test", "application/json", body.as_bytes()).await;
        this
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Puts an object there.
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn put(&self, key: &str, bytes: &[u8]) {
        let name: String = url::form_urlencoded::byte_serialize(key.as_bytes()).collect();
        let path = format!("/upload/storage/v1/b/{}/o?uploadType=media&name={name}", self.bucket);
        self.post(&path, "image/png", bytes).await;
    }

    async fn post(&self, path: &str, kind: &str, body: &[u8]) {
        send(&self.address, &format!("POST {path}"), &format!("content-type: {kind}\r\n"), body)
            .await;
    }
}

/// A server of Azure's protocol, with one account and one container. It checks signatures.
#[derive(Debug)]
pub struct Azure {
    address: String,
    container: String,
    _server: Program,
    _folder: tempfile::TempDir,
}

impl Azure {
    /// Starts one.
    ///
    /// # Panics
    /// When it does not come up.
    #[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
    pub async fn start(container: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = format!("127.0.0.1:{}", ports::free());
        let mut command = bound("KILL", Path::new("node"));
        let (host, port) = address.split_once(':').unwrap();
        command.arg(installed().join("node_modules/azurite/dist/src/blob/main.js"));
        command.args(["--blobHost", host, "--blobPort", port, "--inMemoryPersistence", "--silent"]);
        command.args(["--skipApiVersionCheck", "--disableTelemetry"]);
        command.env("AZURITE_ACCOUNTS", format!("{ACCOUNT}:{ACCOUNT_KEY}"));
        command.current_dir(folder.path());
        let server = Program::start(command, &folder.path().join("log")).unwrap();
        listening(&address, &folder.path().join("log")).await;
        let container = container.to_owned();
        let this = Self { address, container, _server: server, _folder: folder };
        this.send("", "restype=container", "", &[]).await;
        this
    }

    /// Where it listens, with the account in the path as it wants it.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}/{ACCOUNT}", self.address)
    }

    /// Puts an object there.
    ///
    /// # Panics
    /// When it is not taken.
    pub async fn put(&self, key: &str, bytes: &[u8]) {
        self.send(
            &format!("/{}", key.replace(' ', "%20")),
            "",
            "x-ms-blob-type:BlockBlob\n",
            bytes,
        )
        .await;
    }

    /// A PUT with a shared key, as "Authorize with Shared Key" of Azure's documentation has it.
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
    async fn send(&self, path: &str, query: &str, more: &str, body: &[u8]) {
        let path = format!("/{ACCOUNT}/{}{path}", self.container);
        let headers =
            format!("{more}x-ms-date:Sat, 01 Jan 2050 00:00:00 GMT\nx-ms-version:2021-12-02\n");
        let length = if body.is_empty() { String::new() } else { body.len().to_string() };
        let asked = query.replacen('=', ":", 1);
        let asked = if asked.is_empty() { asked } else { format!("\n{asked}") };
        let signed = format!("PUT\n\n\n{length}\n\n\n\n\n\n\n\n\n{headers}/{ACCOUNT}{path}{asked}");
        let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(ACCOUNT_KEY).unwrap());
        let signature = STANDARD.encode(hmac::sign(&key, signed.as_bytes()));
        let lines =
            headers.lines().map(|line| line.replacen(':', ": ", 1) + "\r\n").collect::<String>();
        let head = format!("{lines}authorization: SharedKey {ACCOUNT}:{signature}\r\n");
        let query = if query.is_empty() { String::new() } else { format!("?{query}") };
        send(&self.address, &format!("PUT {path}{query}"), &head, body).await;
    }
}

async fn listening(address: &str, log: &Path) {
    let connects = || async { TcpStream::connect(address).await.is_ok() };
    wait_until(&format!("a server listens at {address}, see {}", log.display()), UP, connects)
        .await;
}

/// Sends a request and wants to hear that it was well.
#[expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
async fn send(address: &str, what: &str, more: &str, body: &[u8]) {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let length = body.len();
    let head = format!(
        "{what} HTTP/1.1\r\nhost: {address}\r\n{more}content-length: {length}\r\nconnection: close\r\n\r\n"
    );
    stream.write_all(&[head.as_bytes(), body].concat()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer);
    assert!(answer.starts_with("HTTP/1.1 20"), "{what}: {answer}");
}
