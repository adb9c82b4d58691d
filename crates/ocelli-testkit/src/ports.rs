//! Free ports on the loopback address for servers that a test starts.

use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Read, Seek, Write};
use std::net::{Ipv4Addr, TcpListener};

/// Below the range from which the kernel takes the local ports of outgoing connections (32768 up), so that no
/// connection of a neighbour can take a port between our look and the server's start.
const FIRST: u64 = 20_000;
const COUNT: u64 = 12_000;

/// A port on 127.0.0.1 that nobody listens on right now, and that was given to nobody for thousands of ports: tests that run at
/// the same time in several processes take turns, so that none takes a port between another's look and its server's start.
///
/// # Panics
/// When a thousand tries found none.
#[must_use]
pub fn free() -> u16 {
    (0..1000)
        .map(|_| FIRST + turn().unwrap_or_else(|_| random()) % COUNT)
        .filter_map(|port| u16::try_from(port).ok())
        .find(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, *port)).is_ok())
        .expect("no free port on 127.0.0.1 between 20000 and 32000 in a thousand tries")
}

/// The next number of a row that all processes share.
fn turn() -> io::Result<u64> {
    let path = std::env::temp_dir().join("ocelli-testkit-ports");
    let mut file =
        File::options().read(true).write(true).create(true).truncate(false).open(path)?;
    file.lock()?;
    let mut text = String::new();
    file.read_to_string(&mut text)?;
    let turn = text.trim().parse().unwrap_or_else(|_| random() % COUNT);
    file.rewind()?;
    file.set_len(0)?;
    write!(file, "{}", turn.wrapping_add(1))?;
    Ok(turn)
}

fn random() -> u64 {
    RandomState::new().build_hasher().finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_given_a_port_that_somebody_else_was_just_given() {
        let threads: Vec<_> =
            (0..4).map(|_| std::thread::spawn(|| [(); 50].map(|()| free()))).collect();
        let mut ports: Vec<u16> =
            threads.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
        ports.sort_unstable();
        ports.dedup();
        assert_eq!(ports.len(), 200);
    }
}
