//! `ocelli config`

use ocelli_runtime::settings::default_toml;
use ocelli_runtime::{ExitCode, Loaded};
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
    }
    Ok(ExitCode::Ok)
}

/// Needs no settings: it is how people get their first ones.
pub(crate) fn default() -> Result<ExitCode, Fault> {
    output::print(&default_toml())?;
    Ok(ExitCode::Ok)
}
