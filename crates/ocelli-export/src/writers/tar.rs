//! Tar files (POSIX ustar) with members that are named by digest, as WebDataset readers expect them: members of one record stand
//! beside each other and have the same name up to the first dot.

use std::io::{self, Write as _};

use crate::hashed::Hashed;

/// Everything in a tar file is in blocks of this size.
const BLOCK: usize = 512;

pub(super) struct Archive(Hashed);

impl Archive {
    pub(super) const fn begin(out: Hashed) -> Self {
        Self(out)
    }

    pub(super) fn add(&mut self, name: &str, content: &[u8]) -> io::Result<()> {
        self.0.write_all(&header(name, content.len() as u64)?)?;
        self.0.write_all(content)?;
        let rest = content.len() % BLOCK;
        if rest > 0 {
            self.0.write_all(&[0; BLOCK][rest..])?;
        }
        Ok(())
    }

    pub(super) const fn size(&self) -> u64 {
        self.0.bytes()
    }

    /// Two empty blocks are the end.
    pub(super) fn finish(mut self) -> io::Result<Hashed> {
        self.0.write_all(&[0; 2 * BLOCK])?;
        Ok(self.0)
    }
}

/// The header of a file: `struct posix_header` of POSIX.1-1988. No owner, and the time 0, so that the same records make the
/// same bytes.
fn header(name: &str, size: u64) -> io::Result<[u8; BLOCK]> {
    // Eleven octal digits: eight gigabytes, far beyond the longest message.
    if name.len() > 100 || size >= 1 << 33 {
        return Err(io::Error::new(
            io::ErrorKind::InvalidInput,
            format!("'{name}' does not fit into a tar file"),
        ));
    }
    let mut block = [0; BLOCK];
    let mut put =
        |at: usize, text: &str| block[at..at + text.len()].copy_from_slice(text.as_bytes());
    put(0, name);
    put(100, "0000644\0");
    put(108, "0000000\0");
    put(116, "0000000\0");
    put(124, &format!("{size:011o}\0"));
    put(136, "00000000000\0");
    // The checksum counts itself as blanks.
    put(148, "        ");
    put(156, "0");
    put(257, "ustar\0");
    put(263, "00");
    let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
    block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    Ok(block)
}
