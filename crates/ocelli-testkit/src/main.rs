//! Servers for tests and development, from the command line.
//!
//! `ocelli-testkit with-servers -- CMD…` starts a private RabbitMQ and a private PostgreSQL on free ports, names them in
//! the environment, runs CMD and stops both, whatever happens.
//!
//! `ocelli-testkit model-server` runs a double of a model server: it speaks the wire format, and no model runs in it.

use std::net::SocketAddr;
use std::os::unix::process::ExitStatusExt;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use ocelli_testkit::models::{self, Model, ModelServerOptions, Protocol};
use ocelli_testkit::servers::{self, OwnPostgres, OwnRabbitmq};
use rustix::process::{Pid, Signal, kill_process};
use tokio::process::{Child, Command};
use tokio::signal::unix::{SignalKind, signal};

/// How long CMD may take to end after it was told to; then it is killed.
const GRACE: Duration = Duration::from_secs(30);

#[derive(Parser)]
#[command(name = "ocelli-testkit", about = "Servers for tests and development", version)]
struct Arguments {
    #[command(subcommand)]
    command: Subcommands,
}

#[derive(Subcommand)]
enum Subcommands {
    /// Run a command with a private RabbitMQ and PostgreSQL, named in its environment.
    WithServers {
        /// The command and its arguments, after `--`.
        #[arg(trailing_var_arg = true, required = true)]
        command: Vec<String>,
    },
    /// Run a double of a model server: it speaks the wire format, and no model runs in it.
    ModelServer {
        /// Wire format.
        #[arg(long, value_enum, default_value = "ollama")]
        protocol: Wire,
        /// Where to listen.
        #[arg(long, default_value = "127.0.0.1:11434")]
        listen: SocketAddr,
        /// A model that it has; may be given several times [default: gemma3:27b and llama3.2-vision:latest].
        #[arg(long)]
        model: Vec<String>,
        /// Milliseconds that an answer takes.
        #[arg(long, default_value_t = 0)]
        latency: u64,
        /// Answers it works on at once.
        #[arg(long, default_value_t = 64)]
        slots: usize,
    },
}

#[derive(Clone, Copy, ValueEnum)]
enum Wire {
    Ollama,
    Openai,
}

// One thread on purpose: the kernel ends the servers with the thread that started them.
#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    match Arguments::parse().command {
        Subcommands::WithServers { command } => with_servers(&command).await,
        Subcommands::ModelServer { protocol, listen, model, latency, slots } => {
            let mut options = ModelServerOptions {
                protocol: match protocol {
                    Wire::Ollama => Protocol::Ollama,
                    Wire::Openai => Protocol::OpenAi,
                },
                latency: Duration::from_millis(latency),
                slots,
                ..ModelServerOptions::default()
            };
            if !model.is_empty() {
                options.models = model.iter().map(|name| Model::new(name)).collect();
            }
            eprintln!(
                "a double of a model server, without any model in it, listens at http://{listen}"
            );
            models::serve_forever(listen, options)
                .await
                .with_context(|| format!("cannot listen at {listen}"))?;
            Ok(ExitCode::SUCCESS)
        }
    }
}

async fn with_servers(command: &[String]) -> anyhow::Result<ExitCode> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let (rabbitmq, postgres) = tokio::select! {
        started = async { tokio::try_join!(OwnRabbitmq::try_start(), OwnPostgres::try_start()) } => started?,
        _ = interrupt.recv() => return Ok(ExitCode::from(130)),
        _ = terminate.recv() => return Ok(ExitCode::from(143)),
    };
    eprintln!("private RabbitMQ at {}, PostgreSQL at {}", rabbitmq.url(), postgres.url());

    let (program, arguments) = command.split_first().context("no command given")?;
    // `setpriv`: CMD must not go on without its servers should this process be killed.
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "TERM", "--", program])
        .args(arguments)
        .env(servers::RABBITMQ, rabbitmq.url())
        .env(servers::RABBITMQ_MANAGEMENT, rabbitmq.management_url())
        .env(servers::POSTGRES, postgres.url())
        .spawn()
        .context("setpriv (Debian package util-linux) could not be started")?;

    let status = tokio::select! {
        status = child.wait() => status?,
        // A terminal has sent the interrupt to CMD as well; a second one does no harm.
        _ = interrupt.recv() => end(&mut child, Signal::INT).await?,
        _ = terminate.recv() => end(&mut child, Signal::TERM).await?,
    };
    let code = status.code().unwrap_or_else(|| 128 + status.signal().unwrap_or(0));
    Ok(ExitCode::from(u8::try_from(code).unwrap_or(1)))
}

/// Passes the signal on and waits for the end, at most [`GRACE`].
async fn end(child: &mut Child, with: Signal) -> std::io::Result<std::process::ExitStatus> {
    if let Some(pid) = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw) {
        let _ = kill_process(pid, with);
    }
    if let Ok(status) = tokio::time::timeout(GRACE, child.wait()).await {
        return status;
    }
    child.kill().await?;
    child.wait().await
}
