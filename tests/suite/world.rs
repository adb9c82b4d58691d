//! A folder of its own for each test, and programs started in it as a user would.

use std::ffi::OsStr;
use std::fs::{self, File};
use std::os::unix::process::{CommandExt as _, ExitStatusExt as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use ocelli_testkit::bin;
use serde_json::Value;
use tempfile::TempDir;

/// Longest time for anything that a test waits for. Generous: a loaded machine must not turn a test red.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

pub(crate) struct World {
    folder: TempDir,
    settings: String,
}

/// What a finished program said.
#[derive(Debug)]
pub(crate) struct Said {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl World {
    pub(crate) fn new() -> Self {
        Self { folder: tempfile::tempdir().unwrap(), settings: String::new() }
    }

    pub(crate) fn path(&self, name: impl AsRef<Path>) -> PathBuf {
        self.folder.path().join(name)
    }

    /// Appends to the settings file that every program of this world reads.
    pub(crate) fn settings(&mut self, toml: &str) {
        self.settings.push_str(toml);
        self.settings.push('\n');
        fs::write(self.path("ocelli.toml"), &self.settings).unwrap();
    }

    /// A program in this world's folder, with a home of its own and nothing of the environment that could change it.
    pub(crate) fn command(&self, program: &str) -> Command {
        self.here(Command::new(bin(program)))
    }

    /// The same for any program.
    pub(crate) fn here(&self, mut command: Command) -> Command {
        command
            .current_dir(self.folder.path())
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", self.path("home"))
            .env("NO_COLOR", "1")
            .stdin(Stdio::null());
        command
    }

    /// Runs `ocelli` to its end.
    pub(crate) fn ocelli<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Said {
        self.run("ocelli", arguments)
    }

    /// Runs a program to its end.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Said {
        Said::from(self.command(program).args(arguments).output().unwrap())
    }

    /// Runs `ocelli` and reads its output as JSON.
    pub(crate) fn json<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Value {
        let said = self.ocelli(arguments);
        serde_json::from_str(&said.out).unwrap_or_else(|error| panic!("{error}: {said:?}"))
    }

    /// Starts a program that stays. Its log goes to `NAME.log`. It dies with the test, also when that is killed.
    pub(crate) fn start<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
    ) -> Service {
        self.start_dying(program, arguments, "")
    }

    /// The same for a program that ends at this failpoint (`name` or `name:passing`).
    pub(crate) fn start_dying<S: AsRef<OsStr>>(
        &self,
        program: &str,
        arguments: impl IntoIterator<Item = S>,
        failpoint: &str,
    ) -> Service {
        let mut command = self.here(Command::new("setpriv"));
        command.args(["--pdeathsig", "KILL", "--"]).arg(bin(program)).args(arguments);
        command.env(ocelli_failpoint::VARIABLE, failpoint);
        Service::start(&mut command, self.path(format!("{program}.log")))
    }

    /// Copies some of the project's own sample images into a folder of this world.
    pub(crate) fn samples(&self, folder: &str, names: &[&str]) -> PathBuf {
        let target = self.path(folder);
        fs::create_dir_all(&target).unwrap();
        let all = sample_folder();
        for name in names {
            fs::copy(all.join(name), target.join(name)).unwrap();
        }
        target
    }

    /// The image at `from` as AVIF or HEIC, by the ending of `to`; both in this world's folder.
    pub(crate) fn heif(&self, from: &str, to: &str) {
        let mut encode = Command::new("heif-enc");
        if to.ends_with(".avif") {
            encode.arg("-A");
        }
        let made = encode.args(["-q", "90", "-o"]).arg(self.path(to)).arg(self.path(from)).output();
        let made = made.expect("heif-enc is installed (Debian: libheif-examples)");
        assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    }

    /// `count` different images of the same note: the bytes behind a PNG's end are no part of the picture.
    pub(crate) fn many(&self, folder: &str, count: usize) -> PathBuf {
        let target = self.path(folder);
        fs::create_dir_all(&target).unwrap();
        let note = fs::read(sample_folder().join(NOTE)).unwrap();
        for n in 0..count {
            let stamped = [&note[..], format!("{n:08}").as_bytes()].concat();
            fs::write(target.join(format!("note-{n:05}.png")), stamped).unwrap();
        }
        target
    }

    /// `status --json`, the row of one analyzer.
    pub(crate) fn row(&self, analyzer: &str) -> Value {
        let status = self.json(["status", "--json"]);
        let rows = status["analyzers"].as_array().unwrap();
        rows.iter()
            .find(|row| row["analyzer"] == analyzer)
            .unwrap_or_else(|| panic!("no row of {analyzer} in {status}"))
            .clone()
    }

    /// The archive adds up.
    pub(crate) fn audit(&self) {
        let said = self.ocelli(["audit"]);
        assert_eq!(said.code, 0, "{said:?}");
        assert!(said.out.contains("everything adds up"), "{said:?}");
    }
}

