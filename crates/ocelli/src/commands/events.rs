//! `ocelli events`: who is told of complete records, what waits for them, and what was given up.

use jiff::Timestamp;
use ocelli_catalog::ListenerState;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::EventsCommand;
use crate::table::table;
use crate::{archive, layout, output};

pub(crate) async fn events(
    settings: &Settings,
    command: &EventsCommand,
) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let listeners = catalog.listeners().await?;
    let known = |name: &str| match listeners.iter().any(|listener| listener.name == name) {
        true => Ok(()),
        false => Err(unknown(name, &listeners)),
    };
    let code = match command {
        EventsCommand::List(arguments) => {
            if arguments.json {
                output::json(&listeners)?;
            } else {
                output::print(&text(settings, &listeners))?;
            }
            ExitCode::Ok
        }
        EventsCommand::Retry { listener } => {
            known(listener)?;
            let count = catalog.tell_again(listener, Timestamp::now()).await?;
            output::print(&format!("{listener} is told of {count} records after all"))?;
            ExitCode::Ok
        }
        EventsCommand::Forget { listener } => {
            known(listener)?;
            if is_served(settings, listener) {
                return Err(Fault::new(
                    ExitCode::Usage,
                    format!(
                        "'{listener}' is in these settings, and a collector that starts makes it known again; take it out of them, and \
                         end collectors that have it, first"
                    ),
                ));
            }
            let count = catalog.forget_listener(listener).await?.unwrap_or(0);
            output::print(&format!(
                "{listener} is forgotten, with {count} records that it was not told of"
            ))?;
            ExitCode::Ok
        }
    };
    catalog.close().await;
    Ok(code)
}

fn unknown(name: &str, listeners: &[ListenerState]) -> Fault {
    let names: Vec<&str> = listeners.iter().map(|listener| listener.name.as_str()).collect();
    let known = if names.is_empty() { "nobody".to_owned() } else { names.join(", ") };
    Fault::new(ExitCode::Usage, format!("'{name}' does not listen; there is {known}"))
}

fn is_served(settings: &Settings, listener: &str) -> bool {
    (listener == "exchange" && settings.events.publish)
        || settings.webhooks.iter().any(|webhook| webhook.name == listener)
}

fn text(settings: &Settings, listeners: &[ListenerState]) -> String {
    if listeners.is_empty() {
        return "nobody is told of records; docs/EVENTS.md says how".to_owned();
    }
    let rows: Vec<_> = listeners
        .iter()
        .map(|listener| {
            vec![
                listener.name.clone(),
                listener.waiting.to_string(),
                listener.dead.to_string(),
                listener.oldest.map_or_else(|| "-".to_owned(), layout::time),
                layout::time(listener.since),
                note(settings, listener).unwrap_or_default(),
            ]
        })
        .collect();
    table(&["listener", "waiting", "given up", "oldest", "listens since", ""], &rows, false)
}

/// What is wrong with a listener, in one line.
fn note(settings: &Settings, listener: &ListenerState) -> Option<String> {
    let name = &listener.name;
    if !is_served(settings, name) {
        return Some(format!("not in these settings; 'ocelli events forget {name}' ends it"));
    }
    let reason = listener.reason.as_deref()?;
    Some(reason.chars().filter(|c| !c.is_control()).take(120).collect())
}

/// What `ocelli status` says of listeners that do not take what they are told.
pub(crate) fn lines(settings: &Settings, listeners: &[ListenerState]) -> Vec<String> {
    let troubled = listeners.iter().filter(|one| one.dead > 0 || one.reason.is_some());
    troubled
        .map(|one| {
            let note = note(settings, one).unwrap_or_default();
            format!("{}: {} events wait, {} were given up: {note}", one.name, one.waiting, one.dead)
        })
        .collect()
}
