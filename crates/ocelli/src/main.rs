//! `ocelli`: the whole system on one machine, and the command line for a fleet.

mod archive;
mod arguments;
mod commands;
mod embedded;
mod output;
mod probing;
mod progress;
mod revisions;
mod table;

use clap::Parser as _;
use ocelli_export::{agreements, formats, layout};
use ocelli_runtime::{ExitCode, Loaded, otlp, telemetry};
use ocelli_wiring::{Fault, Process, health};

use crate::arguments::{Arguments, Command};

fn main() -> std::process::ExitCode {
    // A reader child is this same program, started again: it must not parse a command line or start a runtime.
    if let Some(code) = ocelli_ocr::run_if_child() {
        return code;
    }
    let arguments = Arguments::parse();
    match execute(&arguments) {
        Ok(code) => code.code().into(),
        Err(fault) => fault.report(),
    }
}

fn execute(arguments: &Arguments) -> Result<ExitCode, Fault> {
    match &arguments.command {
        Command::Completions { shell } => return commands::manual::completions(*shell),
        Command::Man => return commands::manual::man(),
        Command::Config(arguments::ConfigCommand::Default) => {
            return commands::config::default();
        }
        _ => {}
    }
    let mut flags = Vec::new();
    if let Some(data) = &arguments.data {
        let Some(data) = data.to_str() else {
            return Err(Fault::new(ExitCode::Usage, "--data must be a UTF-8 path"));
        };
        flags.push(("data.dir".to_owned(), data.to_owned()));
    }
    // A command for people is quiet unless it is asked to talk; the side door is for services.
    let stays = matches!(arguments.command, Command::Up(_) | Command::Web);
    let mut common = arguments.common.clone();
    if let Command::Healthcheck { address, ready } = &arguments.command {
        common.listen = address.clone().or(common.listen);
        let path = if *ready { "/readyz" } else { "/healthz" };
        return health::check(&common.load(&flags)?.settings, path);
    }
    if !stays {
        common.log_level.get_or_insert_with(|| "warn".to_owned());
        common.listen.get_or_insert_with(|| "off".to_owned());
    }
    ocelli_failpoint::check().map_err(|error| Fault::new(ExitCode::Usage, error))?;
    let loaded = common.load(&flags)?;
    let settings = &loaded.settings;
    telemetry::init(&settings.log, "ocelli")
        .map_err(|error| Fault::caused(ExitCode::Usage, &error))?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
    let result = runtime.block_on(dispatch(&arguments.command, &loaded));
    runtime.shutdown_timeout(std::time::Duration::from_secs(1));
    otlp::flush();
    result
}

async fn dispatch(command: &Command, loaded: &Loaded) -> Result<ExitCode, Fault> {
    let settings = &loaded.settings;
    match command {
        Command::Run(arguments) => {
            let process = Process::begin("ocelli", settings.clone()).await?;
            commands::run::run(process, arguments).await
        }
        Command::Up(arguments) => {
            let process = Process::begin("ocelli", settings.clone()).await?;
            commands::up::up(process, arguments).await
        }
        Command::Web => {
            let process = Process::begin("ocelli", settings.clone()).await?;
            commands::up::web(process).await
        }
        Command::Produce(arguments) => {
            let process = Process::begin("ocelli", settings.clone()).await?;
            commands::produce::produce(process, arguments).await
        }
        Command::Show(arguments) => commands::show::show(settings, arguments).await,
        Command::Search(arguments) => commands::search::search(settings, arguments).await,
        Command::Similar(arguments) => commands::similar::similar(settings, arguments).await,
        Command::Export(arguments) => commands::export::export(settings, arguments).await,
        Command::Plan(arguments) => commands::plan::plan(settings, arguments).await,
        Command::Backfill(arguments) => {
            let process = Process::begin("ocelli", settings.clone()).await?;
            commands::backfill::backfill(process, arguments).await
        }
        Command::Status(arguments) => commands::status::status(settings, arguments).await,
        Command::Top(arguments) => commands::top::top(settings, arguments).await,
        Command::Batch(command) => commands::batch::batch(settings, command).await,
        Command::Pause(arguments) => commands::pause::pause(settings, arguments).await,
        Command::Resume(arguments) => commands::pause::resume(settings, arguments).await,
        Command::Failures(command) => commands::failures::failures(settings, command).await,
        Command::Events(command) => commands::events::events(settings, command).await,
        Command::Audit(arguments) => commands::audit::audit(settings, arguments).await,
        Command::Migrate(arguments) => commands::migrate::migrate(settings, arguments).await,
        Command::Backup(arguments) => commands::migrate::backup(settings, arguments).await,
        Command::Restore(arguments) => commands::migrate::restore(settings, arguments).await,
        Command::Verify(arguments) => commands::verify::verify(settings, arguments).await,
        Command::Doctor(arguments) => commands::doctor::doctor(settings, arguments).await,
        Command::Config(command) => commands::config::config(loaded, command),
        Command::Completions { shell } => commands::manual::completions(*shell),
        Command::Man => commands::manual::man(),
        Command::Healthcheck { .. } => health::check(settings, "/healthz"),
    }
}
