//! `ocelli audit`

use std::collections::BTreeMap;

use jiff::Timestamp;
use ocelli_catalog::{AnalyzerStatus, Audit, BatchAudit};
use ocelli_core::AnalyzerName;
use ocelli_runtime::{ExitCode, Settings};
use ocelli_wiring::Fault;

use crate::arguments::JsonArgs;
use crate::commands::status::{PRESENT, running};
use crate::table::table;
use crate::{archive, output};

/// Batches printed in words, the latest; all are checked, and all are in the JSON.
const BATCHES: usize = 20;

const COUNTS: [&str; 5] = ["done", "empty", "skipped", "failed", "refused"];

type Loads = BTreeMap<AnalyzerName, Load>;

/// How many jobs of an analyzer are open, and how many of these run.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Load {
    open: u64,
    running: u64,
}

pub(crate) async fn audit(settings: &Settings, arguments: &JsonArgs) -> Result<ExitCode, Fault> {
    let catalog = archive::open(settings).await?;
    let audit = catalog.audit().await?;
    let status = catalog.status(Timestamp::now()).await?;
    let workers = catalog.workers(PRESENT).await?;
    catalog.close().await;
    let load = |(name, count): (&AnalyzerName, &AnalyzerStatus)| {
        let said = workers.iter().map(|worker| &worker.said);
        let here: Vec<_> = said.filter(|worker| worker.analyzer == *name).collect();
        (name.clone(), Load { open: count.open, running: running(count, &here) })
    };
    let loads: Loads = status.analyzers.iter().map(load).collect();
    let mut problems = audit.problems.clone();
    for (name, count) in &status.analyzers {
        let sum = counts(count).into_iter().sum::<u64>() + count.open;
        if sum != count.wanted {
            problems.push(format!("{name}: {} wanted, but {sum} accounted for", count.wanted));
        }
    }
    if arguments.json {
        output::json(&serde_json::json!({
            "rows": audit.rows, "analyzers": status.analyzers, "batches": audit.batches,
            "running": loads.iter().map(|(name, load)| (name, load.running)).collect::<BTreeMap<_, _>>(),
            "dead_letters": audit.dead_letters, "problems": problems,
        }))?;
    } else {
        let rows: Vec<_> = status
            .analyzers
            .iter()
            .map(|(name, count)| {
                let running = loads[name].running;
                let last = [count.open - running, running].map(|count| count.to_string());
                row([name.to_string()], count.wanted, counts(count), last)
            })
            .collect();
        let header = [&["analyzer", "wanted"][..], &COUNTS, &["waiting", "running"]].concat();
        let mut blocks = vec![table(&header, &rows, true)];
        blocks.extend(batches(&audit, &loads));
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

fn counts(count: &AnalyzerStatus) -> [u64; 5] {
    [count.done, count.empty, count.skipped, count.failed, count.refused]
}

impl Load {
    /// How many of `open` jobs of a batch run, and how many wait. Workers say how many they do, not of which batch: where
    /// other batches have open jobs too, these are bounds.
    fn of_batch(self, open: u64) -> [String; 2] {
        let elsewhere = self.open.saturating_sub(open);
        let least = self.running.saturating_sub(elsewhere).min(open);
        let most = self.running.min(open);
        let text = |low, high| if low == high { format!("{low}") } else { format!("{low}-{high}") };
        [text(open - most, open - least), text(least, most)]
    }
}

fn row<const N: usize>(
    names: [String; N],
    total: u64,
    counts: [u64; 5],
    last: [String; 2],
) -> Vec<String> {
    names
        .into_iter()
        .chain([total.to_string()])
        .chain(counts.map(|count| count.to_string()))
        .chain(last)
        .collect()
}

/// The accounts of the latest batches.
fn batches(audit: &Audit, loads: &Loads) -> Vec<String> {
    let mut blocks = Vec::new();
    let rows: Vec<_> =
        audit.batches.iter().take(BATCHES).flat_map(|one| batch_rows(one, loads)).collect();
    if !rows.is_empty() {
        let header =
            [&["batch", "analyzer", "accepted"][..], &COUNTS, &["waiting", "running"]].concat();
        blocks.push(table(&header, &rows, false));
    }
    let more = audit.batches.len().saturating_sub(BATCHES);
    if more > 0 {
        blocks.push(format!("and {more} earlier batches, checked in the same way"));
    }
    blocks
}

fn batch_rows(account: &BatchAudit, loads: &Loads) -> Vec<Vec<String>> {
    let batch = account.batch.to_string();
    if account.analyzers.is_empty() {
        let cells = [batch, "-".to_owned(), account.images.to_string()];
        let none = std::iter::repeat_n("-".to_owned(), COUNTS.len() + 2);
        return vec![cells.into_iter().chain(none).collect()];
    }
    account
        .analyzers
        .iter()
        .map(|(name, count)| {
            let counts = [count.done, count.empty, count.skipped, count.failed, count.refused];
            let last = loads.get(name).copied().unwrap_or_default().of_batch(count.open);
            row([batch.clone(), name.to_string()], count.accepted, counts, last)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_runs_of_a_batch_is_exact_when_it_can_be_and_bounded_otherwise() {
        let of = |open, running, batch| Load { open, running }.of_batch(batch);
        assert_eq!(of(5, 2, 5), ["3", "2"], "nothing is open elsewhere");
        assert_eq!(of(5, 0, 3), ["3", "0"], "nothing runs");
        assert_eq!(of(5, 5, 3), ["0", "3"], "everything runs");
        assert_eq!(of(9, 2, 3), ["1-3", "0-2"]);
        assert_eq!(of(4, 2, 3), ["1-2", "1-2"], "one at most runs elsewhere");
        // The batch was counted a moment before.
        assert_eq!(of(0, 0, 3), ["3", "0"]);
        assert_eq!(of(7, 4, 0), ["0", "0"]);
    }
}
