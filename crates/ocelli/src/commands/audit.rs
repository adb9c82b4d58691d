//! `ocelli audit`

use ocelli_catalog::{AnalyzerStatus, Audit, BatchAudit};
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::JsonArgs;
use crate::table::table;
use crate::{archive, output};

/// Batches printed in words, the latest; all are checked, and all are in the JSON.
const BATCHES: usize = 20;

const COUNTS: [&str; 6] = ["done", "empty", "skipped", "failed", "refused", "open"];

pub(crate) async fn audit(settings: &Settings, arguments: &JsonArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let audit = catalog.audit().await?;
    let status = catalog.status(jiff::Timestamp::now()).await?;
    catalog.close().await;
    let mut problems = audit.problems.clone();
    for (name, count) in &status.analyzers {
        let sum: u64 = counts(count).into_iter().sum();
        if sum != count.wanted {
            problems.push(format!("{name}: {} wanted, but {sum} accounted for", count.wanted));
        }
    }
    if arguments.json {
        output::json(&serde_json::json!({
            "rows": audit.rows, "analyzers": status.analyzers, "batches": audit.batches,
            "dead_letters": audit.dead_letters, "problems": problems,
        }))?;
    } else {
        let rows: Vec<_> = status
            .analyzers
            .iter()
            .map(|(name, count)| row([name.to_string()], count.wanted, counts(count)))
            .collect();
        let header = [&["analyzer", "wanted"][..], &COUNTS].concat();
        let mut blocks = vec![table(&header, &rows, true)];
        blocks.extend(batches(&audit));
        if audit.dead_letters > 0 {
            blocks.push(format!(
                "{} messages died in their queue and wait for you: ocelli failures list",
                audit.dead_letters
            ));
        }
        blocks.push(if problems.is_empty() {
            "everything adds up".to_owned()
        } else {
            problems.join("\n")
        });
        output::print(&blocks.join("\n\n"))?;
    }
    Ok(if problems.is_empty() { ExitCode::Ok } else { ExitCode::Internal })
}

fn counts(count: &AnalyzerStatus) -> [u64; 6] {
    [count.done, count.empty, count.skipped, count.failed, count.refused, count.open]
}

fn row<const N: usize>(names: [String; N], total: u64, counts: [u64; 6]) -> Vec<String> {
    names
        .into_iter()
        .chain([total.to_string()])
        .chain(counts.map(|count| count.to_string()))
        .collect()
}

/// The accounts of the latest batches.
fn batches(audit: &Audit) -> Vec<String> {
    let mut blocks = Vec::new();
    let rows: Vec<_> = audit.batches.iter().take(BATCHES).flat_map(batch_rows).collect();
    if !rows.is_empty() {
        let header = [&["batch", "analyzer", "accepted"][..], &COUNTS].concat();
        blocks.push(table(&header, &rows, false));
    }
    let more = audit.batches.len().saturating_sub(BATCHES);
    if more > 0 {
        blocks.push(format!("and {more} earlier batches, checked in the same way"));
    }
    blocks
}

fn batch_rows(account: &BatchAudit) -> Vec<Vec<String>> {
    let batch = account.batch.to_string();
    if account.analyzers.is_empty() {
        let cells = [batch, "-".to_owned(), account.images.to_string()];
        return vec![cells.into_iter().chain(COUNTS.map(|_| "-".to_owned())).collect()];
    }
    account
        .analyzers
        .iter()
        .map(|(name, count)| {
            let counts =
                [count.done, count.empty, count.skipped, count.failed, count.refused, count.open];
            row([batch.clone(), name.to_string()], count.accepted, counts)
        })
        .collect()
}
