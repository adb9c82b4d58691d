//! A private RabbitMQ node for tests that stop, kill or freeze the broker, and for `with-servers`; several nodes that
//! know each other when one of them has to die.
//!
//! Nothing of it leaves its temporary folder or the loopback address: own Erlang port mapper (a child too, so that none
//! stays behind), own cookie, distribution bound to 127.0.0.1, no system service, no file under `/var` or `/etc`.

use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;
use tempfile::TempDir;

use super::process::{Process, StartError, bound_command, find_program};
use super::{Management, Place, RabbitmqServer, fresh_name};
use crate::ports;

/// About 4 s on an idle machine of two cores; several times that while it compiles.
const START: Duration = Duration::from_secs(120);
/// A node syncs its queues before it ends.
const STOP: Duration = Duration::from_secs(60);

const PACKAGE: &str = "rabbitmq-server";
/// Debian's scripts of these names on the search path change to the user rabbitmq and to /var/lib/rabbitmq; the ones
/// behind them do neither.
const SERVER: &str = "/usr/lib/rabbitmq/bin/rabbitmq-server";
const CONTROL: &str = "/usr/lib/rabbitmq/bin/rabbitmqctl";

/// A RabbitMQ of one's own. Killed and removed when dropped.
///
/// Start it from the test itself, not from a spawned blocking task: the kernel ends it with the thread that started it.
#[derive(Debug)]
pub struct OwnRabbitmq {
    node: Option<Process>,
    /// None in a node that joined another one, which has it.
    _mapper: Option<Process>,
    server: PathBuf,
    name: String,
    /// More lines of `rabbitmq.conf`.
    settings: String,
    /// The feature flags that are on; None: all that this version turns on in a fresh node.
    flags: Option<String>,
    /// Where the Erlang cookie lies.
    home: PathBuf,
    amqp_port: u16,
    management_port: u16,
    mapper_port: u16,
    distribution_port: u16,
    // Last: fields are dropped in order, and the processes write into the folder.
    folder: TempDir,
}

impl OwnRabbitmq {
    /// Starts a node on free ports and waits until it serves AMQP and its management API.
    ///
    /// # Panics
    /// When RabbitMQ is not installed or does not come up, with the end of its log.
    pub async fn start() -> Self {
        Self::try_start().await.unwrap_or_else(|error| panic!("no private RabbitMQ: {error}"))
    }

    /// As [`OwnRabbitmq::start`].
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not come up.
    pub async fn try_start() -> Result<Self, StartError> {
        Self::start_with("", &Place::temporary()).await
    }

    /// As [`OwnRabbitmq::start`], with more lines of `rabbitmq.conf`, and its files in `place`.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not come up.
    pub async fn start_with(settings: &str, place: &Place) -> Result<Self, StartError> {
        Self::first_node(settings, None, place).await
    }

    /// As [`OwnRabbitmq::start`], with only these feature flags on, joined by commas: a broker that was upgraded from an
    /// older version and left at that.
    ///
    /// # Errors
    /// When RabbitMQ is not installed or does not come up.
    pub async fn start_with_flags(flags: &str) -> Result<Self, StartError> {
        Self::first_node("", Some(flags.to_owned()), &Place::temporary()).await
    }

    async fn first_node(
        settings: &str,
        flags: Option<String>,
        place: &Place,
    ) -> Result<Self, StartError> {
        let epmd = find_program(&[], "epmd", "erlang-base")?;
        let folder = place.folder("ocelli-rabbitmq-")?;
        let mapper_port = ports::free();
        let mut mapper = bound_command("KILL", None, &epmd);
        mapper.arg("-port").arg(mapper_port.to_string()).env("ERL_EPMD_ADDRESS", "127.0.0.1");
        let mapper = Process::spawn("epmd", mapper, &folder.path().join("epmd.log"))?;
        let home = folder.path().to_owned();
        Self::node((settings, flags), folder, home, mapper_port, Some(mapper)).await
    }

    /// A further node in the cluster of `first`, which has to live as long.
    ///
    /// # Errors
    /// When it does not come up or cannot join.
    pub async fn start_joined(first: &Self) -> Result<Self, StartError> {
        let folder = Place::temporary().folder("ocelli-rabbitmq-")?;
        let home = first.home.clone();
        let settings = (first.settings.as_str(), first.flags.clone());
        let this = Self::node(settings, folder, home, first.mapper_port, None).await?;
        let join = ["join_cluster", &first.node_name()];
        for words in [&["stop_app"][..], &["reset"], &join, &["start_app"]] {
            this.control(words).await?;
        }
        Ok(this)
    }

    async fn node(
        (settings, flags): (&str, Option<String>),
        folder: TempDir,
        home: PathBuf,
        mapper_port: u16,
        mapper: Option<Process>,
    ) -> Result<Self, StartError> {
        let mut this = Self {
            node: None,
            _mapper: mapper,
            server: find_program(&[SERVER.into()], "rabbitmq-server", PACKAGE)?,
            name: fresh_name(),
            settings: settings.to_owned(),
            flags,
            home,
            amqp_port: ports::free(),
            management_port: ports::free(),
            mapper_port,
            distribution_port: ports::free(),
            folder,
        };
        this.write_files()?;
        this.spawn().await?;
        Ok(this)
    }

    /// A virtual host of its own on this node.
    ///
    /// # Panics
    /// When the node does not answer.
    pub async fn vhost(&self) -> RabbitmqServer {
        super::shared_rabbitmq::fresh(self.url(), self.management_url()).await
    }

