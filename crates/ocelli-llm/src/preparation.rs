//! Decoding and encoding images again, off the async threads and within a bounded memory.
//!
//! One value is shared by all analyzers of a process, because the memory is the process's. Requests that are under way hold
//! only encoded images, of some hundred kilobytes each; what is large are the pixels in between.

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ocelli_core::FailureClass;
use ocelli_media::{DecodeError, DecodeLimits, Prepare, inspect, prepare};
use thiserror::Error;
use tokio::sync::{Semaphore, TryAcquireError};

use crate::completion::Picture;

/// Unit of the memory that is handed out.
const UNIT: u64 = 1024 * 1024;
/// Bytes for each pixel of a source: as a decoder holds it (4), as RGB (3), and half of that for scaling.
const BYTES_PER_PIXEL: u64 = 9;

/// Bytes for the pixels of all images at once, unless told otherwise: one 12-megapixel photograph, or some tens of memes.
/// Model servers are so much slower than decoding that more at once would only cost memory.
pub const DEFAULT_MEMORY: u64 = 128 * UNIT;

/// Prepares images.
#[derive(Debug, Clone)]
pub struct Preparation {
    limits: DecodeLimits,
    units: u32,
    memory: Arc<Semaphore>,
}

/// Why an image could not be prepared.
#[derive(Debug, Error)]
pub(crate) enum PreparationError {
    /// The image.
    #[error("{0}")]
    Decode(#[from] DecodeError),
    /// The thread that did it died.
    #[error("preparing the image failed")]
    Died(#[source] tokio::task::JoinError),
}

impl PreparationError {
    pub(crate) const fn class(&self) -> FailureClass {
        match self {
            Self::Decode(error) => error.class(),
            Self::Died(_) => FailureClass::Crash,
        }
    }
}

impl Preparation {
    /// Prepares images within `limits`, with about `memory` bytes for the pixels of all images at once. An image that needs
    /// more than that alone waits until it is the only one.
    #[must_use]
    pub fn new(limits: DecodeLimits, memory: u64) -> Self {
        let units =
            u32::try_from((memory / UNIT).max(1)).unwrap_or(u32::MAX >> 4).min(u32::MAX >> 4);
        Self { limits, units, memory: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Prepares one image. Dropping the future does not stop a decoder that has begun; its memory stays counted until it
    /// ends.
    pub(crate) async fn picture(
        &self,
        bytes: Bytes,
        how: &Prepare,
    ) -> Result<Picture, PreparationError> {
        let inspection = inspect(&bytes, &self.limits)?;
        let pixels = u64::from(inspection.width) * u64::from(inspection.height);
        let needed = (pixels * BYTES_PER_PIXEL).div_ceil(UNIT).max(1);
        let units = u32::try_from(needed).unwrap_or(u32::MAX).min(self.units);
        let memory = match Arc::clone(&self.memory).try_acquire_many_owned(units) {
            Ok(memory) => Some(memory),
            // The semaphore is never closed: both paths below end with a permit.
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                Arc::clone(&self.memory).acquire_many_owned(units).await.ok()
            }
        };
        let (limits, how) = (self.limits.clone(), how.clone());
        let work = tokio::task::spawn_blocking(move || {
            let prepared = prepare(&bytes, &limits, &how);
            drop(memory);
            prepared.map(|prepared| Picture {
                mime: prepared.mime,
                base64: STANDARD.encode(&prepared.bytes).into(),
            })
        });
        Ok(work.await.map_err(PreparationError::Died)??)
    }
}

impl Default for Preparation {
    fn default() -> Self {
        Self::new(DecodeLimits::default(), DEFAULT_MEMORY)
    }
}
