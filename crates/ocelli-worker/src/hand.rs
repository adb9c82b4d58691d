//! The encoded images that a worker holds at once, bounded by their bytes and not only by their number.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// Unit in which bytes are handed out.
const UNIT: u64 = 4096;

/// Room for encoded images. An image that is larger than all of it waits until it is the only one.
#[derive(Debug)]
pub(crate) struct Hand {
    units: u32,
    free: Arc<Semaphore>,
}

/// Room for one image.
#[derive(Debug)]
pub(crate) struct Room(Option<OwnedSemaphorePermit>);

impl Hand {
    pub(crate) fn new(bytes: u64) -> Self {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, u32::MAX >> 4);
        Self { units, free: Arc::new(Semaphore::new(units as usize)) }
    }

    /// Waits for room for an image of this size.
    pub(crate) async fn room(&self, bytes: u64) -> Room {
        let units = u32::try_from(bytes.div_ceil(UNIT)).unwrap_or(u32::MAX).clamp(1, self.units);
        // The semaphore is never closed, so there always is a permit.
        Room(Arc::clone(&self.free).acquire_many_owned(units).await.ok())
    }
}

impl Room {
    /// The same bytes; the room is free again once the last copy of them is gone, wherever that is.
    pub(crate) fn hold(self, bytes: Bytes) -> Bytes {
        Bytes::from_owner(Held { bytes, _room: self.0 })
    }
}

struct Held {
    bytes: Bytes,
    _room: Option<OwnedSemaphorePermit>,
}

impl AsRef<[u8]> for Held {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    #[test]
    fn room_comes_free_with_the_last_copy_of_the_bytes() {
        let hand = Hand::new(100_000);
        let room = hand.room(60_000).now_or_never().unwrap();
        let held = room.hold(Bytes::from_static(b"image"));
        let copy = held.slice(1..3);
        drop(held);
        assert!(hand.room(60_000).now_or_never().is_none());
        assert!(hand.room(30_000).now_or_never().is_some(), "a small one still fits");
        drop(copy);
        assert!(hand.room(60_000).now_or_never().is_some());
    }

    #[test]
    fn an_image_larger_than_all_the_room_gets_all_of_it() {
        let hand = Hand::new(1);
        let room = hand.room(u64::MAX).now_or_never();
        assert!(room.is_some());
        assert!(hand.room(0).now_or_never().is_none());
    }
}
