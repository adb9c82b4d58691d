//! The life of a program, the same for every role.

use std::path::PathBuf;
use std::time::Duration;

use async_recursion::async_recursion;
use clap::Args;
use ocelli_broker::{Broker, BrokerState};
use ocelli_runtime::{
    ExitCode, HttpServer, LoadOptions, Loaded, Mark, Readiness, Settings, Watchdog, http, metrics,
    otlp, shutdown, telemetry,
};
use ocelli_worker::WorkerMetrics;
use prometheus::Registry;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::{health, parts, rules};

/// Options of every program.
#[derive(Debug, Clone, Default, Args)]
pub struct CommonArgs {
    /// A settings file, read after /etc/ocelli/ocelli.toml and ./ocelli.toml.
    #[arg(long, global = true, value_name = "FILE", env = "OCELLI_CONFIG")]
    pub config: Option<PathBuf>,
    /// One setting, by its key: --set worker.drain=30s. May be given several times.
    #[arg(long = "set", global = true, value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Where /metrics, /healthz and /readyz are served: ADDRESS:PORT, or 'off'.
    #[arg(long, global = true, value_name = "ADDRESS:PORT")]
    pub listen: Option<String>,
    /// How log lines look: auto, pretty or json.
    #[arg(long, global = true, value_name = "FORMAT")]
    pub log_format: Option<String>,
    /// Least important log lines shown: error, warn, info, debug, trace, or a filter.
    #[arg(long, global = true, value_name = "LEVEL")]
    pub log_level: Option<String>,
    /// Start nothing: ask the program that listens at http.listen whether it is healthy, and end with 0 or 1.
    #[arg(long)]
    pub healthcheck: bool,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    text.split_once('=')
        .map(|(key, value)| (key.trim().to_owned(), value.to_owned()))
        .ok_or_else(|| format!("'{text}' is not KEY=VALUE"))
}

impl CommonArgs {
    /// Reads and checks the settings; opens nothing. `defaults` are flags of the program that the user did not give.
    ///
    /// # Errors
    /// [`ocelli_runtime::SettingsError`].
    pub fn load(&self, more: &[(String, String)]) -> Result<Loaded, Fault> {
        let mut overrides = self.set.clone();
        for (key, value) in [
            ("http.listen", &self.listen),
            ("log.format", &self.log_format),
            ("log.level", &self.log_level),
        ] {
            overrides.extend(value.iter().map(|value| (key.to_owned(), value.clone())));
        }
        overrides.extend_from_slice(more);
        let loaded = Settings::load(LoadOptions {
            config_file: self.config.clone(),
            overrides,
            ..LoadOptions::default()
        })?;
        rules::rules(&loaded.settings)?;
        Ok(loaded)
    }
}

/// A started program: settings checked, logging on, side door open, signals heard.
pub struct Process {
    /// Checked settings.
    pub settings: Settings,
    /// Metrics of the program.
    pub registry: Registry,
    /// Says through `/readyz` whether the program can work.
    pub readiness: Readiness,
    /// Says through `/healthz` whether it moves, and ends it when it does not.
    pub watchdog: Watchdog,
    /// Cancelled by SIGTERM, SIGINT or the watchdog.
    pub shutdown: CancellationToken,
    /// Ends the side door, last.
    over: CancellationToken,
    http: Option<tokio::task::JoinHandle<()>>,
}

/// The `main` of a role: settings, logging, runtime, side door, role, drain, exit code.
pub fn start(
    binary: &'static str,
    arguments: &CommonArgs,
    role: impl AsyncFnOnce(Process) -> Result<(Process, ExitCode), Fault>,
) -> std::process::ExitCode {
    let result = (|| {
        ocelli_failpoint::check().map_err(|error| Fault::new(ExitCode::Usage, error))?;
        let settings = arguments.load(&[])?.settings;
        if arguments.healthcheck {
            return health::check(&settings, "/healthz");
        }
        telemetry::init(&settings.log, binary)
            .map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .enable_all()
            .build()
            .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
        let code = runtime.block_on(async {
            let process = Process::begin(binary, settings).await?;
            let (process, code) = role(process).await?;
            process.end().await;
            Ok::<_, Fault>(code)
        });
        // Blocking tasks may hang in a file system that went away; they must not keep the process.
        runtime.shutdown_timeout(Duration::from_secs(1));
        otlp::flush();
        code
    })();
    match result {
        Ok(code) => code.code().into(),
        Err(fault) => fault.report(),
    }
}

