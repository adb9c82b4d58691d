//! `--sample`: a few images first, their answers side by side.

use std::time::Duration;

use ocelli_catalog::{Backfill, Catalog};
use ocelli_core::{Analysis, Digest, Record};
use ocelli_runtime::Settings;
use ocelli_wiring::Fault;
use tokio_util::sync::CancellationToken;

use crate::{archive, layout, output};

/// How often it is asked whether a fleet has answered.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Waits until every image of the sample has its answer; `false` when it was told to stop before.
pub(super) async fn wait(
    catalog: &Catalog,
    backfill: &Backfill,
    sample: &[Digest],
    shutdown: &CancellationToken,
) -> Result<bool, Fault> {
    eprintln!("waiting for {} answers; Ctrl-C leaves them to the fleet", sample.len());
    for digest in sample {
        while !catalog.is_done(digest, &backfill.analyzer, &backfill.revision).await? {
            let cap = match backfill.budget() {
                Some(budget) => catalog.budgets(&[budget]).await?,
                None => Vec::new(),
            };
            if cap.iter().any(ocelli_catalog::BudgetState::is_reached) {
                eprintln!("the cap is used up: the other answers will not come");
                return Ok(true);
            }
            tokio::select! {
                () = shutdown.cancelled() => return Ok(false),
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
        }
    }
    Ok(true)
}

/// For each image: what this revision answered, the answer before it, and what the other analyzers say.
pub(super) async fn print(
    settings: &Settings,
    catalog: &Catalog,
    backfill: &Backfill,
    sample: &[Digest],
) -> Result<(), Fault> {
    let order = archive::order(settings);
    for (number, digest) in (1..).zip(sample) {
        let Some(record) = catalog.record(digest).await? else { continue };
        let source = record.sightings.keys().next().map(ToString::to_string).unwrap_or_default();
        let mut page = format!("== {number}/{} {} {source}\n", sample.len(), digest.short());
        for (title, analysis) in beside(&record, backfill, &order) {
            page.push_str(&format!("-- {title}\n{}\n", layout::body(analysis)));
        }
        output::print(&page)?;
    }
    Ok(())
}

fn beside<'a>(
    record: &'a Record,
    backfill: &Backfill,
    order: &[ocelli_core::AnalyzerName],
) -> Vec<(String, Option<&'a Analysis>)> {
    let name = &backfill.analyzer;
    let key = (name.clone(), backfill.revision.clone());
    let mut all = vec![(
        format!("{name}, revision {}", backfill.revision),
        record.analyses.get(&key).map(Box::as_ref),
    )];
    let older = record
        .analyses
        .values()
        .filter(|one| one.analyzer == *name && one.revision != backfill.revision)
        .max_by_key(|one| one.finished_at);
    if let Some(older) = older {
        all.push((format!("{name}, older revision {}", older.revision), Some(older)));
    }
    let others = order.iter().filter(|other| *other != name && record.wants.contains_key(*other));
    all.extend(others.map(|other| (other.to_string(), record.current(other))));
    all
}
