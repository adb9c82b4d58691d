//! The answers: those of a server of files, with what Amazon's has and it has not, and in the mood that a test wants.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use hyper::StatusCode;
use s3s::dto::{
    AbortMultipartUploadInput, AbortMultipartUploadOutput, CompleteMultipartUploadInput,
    CompleteMultipartUploadOutput, CreateMultipartUploadInput, CreateMultipartUploadOutput,
    DeleteObjectInput, DeleteObjectOutput, DeleteObjectsInput, DeleteObjectsOutput, ETag,
    GetObjectInput, GetObjectOutput, HeadObjectInput, HeadObjectOutput, ListObjectsV2Input,
    ListObjectsV2Output, PutObjectInput, PutObjectOutput, UploadPartInput, UploadPartOutput,
};
use s3s::{S3, S3Error, S3ErrorCode, S3Request, S3Response, S3Result};
use s3s_fs::FileSystem;

use super::Mood;

/// The server of files, and what stands before it.
#[derive(Debug)]
pub(super) struct Served {
    pub(super) objects: FileSystem,
    pub(super) root: PathBuf,
    pub(super) mood: Arc<Mood>,
}

impl Served {
    /// Whether the bucket is there: the server of files says the same of it as of an object.
    fn has(&self, bucket: &str) -> S3Result<()> {
        let is_there = self.root.join(bucket).is_dir();
        if is_there { Ok(()) } else { Err(S3Error::new(S3ErrorCode::NoSuchBucket)) }
    }

    /// Whether it takes more. As MinIO says it.
    fn takes(&self, bucket: &str) -> S3Result<()> {
        self.has(bucket)?;
        if !self.mood.full.load(Ordering::Relaxed) {
            return Ok(());
        }
        let mut full = S3Error::new(S3ErrorCode::Custom("XMinioStorageFull".into()));
        full.set_status_code(StatusCode::INSUFFICIENT_STORAGE);
        Err(full)
    }
}

#[async_trait::async_trait]
impl S3 for Served {
    async fn get_object(
        &self,
        request: S3Request<GetObjectInput>,
    ) -> S3Result<S3Response<GetObjectOutput>> {
        self.has(&request.input.bucket)?;
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
        self.takes(&request.input.bucket)?;
        if self.mood.plain.load(Ordering::Relaxed) && request.input.if_none_match.is_some() {
            return Err(S3Error::new(S3ErrorCode::NotImplemented));
        }
        self.objects.put_object(request).await
    }

    async fn delete_object(
        &self,
        request: S3Request<DeleteObjectInput>,
    ) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.objects.delete_object(request).await
    }

    async fn delete_objects(
        &self,
        request: S3Request<DeleteObjectsInput>,
    ) -> S3Result<S3Response<DeleteObjectsOutput>> {
        self.objects.delete_objects(request).await
    }

    async fn create_multipart_upload(
        &self,
        request: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        self.takes(&request.input.bucket)?;
        self.objects.create_multipart_upload(request).await
    }

    async fn upload_part(
        &self,
        request: S3Request<UploadPartInput>,
    ) -> S3Result<S3Response<UploadPartOutput>> {
        self.takes(&request.input.bucket)?;
        if self.mood.stalled.load(Ordering::Relaxed) {
            self.mood.waiting.fetch_add(1, Ordering::Relaxed);
            std::future::pending::<()>().await;
        }
        self.objects.upload_part(request).await
    }

    async fn complete_multipart_upload(
        &self,
        request: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        self.objects.complete_multipart_upload(request).await
    }

    async fn abort_multipart_upload(
        &self,
        request: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        // The server of files takes one that it does not know for one of somebody else.
        if !self.root.join(format!(".upload-{}.json", request.input.upload_id)).exists() {
            return Err(S3Error::new(S3ErrorCode::NoSuchUpload));
        }
        self.objects.abort_multipart_upload(request).await
    }

    /// With tags, as Amazon lists them.
    async fn list_objects_v2(
        &self,
        request: S3Request<ListObjectsV2Input>,
    ) -> S3Result<S3Response<ListObjectsV2Output>> {
        self.has(&request.input.bucket)?;
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
