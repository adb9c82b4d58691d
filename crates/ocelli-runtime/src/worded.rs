//! Words for answers that the HTTP library gives by itself: to a head that it cannot read it says a number and no more, and a
//! browser shows a page of its own that helps nobody.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

/// What is said in place of an answer without words, by the beginning of its head.
const WORDS: [(&[u8], &str, &str); 3] = [
    (b"HTTP/1.1 400 ", "400 Bad Request", "this is not a request that can be read: send HTTP/1.1"),
    (
        b"HTTP/1.1 414 ",
        "414 URI Too Long",
        "this address is longer than 65,534 bytes, and was not read: ask a shorter question, or send a long list of questions as a file",
    ),
    (
        b"HTTP/1.1 431 ",
        "431 Request Header Fields Too Large",
        "the head of this request is too long, and was not read: ask a shorter question, or send fewer cookies",
    ),
];

/// A connection. Its server writes heads from their beginning, and closes it after an answer that it gave by itself.
#[derive(Debug)]
pub(crate) struct Worded<S> {
    stream: S,
    /// What goes out in place of what the server wrote, and how much of it has.
    instead: Option<(Vec<u8>, usize)>,
}

impl<S> Worded<S> {
    pub(crate) const fn new(stream: S) -> Self {
        Self { stream, instead: None }
    }
}

/// What to say in place of this; none when it has words already.
fn instead(written: &[u8]) -> Option<Vec<u8>> {
    let (_, status, words) = WORDS.iter().find(|(head, ..)| written.starts_with(head))?;
    let head = std::str::from_utf8(written).ok()?.to_ascii_lowercase();
    if !head.ends_with("\r\n\r\n") || !head.contains("\r\ncontent-length: 0\r\n") {
        return None;
    }
    let length = words.len() + 1;
    let answer = format!(
        "HTTP/1.1 {status}\r\ncontent-type: text/plain; charset=utf-8\r\nx-content-type-options: nosniff\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{words}\n"
    );
    Some(answer.into_bytes())
}

impl<S: AsyncRead + Unpin> AsyncRead for Worded<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, buffer)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Worded<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        written: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.instead.is_none() {
            self.instead = instead(written).map(|answer| (answer, 0));
        }
        let this = &mut *self;
        let Some((answer, sent)) = &mut this.instead else {
            return Pin::new(&mut this.stream).poll_write(context, written);
        };
        while *sent < answer.len() {
            let more = ready!(Pin::new(&mut this.stream).poll_write(context, &answer[*sent..]))?;
            if more == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            *sent += more;
        }
        this.instead = None;
        Poll::Ready(Ok(written.len()))
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let first = slices.iter().find(|slice| !slice.is_empty());
        let alone = slices.iter().filter(|slice| !slice.is_empty()).count() == 1;
        match first {
            Some(first) if alone || self.instead.is_some() => self.poll_write(context, first),
            _ => Pin::new(&mut self.stream).poll_write_vectored(context, slices),
        }
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_answers_without_words_are_given_some() {
        let bare = b"HTTP/1.1 414 URI Too Long\r\ncontent-length: 0\r\ndate: Sun\r\n\r\n";
        let answer = String::from_utf8(instead(bare).unwrap()).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{head}");
        assert!(body.contains("longer than 65,534 bytes"), "{body}");
        for other in [
            &b"HTTP/1.1 414 URI Too Long\r\ncontent-length: 5\r\n\r\nwords"[..],
            b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 7\r\n\r\n\r\n\r\n\r\n.",
            b"\xff",
        ] {
            assert_eq!(instead(other), None);
        }
    }
}
