//! `ocelli completions` and `ocelli man`

use clap::CommandFactory as _;
use ocelli_runtime::ExitCode;
use ocelli_wiring::Fault;

use crate::arguments::Arguments;
use crate::output;

pub(crate) fn completions(shell: clap_complete::Shell) -> Result<ExitCode, Fault> {
    let mut bytes = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), "ocelli", &mut bytes);
    output::print(&String::from_utf8_lossy(&bytes))?;
    Ok(ExitCode::Ok)
}

pub(crate) fn man() -> Result<ExitCode, Fault> {
    let mut bytes = Vec::new();
    clap_mangen::Man::new(Arguments::command())
        .render(&mut bytes)
        .map_err(|error| Fault::caused(ExitCode::Internal, &error))?;
    output::print(&String::from_utf8_lossy(&bytes))?;
    Ok(ExitCode::Ok)
}
