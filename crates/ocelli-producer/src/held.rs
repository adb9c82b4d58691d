//! Bytes that were read while their archive was listed, within a bound on all of them together.

use std::sync::Arc;

use bytes::Bytes;
use tokio::runtime::Handle;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

/// All bytes that are held at once, in KiB.
const ROOM_KIB: u32 = 64 * 1024;

/// Bytes of a reference that nobody has to fetch. Given back when the last clone is dropped.
#[derive(Debug, Clone)]
pub(crate) struct Held(Arc<(Bytes, OwnedSemaphorePermit)>);

impl Held {
    pub(crate) fn bytes(&self) -> Bytes {
        self.0.0.clone()
    }
}

/// Where bytes are held.
#[derive(Debug, Clone)]
pub(crate) struct Holder {
    room: Arc<Semaphore>,
    runtime: Handle,
}

/// Room for some bytes.
pub(crate) struct Room(OwnedSemaphorePermit);

impl Holder {
    /// Within a tokio runtime.
    pub(crate) fn new() -> Self {
        Self { room: Arc::new(Semaphore::new(ROOM_KIB as usize)), runtime: Handle::current() }
    }

    /// Waits until there is room for so many bytes; more than all of it counts as all of it. Blocks.
    pub(crate) fn room(&self, bytes: u64) -> Option<Room> {
        let kib = u32::try_from(bytes.div_ceil(1024)).unwrap_or(ROOM_KIB).clamp(1, ROOM_KIB);
        let waiting = Arc::clone(&self.room).acquire_many_owned(kib);
        self.runtime.block_on(waiting).ok().map(Room)
    }
}

impl Room {
    pub(crate) fn hold(self, bytes: Vec<u8>) -> Held {
        Held(Arc::new((bytes.into(), self.0)))
    }
}
