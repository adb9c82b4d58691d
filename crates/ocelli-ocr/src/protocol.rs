//! What parent and child say to each other over the child's standard input and output.
//!
//! One request, one reply, never two at once. A frame is a 4-byte little-endian length and that many bytes of
//! MessagePack. Parent and child are the same build of the same program, so there is no version in it. The parent
//! takes what a child says for hostile: a child has decoded a stranger's image.

use std::io::{self, Read, Write};
use std::path::PathBuf;
use std::time::Duration;

use bytes::Bytes;
use ocelli_core::{FailureClass, PerceptualHash, Step, Word};
use ocelli_media::DecodeLimits;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};

use crate::options::PageMode;
use crate::sandbox::SandboxReport;

/// The longest reply the parent reads. A dense page of 5,000 words takes about 600 kB; 50 pages fit.
pub(crate) const LONGEST_REPLY: usize = 64 * 1024 * 1024;
/// The longest request the child reads: above every sensible `limits.image_bytes`.
const LONGEST_REQUEST: usize = 1024 * 1024 * 1024;

/// To the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Request {
    /// The first one: load the data and lock yourself in.
    Start(Start),
    /// Read one image.
    Read(ReadRequest),
    /// Try what must not be possible.
    SelfTest {
        /// A file to try to write.
        file: PathBuf,
    },
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Start {
    pub languages: String,
    pub data_path: PathBuf,
    pub memory_limit: u64,
    pub cpu_limit: Duration,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct ReadRequest {
    pub image: Bytes,
    pub limits: Limits,
    pub soft_deadline: Duration,
    pub page_only: bool,
    pub page_mode: PageMode,
    pub frames: u32,
    pub sufficient_confidence: f32,
}

/// [`DecodeLimits`] on the wire.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Limits {
    bytes: u64,
    side: u32,
    pixels: u64,
    pages: u32,
    memory: u64,
}

impl From<&DecodeLimits> for Limits {
    fn from(limits: &DecodeLimits) -> Self {
        let DecodeLimits { bytes, side, pixels, pages, memory } = *limits;
        Self { bytes, side, pixels, pages, memory }
    }
}

impl From<&Limits> for DecodeLimits {
    fn from(limits: &Limits) -> Self {
        let Limits { bytes, side, pixels, pages, memory } = *limits;
        Self { bytes, side, pixels, pages, memory }
    }
}

/// From the child.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) enum Reply {
    /// To [`Request::Start`].
    Ready(Ready),
    /// To [`Request::Start`]: the child ends after it.
    NotReady { reason: String },
    /// To [`Request::Read`].
    Read(Result<Transcript, Refusal>),
    /// To [`Request::SelfTest`].
    SelfTest(SelfTest),
}

/// What a child is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ready {
    /// Version of the engine.
    pub engine_version: String,
    /// What locks the child in.
    pub sandbox: SandboxReport,
}

/// What was read in one image, all pages.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Transcript {
    /// Lines and paragraphs; pages are parted by a form feed.
    pub text: String,
    /// In reading order, boxes in pixels of the upright page.
    pub words: Vec<Word>,
    /// Mean over the words.
    pub confidence: Option<f32>,
    /// Clockwise degrees.
    pub rotation: u16,
    /// The passes with their reasons.
    pub steps: Vec<Step>,
    /// The soft deadline came first.
    pub partial: bool,
    /// What the first page looks like.
    pub hash: Option<PerceptualHash>,
    /// How long the image took to decode.
    pub decoded: Duration,
}

/// An image that cannot be read.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Refusal {
    /// What kind of failure.
    pub class: FailureClass,
    /// In words.
    pub reason: String,
}

/// What a child could do of what it must not be able to do. All must be `false`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SelfTest {
    /// It could open a socket.
    pub opened_socket: bool,
    /// It could write the file.
    pub wrote_file: bool,
    /// It could read `/etc/passwd`.
    pub read_file: bool,
    /// It could start a program.
    pub started_program: bool,
}

/// Reads one frame. `None`: the other side closed between frames.
pub(crate) fn receive<T: DeserializeOwned>(input: &mut impl Read) -> io::Result<Option<T>> {
    let mut length = [0; 4];
    match input.read_exact(&mut length) {
        Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(None),
        result => result?,
    }
    let length = checked(u32::from_le_bytes(length), LONGEST_REQUEST)?;
    let mut body = vec![0; length];
    input.read_exact(&mut body)?;
    rmp_serde::from_slice(&body).map(Some).map_err(invalid)
}

/// Writes one frame.
pub(crate) fn send<T: Serialize>(output: &mut impl Write, message: &T) -> io::Result<()> {
    let (length, body) = frame(message)?;
    output.write_all(&length)?;
    output.write_all(&body)?;
    output.flush()
}

/// [`receive`] for the parent. A closed pipe is an error: the parent reads only when it waits for a reply.
pub(crate) async fn receive_async<T: DeserializeOwned>(
    input: &mut (impl AsyncRead + Unpin),
) -> io::Result<T> {
    let length = checked(input.read_u32_le().await?, LONGEST_REPLY)?;
    // Grows with what arrives: a lying length allocates nothing.
    let mut body = Vec::new();
    input.take(length as u64).read_to_end(&mut body).await?;
    if body.len() < length {
        return Err(io::ErrorKind::UnexpectedEof.into());
    }
    rmp_serde::from_slice(&body).map_err(invalid)
}

/// [`send`] for the parent.
pub(crate) async fn send_async<T: Serialize>(
    output: &mut (impl AsyncWrite + Unpin),
    message: &T,
) -> io::Result<()> {
    let (length, body) = frame(message)?;
    output.write_all(&length).await?;
    output.write_all(&body).await?;
    output.flush().await
}

fn frame<T: Serialize>(message: &T) -> io::Result<([u8; 4], Vec<u8>)> {
    let body = rmp_serde::to_vec_named(message).map_err(invalid)?;
    let length = u32::try_from(body.len()).map_err(invalid)?;
    Ok((length.to_le_bytes(), body))
}

fn checked(length: u32, longest: usize) -> io::Result<usize> {
    let length = length as usize;
    if length > longest {
        return Err(invalid(format!("a frame of {length} bytes, allowed are {longest}")));
    }
    Ok(length)
}

fn invalid(error: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, error)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_survives_the_pipe() {
        let mut pipe = Vec::new();
        send(&mut pipe, &Request::SelfTest { file: "/tmp/x".into() }).expect("written");
        let back: Option<Request> = receive(&mut pipe.as_slice()).expect("read");
        assert!(matches!(back, Some(Request::SelfTest { file }) if file.as_os_str() == "/tmp/x"));
        assert!(receive::<Request>(&mut [].as_slice()).expect("end").is_none());
    }

    #[tokio::test]
    async fn a_lying_length_is_refused_before_anything_is_allocated() {
        let error = receive_async::<Reply>(&mut [0xff, 0xff, 0xff, 0xff, 1].as_slice()).await;
        assert_eq!(error.expect_err("too long").kind(), io::ErrorKind::InvalidData);
        let error = receive_async::<Reply>(&mut [0, 0, 0, 1, 1].as_slice()).await;
        assert_eq!(error.expect_err("too short").kind(), io::ErrorKind::UnexpectedEof);
    }
}
