//! How full the places of model servers are kept: `cargo run --example bench-llm`.
//!
//! The worker's own pipe works through a queue in memory against doubles of model servers, each in a process of its own,
//! with a fixed latency L and C places. C/L answers a second is what no client can exceed. Prints a table and fails when a
//! line misses its target. Takes about seven minutes, most of it waiting; `only PART`, or `make bench-llm ONLY=PART`,
//! measures a part of it: `few` places or `many`, several `endpoints`, or the `memory`.

mod double;
mod fleet;
mod memory;
mod scenarios;

use std::process::ExitCode;
use std::time::Duration;

/// What can be measured alone.
const PARTS: [&str; 4] = ["few", "many", "endpoints", "memory"];

/// A measured value, and whether it is what it has to be.
pub(crate) struct Line {
    pub(crate) what: String,
    pub(crate) measured: String,
    pub(crate) target: String,
    pub(crate) met: bool,
}

impl Line {
    pub(crate) fn new(what: &str, measured: String, target: &str, met: bool) -> Self {
        Self { what: what.to_owned(), measured, target: target.to_owned(), met }
    }
}

fn main() -> anyhow::Result<ExitCode> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    match words.as_slice() {
        ["double", latency, places] => {
            let latency = Duration::from_millis(latency.parse()?);
            runtime.block_on(double::serve(latency, places.parse()?))?;
            Ok(ExitCode::SUCCESS)
        }
        ["memory", image, server] => {
            runtime.block_on(memory::work(image.as_ref(), server))?;
            Ok(ExitCode::SUCCESS)
        }
        [] => Ok(runtime.block_on(measure(&PARTS))),
        ["only", part] if PARTS.contains(part) => Ok(runtime.block_on(measure(&[part]))),
        _ => anyhow::bail!("usage: bench-llm [only {}]", PARTS.join("|")),
    }
}

/// What can be measured side by side is: it is mostly waiting.
async fn measure(what: &[&str]) -> ExitCode {
    use scenarios::{outage, shares, steady};
    let ms = Duration::from_millis;
    println!("{:<52} {:>22}   {:<18}", "", "measured", "target");
    let mut met = true;
    if what.contains(&"endpoints") {
        let (shares, outage) = tokio::join!(shares(), outage());
        met &= show(shares) & show(outage);
    }
    if what.contains(&"few") {
        // Few places wait more than they work; many are measured alone.
        let (told, found, told_64) = tokio::join!(
            steady(8, ms(2000), true),
            steady(8, ms(2000), false),
            steady(64, ms(1000), true),
        );
        met &= show(told) & show(found) & show(told_64);
    }
    if what.contains(&"many") {
        met &= show(steady(64, ms(1000), false).await);
        met &= show(steady(256, ms(300), true).await);
        met &= show(steady(256, ms(300), false).await);
    }
    if what.contains(&"memory") {
        met &= show(memory::measure().await);
    }
    let profile = if cfg!(debug_assertions) { "development" } else { "release" };
    println!("build: {profile}");
    if met { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the lines of one measurement; whether all targets were met.
fn show(measured: anyhow::Result<Vec<Line>>) -> bool {
    let lines = measured
        .unwrap_or_else(|error| vec![Line::new("not measured", format!("{error:#}"), "", false)]);
    for line in &lines {
        let mark = if line.met { "" } else { "MISSED" };
        println!("{:<52} {:>22}   {:<18} {mark}", line.what, line.measured, line.target);
    }
    lines.iter().all(|line| line.met)
}
