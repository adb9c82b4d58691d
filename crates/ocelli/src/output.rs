//! Standard output. A reader that goes away (`ocelli show | head`) ends the program quietly.

use std::io::{ErrorKind, Write as _};

use ocelli_runtime::ExitCode;
use ocelli_wiring::Fault;
use serde::Serialize;

/// Prints text as it is.
pub(crate) fn print(text: &str) -> Result<(), Fault> {
    let mut out = std::io::stdout().lock();
    let written = out.write_all(text.as_bytes()).and_then(|()| {
        if text.ends_with('\n') || text.is_empty() { Ok(()) } else { out.write_all(b"\n") }
    });
    match written.and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Fault::new(ExitCode::Internal, format!("cannot write to standard output: {error}")))
        }
        _ => Ok(()),
    }
}

/// Prints one JSON value on one line, or indented when it is an object for people and scripts alike.
pub(crate) fn json(value: &impl Serialize) -> Result<(), Fault> {
    match serde_json::to_string_pretty(value) {
        Ok(text) => print(&text),
        Err(error) => Err(Fault::caused(ExitCode::Internal, &error)),
    }
}

/// Prints one JSON value on one line.
pub(crate) fn json_line(value: &impl Serialize) -> Result<(), Fault> {
    match serde_json::to_string(value) {
        Ok(text) => print(&text),
        Err(error) => Err(Fault::caused(ExitCode::Internal, &error)),
    }
}