impl Process {
    /// Opens the side door and hears signals. Inside a tokio runtime, once per process.
    ///
    /// # Errors
    /// When the address of the side door is taken, or a signal handler cannot be installed.
    #[async_recursion]
    pub async fn begin(binary: &'static str, settings: Settings) -> Result<Self, Fault> {
        let registry = metrics::registry(binary)?;
        if let Some(folder) = parts::catalog_folder(&settings) {
            metrics::free_space(&registry, folder.to_owned())?;
        }
        let readiness = Readiness::new();
        let watchdog = Watchdog::new();
        let shutdown =
            shutdown::token().map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
        let over = CancellationToken::new();
        let http = match settings.http.address() {
            None => None,
            Some(address) => {
                let server = HttpServer::bind(address).await?;
                tracing::info!(address = %server.address(), "serving /metrics, /healthz and /readyz");
                let state = http::State {
                    registry: registry.clone(),
                    readiness: readiness.clone(),
                    watchdog: watchdog.clone(),
                };
                let over = over.clone();
                Some(tokio::spawn(server.serve(state, over)))
            }
        };
        let (draining, stop) = (readiness.clone(), shutdown.clone());
        tokio::spawn(async move {
            stop.cancelled().await;
            draining.set_draining();
        });
        let grace = settings.worker.drain;
        tokio::spawn(watchdog.clone().guard(shutdown.clone(), grace, |code| code.exit_now()));
        Ok(Self { settings, registry, readiness, watchdog, shutdown, over, http })
    }

    /// Closes the side door.
    #[async_recursion]
    pub async fn end(self) {
        self.over.cancel();
        if let Some(http) = self.http {
            drop(http.await);
        }
    }

    /// Keeps `/readyz` and the log in step with the broker.
    pub fn follow_broker(&self, broker: &Broker) {
        let (mut state, readiness) = (broker.state(), self.readiness.clone());
        tokio::spawn(async move {
            loop {
                match &*state.borrow_and_update() {
                    BrokerState::Connected => readiness.clear_not_ready(),
                    BrokerState::Reconnecting { reason, .. } => {
                        readiness
                            .set_not_ready(format!("connecting to the broker again: {reason}"));
                    }
                    BrokerState::Blocked { reason } => {
                        readiness.set_not_ready(format!("the broker takes no messages: {reason}"));
                    }
                    BrokerState::Closed => return,
                }
                if state.changed().await.is_err() {
                    return;
                }
            }
        });
    }

    /// Watches a worker: jobs are in progress and none is settled for longer than `worker.stall_after` is a stall,
    /// except while the broker is away.
    pub fn watch_worker(&self, metrics: WorkerMetrics, broker: &Broker) {
        let mark = self.watchdog.mark("jobs", self.settings.worker.stall_after);
        let state = broker.state();
        tokio::spawn(async move {
            let mut before = metrics.settled();
            let mut ticks = tokio::time::interval(Duration::from_secs(1));
            loop {
                ticks.tick().await;
                let connected = matches!(&*state.borrow(), BrokerState::Connected);
                let now = metrics.settled();
                note(&mark, connected && metrics.in_progress() > 0, now != before);
                before = now;
            }
        });
    }
}

fn note(mark: &Mark, due: bool, moved: bool) {
    match (due, moved) {
        (false, _) => mark.idle(),
        (true, true) => mark.moved(),
        (true, false) => mark.due(),
    }
}
