//! `ocelli-web`: the archive as a web site.

use clap::Parser;
use ocelli_runtime::ExitCode;
use ocelli_web::role;
use ocelli_wiring::{CommonArgs, Process, parse, start};

/// Serves the archive as a web site: read, search, compare and mend in a browser. Without web.token it is read-only.
#[derive(Parser)]
#[command(name = "ocelli-web", version)]
struct Arguments {
    #[command(flatten)]
    common: CommonArgs,
}

fn main() -> std::process::ExitCode {
    let arguments: Arguments = parse();
    start("ocelli-web", &arguments.common, async |process: Process| {
        role::run(&process).await?;
        Ok((process, ExitCode::Ok))
    })
}