    /// Runs `rabbitmqctl` for this node.
    ///
    /// # Errors
    /// When it does not end well, with what it said.
    pub async fn control(&self, words: &[&str]) -> Result<String, StartError> {
        let program = format!("rabbitmqctl {}", words.join(" "));
        let mut command = Command::new(CONTROL);
        self.environment(&mut command);
        command.args(["-n", &self.node_name()]).args(words);
        let output = tokio::process::Command::from(command)
            .kill_on_drop(true)
            .output()
            .await
            .map_err(|source| StartError::Spawn { program: program.clone(), source })?;
        if output.status.success() {
            return Ok(String::from_utf8_lossy(&output.stdout).into_owned());
        }
        let log = String::from_utf8_lossy(&output.stderr).into_owned();
        Err(StartError::Ended { program, status: output.status.to_string(), log })
    }

    /// Its name among Erlang's nodes.
    #[must_use]
    pub fn node_name(&self) -> String {
        format!("{}@localhost", self.name)
    }

    /// Whether its process runs.
    #[must_use]
    pub fn is_running(&mut self) -> bool {
        self.node.as_mut().is_some_and(Process::is_running)
    }

    /// The folder of its data and logs.
    #[must_use]
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    /// AMQP URL with user and password, without a path: the virtual host `/`.
    #[must_use]
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@127.0.0.1:{}", self.amqp_port)
    }

    /// Where AMQP is served, for a proxy in front of it.
    #[must_use]
    pub fn address(&self) -> std::net::SocketAddr {
        (std::net::Ipv4Addr::LOCALHOST, self.amqp_port).into()
    }

    /// URL of the management API with user and password.
    #[must_use]
    pub fn management_url(&self) -> String {
        format!("http://guest:guest@127.0.0.1:{}", self.management_port)
    }

    /// Client of the management API.
    ///
    /// # Panics
    /// Never: the URL is our own.
    #[must_use]
    pub fn api(&self) -> Management {
        Management::new(&self.management_url()).expect("a URL of our own making is one")
    }

    /// Stops the node in order, as a service manager would. Its data stays for [`OwnRabbitmq::start_again`].
    pub async fn stop(&mut self) {
        if let Some(mut node) = self.node.take() {
            node.signal(Signal::TERM);
            // One that does not end in time is killed by its drop.
            node.ended(STOP).await;
        }
    }

    /// Kills the node (`kill -9`). Its data stays for [`OwnRabbitmq::start_again`].
    pub fn kill(&mut self) {
        self.node = None;
    }

    /// Starts a stopped or killed node again, on the same ports and data.
    ///
    /// # Panics
    /// When it does not come up, with the end of its log.
    pub async fn start_again(&mut self) {
        self.kill();
        self.spawn().await.unwrap_or_else(|error| panic!("RabbitMQ did not come back: {error}"));
    }

    /// As [`OwnRabbitmq::start_again`].
    ///
    /// # Errors
    /// When it does not come up, with the end of its log.
    pub async fn try_start_again(&mut self) -> Result<(), StartError> {
        self.kill();
        self.spawn().await
    }

    /// Freezes the node: connections stay open and nothing answers.
    pub fn pause(&self) {
        self.signal_all(Signal::STOP);
    }

    /// Lets a frozen node go on.
    pub fn resume(&self) {
        self.signal_all(Signal::CONT);
    }

    fn signal_all(&self, signal: Signal) {
        if let Some(node) = &self.node {
            node.signal_all(signal);
        }
    }

    fn write_files(&self) -> Result<(), StartError> {
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\nmanagement.tcp.ip = 127.0.0.1\nmanagement.tcp.port = {}\n{}\n",
            self.amqp_port, self.management_port, self.settings
        );
        for (name, text) in [
            ("rabbitmq.conf", configuration.as_str()),
            ("enabled_plugins", "[rabbitmq_management].\n"),
        ] {
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).map_err(|source| StartError::Prepare { path, source })?;
        }
        Ok(())
    }

    fn environment(&self, command: &mut Command) {
        let at = |name: &str| self.folder.path().join(name);
        // The caller's RabbitMQ settings must not reach this node.
        for (variable, _) in std::env::vars_os() {
            if variable.to_string_lossy().starts_with("RABBITMQ_") {
                command.env_remove(variable);
            }
        }
        command
            .env("HOME", &self.home)
            .env("ERL_EPMD_PORT", self.mapper_port.to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_CONF_ENV_FILE", "/dev/null")
            .env("RABBITMQ_NODENAME", self.node_name())
            .env("RABBITMQ_DIST_PORT", self.distribution_port.to_string())
            .env("RABBITMQ_CONFIG_FILE", at("rabbitmq.conf"))
            .env("RABBITMQ_ENABLED_PLUGINS_FILE", at("enabled_plugins"))
            .env("RABBITMQ_MNESIA_BASE", at("data"))
            .env("RABBITMQ_LOG_BASE", at("log"))
            .env("RABBITMQ_PID_FILE", at("pid"))
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            )
            .current_dir(self.folder.path());
        if let Some(flags) = &self.flags {
            command.env("RABBITMQ_FEATURE_FLAGS", flags);
        }
    }

    async fn spawn(&mut self) -> Result<(), StartError> {
        let mut command = bound_command("TERM", None, &self.server);
        self.environment(&mut command);
        let log = self.folder.path().join("output.log");
        let mut node = Process::spawn("rabbitmq-server", command, &log)?;
        let (api, address) = (self.api(), self.address());
        node.ready(START, || async {
            // AMQP is opened last, after every plugin; the API says that the node also knows its users.
            let open = tokio::net::TcpStream::connect(address).await.is_ok();
            let api = api.clone();
            open && tokio::task::spawn_blocking(move || api.get("whoami").is_ok())
                .await
                .unwrap_or(false)
        })
        .await?;
        self.node = Some(node);
        Ok(())
    }
}
