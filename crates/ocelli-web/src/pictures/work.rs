//! Decoding and encoding off the async threads: a bounded number at once, each given up after a while.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use ocelli_core::chain;
use ocelli_media::{Converter, DecodeLimits, Prepare, prepare};
use tokio::sync::Semaphore;

use crate::options::WebOptions;

/// Decoders that did not end and were given up. Their threads cannot be stopped; with so many of them lost, no other image is
/// risked until the process is started again.
const LOST_MOST: usize = 8;

/// The decoders.
#[derive(Debug)]
pub(super) struct Work {
    limits: DecodeLimits,
    converter: Converter,
    deadline: Duration,
    places: Arc<Semaphore>,
    lost: Arc<AtomicUsize>,
}

impl Work {
    pub(super) fn new(options: &WebOptions) -> Self {
        let places = Arc::new(Semaphore::new(options.decoders.max(1)));
        let (limits, converter) = (options.decode.clone(), options.converter.clone());
        Self { limits, converter, deadline: options.decode_deadline, places, lost: Arc::default() }
    }

    /// Decodes, scales and encodes. Dropping the future does not stop a decoder that has begun; its place stays taken until
    /// it ends or its time is over.
    pub(super) async fn prepare(&self, bytes: Bytes, how: Prepare) -> Result<Bytes, String> {
        if self.lost.load(Ordering::Relaxed) >= LOST_MOST {
            return Err("too many images before it made their decoder hang".to_owned());
        }
        let place = Arc::clone(&self.places).acquire_owned().await.map_err(|_| "stopping")?;
        let (limits, deadline, lost) = (self.limits.clone(), self.deadline, Arc::clone(&self.lost));
        let converter = self.converter.clone();
        let work = tokio::task::spawn_blocking(move || {
            let bytes = converter
                .readable(bytes, &limits, Instant::now() + deadline)
                .map_err(|error| chain(&error))?;
            prepare(&bytes, &limits, &how).map_err(|error| error.to_string())
        });
        // Its own task: the time runs also when nobody waits for the picture any more.
        let watched = tokio::spawn(async move {
            let _place = place;
            match tokio::time::timeout(deadline, work).await {
                Ok(Ok(Ok(prepared))) => Ok(prepared.bytes),
                Ok(Ok(Err(reason))) => Err(reason),
                Ok(Err(_)) => Err("its decoder died".to_owned()),
                Err(_) => {
                    lost.fetch_add(1, Ordering::Relaxed);
                    Err(format!(
                        "decoding it took longer than {} s (limits.decode_deadline)",
                        deadline.as_secs()
                    ))
                }
            }
        });
        watched.await.map_err(|_| "its decoder died".to_owned())?
    }
}
