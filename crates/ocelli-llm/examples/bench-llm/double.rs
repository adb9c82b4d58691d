//! A double of a model server in a process of its own, so that its memory and its work are not the worker's.

use std::io::Write;
use std::process::Stdio;
use std::time::Duration;

use anyhow::Context;
use ocelli_testkit::models::{ModelServer, ModelServerOptions};
use tokio::io::{AsyncBufReadExt, BufReader, Lines};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use url::Url;

/// The program `double`: says its address, then obeys `down` and `up` and tells `most`, until its input ends.
pub(crate) async fn serve(latency: Duration, slots: usize) -> anyhow::Result<()> {
    let options = ModelServerOptions { latency, slots, ..ModelServerOptions::default() };
    let mut server = ModelServer::start(options).await;
    let say = |line: String| -> std::io::Result<()> {
        let mut out = std::io::stdout().lock();
        writeln!(out, "{line}")?;
        out.flush()
    };
    say(server.url().to_string())?;
    let mut lines = BufReader::new(tokio::io::stdin()).lines();
    while let Some(line) = lines.next_line().await? {
        match line.as_str() {
            "down" => server.go_down(),
            "up" => server.come_back().await,
            _ => {}
        }
        say(server.stats().most_open.to_string())?;
    }
    Ok(())
}

/// Such a process; it ends when this is dropped.
pub(crate) struct Double {
    pub(crate) url: Url,
    _child: Child,
    input: ChildStdin,
    output: Lines<BufReader<ChildStdout>>,
}

impl Double {
    pub(crate) async fn start(latency: Duration, slots: usize) -> anyhow::Result<Self> {
        let mut child = Command::new(std::env::current_exe()?)
            .args(["double", &latency.as_millis().to_string(), &slots.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().context("no input")?;
        let mut output = BufReader::new(child.stdout.take().context("no output")?).lines();
        let url = output.next_line().await?.context("the double said nothing")?.parse()?;
        Ok(Self { url, _child: child, input, output })
    }

    /// Gives an order; the most requests that were open at once so far.
    pub(crate) async fn tell(&mut self, order: &str) -> anyhow::Result<usize> {
        use tokio::io::AsyncWriteExt;
        self.input.write_all(format!("{order}\n").as_bytes()).await?;
        Ok(self.output.next_line().await?.context("the double is gone")?.parse()?)
    }
}
