//! RabbitMQ nodes that know each other, on this machine, for tests that kill one of several or raise alarms.
//!
//! As [`ocelli_testkit::servers::OwnRabbitmq`], which is one node: own folder, own Erlang port mapper, own cookie,
//! nothing but the loopback address.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use ocelli_testkit::ports;
use tempfile::TempDir;

use super::program::{Program, bound};
use super::row::Fallible;

/// A node takes 5 s on an idle machine, and many times that while it compiles.
const START: Duration = Duration::from_secs(120);
/// Debian's scripts of these names change the user; the ones behind them do not.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

pub(super) struct Cluster {
    nodes: Vec<Node>,
    mapper_port: u16,
    _mapper: Program,
    // Last: the nodes write into it until they are dropped.
    folder: TempDir,
}

struct Node {
    name: String,
    amqp_port: u16,
    distribution_port: u16,
    program: Option<Program>,
}

impl Cluster {
    pub(super) async fn start(size: usize) -> Fallible<Self> {
        let folder = tempfile::Builder::new().prefix("ocelli-cluster-").tempdir()?;
        let mapper_port = ports::free();
        let mut mapper = bound("KILL", Path::new("epmd"));
        mapper.args(["-port", &mapper_port.to_string()]).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let mapper = Program::start(mapper, &folder.path().join("epmd.log"))?;
        let run = std::process::id();
        let nodes = (1..=size)
            .map(|n| Node {
                name: format!("chaos{run}n{n}@localhost"),
                amqp_port: ports::free(),
                distribution_port: ports::free(),
                program: None,
            })
            .collect();
        let mut this = Self { nodes, mapper_port, _mapper: mapper, folder };
        for index in 0..size {
            this.spawn(index)?;
            // The first node makes the cookie that the others share.
            this.ready(index).await?;
            if index > 0 {
                let first = this.nodes[0].name.clone();
                for words in
                    [&["stop_app"][..], &["reset"], &["join_cluster", &first], &["start_app"]]
                {
                    this.control(index, words).await?;
                }
                this.ready(index).await?;
            }
        }
        Ok(this)
    }

    pub(super) fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes
            .iter()
            .map(|node| (std::net::Ipv4Addr::LOCALHOST, node.amqp_port).into())
            .collect()
    }

    /// AMQP URL of the first node, without a virtual host.
    pub(super) fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.nodes[0].amqp_port)
    }

    pub(super) fn kill(&mut self, index: usize) {
        self.nodes[index].program = None;
    }

    /// Starts a killed node again on its data, and does not wait for it.
    pub(super) fn start_again(&mut self, index: usize) -> Fallible<()> {
        self.spawn(index)
    }

    /// Waits until a node serves clients.
    pub(super) async fn ready(&mut self, index: usize) -> Fallible<()> {
        let address = self.addresses()[index];
        let started = Instant::now();
        loop {
            let running = self.nodes[index].program.as_mut().is_some_and(Program::is_running);
            if !running {
                return Err(format!("node {index} has ended: {}", self.log_end(index)).into());
            }
            if tokio::net::TcpStream::connect(address).await.is_ok() {
                return Ok(());
            }
            if started.elapsed() > START {
                return Err(format!("node {index} is not ready: {}", self.log_end(index)).into());
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }

    /// `rabbitmqctl` for one node.
    pub(super) async fn control(&self, index: usize, words: &[&str]) -> Fallible<()> {
        let node = &self.nodes[index];
        let mut command = Command::new(CONTROL);
        self.environment(node, &mut command);
        command.args(["-n", &node.name]).args(words);
        let output = tokio::process::Command::from(command).output().await?;
        match output.status.success() {
            true => Ok(()),
            false => {
                let said = String::from_utf8_lossy(&output.stderr).into_owned();
                Err(format!("rabbitmqctl {}: {said}", words.join(" ")).into())
            }
        }
    }

    fn spawn(&mut self, index: usize) -> Fallible<()> {
        let node = &self.nodes[index];
        let at = |name: &str| self.folder.path().join(format!("{}.{name}", node.name));
        std::fs::write(at("conf"), format!("listeners.tcp.1 = 127.0.0.1:{}\n", node.amqp_port))?;
        std::fs::write(at("plugins"), "[].\n")?;
        let mut command = bound("TERM", Path::new(SERVER));
        self.environment(node, &mut command);
        let program = Program::start(command, &at("log"))?;
        self.nodes[index].program = Some(program);
        Ok(())
    }

    fn environment(&self, node: &Node, command: &mut Command) {
        let at =
            |name: &str| -> PathBuf { self.folder.path().join(format!("{}.{name}", node.name)) };
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("RABBITMQ_") {
                command.env_remove(variable);
            }
        }
        command
            .env("HOME", self.folder.path())
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", &node.name)
            .env("RABBITMQ_DIST_PORT", node.distribution_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", at("conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("plugins"))
            .env("RABBITMQ_MNESIA_BASE", self.folder.path().join("data"))
            .env("RABBITMQ_LOG_BASE", self.folder.path().join("logs"))
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .current_dir(self.folder.path());
    }

    fn log_end(&self, index: usize) -> String {
        let log = self.folder.path().join(format!("{}.log", self.nodes[index].name));
        let text = std::fs::read_to_string(log).unwrap_or_default();
        let lines: Vec<_> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}
