//! Lines of a hostile text: numbered, each of bounded length, none lost.

use std::collections::VecDeque;
use std::io::{self, BufRead, BufReader, Read};

/// Longest line: eight of the longest URIs, with room for metadata that is ignored here.
pub(crate) const MAX_LINE_BYTES: usize = 64 * 1024;

/// One line, without its end.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    pub(crate) number: u64,
    pub(crate) bytes: Vec<u8>,
    pub(crate) too_long: bool,
}

/// Lines of a reader, numbered from 1, each of bounded length.
pub(crate) struct Lines<R> {
    reader: BufReader<R>,
    number: u64,
    /// Lines that were looked at and given back.
    pending: VecDeque<Line>,
}

impl<R: Read> Lines<R> {
    pub(crate) fn new(reader: R) -> Self {
        Self {
            reader: BufReader::with_capacity(128 * 1024, reader),
            number: 0,
            pending: VecDeque::new(),
        }
    }

    /// The next line; `None` at the end.
    pub(crate) fn next(&mut self) -> io::Result<Option<Line>> {
        if let Some(line) = self.pending.pop_front() {
            return Ok(Some(line));
        }
        let mut bytes = Vec::new();
        let limit = MAX_LINE_BYTES as u64 + 1;
        self.reader.by_ref().take(limit).read_until(b'\n', &mut bytes)?;
        if bytes.is_empty() {
            return Ok(None);
        }
        self.number += 1;
        let too_long = bytes.len() > MAX_LINE_BYTES && bytes.last() != Some(&b'\n');
        if too_long {
            self.skip_line()?;
            bytes.truncate(80);
        }
        if bytes.last() == Some(&b'\n') {
            bytes.pop();
        }
        if bytes.last() == Some(&b'\r') {
            bytes.pop();
        }
        if self.number == 1 && bytes.starts_with(b"\xef\xbb\xbf") {
            bytes.drain(..3);
        }
        Ok(Some(Line { number: self.number, bytes, too_long }))
    }

    /// Gives lines back, to be read again.
    pub(crate) fn give_back(&mut self, lines: Vec<Line>) {
        for line in lines.into_iter().rev() {
            self.pending.push_front(line);
        }
    }

    /// The number of the line after the last one that was read.
    pub(crate) fn next_number(&self) -> u64 {
        self.number + 1
    }

    /// Drops what is left of a line, however long it is.
    fn skip_line(&mut self) -> io::Result<()> {
        loop {
            let buffer = self.reader.fill_buf()?;
            if buffer.is_empty() {
                return Ok(());
            }
            if let Some(at) = buffer.iter().position(|byte| *byte == b'\n') {
                self.reader.consume(at + 1);
                return Ok(());
            }
            let all = buffer.len();
            self.reader.consume(all);
        }
    }

    /// The first line that is not blank, which stays to be read; blank lines before it are dropped.
    pub(crate) fn peek(&mut self) -> io::Result<Option<&Line>> {
        while let Some(line) = self.next()? {
            if !is_blank(&line.bytes) {
                self.pending.push_front(line);
                return Ok(self.pending.front());
            }
        }
        Ok(None)
    }
}

pub(crate) fn is_blank(bytes: &[u8]) -> bool {
    bytes.trim_ascii().is_empty()
}
