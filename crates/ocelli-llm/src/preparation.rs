//! Decoding and encoding images again, off the async threads and within a bounded memory.
//!
//! One value is shared by all analyzers of a process, because the memory is the process's. Requests that are under way hold
//! only encoded images, of some hundred kilobytes each; what is large are the pixels in between.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use ocelli_core::{FailureClass, PerceptualHash};
use ocelli_media::{
    ConvertError, Converter, DecodeError, DecodeLimits, Inspection, Prepare, Prepared, inspect,
    prepare,
};
use thiserror::Error;
use tokio::sync::{Semaphore, TryAcquireError, oneshot};

use crate::completion::Picture;

/// Unit of the memory that is handed out.
const UNIT: u64 = 1024 * 1024;
/// Bytes for each pixel of the image that is sent: as RGB, and encoded at the most.
const BYTES_PER_PIXEL_SENT: u64 = 6;

/// Bytes for the pixels of all images at once, unless told otherwise: one photograph of 12 megapixels and some memes
/// beside it. Model servers are so much slower than decoding that more at once would only cost memory.
pub const DEFAULT_MEMORY: u64 = 64 * UNIT;

/// How long decoding and encoding one image may take, unless told otherwise: the largest allowed one takes seconds.
pub const DEFAULT_DEADLINE: Duration = Duration::from_secs(60);

/// Decodes, scales and encodes.
type Work = fn(&Bytes, &DecodeLimits, &Prepare) -> Result<Prepared, DecodeError>;

/// Prepares images.
#[derive(Debug, Clone)]
pub struct Preparation {
    limits: DecodeLimits,
    units: u32,
    memory: Arc<Semaphore>,
    deadline: Duration,
    converter: Converter,
    work: Work,
}

