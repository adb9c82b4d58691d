//! AVIF and HEIC become PNG before a child gets them: a child can start no program, so the parent has it done.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use ocelli_media::{ConvertError, Converter, DecodeLimits};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout_at};

use crate::pool::ReadError;
use crate::protocol::Refusal;

/// As many at once as there are children.
#[derive(Debug)]
pub(crate) struct Conversions {
    converter: Converter,
    limits: DecodeLimits,
    places: Arc<Semaphore>,
}

impl Conversions {
    pub(crate) fn new(converter: Converter, limits: DecodeLimits, at_once: usize) -> Self {
        Self { converter, limits, places: Arc::new(Semaphore::new(at_once.max(1))) }
    }

    /// Bytes that a child can decode, at the latest at `deadline`, and how long making them took. Dropping the future does not end a
    /// conversion that has begun; its place stays taken until it ends or its time is over.
    pub(crate) async fn readable(
        &self,
        image: Bytes,
        deadline: Instant,
    ) -> Result<(Bytes, Duration), ReadError> {
        if !Converter::concerns(&image) {
            return Ok((image, Duration::ZERO));
        }
        let asked = Instant::now();
        let place = timeout_at(deadline, Arc::clone(&self.places).acquire_owned()).await;
        let place = place.map_err(|_| ReadError::Busy(asked.elapsed()))?;
        let (converter, limits) = (self.converter.clone(), self.limits.clone());
        let converting = tokio::task::spawn_blocking(move || {
            // The semaphore is never closed.
            let _place = place.ok();
            let begun = Instant::now();
            let png = converter.readable(image, &limits, deadline.into_std());
            png.map(|png| (png, begun.elapsed()))
        });
        match converting.await {
            Ok(Ok(converted)) => Ok(converted),
            Ok(Err(ConvertError::Image(error))) => {
                let refusal = Refusal { class: error.class(), reason: error.to_string() };
                Err(ReadError::Refused(refusal))
            }
            // Waiting took the time that the conversion was to have: nothing is known about the image.
            Ok(Err(ConvertError::Deadline { after, .. }))
                if after * 10 < self.converter.limits().deadline * 9 =>
            {
                Err(ReadError::Busy(asked.elapsed()))
            }
            Ok(Err(error)) => Err(error.into()),
            Err(error) => Err(ReadError::Died(error.to_string())),
        }
    }
}
