//! Signals and log lines, seen from outside: a child process (this same test program) is started and watched.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on should say where")]

use std::io::{BufRead, BufReader, Lines, Read};
use std::process::{Child, ChildStdout, Command, Stdio};

use ocelli_runtime::settings::LogFormat;

const CHILD: &str = "OCELLI_TEST_RUNTIME_CHILD";

/// Not a test of its own: what the child of the tests below does.
#[test]
fn child_that_drains_forever() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let (format, level, traces) = (LogFormat::Auto, "info".to_owned(), "off".to_owned());
        let log = ocelli_runtime::settings::LogSettings { format, level, traces };
        ocelli_runtime::telemetry::init(&log, "ocelli-test").unwrap();
        let token = ocelli_runtime::shutdown::token().unwrap();
        println!("child ready");
        token.cancelled().await;
        println!("child draining");
        std::future::pending::<()>().await;
    });
}

struct Watched {
    child: Child,
    output: Lines<BufReader<ChildStdout>>,
}

impl Watched {
    fn start() -> Self {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "child_that_drains_forever", "--nocapture"])
            .env(CHILD, "1")
            .env_remove("RUST_LOG")
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let output = BufReader::new(child.stdout.take().unwrap()).lines();
        Self { child, output }
    }

    fn wait_for(&mut self, words: &str) {
        let found = self.output.by_ref().any(|line| line.unwrap().contains(words));
        assert!(found, "the child ended without saying '{words}'");
    }

    fn signal(&self, name: &str) {
        let pid = self.child.id().to_string();
        let status = Command::new("kill").args(["-s", name, &pid]).status().unwrap();
        assert!(status.success());
    }

    /// Exit code and log.
    fn finish(mut self) -> (Option<i32>, String) {
        let status = self.child.wait().unwrap();
        let mut log = String::new();
        self.child.stderr.take().unwrap().read_to_string(&mut log).unwrap();
        (status.code(), log)
    }
}

impl Drop for Watched {
    fn drop(&mut self) {
        // Only matters when an assertion failed: a child that has ended cannot be killed, which is fine.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn the_first_signal_drains_and_the_second_ends_at_once_with_130() {
    for (first, second) in [("TERM", "INT"), ("INT", "INT"), ("TERM", "TERM")] {
        let mut child = Watched::start();
        child.wait_for("child ready");
        child.signal(first);
        child.wait_for("child draining");
        child.signal(second);
        let (code, log) = child.finish();
        assert_eq!(code, Some(130), "{first} then {second}: {log}");
    }
}

#[test]
fn log_lines_are_json_when_stderr_is_not_a_terminal() {
    let mut child = Watched::start();
    child.wait_for("child ready");
    child.signal("TERM");
    child.wait_for("child draining");
    child.signal("TERM");
    let (_, log) = child.finish();
    let lines: Vec<serde_json::Value> = log
        .lines()
        .map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}")))
        .collect();
    assert_eq!(lines[0]["level"], "INFO", "{log}");
    assert_eq!(lines[0]["signal"], "SIGTERM", "{log}");
    assert_eq!(lines[1]["level"], "WARN", "{log}");
}
