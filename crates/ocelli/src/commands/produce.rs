//! `ocelli produce`: enqueue for a fleet.

use ocelli_producer::role;
use ocelli_runtime::ExitCode;
use ocelli_wiring::{Fault, Process};

use crate::arguments::ProduceArgs;
use crate::output;

pub(crate) async fn produce(process: Process, arguments: &ProduceArgs) -> Result<ExitCode, Fault> {
    let sources = role::sources(&arguments.sources)?;
    let options = role::options(&process.settings, &arguments.sources)?;
    let produced = role::produce(&process, sources, options, arguments.watch).await?;
    if arguments.json {
        output::json(&produced)?;
    } else {
        produced.say();
        eprintln!("next: ocelli status | ocelli failures list");
    }
    let code = produced.exit_code();
    process.end().await;
    Ok(code)
}
