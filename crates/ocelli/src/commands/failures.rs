//! `ocelli failures`

use ocelli_catalog::FailureFilter;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;
use serde::Serialize;

use crate::arguments::{FailuresArgs, FailuresCommand};
use crate::table::table;
use crate::{archive, output};

/// Unreadable references shown beside failed analyses.
const PROBLEMS: u32 = 1000;

pub(crate) async fn failures(
    settings: &Settings,
    command: &FailuresCommand,
) -> Result<ExitCode, Fault> {
    match command {
        FailuresCommand::List(arguments) => list(settings, arguments).await,
        FailuresCommand::Retry(arguments) => retry(settings, arguments).await,
    }
}

fn filter(arguments: &FailuresArgs) -> FailureFilter {
    FailureFilter {
        analyzer: arguments.analyzer.clone(),
        class: arguments.class,
        reason_contains: arguments.reason.clone(),
        limit: arguments.limit,
    }
}

async fn list(settings: &Settings, arguments: &FailuresArgs) -> Result<ExitCode, Fault> {
    #[derive(Serialize)]
    #[serde(tag = "what", rename_all = "snake_case")]
    enum Line<'a> {
        Analysis(&'a ocelli_catalog::Failure),
        Reference(&'a ocelli_core::wire::Problem),
    }
    let catalog = archive::open(settings).await?;
    let failures = catalog.failures(&filter(arguments)).await?;
    let narrowed =
        arguments.analyzer.is_some() || arguments.class.is_some() || arguments.reason.is_some();
    let problems = if narrowed { Vec::new() } else { catalog.problems(None, PROBLEMS).await? };
    catalog.close().await;
    if arguments.json {
        for failure in &failures {
            output::json_line(&Line::Analysis(failure))?;
        }
        for problem in &problems {
            output::json_line(&Line::Reference(problem))?;
        }
        return Ok(ExitCode::Ok);
    }
    let mut blocks = Vec::new();
    if !failures.is_empty() {
        let rows: Vec<_> = failures
            .iter()
            .map(|failure| {
                vec![
                    failure.digest.short(),
                    failure.analyzer.to_string(),
                    failure.class.to_string(),
                    failure.attempts.to_string(),
                    failure.source.as_ref().map(ToString::to_string).unwrap_or_default(),
                    one_line(&failure.reason),
                ]
            })
            .collect();
        let header = ["image", "analyzer", "class", "attempts", "source", "reason"];
        blocks.push(table(&header, &rows, false));
    }
    if !problems.is_empty() {
        let rows: Vec<_> = problems
            .iter()
            .map(|problem| vec![one_line(&problem.reference), one_line(&problem.reason)])
            .collect();
        blocks.push(table(&["unreadable reference", "reason"], &rows, false));
    }
    if blocks.is_empty() {
        blocks.push("nothing failed".to_owned());
    } else if !failures.is_empty() {
        blocks.push("try them again with: ocelli failures retry (same options)".to_owned());
    }
    output::print(&blocks.join("\n\n"))?;
    Ok(ExitCode::Ok)
}

async fn retry(settings: &Settings, arguments: &FailuresArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let reopened = catalog.reopen_failures(&filter(arguments)).await?;
    catalog.close().await;
    if arguments.json {
        output::json_line(&serde_json::json!({ "reopened": reopened }))?;
    } else {
        let next = if settings.broker.is_memory() {
            "the next 'ocelli run' does them again"
        } else {
            "the collector's sweeper enqueues them again"
        };
        output::print(&format!("{reopened} failed analyses are open again; {next}"))?;
    }
    Ok(ExitCode::Ok)
}

fn one_line(text: &str) -> String {
    text.replace(|c: char| c.is_control(), " ")
}
