//! `ocelli pause` and `ocelli resume`: an analyzer that works no more, or again.

use jiff::Timestamp;
use ocelli_core::AnalyzerName;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::{PauseArgs, ResumeArgs};
use crate::{archive, output};

/// What `ocelli status` says when no reason was given.
const NO_REASON: &str = "paused by 'ocelli pause'";

pub(crate) async fn pause(settings: &Settings, arguments: &PauseArgs) -> Result<ExitCode, Fault> {
    let name = known(settings, &arguments.analyzer)?;
    let catalog = archive::open(settings).await?;
    let reason = reason(name, arguments.reason.as_deref());
    catalog.set_pause(name, Some((&reason, Timestamp::now()))).await?;
    catalog.close().await;
    output::print(&format!("{name} is paused: it finishes what it has in hand and takes no more"))?;
    Ok(ExitCode::Ok)
}

pub(crate) async fn resume(settings: &Settings, arguments: &ResumeArgs) -> Result<ExitCode, Fault> {
    let name = known(settings, &arguments.analyzer)?;
    let catalog = archive::open(settings).await?;
    let was_paused = catalog.set_pause(name, None).await?;
    catalog.close().await;
    output::print(&if was_paused {
        format!("{name} goes on within worker.probe_every, unless a budget holds it back")
    } else {
        format!("{name} was not paused")
    })?;
    Ok(ExitCode::Ok)
}

/// What `ocelli status` says of a paused analyzer.
pub(crate) fn reason(name: &AnalyzerName, given: Option<&str>) -> String {
    let why = match given.map(str::trim).filter(|given| !given.is_empty()) {
        Some(given) => format!("{NO_REASON}: {given}"),
        None => NO_REASON.to_owned(),
    };
    format!("{why}; 'ocelli resume {name}' lets it go on")
}

fn known<'a>(settings: &Settings, name: &'a AnalyzerName) -> Result<&'a AnalyzerName, Fault> {
    if settings.analyzer(name).is_some() {
        return Ok(name);
    }
    let names: Vec<_> = settings.analyzers.iter().map(|one| one.name.as_str()).collect();
    Err(Fault::new(
        ExitCode::Usage,
        format!("there is no analyzer '{name}' in the settings; there are: {}", names.join(", ")),
    ))
}
