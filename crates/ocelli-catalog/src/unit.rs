//! The private seam between the meaning and the two backends: one transaction.

use std::collections::{BTreeMap, BTreeSet};
use std::panic::resume_unwind;
use std::sync::Arc;

use futures_util::future::Either;
use jiff::Timestamp;
use ocelli_core::wire::Message;
use ocelli_core::{Analysis, AnalyzerName, Digest};
use ocelli_failpoint::{Failpoint, reached};

use crate::agreements::{self, Agreeing, Compared};
use crate::deliveries::{self, Telling};
use crate::error::Fault;
use crate::fold::{self, Key, Stored, Wanted};
use crate::gather::{Facts, News, gather, micros};
use crate::letters::{self, Buried, Letter};
use crate::model::{Applied, Hold, SeenJob};
use crate::orders::{self, Obeying};
use crate::payments::{Costs, Paying};
use crate::rows::{Rows, State};
use crate::search::index::IndexRows;

/// Answers of fewer than this are made ready where they are: a thread more would take longer.
const MADE_READY_BESIDE: usize = 8;

/// A write transaction. Dropping it without [`Unit::commit`] undoes everything.
pub(crate) trait Unit: Sized + Agreeing + Telling {
    /// What is stored about these images. Nobody else changes them until the end of the transaction.
    async fn load(&mut self, digests: &[Digest]) -> Result<BTreeMap<Digest, Stored>, Fault>;
    /// All analyses of these images.
    async fn contents(&mut self, digests: &[Digest]) -> Result<Vec<(Digest, Analysis)>, Fault>;
    /// Writes rows, but not the search index.
    async fn write(&mut self, rows: &Rows) -> Result<(), Fault>;
    /// Which of these dead letters are stored.
    async fn buried(&mut self, letters: &[[u8; 16]]) -> Result<BTreeSet<[u8; 16]>, Fault>;
    /// Raises the time of enqueueing of those open jobs that were not enqueued since they were seen.
    async fn claim(
        &mut self,
        jobs: &[SeenJob],
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault>;
    /// Changes the hold of those ready jobs that are as they were seen, and the time of their enqueueing.
    async fn hold(
        &mut self,
        jobs: &[SeenJob],
        hold: Option<Hold>,
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault>;
    /// Writes into the search index.
    async fn index(&mut self, rows: &IndexRows) -> Result<(), Fault>;
    /// Images with analyses that are not in the search index yet: of so many analyses, the oldest.
    async fn backlog(&mut self, most: u32) -> Result<Vec<Digest>, Fault>;
    /// Notes that all analyses of these images are in the search index.
    async fn caught_up(&mut self, digests: &[Digest]) -> Result<(), Fault>;
    /// Makes it last.
    /// Also of a transaction that found nothing to do: one that is dropped closes its connection, and SQLite's writer then has none
    /// of its pages in memory any more.
    async fn commit(self) -> Result<(), Fault>;
}

/// Applies messages in one transaction. Returns what it did and how many rows it wrote.
pub(crate) async fn apply<U: Unit + Paying + Obeying>(
    mut unit: U,
    messages: &[Message],
) -> Result<(Applied, u64), Fault> {
    let mut facts = gather(messages);
    let digests: Vec<Digest> = facts.images.keys().copied().collect();
    let stored = if digests.is_empty() { BTreeMap::new() } else { unit.load(&digests).await? };
    orders::leave_out_withdrawn(&mut unit, &mut facts.images, &stored).await?;
    let mut rows = Rows::default();
    let applied = add(&mut unit, facts, stored, &mut rows).await?;
    let rows = write(&mut unit, rows).await?;
    Costs::of(messages).settle(&mut unit, &rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok((applied, rows.count()))
}

/// Writes rows with what the search index keeps of them, how far the answers of records agree that they complete or change, and
/// for listeners that they are complete.
///
/// What is computed from answers is computed while the database writes: for many of them it takes as long.
pub(crate) async fn write<U: Unit>(unit: &mut U, rows: Rows) -> Result<Arc<Rows>, Fault> {
    let rows = Arc::new(rows);
    let index = beside(&rows, IndexRows::of);
    unit.write(&rows).await?;
    let index = index.await;
    let compared = beside(&rows, Compared::of);
    unit.index(&index).await?;
    agreements::settle(unit, &rows.settled, compared.await).await?;
    deliveries::note(unit, &rows.completed).await?;
    Ok(rows)
}

/// Computes something about rows on another thread, from now on.
fn beside<T: Send + 'static>(
    rows: &Arc<Rows>,
    compute: fn(&Rows) -> T,
) -> impl Future<Output = T> + use<T> {
    let computing = if rows.analyses.len() < MADE_READY_BESIDE {
        Either::Left(compute(rows))
    } else {
        let rows = Arc::clone(rows);
        Either::Right(tokio::task::spawn_blocking(move || compute(&rows)))
    };
    async {
        match computing {
            Either::Left(computed) => computed,
            // It ends by itself or panics: nobody aborts it, and a runtime that ends takes whoever waits here with it.
            Either::Right(task) => {
                task.await.unwrap_or_else(|error| resume_unwind(error.into_panic()))
            }
        }
    }
}

/// Facts + what is stored about their images → rows.
async fn add<U: Unit>(
    unit: &mut U,
    facts: Facts,
    mut stored: BTreeMap<Digest, Stored>,
    rows: &mut Rows,
) -> Result<Applied, Fault> {
    let mut applied = Applied { rejected: facts.rejected, ..Applied::default() };
    let mut contents = contents(unit, &facts.images, &stored).await?;
    for (digest, news) in facts.images {
        let stored = stored.remove(&digest).unwrap_or_default();
        let contents = contents.remove(&digest).unwrap_or_default();
        let folded = fold::fold(digest, news, stored, &contents, rows);
        if folded.completed {
            applied.completed.push(digest);
            applied.asked.extend(folded.asked_at);
        }
    }
    let is_ready = |want: &Wanted| want.hold == Some(Hold::Ready);
    applied.ready = rows.wants.iter().filter(|(_, _, want)| is_ready(want)).count() as u64;
    let is_over = |want: &Wanted| want.near.is_some() && want.state != State::Open;
    applied.firsts = rows.wants.iter().filter(|(_, _, want)| is_over(want)).count() as u64;
    let deferrals = facts.deferrals.into_iter();
    rows.deferrals = deferrals.map(|((digest, name), row)| (digest, name, row)).collect();
    rows.workers = facts.workers.into_values().collect();
    let revisions = facts.revisions.into_iter();
    rows.revisions = revisions.map(|((name, revision), row)| (name, revision, row)).collect();
    rows.batches = facts.batches.into_values().collect();
    rows.problems = facts.problems.into_iter().map(|((_, key), row)| (key, row)).collect();
    rows.fences = facts.fences.into_iter().collect();
    Ok(applied)
}

/// Takes dead letters in, in one transaction: what became of each is decided against what is stored at that moment.
pub(crate) async fn bury<U: Unit + Paying>(
    mut unit: U,
    letters: &[Letter],
) -> Result<(Buried, u64), Fault> {
    let keys: Vec<[u8; 16]> = letters.iter().map(Letter::key).collect();
    let mut seen = unit.buried(&keys).await?;
    let new: Vec<&Letter> = letters
        .iter()
        .zip(keys)
        .filter(|(_, key)| seen.insert(*key))
        .map(|(letter, _)| letter)
        .collect();
    let digests: BTreeSet<Digest> = new.iter().flat_map(|letter| letters::images(letter)).collect();
    let digests: Vec<Digest> = digests.into_iter().collect();
    let stored = if digests.is_empty() { BTreeMap::new() } else { unit.load(&digests).await? };
    let mut rows = Rows::default();
    let (mut buried, mut messages) = (Buried::default(), Vec::new());
    for letter in new {
        let (fate, news) = letters::decide(letter, &stored);
        messages.extend(news);
        buried.count(fate);
        rows.letters.push(letters::row(letter, fate));
    }
    let applied = add(&mut unit, gather(&messages), stored, &mut rows).await?;
    buried.completed = applied.completed;
    buried.asked = applied.asked;
    let rows = write(&mut unit, rows).await?;
    Costs::of(&messages).settle(&mut unit, &rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok((buried, rows.count()))
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

/// Takes failures out so that their wants are open again. Returns those jobs.
pub(crate) async fn reopen<U: Unit>(
    mut unit: U,
    failures: &[(Digest, Key)],
) -> Result<Vec<(Digest, AnalyzerName)>, Fault> {
    let by_image = by_image(failures);
    let digests: Vec<Digest> = by_image.keys().copied().collect();
    let mut stored = unit.load(&digests).await?;
    let mut rows = Rows::default();
    let mut jobs = Vec::new();
    for (digest, keys) in by_image {
        let stored = stored.remove(&digest).unwrap_or_default();
        let taken = fold::reopen(digest, &keys, stored, &mut rows);
        jobs.extend(taken.into_iter().map(|(analyzer, _)| (digest, analyzer)));
    }
    write(&mut unit, rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(jobs)
}

/// Settles failures without another attempt. Returns how many.
pub(crate) async fn discard<U: Unit>(
    mut unit: U,
    failures: &[(Digest, Key)],
) -> Result<u64, Fault> {
    let by_image = by_image(failures);
    let digests: Vec<Digest> = by_image.keys().copied().collect();
    let mut stored = unit.load(&digests).await?;
    let mut contents: BTreeMap<Digest, BTreeMap<Key, Analysis>> = BTreeMap::new();
    for (digest, analysis) in unit.contents(&digests).await? {
        let key = (analysis.analyzer.clone(), analysis.revision.clone());
        contents.entry(digest).or_default().insert(key, analysis);
    }
    let mut rows = Rows::default();
    let mut count = 0;
    for (digest, keys) in by_image {
        let stored = stored.remove(&digest).unwrap_or_default();
        let contents = contents.remove(&digest).unwrap_or_default();
        count += fold::discard(digest, &keys, stored, &contents, &mut rows);
    }
    write(&mut unit, rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(count)
}

fn by_image(failures: &[(Digest, Key)]) -> BTreeMap<Digest, Vec<Key>> {
    let mut by_image: BTreeMap<Digest, Vec<Key>> = BTreeMap::new();
    for (digest, key) in failures {
        by_image.entry(*digest).or_default().push(key.clone());
    }
    by_image
}

/// Takes open jobs for enqueueing: of several that saw the same, one gets each.
pub(crate) async fn claim<U: Unit>(
    mut unit: U,
    jobs: &[SeenJob],
    at: Timestamp,
) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
    let claimed = unit.claim(jobs, micros(at)).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(claimed)
}

/// Changes the hold of ready dependent jobs: of several that saw the same, one gets each.
pub(crate) async fn hold<U: Unit>(
    mut unit: U,
    jobs: &[SeenJob],
    hold: Option<Hold>,
    at: Timestamp,
) -> Result<BTreeSet<(Digest, AnalyzerName)>, Fault> {
    let changed = unit.hold(jobs, hold, micros(at)).await?;
    unit.commit().await?;
    Ok(changed)
}
