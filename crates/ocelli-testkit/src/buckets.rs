//! A server that speaks the protocol of Amazon S3 over a folder of this machine, and checks signatures.

mod serving;

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::service::S3ServiceBuilder;
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

use serving::Served;

/// The key that the server accepts.
pub const ACCESS_KEY: &str = "AKIA-of-a-test";

/// Its secret.
pub const SECRET_KEY: &str = "secret-of-a-test-that-is-shown-nowhere";

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Buckets {
    folder: tempfile::TempDir,
    address: SocketAddr,
    mood: Arc<Mood>,
    serving: JoinHandle<()>,
}

/// What the server does to requests.
#[derive(Debug, Default)]
struct Mood {
    /// Takes nothing more, as a server whose disk is full.
    full: AtomicBool,
    /// Knows no conditions, as old servers.
    plain: AtomicBool,
    /// Answers no request that sends a part.
    stalled: AtomicBool,
    /// How many have begun to wait for that.
    waiting: AtomicUsize,
}

impl Buckets {
    /// Starts one with these buckets, within a tokio runtime.
    ///
    /// # Panics
    /// When the machine gives no folder or port.
    #[expect(clippy::unwrap_used, reason = "a test that cannot begin should say where")]
    pub async fn start(buckets: &[&str]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        for bucket in buckets {
            std::fs::create_dir(folder.path().join(bucket)).unwrap();
        }
        let objects = FileSystem::new(folder.path()).unwrap();
        let mood = Arc::<Mood>::default();
        let root = folder.path().to_owned();
        let mut service = S3ServiceBuilder::new(Served { objects, root, mood: Arc::clone(&mood) });
        service.set_auth(SimpleAuth::from_single(ACCESS_KEY, SECRET_KEY));
        let service = service.build();
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let service = service.clone();
                tokio::spawn(async move {
                    let http = hyper::server::conn::http1::Builder::new();
                    // A client that goes away is its own business.
                    drop(http.serve_connection(TokioIo::new(stream), service).await);
                });
            }
        });
        Self { folder, address, mood, serving }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on it takes nothing, or takes things again.
    pub fn fill(&self, full: bool) {
        self.mood.full.store(full, Ordering::Relaxed);
    }

    /// From now on it says that it knows no conditions.
    pub fn forget_conditions(&self) {
        self.mood.plain.store(true, Ordering::Relaxed);
    }

    /// From now on whoever sends a part waits.
    pub fn stall_parts(&self, stalled: bool) {
        self.mood.stalled.store(stalled, Ordering::Relaxed);
    }

    /// Parts that waited since it was told to let them wait.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.mood.waiting.load(Ordering::Relaxed)
    }

    /// Files in which the server keeps parts of objects that are not whole.
    ///
    /// # Panics
    /// When its folder cannot be read.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
    pub fn parts(&self) -> usize {
        let entries = std::fs::read_dir(self.folder.path()).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        names.filter(|name| name.starts_with(".upload_id-") && name.contains(".part-")).count()
    }

    /// Every object below a prefix of a bucket, by the rest of its key.
    ///
    /// # Panics
    /// When one cannot be read.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
    pub fn objects(&self, bucket: &str, prefix: &str) -> BTreeMap<String, Vec<u8>> {
        let root = self.folder.path().join(bucket).join(prefix);
        let mut found = BTreeMap::new();
        let mut folders = vec![root.clone()];
        while let Some(folder) = folders.pop() {
            for entry in std::fs::read_dir(&folder).into_iter().flatten() {
                let path = entry.unwrap().path();
                if path.is_dir() {
                    folders.push(path);
                } else {
                    let key = path.strip_prefix(&root).unwrap().to_str().unwrap().to_owned();
                    found.insert(key, std::fs::read(&path).unwrap());
                }
            }
        }
        found
    }

    /// The file of an object, which a test may write beside the server.
    ///
    /// # Panics
    /// When its folder cannot be made.
    #[must_use]
    #[expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]
    pub fn file(&self, bucket: &str, key: &str) -> PathBuf {
        let path = self.folder.path().join(bucket).join(key);
        std::fs::create_dir_all(path.parent().unwrap_or(Path::new("/"))).unwrap();
        path
    }
}

impl Drop for Buckets {
    fn drop(&mut self) {
        self.serving.abort();
    }
}
