//! A program of a fleet as a child process, which ends with this one however that happens.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

/// How often a child that should end is looked at.
const PERIOD: Duration = Duration::from_millis(20);

/// A running program in a process group of its own. Killed with its group when dropped.
///
/// Start it from the thread that stays: the kernel ends it with the thread that started it.
#[derive(Debug)]
pub struct Program {
    child: Child,
}

/// `program` under `setpriv`, so that the kernel sends `signal` when the thread that started it ends.
#[must_use]
pub fn bound(signal: &str, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    command
}

impl Program {
    /// Starts `command` in a process group of its own; what it prints is appended to `log`.
    ///
    /// # Errors
    /// When the log cannot be opened or the program not be started.
    pub fn start(mut command: Command, log: &Path) -> io::Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let err = out.try_clone()?;
        let child =
            command.stdin(Stdio::null()).stdout(out).stderr(err).process_group(0).spawn()?;
        Ok(Self { child })
    }

    /// Its process id.
    #[must_use]
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// Whether it has not ended.
    pub fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Signals the program alone.
    pub fn signal(&self, signal: Signal) {
        if let Some(pid) = self.pid() {
            // It may have ended already.
            let _ended = kill_process(pid, signal);
        }
    }

    /// `kill -9`, children included.
    pub fn kill(&mut self) {
        let Some(pid) = self.pid() else { return };
        if !self.is_running() {
            return;
        }
        // Children that made a session of their own (Erlang's helpers) are in no group of ours.
        let id = self.id();
        let children = std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"));
        let _ended = kill_process_group(pid, Signal::KILL);
        for child in children.unwrap_or_default().split_whitespace() {
            if let Some(child) = child.parse().ok().and_then(Pid::from_raw) {
                let _ended = kill_process(child, Signal::KILL);
            }
        }
        let _status = self.child.wait();
    }

    /// Waits for the end, at most `limit`: the exit code, none when it was killed or still runs.
    pub async fn ended(&mut self, limit: Duration) -> Option<i32> {
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return status.code();
            }
            if started.elapsed() >= limit {
                return None;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Threads and open files.
    #[must_use]
    pub fn size(&self) -> (usize, usize) {
        let count = |folder: &str| {
            std::fs::read_dir(format!("/proc/{}/{folder}", self.id())).map_or(0, Iterator::count)
        };
        (count("task"), count("fd"))
    }

    /// Resident memory in bytes.
    #[must_use]
    pub fn resident(&self) -> u64 {
        memory(self.id(), "VmRSS:")
    }

    /// The most memory that was resident so far, in bytes.
    #[must_use]
    pub fn peak(&self) -> u64 {
        memory(self.id(), "VmHWM:")
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }
}

/// A line of `/proc/PID/status` (proc(5)) in bytes; 0 when the process is gone.
#[must_use]
pub fn memory(process: u32, line: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let value = status.lines().find_map(|found| found.strip_prefix(line));
    let kilobytes = value.and_then(|value| value.trim().strip_suffix(" kB")?.trim().parse().ok());
    kilobytes.unwrap_or(0_u64) * 1024
}

/// The body of a page that a program serves on this port, whatever its status.
///
/// # Errors
/// When it does not answer within five seconds, or with no HTTP.
pub async fn page(port: u16, path: &str) -> io::Result<String> {
    let exchange = async {
        let mut stream = tokio::net::TcpStream::connect(("127.0.0.1", port)).await?;
        let request =
            format!("GET /{path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        io::Result::Ok(answer)
    };
    let answer = tokio::time::timeout(Duration::from_secs(5), exchange).await??;
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    body.ok_or_else(|| io::Error::other("no HTTP answer"))
}

impl Drop for Program {
    fn drop(&mut self) {
        self.kill();
    }
}
