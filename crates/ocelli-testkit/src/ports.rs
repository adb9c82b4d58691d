//! Free ports on the loopback address for servers that a test starts.

use std::hash::{BuildHasher, Hasher, RandomState};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which the kernel takes the local ports of outgoing connections (32768 up), so that no
/// connection of a neighbour can take a port between our look and the server's start.
const FIRST: u64 = 20_000;
const COUNT: u64 = 12_000;

/// A port on 127.0.0.1 that nobody listens on right now. Taken at random, so that tests that run at the same time in
/// several processes do not fight over the same one.
///
/// # Panics
/// When a thousand tries found none.
#[must_use]
pub fn free() -> u16 {
    (0..1000)
        .map(|_| FIRST + RandomState::new().build_hasher().finish() % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no free port on 127.0.0.1 between 20000 and 32000 in a thousand tries")
}
