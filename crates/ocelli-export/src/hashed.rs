//! A writer that knows how much went through it, and the checksum of that.

use std::io::{self, BufWriter, Write};

use sha2::{Digest as _, Sha256};

/// What is behind a file or a stream.
pub(crate) type Out = Box<dyn Write + Send>;

pub(crate) struct Hashed {
    out: BufWriter<Out>,
    hash: Sha256,
    bytes: u64,
}

impl Hashed {
    pub(crate) fn new(out: Out) -> Self {
        Self { out: BufWriter::with_capacity(256 * 1024, out), hash: Sha256::new(), bytes: 0 }
    }

    pub(crate) const fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Flushes. Size and checksum of everything that was written.
    pub(crate) fn finish(mut self) -> io::Result<(u64, String)> {
        self.out.flush()?;
        Ok((self.bytes, hex::encode(self.hash.finalize())))
    }
}

impl Write for Hashed {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = self.out.write(bytes)?;
        self.hash.update(&bytes[..taken]);
        self.bytes += taken as u64;
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}
