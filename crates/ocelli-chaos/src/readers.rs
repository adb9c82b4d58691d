//! Child processes that read nothing, for images that kill their reader: the null analyzer's counterpart of the
//! children of the OCR worker.

use std::io::{BufRead, Write};
use std::process::{ExitCode, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};

use crate::null::Nature;

/// First argument that makes this program a reader.
pub(crate) const READER: &str = "null-reader";

/// Readers that wait for an image.
pub(crate) struct Readers {
    idle: Mutex<Vec<Reader>>,
    deadline: Duration,
}

struct Reader {
    process: Child,
    input: ChildStdin,
    output: BufReader<ChildStdout>,
}

impl Readers {
    /// A reader that takes longer than `deadline` over an image is killed.
    pub(crate) fn new(deadline: Duration) -> Self {
        Self { idle: Mutex::default(), deadline }
    }

    /// One image. An error is what became of its reader; the next image gets another one.
    pub(crate) async fn read(&self, nature: Nature, took: Duration) -> Result<(), String> {
        let idle = self.idle.lock().unwrap_or_else(PoisonError::into_inner).pop();
        let mut reader = match idle {
            Some(reader) => reader,
            None => Reader::start().map_err(|error| format!("no reader: {error}"))?,
        };
        let word = match nature {
            Nature::Crashes => "crash",
            Nature::Hangs => "hang",
            Nature::Good | Nature::Fails | Nature::Slow => "read",
        };
        match tokio::time::timeout(self.deadline, reader.ask(word, took)).await {
            Ok(Ok(())) => {
                self.idle.lock().unwrap_or_else(PoisonError::into_inner).push(reader);
                Ok(())
            }
            Ok(Err(error)) => Err(match reader.process.wait().await {
                Ok(status) => format!("the reader died: {status}"),
                Err(_) => format!("the reader died: {error}"),
            }),
            Err(_) => Err(format!("the reader was killed after {:?}", self.deadline)),
        }
    }
}

/// How long a reader takes to start and read its first image, beyond the reading: the mean of some.
pub(crate) async fn start_takes() -> std::io::Result<Duration> {
    const SOME: u32 = 8;
    let began = std::time::Instant::now();
    for _ in 0..SOME {
        Reader::start()?.ask("read", Duration::ZERO).await?;
    }
    Ok(began.elapsed() / SOME)
}

impl Reader {
    fn start() -> std::io::Result<Self> {
        let mut process = Command::new(std::env::current_exe()?)
            .arg(READER)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let (Some(input), Some(output)) = (process.stdin.take(), process.stdout.take()) else {
            return Err(std::io::Error::other("a reader without pipes"));
        };
        Ok(Self { process, input, output: BufReader::new(output) })
    }

    async fn ask(&mut self, word: &str, took: Duration) -> std::io::Result<()> {
        self.input.write_all(format!("{word} {}\n", took.as_millis()).as_bytes()).await?;
        let mut answer = String::new();
        match self.output.read_line(&mut answer).await? {
            0 => Err(std::io::ErrorKind::UnexpectedEof.into()),
            _ => Ok(()),
        }
    }
}

/// The child: one line for each image, one line back, until standard input ends.
pub(crate) fn reader() -> ExitCode {
    for line in std::io::stdin().lock().lines() {
        let Ok(line) = line else { return ExitCode::FAILURE };
        let (word, took) = line.split_once(' ').unwrap_or((&line, "0"));
        std::thread::sleep(Duration::from_millis(took.parse().unwrap_or(0)));
        match word {
            "crash" => std::process::abort(),
            "hang" => std::thread::sleep(Duration::from_secs(3600)),
            _ => {
                if writeln!(std::io::stdout(), "read").is_err() {
                    return ExitCode::FAILURE;
                }
            }
        }
    }
    ExitCode::SUCCESS
}
