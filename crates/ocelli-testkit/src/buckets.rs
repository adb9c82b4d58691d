//! A server that speaks the protocol of Amazon S3 over a folder of this machine, and checks signatures.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use hyper_util::rt::TokioIo;
use s3s::auth::SimpleAuth;
use s3s::dto::{
    ETag, GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput,
};
use s3s::service::S3ServiceBuilder;
use s3s::{S3, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The key that the server accepts.
pub const ACCESS_KEY: &str = "AKIA-of-a-test";

/// Its secret.
pub const SECRET_KEY: &str = "secret-of-a-test-that-is-shown-nowhere";

/// The server; it ends when this is dropped.
#[derive(Debug)]
pub struct Buckets {
    folder: tempfile::TempDir,
    address: SocketAddr,
    serving: JoinHandle<()>,
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
        let mut service = S3ServiceBuilder::new(Tagged { objects, root: folder.path().to_owned() });
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
        Self { folder, address, serving }
    }

    /// Where it listens.
    #[must_use]
    pub fn endpoint(&self) -> String {
        format!("http://{}", self.address)
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

/// Lists objects with their tags, as Amazon does and the server of files does not.
#[derive(Debug)]
struct Tagged {
    objects: FileSystem,
    root: PathBuf,
}

#[async_trait::async_trait]
impl S3 for Tagged {
    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.objects.get_object(request).await
    }

    async fn head_object(
        &self,
        request: S3Request<HeadObjectInput>,
    ) -> S3Result<S3Response<HeadObjectOutput>> {
        self.objects.head_object(request).await
    }

    async fn put_object(
        &self,
        request: S3Request<PutObjectInput>,
    ) -> S3Result<S3Response<PutObjectOutput>> {
        self.objects.put_object(request).await
    }

    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        let folder = self.root.join(&request.input.bucket);
        let mut listed = self.objects.list_objects_v2(request).await?;
        for object in listed.output.contents.iter_mut().flatten() {
            let found = object.key.as_ref().and_then(|key| folder.join(key).metadata().ok());
            object.e_tag = found.and_then(|found| found.modified().ok()).map(|at| {
                let since = at.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
                ETag::Strong(format!("{:x}", since.as_nanos()))
            });
        }
        Ok(listed)
    }
}
