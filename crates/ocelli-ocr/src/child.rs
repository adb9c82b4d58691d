//! The child's side: one image at a time, read from standard input, answered on standard output.
//!
//! Started by [`crate::pool`] as this same program with [`CHILD_ARGUMENT`]. It runs on one thread, before any async
//! runtime exists. Absent on purpose: logging, settings, the network; the parent says everything there is to know.

use std::fs::File;
use std::io::{self, BufWriter, Read, Write};
use std::net::UdpSocket;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Instant;

use ocelli_media::perceptual_hash;

use crate::cascade::{self, Budget, Writing};
use crate::engine::{self, Engine};
use crate::protocol::{
    self, ReadRequest, Ready, Refusal, Reply, Request, SelfTest, Start, Transcript,
};
use crate::sandbox;

/// First argument that turns a program into an OCR child.
pub const CHILD_ARGUMENT: &str = "--ocelli-ocr-child";

/// Runs as OCR child when the first argument says so. Every binary that starts a [`crate::Pool`] calls this before
/// it starts threads; `None` means: go on as the program that you are.
#[must_use]
pub fn run_if_child() -> Option<ExitCode> {
    (std::env::args_os().nth(1)? == CHILD_ARGUMENT).then(child_main)
}

/// Serves requests until standard input ends.
#[must_use]
pub fn child_main() -> ExitCode {
    // The parent can die between fork and this line; its end of the pipe is closed then and the first read ends us.
    let dies_with_parent = sandbox::die_with_parent();
    let mut input = io::stdin().lock();
    let mut output = BufWriter::new(io::stdout().lock());
    match serve(&mut input, &mut output, dies_with_parent) {
        Ok(()) => ExitCode::SUCCESS,
        // The parent sees the closed pipe; there is nobody else to tell.
        Err(_) => ExitCode::FAILURE,
    }
}

fn serve(
    input: &mut impl Read,
    output: &mut impl Write,
    dies_with_parent: sandbox::Layer,
) -> io::Result<()> {
    let Some(Request::Start(start)) = protocol::receive(input)? else { return Ok(()) };
    let mut engine = match load(&start) {
        Ok(engine) => engine,
        Err(reason) => return protocol::send(output, &Reply::NotReady { reason }),
    };
    let sandbox = sandbox::enter(start.memory_limit, start.cpu_limit, dies_with_parent);
    let ready = Ready { engine_version: engine::version(), sandbox };
    protocol::send(output, &Reply::Ready(ready))?;
    while let Some(request) = protocol::receive(input)? {
        let reply = match request {
            Request::Read(request) => Reply::Read(read(&mut engine, &request)),
            Request::SelfTest { file } => Reply::SelfTest(self_test(&file)),
            Request::Start(_) => Reply::NotReady { reason: "started twice".to_owned() },
        };
        protocol::send(output, &reply)?;
    }
    Ok(())
}

/// Loads the data and reads a few pixels, so that whatever the libraries set up at first use is set up before the
/// sandbox closes.
fn load(start: &Start) -> Result<Engine, String> {
    let mut engine =
        Engine::new(&start.data_path, &start.languages).map_err(|error| error.to_string())?;
    cascade::warm_up(&mut engine).map_err(|error| error.to_string())?;
    Ok(engine)
}

fn read(engine: &mut Engine, request: &ReadRequest) -> Result<Transcript, Refusal> {
    let started = Instant::now();
    let budget = Budget {
        ends: started + request.soft_deadline,
        whole: request.soft_deadline,
        page_only: request.page_only,
        page_mode: request.page_mode,
        sufficient_confidence: request.sufficient_confidence,
    };
    let pages =
        ocelli_media::decode_frames(&request.image, &(&request.limits).into(), request.frames)
            .map_err(|error| Refusal { class: error.class(), reason: error.to_string() })?;
    let decoded = started.elapsed();
    let hash = pages.first().and_then(|page| perceptual_hash(&page.pixels));
    let mut pages = pages.into_iter().peekable();
    let mut writing = Writing::default();
    while let Some(page) = pages.next() {
        let reading = cascade::read(engine, page.pixels, budget).map_err(|error| Refusal {
            class: ocelli_core::FailureClass::Permanent,
            reason: error.to_string(),
        })?;
        writing.append(reading, page.place);
        if pages.peek().is_some() && Instant::now() >= budget.ends {
            writing.cut_off();
            break;
        }
    }
    Ok(Transcript { hash, decoded, ..writing.finish() })
}

fn self_test(file: &Path) -> SelfTest {
    SelfTest {
        opened_socket: UdpSocket::bind(("127.0.0.1", 0)).is_ok()
            || std::net::TcpStream::connect(("127.0.0.1", 9))
                .is_err_and(|error| error.kind() == io::ErrorKind::ConnectionRefused),
        wrote_file: File::create(file).and_then(|mut file| file.write_all(b"x")).is_ok(),
        read_file: File::open("/etc/passwd").is_ok(),
        started_program: Command::new("/bin/true").spawn().is_ok(),
    }
}
