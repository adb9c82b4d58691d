//! The private seam between the meaning and the two backends: one transaction.

use std::collections::{BTreeMap, BTreeSet};

use jiff::Timestamp;
use ocelli_core::wire::Message;
use ocelli_core::{Analysis, AnalyzerName, Digest};

use crate::Applied;
use crate::error::Fault;
use crate::fold::{self, Key, Stored};
use crate::gather::{News, gather, micros};
use crate::rows::Rows;

/// A write transaction. Dropping it without [`Unit::commit`] undoes everything.
pub(crate) trait Unit: Sized {
    /// What is stored about these images. Nobody else changes them until the end of the transaction.
    async fn load(&mut self, digests: &[Digest]) -> Result<BTreeMap<Digest, Stored>, Fault>;
    /// All analyses of these images.
    async fn contents(&mut self, digests: &[Digest]) -> Result<Vec<(Digest, Analysis)>, Fault>;
    /// Writes rows.
    async fn write(&mut self, rows: &Rows) -> Result<(), Fault>;
    /// Raises the time of enqueueing of these jobs.
    async fn touch(&mut self, jobs: &[(Digest, AnalyzerName)], at: Timestamp) -> Result<(), Fault>;
    /// Makes it last.
    async fn commit(self) -> Result<(), Fault>;
}

/// Applies messages in one transaction. Returns what it did and how many rows it wrote.
pub(crate) async fn apply<U: Unit>(
    mut unit: U,
    messages: &[Message],
) -> Result<(Applied, u64), Fault> {
    let facts = gather(messages);
    let mut applied = Applied { completed: Vec::new(), rejected: facts.rejected };
    let mut rows = Rows::default();
    if !facts.images.is_empty() {
        let digests: Vec<Digest> = facts.images.keys().copied().collect();
        let mut stored = unit.load(&digests).await?;
        let mut contents = contents(&mut unit, &facts.images, &stored).await?;
        for (digest, news) in facts.images {
            let stored = stored.remove(&digest).unwrap_or_default();
            let contents = contents.remove(&digest).unwrap_or_default();
            if fold::fold(digest, news, stored, &contents, &mut rows) {
                applied.completed.push(digest);
            }
        }
    }
    let deferrals = facts.deferrals.into_iter();
    rows.deferrals = deferrals.map(|((digest, name), row)| (digest, name, row)).collect();
    rows.workers = facts.workers.into_values().collect();
    let revisions = facts.revisions.into_iter();
    rows.revisions = revisions.map(|((name, revision), row)| (name, revision, row)).collect();
    rows.batches = facts.batches.into_values().collect();
    rows.problems = facts.problems.into_iter().map(|((_, key), row)| (key, row)).collect();
    rows.fences = facts.fences.into_iter().collect();
    unit.write(&rows).await?;
    unit.commit().await?;
    Ok((applied, rows.count()))
}

/// The stored analyses without which the fold cannot decide.
async fn contents<U: Unit>(
    unit: &mut U,
    images: &BTreeMap<Digest, News>,
    stored: &BTreeMap<Digest, Stored>,
) -> Result<BTreeMap<Digest, BTreeMap<Key, Analysis>>, Fault> {
    let undecided: BTreeMap<Digest, BTreeSet<Key>> = images
        .iter()
        .filter_map(|(digest, news)| Some((*digest, fold::undecided(news, stored.get(digest)?))))
        .filter(|(_, keys)| !keys.is_empty())
        .map(|(digest, keys)| (digest, keys.into_iter().collect()))
        .collect();
    let mut all: BTreeMap<Digest, BTreeMap<Key, Analysis>> = BTreeMap::new();
    if undecided.is_empty() {
        return Ok(all);
    }
    let digests: Vec<Digest> = undecided.keys().copied().collect();
    for (digest, analysis) in unit.contents(&digests).await? {
        let key = (analysis.analyzer.clone(), analysis.revision.clone());
        if undecided.get(&digest).is_some_and(|keys| keys.contains(&key)) {
            all.entry(digest).or_default().insert(key, analysis);
        }
    }
    Ok(all)
}

/// Takes failures out so that their wants are open again. Returns how many jobs that are.
pub(crate) async fn reopen<U: Unit>(mut unit: U, failures: &[(Digest, Key)]) -> Result<u64, Fault> {
    let mut by_image: BTreeMap<Digest, Vec<Key>> = BTreeMap::new();
    for (digest, key) in failures {
        by_image.entry(*digest).or_default().push(key.clone());
    }
    let digests: Vec<Digest> = by_image.keys().copied().collect();
    let mut stored = unit.load(&digests).await?;
    let mut rows = Rows::default();
    let mut count = 0;
    for (digest, keys) in by_image {
        let stored = stored.remove(&digest).unwrap_or_default();
        count += fold::reopen(digest, &keys, stored, &mut rows).len() as u64;
    }
    unit.write(&rows).await?;
    unit.commit().await?;
    Ok(count)
}

/// Notes that these jobs were enqueued again.
pub(crate) async fn touch<U: Unit>(
    mut unit: U,
    jobs: &[(Digest, AnalyzerName)],
    at: Timestamp,
) -> Result<(), Fault> {
    unit.touch(jobs, micros(at)).await?;
    unit.commit().await
}
