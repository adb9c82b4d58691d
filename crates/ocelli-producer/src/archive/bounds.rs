//! Readers that end where a hostile archive would not.

use std::cell::Cell;
use std::io::{self, Error, ErrorKind, Read, Seek, SeekFrom};
use std::rc::Rc;

/// Reads no more than it may; what it may is set from outside, member by member. Skipping is free.
pub(super) struct Bounded<R> {
    inner: R,
    left: Rc<Cell<u64>>,
}

impl<R> Bounded<R> {
    pub(super) fn new(inner: R, left: Rc<Cell<u64>>) -> Self {
        Self { inner, left }
    }
}

impl<R: Read> Read for Bounded<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.left.get() == 0 && !buffer.is_empty() {
            return Err(Error::new(ErrorKind::InvalidData, "the head of a member is too long"));
        }
        let most = usize::try_from(self.left.get()).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.inner.read(&mut buffer[..most])?;
        self.left.set(self.left.get() - read as u64);
        Ok(read)
    }
}

impl<R: Seek> Seek for Bounded<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.inner.seek(to)
    }
}

/// A stream that can be skipped forward, up to a limit of bytes in all.
pub(super) struct Forward<R> {
    stream: R,
    at: u64,
    limit: u64,
}

impl<R> Forward<R> {
    pub(super) fn new(stream: R, limit: u64) -> Self {
        Self { stream, at: 0, limit }
    }
}

impl<R: Read> Read for Forward<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.at >= self.limit && !buffer.is_empty() {
            return Err(Error::new(
                ErrorKind::InvalidData,
                format!(
                    "it unpacks to more than {} bytes (setting limits.archive_bytes)",
                    self.limit
                ),
            ));
        }
        let most = usize::try_from(self.limit - self.at).unwrap_or(usize::MAX).min(buffer.len());
        let read = self.stream.read(&mut buffer[..most])?;
        self.at += read as u64;
        Ok(read)
    }
}

impl<R: Read> Seek for Forward<R> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let SeekFrom::Current(forward @ 0..) = to else {
            return Err(Error::new(ErrorKind::Unsupported, "a packed stream only goes forward"));
        };
        let forward = forward.unsigned_abs();
        let passed = io::copy(&mut self.by_ref().take(forward), &mut io::sink())?;
        if passed < forward {
            return Err(Error::new(ErrorKind::UnexpectedEof, "it ends in the middle of a member"));
        }
        Ok(self.at)
    }
}
