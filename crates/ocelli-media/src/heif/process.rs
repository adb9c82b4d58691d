//! One run of the program that converts, locked in and with a deadline.
//!
//! It has a folder of its own with the image and with files for what it makes, which are there before it begins: it can write these
//! and nothing else, and whatever it writes is read through what was opened here. Nothing of this process's environment goes
//! along, and what it may do is given up between `fork` and `exec` ([`crate::sandbox`]).

use std::fs::File;
use std::io::{self, Read as _, Seek as _};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Resource, Signal};
use tempfile::TempDir;

use crate::limits::ConvertLimits;
use crate::sandbox::{self, Right, RulesetCreated, RulesetError, Walls};

use super::calls;

/// Where programs and libraries lie.
const PROGRAMS: [&str; 4] = ["/usr", "/lib", "/lib64", "/bin"];
/// What the loader reads to find libraries.
const LOADER: [&str; 1] = ["/etc/ld.so.cache"];
/// Libraries, the image, what is made of it.
const OPEN_FILES: u64 = 64;
/// What is read of the program's complaints.
const SAID: u64 = 4 * 1024;
/// The longest pause between two looks whether it has ended.
const PAUSE: Duration = Duration::from_millis(10);

/// The folder of one run.
#[derive(Debug)]
pub(super) struct Room {
    folder: TempDir,
    outputs: Vec<(&'static str, File)>,
    stdout: File,
    stderr: File,
}

/// How a run ended, and what it complained of.
#[derive(Debug)]
pub(super) struct Ended {
    /// None: it was killed, for its time was over.
    pub(super) status: Option<ExitStatus>,
    pub(super) said: String,
}

impl Room {
    /// An empty folder but for files of these names.
    pub(super) fn new(outputs: &[&'static str]) -> io::Result<Self> {
        let folder = tempfile::Builder::new().prefix("ocelli-convert-").tempdir()?;
        let file = |name: &str| {
            let mut new = File::options();
            new.read(true).write(true).create_new(true).open(folder.path().join(name))
        };
        let outputs = outputs.iter().map(|&name| Ok((name, file(name)?)));
        let outputs = outputs.collect::<io::Result<Vec<_>>>()?;
        let (stdout, stderr) = (file("stdout")?, file("stderr")?);
        Ok(Self { folder, outputs, stdout, stderr })
    }

    /// Puts a file there that can be read.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        std::fs::write(self.folder.path().join(name), bytes)
    }

    /// Runs `program` in here until `ends`. It writes no file of more than `most` bytes.
    pub(super) fn run(
        &self,
        program: &Path,
        arguments: &[&str],
        limits: &ConvertLimits,
        most: u64,
        ends: Instant,
    ) -> io::Result<Ended> {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .env("LC_ALL", "C.UTF-8")
            // Each further arena of the allocator takes 64 MiB of address space.
            .env("MALLOC_ARENA_MAX", "2")
            .current_dir(self.folder.path())
            .stdin(Stdio::null())
            .stdout(self.stdout.try_clone()?)
            .stderr(self.stderr.try_clone()?)
            // Killed as a whole, and not by Ctrl-C in the terminal of this process.
            .process_group(0);
        lock_in(&mut command, self.walls(program, limits, most));
        let status = watch(command.spawn()?, ends)?;
        let said = text(&self.stderr)?;
        Ok(Ended { status, said })
    }

    /// What it wrote to its standard output.
    pub(super) fn stdout(&self) -> io::Result<String> {
        text(&self.stdout)
    }

    /// The first of the files that has anything in it, at most `most` bytes of it.
    pub(super) fn output(&self, most: u64) -> io::Result<Vec<u8>> {
        for (_, file) in &self.outputs {
            let bytes = beginning(file, most)?;
            if !bytes.is_empty() {
                return Ok(bytes);
            }
        }
        Ok(Vec::new())
    }

    fn walls(&self, program: &Path, limits: &ConvertLimits, most: u64) -> Walls {
        // Decoders share their work among the cores; the deadline is what ends them, and this one that lost its parent.
        let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get) as u64;
        let seconds = limits.deadline.as_secs().max(1).saturating_mul(cores);
        let bounds = vec![
            (Resource::As, "address space", limits.memory),
            (Resource::Fsize, "file size", most),
            (Resource::Core, "core file", 0),
            (Resource::Nofile, "open files", OPEN_FILES),
            (Resource::Cpu, "CPU time", seconds),
        ];
        // A layer that this kernel does not have is left out, as with the children of OCR; `ocelli doctor` shows theirs.
        Walls { bounds, landlock: self.rules(program).ok(), filters: calls::filters() }
    }

    fn rules(&self, program: &Path) -> Result<RulesetCreated, RulesetError> {
        let folder = self.folder.path();
        let written = self.outputs.iter().map(|(name, _)| folder.join(name));
        let rules = sandbox::allow(sandbox::ruleset()?, Right::Run, PROGRAMS)?;
        let rules = sandbox::allow(rules, Right::Run, [program])?;
        let rules = sandbox::allow(rules, Right::Read, LOADER)?;
        let rules = sandbox::allow(rules, Right::Read, [folder])?;
        sandbox::allow(rules, Right::Write, written)
    }
}

/// Lets `command` give everything up before it becomes the program, and die with the thread that starts it, which waits for it.
#[expect(unsafe_code, reason = "the one way to do something between fork and exec")]
fn lock_in(command: &mut Command, mut walls: Walls) {
    let prepare = move || -> io::Result<()> {
        // What could not be put up is missing in the child, as it is on a kernel that does not have it.
        rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).ok();
        let _entered = walls.enter();
        Ok(())
    };
    // SAFETY: between fork and exec only what is safe in a signal handler may run. The closure makes system calls with values
    // that were all made before the fork; it allocates, frees and locks nothing, and no error of it carries text.
    unsafe { command.pre_exec(prepare) };
}

/// Waits for the end, or makes it: then none of its group is left.
fn watch(mut child: Child, ends: Instant) -> io::Result<Option<ExitStatus>> {
    let mut pause = Duration::from_millis(1);
    loop {
        if let Some(status) = child.try_wait()? {
            return Ok(Some(status));
        }
        let left = ends.saturating_duration_since(Instant::now());
        if left.is_zero() {
            // Not waited for yet, so its number is still its own. It may have ended this moment.
            rustix::process::kill_process_group(Pid::from_child(&child), Signal::KILL).ok();
            child.wait()?;
            return Ok(None);
        }
        std::thread::sleep(pause.min(left));
        pause = (pause * 2).min(PAUSE);
    }
}

/// How a program ended that did not end by itself.
pub(super) fn death(status: ExitStatus) -> Option<&'static str> {
    Some(match status.signal()? {
        6 => "aborted (an assertion, or it needs more memory than limits.convert_memory)",
        9 | 24 => "killed, for memory or CPU time",
        11 | 7 => "segmentation fault",
        25 => "it wrote more than an image of this size can take",
        31 => "it made a forbidden system call",
        _ => "ended by a signal",
    })
}

fn text(file: &File) -> io::Result<String> {
    Ok(String::from_utf8_lossy(&beginning(file, SAID)?).into_owned())
}

/// A file from its beginning, wherever it was left.
fn beginning(mut file: &File, most: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.rewind()?;
    file.take(most).read_to_end(&mut bytes)?;
    Ok(bytes)
}
