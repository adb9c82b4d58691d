//! One object that is written in parts while it is made: bounded memory, and nothing of it to be seen before its end.

use async_recursion::async_recursion;
use bytes::{Bytes, BytesMut};
use object_store::multipart::PartId;
use object_store::path::Path;
use object_store::{Error, PutPayload};
use ocelli_core::object::Object;
use tokio::task::JoinSet;

use super::prefix::Prefix;
use super::words::{ObjectError, Trouble};

/// The smallest part that Amazon takes in the middle of an object.
const LEAST_PART: usize = 5 * 1024 * 1024;
/// The most parts that it takes.
const MOST_PARTS: usize = 10_000;
/// Parts on their way at once: enough to fill a line while the next one is made.
const IN_FLIGHT: usize = 3;

type Sent = Result<(usize, PartId), Error>;

/// An object in the making. What was not finished is to be given up with [`Self::abort`]: its parts would stay and cost.
#[derive(Debug)]
pub struct Upload {
    prefix: Prefix,
    object: Object,
    path: Path,
    part_bytes: usize,
    gathered: BytesMut,
    id: Option<String>,
    sent: usize,
    done: Vec<(usize, PartId)>,
    sending: JoinSet<Sent>,
}

impl Upload {
    pub(super) fn begin(
        prefix: &Prefix,
        name: &str,
        part_bytes: usize,
    ) -> Result<Self, ObjectError> {
        let (object, path) = prefix.path(name)?;
        Ok(Self {
            prefix: prefix.clone(),
            object,
            path,
            part_bytes: part_bytes.max(LEAST_PART),
            gathered: BytesMut::new(),
            id: None,
            sent: 0,
            done: Vec::new(),
            sending: JoinSet::new(),
        })
    }

    /// The server's name of the upload: none as long as everything fits into one part, which is then sent as a whole.
    #[must_use]
    pub fn id(&self) -> Option<&str> {
        self.id.as_deref()
    }

    /// Takes bytes, and waits while enough parts are on their way.
    ///
    /// # Errors
    /// When the bucket does not take them. Then nothing more is to be written.
    #[async_recursion]
    pub async fn write(&mut self, bytes: &[u8]) -> Result<(), ObjectError> {
        let mut rest = bytes;
        while !rest.is_empty() {
            // Only a full part with something behind it: all but the last one have the same size, as some servers want it.
            if self.gathered.len() == self.part_bytes {
                self.send().await?;
            }
            let (now, later) = rest.split_at(rest.len().min(self.part_bytes - self.gathered.len()));
            self.gathered.extend_from_slice(now);
            rest = later;
        }
        Ok(())
    }

    /// Writes what is left and makes the object appear.
    ///
    /// # Errors
    /// When the bucket does not take it.
    #[async_recursion]
    pub async fn finish(&mut self) -> Result<(), ObjectError> {
        if self.id.is_none() {
            let whole = self.gathered.split().freeze();
            let put = self.prefix.bucket().put_opts(
                &self.path,
                PutPayload::from_bytes(whole),
                object_store::PutOptions::default(),
            );
            return put.await.map(drop).map_err(|error| self.failed(&error));
        }
        if !self.gathered.is_empty() {
            self.send().await?;
        }
        self.wait(0).await?;
        self.done.sort_by_key(|(number, _)| *number);
        let parts = std::mem::take(&mut self.done).into_iter().map(|(_, part)| part).collect();
        let id = self.id.clone().unwrap_or_default();
        let completed = self.prefix.bucket().complete_multipart(&self.path, &id, parts).await;
        completed.map_err(|error| self.failed(&error))?;
        self.id = None;
        Ok(())
    }

    /// Takes back what was sent.
    ///
    /// # Errors
    /// When the server does not let it be done; its parts stay until somebody does, by its [`Self::id`], which stays as well.
    #[async_recursion]
    pub async fn abort(&mut self) -> Result<(), ObjectError> {
        self.gathered.clear();
        self.sending.shutdown().await;
        let Some(id) = self.id.clone() else { return Ok(()) };
        match self.prefix.bucket().abort_multipart(&self.path, &id).await {
            Ok(()) | Err(Error::NotFound { .. }) => {}
            Err(error) => return Err(self.failed(&error)),
        }
        self.id = None;
        Ok(())
    }

    async fn send(&mut self) -> Result<(), ObjectError> {
        if self.sent >= MOST_PARTS {
            let reason =
                format!("it has more than {MOST_PARTS} parts; choose a smaller --file-size");
            return Err(ObjectError::new(&self.object, Trouble::Full, reason));
        }
        let bucket = self.prefix.bucket();
        let id = match &self.id {
            Some(id) => id.clone(),
            None => {
                let begun = bucket.create_multipart(&self.path).await;
                let id = begun.map_err(|error| self.failed(&error))?;
                self.id.insert(id).clone()
            }
        };
        self.wait(IN_FLIGHT - 1).await?;
        let part: Bytes = self.gathered.split().freeze();
        let (number, path, bucket) = (self.sent, self.path.clone(), self.prefix.bucket().clone());
        self.sent += 1;
        self.sending.spawn(async move {
            let payload = PutPayload::from_bytes(part);
            Ok((number, bucket.put_part(&path, &id, number, payload).await?))
        });
        Ok(())
    }

    /// Waits until at most so many parts are on their way.
    async fn wait(&mut self, most: usize) -> Result<(), ObjectError> {
        while self.sending.len() > most {
            match self.sending.join_next().await {
                Some(Ok(Ok(part))) => self.done.push(part),
                Some(Ok(Err(error))) => return Err(self.failed(&error)),
                Some(Err(error)) => {
                    let reason = format!("a part was not sent: {error}");
                    return Err(ObjectError::new(&self.object, Trouble::Passing, reason));
                }
                None => break,
            }
        }
        Ok(())
    }

    fn failed(&self, error: &Error) -> ObjectError {
        ObjectError::of(&self.object, error)
    }
}
