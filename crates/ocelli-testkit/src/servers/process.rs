//! A server as a child process: it dies with the thread that started it, and says why when it does not come up.

use std::fs::File;
use std::io;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process, kill_process_group};
use thiserror::Error;

/// How often a child that should end or answer is looked at.
pub(super) const PERIOD: Duration = Duration::from_millis(50);

/// What the kernel takes at most to end killed processes: milliseconds, unless the machine is out of breath.
const CHILDREN_END: Duration = Duration::from_secs(5);

/// Why a private server did not come up.
#[derive(Debug, Error)]
pub enum StartError {
    /// A program of the server is not installed.
    #[error("{program} is not installed\nhint: apt-get install {package}")]
    Missing {
        /// What was looked for.
        program: &'static str,
        /// Debian package that has it.
        package: &'static str,
    },
    /// Its folder or files could not be prepared.
    #[error("{path} could not be prepared")]
    Prepare {
        /// Which.
        path: PathBuf,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// The program could not be started.
    #[error("{program} could not be started")]
    Spawn {
        /// Which.
        program: String,
        /// The reason.
        #[source]
        source: io::Error,
    },
    /// It ended by itself before it was ready.
    #[error("{program} ended before it was ready ({status}); the end of its log:\n{log}")]
    Ended {
        /// Which.
        program: String,
        /// How.
        status: String,
        /// Last lines of its output.
        log: String,
    },
    /// It was not ready in time.
    #[error("{program} was not ready within {after:?}; the end of its log:\n{log}")]
    Late {
        /// Which.
        program: String,
        /// How long was waited.
        after: Duration,
        /// Last lines of its output.
        log: String,
    },
}

/// A command that runs `program` under `setpriv`, so that the kernel signals it when the starting thread ends, however
/// that happens, and as `user` when one is given.
pub(super) fn bound_command(signal: &str, user: Option<&str>, program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.arg("--pdeathsig").arg(signal);
    if let Some(user) = user {
        command.args(["--reuid", user, "--regid", user, "--init-groups"]);
    }
    command.arg("--").arg(program);
    command
}

/// The first of `candidates` that is a file, or the program of that name on the search path.
pub(super) fn find_program(
    candidates: &[PathBuf],
    program: &'static str,
    package: &'static str,
) -> Result<PathBuf, StartError> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    candidates
        .iter()
        .cloned()
        .chain(std::env::split_paths(&path).map(|folder| folder.join(program)))
        .find(|candidate| candidate.is_file())
        .ok_or(StartError::Missing { program, package })
}

/// A running child in a process group of its own, its output in a file. Killed with its group when dropped.
#[derive(Debug)]
pub(super) struct Process {
    name: String,
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts `command`; its output is appended to `log`.
    pub(super) fn spawn(name: &str, mut command: Command, log: &Path) -> Result<Self, StartError> {
        let prepare = |source| StartError::Prepare { path: log.to_owned(), source };
        let out = File::options().create(true).append(true).open(log).map_err(prepare)?;
        let err = out.try_clone().map_err(prepare)?;
        let child = command
            .stdin(Stdio::null())
            .stdout(out)
            .stderr(err)
            .process_group(0)
            .spawn()
            .map_err(|source| StartError::Spawn { program: name.to_owned(), source })?;
        Ok(Self { name: name.to_owned(), child, log: log.to_owned() })
    }

    fn pid(&self) -> Option<Pid> {
        i32::try_from(self.child.id()).ok().and_then(Pid::from_raw)
    }

    /// Whether it has not ended.
    pub(super) fn is_running(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    /// Signals the first process alone.
    pub(super) fn signal(&self, signal: Signal) {
        // It may have ended already; then there is nobody left to signal.
        if let Some(pid) = self.pid() {
            let _ = kill_process(pid, signal);
        }
    }

    /// Signals the whole group and the direct children that left it for a session of their own.
    pub(super) fn signal_all(&self, signal: Signal) {
        let Some(pid) = self.pid() else { return };
        let children = self.children();
        let _ = kill_process_group(pid, signal);
        for child in children {
            let _ = kill_process(child, signal);
        }
    }

    fn children(&self) -> Vec<Pid> {
        let id = self.child.id();
        std::fs::read_to_string(format!("/proc/{id}/task/{id}/children"))
            .unwrap_or_default()
            .split_whitespace()
            .filter_map(|child| child.parse().ok().and_then(Pid::from_raw))
            .collect()
    }

    /// Waits for the end, at most `limit`.
    pub(super) async fn ended(&mut self, limit: Duration) -> Option<ExitStatus> {
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                return Some(status);
            }
            if started.elapsed() >= limit {
                return None;
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    /// Waits until `ready` answers true. Fails when the child ends first or `limit` passes.
    pub(super) async fn ready<F, Fut>(
        &mut self,
        limit: Duration,
        mut ready: F,
    ) -> Result<(), StartError>
    where
        F: FnMut() -> Fut,
        Fut: Future<Output = bool>,
    {
        let started = Instant::now();
        loop {
            if let Ok(Some(status)) = self.child.try_wait() {
                let (program, status) = (self.name.clone(), status.to_string());
                return Err(StartError::Ended { program, status, log: self.log_end() });
            }
            if ready().await {
                return Ok(());
            }
            if started.elapsed() >= limit {
                let program = self.name.clone();
                return Err(StartError::Late { program, after: limit, log: self.log_end() });
            }
            tokio::time::sleep(PERIOD).await;
        }
    }

    fn log_end(&self) -> String {
        let text = std::fs::read(&self.log).unwrap_or_default();
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(20)..].join("\n")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(Some(_))) {
            return;
        }
        // Stopped first, so that it starts no further child between our look and the kill.
        self.signal(Signal::STOP);
        let children = self.children();
        self.signal_all(Signal::KILL);
        let _ = self.child.wait();
        // Its children end a moment later than the signal; until then they hold on to ports and shared memory, and
        // the same server could not be started again.
        let started = Instant::now();
        while children.iter().any(|child| alive(*child)) && started.elapsed() < CHILDREN_END {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Whether a process still runs. One that has ended and that nobody has asked about does not.
fn alive(pid: Pid) -> bool {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()));
    // The state follows the program's name, which is in brackets.
    stat.is_ok_and(|stat| stat.rsplit(") ").next().is_some_and(|rest| !rest.starts_with('Z')))
}