/// Why an image could not be prepared.
#[derive(Debug, Error)]
pub(crate) enum PreparationError {
    /// The image.
    #[error(transparent)]
    Decode(#[from] DecodeError),
    /// It is AVIF or HEIC and was not converted.
    #[error(transparent)]
    Convert(#[from] ConvertError),
    /// It does not end. Its thread cannot be stopped and goes on beside the work; its memory is no longer counted, for
    /// nothing would ever be decoded again otherwise.
    #[error("decoding the image took longer than {} s (limits.decode_deadline) and was given up", .0.as_secs())]
    Hangs(Duration),
    /// The thread that did it died.
    #[error("preparing the image failed")]
    Died(#[source] tokio::task::JoinError),
}

impl PreparationError {
    pub(crate) const fn class(&self) -> FailureClass {
        match self {
            Self::Decode(error) => error.class(),
            Self::Convert(error) => error.class(),
            Self::Died(_) | Self::Hangs(_) => FailureClass::Crash,
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
        Self {
            limits,
            units,
            memory: Arc::new(Semaphore::new(units as usize)),
            deadline: DEFAULT_DEADLINE,
            converter: Converter::default(),
            work: |bytes, limits, how| prepare(bytes, limits, how),
        }
    }

    /// The same, giving up after `deadline`.
    #[must_use]
    pub fn with_deadline(self, deadline: Duration) -> Self {
        Self { deadline, ..self }
    }

    /// The same, with this for AVIF and HEIC.
    #[must_use]
    pub fn with_converter(self, converter: Converter) -> Self {
        Self { converter, ..self }
    }

    /// Prepares one image, and says what it looks like and how long the work took, without waiting for its turn. Dropping the future does not stop a decoder that has begun; its memory stays counted until it
    /// ends or its time is over.
    pub(crate) async fn picture(
        &self,
        bytes: Bytes,
        how: &Prepare,
    ) -> Result<(Picture, Option<PerceptualHash>, Duration), PreparationError> {
        let inspection = inspect(&bytes, &self.limits)?;
        let needed = inspection.memory.saturating_add(sent(&inspection, how)).div_ceil(UNIT);
        let units = u32::try_from(needed).unwrap_or(u32::MAX).clamp(1, self.units);
        let memory = match Arc::clone(&self.memory).try_acquire_many_owned(units) {
            Ok(memory) => Some(memory),
            // The semaphore is never closed: both paths below end with a permit.
            Err(TryAcquireError::NoPermits | TryAcquireError::Closed) => {
                Arc::clone(&self.memory).acquire_many_owned(units).await.ok()
            }
        };
        let memory = Arc::new(Mutex::new(memory));
        let (limits, how, held, work) =
            (self.limits.clone(), how.clone(), Arc::clone(&memory), self.work);
        let (converter, deadline) = (self.converter.clone(), self.deadline);
        let (begin, begun) = oneshot::channel();
        let mut work = tokio::task::spawn_blocking(move || {
            // Nobody may wait any more.
            begin.send(()).ok();
            let started = Instant::now();
            let prepared = converter
                .readable(bytes, &limits, started + deadline)
                .map_err(PreparationError::Convert)
                .and_then(|bytes| Ok(work(&bytes, &limits, &how)?));
            let took = started.elapsed();
            free(&held);
            prepared.map(|prepared| {
                let base64 = STANDARD.encode(&prepared.bytes).into();
                (Picture { mime: prepared.mime, base64 }, prepared.hash, took)
            })
        });
        // Its own task: the time runs also when nobody waits for the picture any more.
        let watched = tokio::spawn(async move {
            // Waiting for a thread is nothing that the image is to blame for. An error shows in the work below.
            begun.await.ok();
            match tokio::time::timeout(deadline, &mut work).await {
                Ok(ended) => Ok(ended.map_err(PreparationError::Died)??),
                Err(_) => {
                    free(&memory);
                    Err(PreparationError::Hangs(deadline))
                }
            }
        });
        watched.await.map_err(PreparationError::Died)?
    }
}

/// Bytes for the image that is sent.
fn sent(inspection: &Inspection, how: &Prepare) -> u64 {
    let side = |side: u32| u64::from(side.min(how.longest_side));
    side(inspection.width) * side(inspection.height) * BYTES_PER_PIXEL_SENT
}

/// Gives the memory of an image back, once.
fn free<T>(memory: &Mutex<Option<T>>) {
    drop(memory.lock().unwrap_or_else(PoisonError::into_inner).take());
}

impl Default for Preparation {
    fn default() -> Self {
        Self::new(DecodeLimits::default(), DEFAULT_MEMORY)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    static OVER: AtomicBool = AtomicBool::new(false);

    fn image(width: u32) -> Bytes {
        let mut bytes = Cursor::new(Vec::new());
        let image = image::RgbImage::from_pixel(width, 1000, image::Rgb([1, 2, 3]));
        image.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner().into()
    }

    #[tokio::test]
    async fn a_decoder_that_hangs_is_given_up_and_takes_no_memory_from_the_next_image() {
        // One image of that width hangs, and needs all the memory there is.
        let work: Work = |bytes, limits, how| {
            let hangs = inspect(bytes, limits).is_ok_and(|seen| seen.width == 900);
            while hangs && !OVER.load(Ordering::Relaxed) {
                std::thread::park_timeout(Duration::from_millis(10));
            }
            prepare(bytes, limits, how)
        };
        let preparation = Preparation::new(DecodeLimits::default(), 2 * UNIT);
        let preparation =
            Preparation { work, ..preparation.with_deadline(Duration::from_millis(100)) };
        let how = Prepare { longest_side: 64, encoding: ocelli_media::Encoding::Png, hash: false };
        for _ in 0..3 {
            let hangs = preparation.picture(image(900), &how).await.unwrap_err();
            assert!(matches!(hangs, PreparationError::Hangs(_)), "{hangs}");
            assert_eq!(hangs.class(), FailureClass::Crash);
        }
        // Given up by its job before its time was over.
        let dropped = preparation.picture(image(900), &how);
        assert!(tokio::time::timeout(Duration::from_millis(1), dropped).await.is_err());
        let patient = preparation.with_deadline(DEFAULT_DEADLINE);
        assert!(patient.picture(image(800), &how).await.is_ok());
        // The runtime of the test waits for its threads.
        OVER.store(true, Ordering::Relaxed);
    }

    #[tokio::test]
    async fn an_avif_is_sent_as_another_format_and_without_its_program_fails_for_good() {
        let folder = tempfile::tempdir().unwrap();
        let (drawing, file) = (folder.path().join("in.png"), folder.path().join("out.avif"));
        std::fs::write(&drawing, image(90)).unwrap();
        let mut encode = std::process::Command::new("heif-enc");
        let made = encode.args(["-A", "-o"]).arg(&file).arg(&drawing).output();
        assert!(made.expect("heif-enc is installed (Debian: libheif-examples)").status.success());
        let avif = Bytes::from(std::fs::read(&file).unwrap());
        let how = Prepare { longest_side: 64, encoding: ocelli_media::Encoding::Png, hash: true };
        let (picture, _, took) = Preparation::default().picture(avif.clone(), &how).await.unwrap();
        assert!(picture.mime == "image/png" && took > Duration::ZERO);
        let none = Converter::with(Vec::new(), ocelli_media::ConvertLimits::default());
        let without = Preparation::default().with_converter(none);
        let error = without.picture(avif, &how).await.unwrap_err();
        assert_eq!(error.class(), FailureClass::Permanent);
        assert!(error.to_string().contains("libheif-examples"), "{error}");
    }
}
