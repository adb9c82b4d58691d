//! `ocelli config`

use ocelli_broker::roles::{Role, definitions};
use ocelli_runtime::settings::{Kind, default_toml};
use ocelli_runtime::{ExitCode, Loaded, Settings};
use ocelli_wiring::Fault;

use crate::arguments::ConfigCommand;
use crate::output;
use crate::table::table;

/// The settings have been read and checked already: getting here means that they are right.
pub(crate) fn config(loaded: &Loaded, command: &ConfigCommand) -> Result<ExitCode, Fault> {
    match command {
        ConfigCommand::Show(arguments) => {
            let shown = loaded.show();
            if arguments.json {
                let lines: Vec<_> = shown
                    .iter()
                    .map(|line| serde_json::json!({"key": line.key, "value": line.value, "from": line.origin}))
                    .collect();
                output::json(&lines)?;
            } else {
                let rows: Vec<_> = shown
                    .iter()
                    .map(|line| vec![line.key.clone(), line.value.clone(), line.origin.clone()])
                    .collect();
                output::print(&table(&["key", "value", "from"], &rows, false))?;
            }
        }
        ConfigCommand::Check => output::print("the settings are right")?,
        ConfigCommand::Default => return default(),
        ConfigCommand::Roles { vhost } => output::json(&roles(&loaded.settings, vhost))?,
    }
    Ok(ExitCode::Ok)
}

/// The users of a fleet with these analyzers. One that is switched off here may be on where a worker runs.
fn roles(settings: &Settings, vhost: &str) -> serde_json::Value {
    let worker = |kind: Kind| {
        let analyzers = settings.analyzers.iter().filter(|analyzer| analyzer.kind() == kind);
        Role::Worker(analyzers.map(|analyzer| analyzer.name.clone()).collect())
    };
    let users = [
        ("ocelli-collector", Role::Collector),
        ("ocelli-producer", Role::Producer),
        ("ocelli-ocr-worker", worker(Kind::Ocr)),
        ("ocelli-llm-worker", worker(Kind::Llm)),
        ("ocelli-web", Role::Web),
        ("ocelli-monitoring", Role::Monitoring),
    ];
    definitions(&settings.broker.namespace, vhost, &users)
}

/// Needs no settings: it is how people get their first ones.
pub(crate) fn default() -> Result<ExitCode, Fault> {
    output::print(&default_toml())?;
    Ok(ExitCode::Ok)
}
