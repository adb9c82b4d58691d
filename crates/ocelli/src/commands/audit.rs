//! `ocelli audit`

use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::JsonArgs;
use crate::table::table;
use crate::{archive, output};

pub(crate) async fn audit(settings: &Settings, arguments: &JsonArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let audit = catalog.audit().await?;
    let status = catalog.status(jiff::Timestamp::now()).await?;
    catalog.close().await;
    let mut problems = audit.problems.clone();
    for (name, count) in &status.analyzers {
        let sum =
            count.done + count.empty + count.skipped + count.failed + count.open + count.refused;
        if sum != count.wanted {
            problems.push(format!("{name}: {} wanted, but {sum} accounted for", count.wanted));
        }
    }
    if arguments.json {
        output::json(&serde_json::json!({
            "rows": audit.rows, "analyzers": status.analyzers, "problems": problems,
        }))?;
    } else {
        let rows: Vec<_> = status
            .analyzers
            .iter()
            .map(|(name, count)| {
                let mut cells = vec![name.to_string()];
                cells.extend(
                    [
                        count.wanted,
                        count.done,
                        count.empty,
                        count.skipped,
                        count.failed,
                        count.refused,
                        count.open,
                    ]
                    .map(|count| count.to_string()),
                );
                cells
            })
            .collect();
        let header =
            ["analyzer", "wanted", "done", "empty", "skipped", "failed", "refused", "open"];
        let mut blocks = vec![table(&header, &rows, true)];
        blocks.push(if problems.is_empty() {
            "everything adds up".to_owned()
        } else {
            problems.join("\n")
        });
        output::print(&blocks.join("\n\n"))?;
    }
    Ok(if problems.is_empty() { ExitCode::Ok } else { ExitCode::Internal })
}