/// A small image with three lines of text.
pub(crate) const NOTE: &str = "note-transparent.png";
/// The chart that the archive's first record was about.
pub(crate) const CHART: &str = "scaling-open-language-models.png";
/// A photograph with nothing to read.
pub(crate) const NO_TEXT: &str = "photo-balloons-no-text.webp";

/// The sample images, drawn once for all tests of a build.
pub(crate) fn sample_folder() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("samples");
    fs::create_dir_all(&folder).unwrap();
    // Tests are processes of their own: the first one draws, the others wait for it.
    let lock = File::create(folder.join(".lock")).unwrap();
    lock.lock().unwrap();
    ocelli_samples::draw(&folder).unwrap();
    folder
}

impl From<Output> for Said {
    fn from(output: Output) -> Self {
        Self {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }
}

/// A program that runs beside the test and ends with it, with everything it started.
pub(crate) struct Service {
    child: Child,
    log: PathBuf,
}

impl Service {
    pub(crate) fn start(command: &mut Command, log: PathBuf) -> Self {
        let out = File::options().create(true).append(true).open(&log).unwrap();
        let child =
            command.stdout(out.try_clone().unwrap()).stderr(out).process_group(0).spawn().unwrap();
        Self { child, log }
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    pub(crate) fn signal(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, signal).unwrap();
    }

    pub(crate) fn signal_group(&self, signal: rustix::process::Signal) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process_group(id, signal).unwrap();
    }

    /// To what it has started, and not to itself.
    pub(crate) fn signal_children(&self, signal: rustix::process::Signal) {
        let children = self.family().0.into_iter().filter(|(id, _)| *id != self.id());
        for (id, _) in children {
            let id = rustix::process::Pid::from_raw(i32::try_from(id).unwrap()).unwrap();
            rustix::process::kill_process(id, signal).unwrap();
        }
    }

    /// Itself and what it has started.
    pub(crate) fn family(&self) -> Family {
        Family::of(self.child.id())
    }

    /// As a power cut does it: no handler runs.
    pub(crate) fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Waits for its end; the exit code.
    pub(crate) fn wait(&mut self) -> i32 {
        self.end().code().unwrap_or(-1)
    }

    /// Waits for its death at a failpoint.
    pub(crate) fn dies_at(mut self, failpoint: &str) {
        let status = self.end();
        let last = self.log().lines().last().unwrap_or_default().to_owned();
        let by_itself = status.signal() == Some(rustix::process::Signal::ABORT.as_raw());
        assert!(by_itself, "{failpoint}: {status:?}\n{}", self.log());
        assert!(last.starts_with(&format!("failpoint {failpoint}: ")), "{failpoint}: {last}");
    }

    fn end(&mut self) -> ExitStatus {
        let started = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(started.elapsed() < PATIENCE, "it does not end:\n{}", self.log());
            std::thread::park_timeout(Duration::from_millis(20));
        }
    }

    /// Asks it to stop and waits for its end.
    pub(crate) fn stop(mut self) -> i32 {
        self.signal(rustix::process::Signal::TERM);
        self.wait()
    }
}

impl Drop for Service {
    /// Takes its whole group along: a shell in between would leave what it started behind.
    fn drop(&mut self) {
        if let Ok(None) = self.child.try_wait() {
            let group = rustix::process::Pid::from_child(&self.child);
            rustix::process::kill_process_group(group, rustix::process::Signal::KILL).ok();
            drop(self.child.wait());
        }
    }
}

/// A program and what it started, as they were at one moment: process id and time of start, which together are never
/// used again.
pub(crate) struct Family(Vec<(u32, String)>);

/// State, parent and time of start of a process: the third, fourth and 22nd field of `/proc/PID/stat`, proc(5).
fn stat(id: u32) -> Option<(String, u32, String)> {
    let stat = fs::read_to_string(format!("/proc/{id}/stat")).ok()?;
    let mut fields = stat.rsplit_once(") ")?.1.split(' ').map(str::to_owned);
    Some((fields.next()?, fields.next()?.parse().ok()?, fields.nth(17)?))
}

impl Family {
    fn of(id: u32) -> Self {
        let ids = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
        let ids = ids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
        let member =
            |one: &u32| *one == id || stat(*one).is_some_and(|(_, parent, _)| parent == id);
        Self(ids.filter(member).filter_map(|one| Some((one, stat(one)?.2))).collect())
    }

    /// Members that live; zombies do not.
    pub(crate) fn living(&self) -> usize {
        let lives = |(id, start): &&(u32, String)| {
            stat(*id).is_some_and(|(state, _, now)| state != "Z" && now == *start)
        };
        self.0.iter().filter(lives).count()
    }
}

/// Asks until the answer is yes.
pub(crate) fn until(what: &str, mut condition: impl FnMut() -> bool) {
    let started = Instant::now();
    while !condition() {
        assert!(started.elapsed() < PATIENCE, "waited in vain until {what}");
        std::thread::park_timeout(Duration::from_millis(50));
    }
}
