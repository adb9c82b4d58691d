//! Jobs that are asked of the first of near-identical images only.
//!
//! Such a want carries the distance up to which images count as near-identical, and its job is left to a collector as that of
//! a dependent analyzer is. When its turn comes, one of three things is decided in one transaction, of which there is one
//! at a time for each analyzer:
//!
//! - a near image has the answer: the job is settled as a skip that points to it;
//! - the answer of a near image is on its way: the job waits for it;
//! - neither: this image is the first, and its job is enqueued.
//!
//! Only images that were asked themselves are pointed to and waited for, so there are no chains. A job that waits is decided anew
//! as soon as the other one is open no more: when that failed, or was taken back, the next of them is asked. So no image
//! is left without an outcome, whoever dies or fails.

mod comparing;

use std::collections::{BTreeMap, BTreeSet};

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{Analysis, AnalyzerName, Digest, Outcome, PerceptualHash, Provenance, Revision};
use ocelli_failpoint::{Failpoint, reached};

pub(crate) use comparing::{Asked, Comparing, comparing};

use crate::alike::MOST_ALIKE;
use crate::catalog::{Catalog, ask, transact};
use crate::error::{CatalogError, Fault};
use crate::fold::{self, Stored, Wanted};
use crate::gather::{News, micros};
use crate::model::{Hold, SeenJob};
use crate::rows::{Read, Rows, digest, parse};
use crate::unit::{self, Unit};

/// The rule that a skip names which points to a near image; its reason is `same as` and the digest.
pub const SAME_RULE: &str = "near-duplicate";

/// Near images whose wants are looked at by one statement.
const LOOKED_AT: usize = 200;

/// Jobs of one transaction: each may compare with thousands of hashes.
const JOBS: usize = 16;

/// Jobs of one transaction that wait no more.
const WOKEN: u32 = 256;

/// What became of jobs whose turn had come.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Firsts {
    /// To be enqueued: nobody else gets these.
    pub taken: BTreeSet<(Digest, AnalyzerName)>,
    /// Settled: they point to another image.
    pub same: u64,
    /// Waiting for another image's answer.
    pub waiting: u64,
    /// Images whose record became complete.
    pub completed: Vec<Digest>,
    /// When something was asked of each of these for the last time.
    pub asked: Vec<Timestamp>,
}

/// What is decided about a job.
enum Turn {
    /// The answer of this image stands for it, given by this revision.
    Same(Digest, Revision),
    /// Its answer is on its way.
    Waits(Digest),
    /// It is asked.
    First,
}

impl Catalog {
    /// Decides about ready jobs of an analyzer that is asked of the first of near-identical images only; those that changed
    /// since they were seen are left alone.
    ///
    /// # Errors
    /// When the database does not take it: what was decided by then stays.
    #[async_recursion]
    pub async fn take_first(
        &self,
        analyzer: &AnalyzerName,
        jobs: &[SeenJob],
        at: Timestamp,
    ) -> Result<Firsts, CatalogError> {
        let (mut all, at) = (Firsts::default(), micros(at));
        for part in jobs.chunks(JOBS) {
            let firsts = transact!(self, "decide which images are asked", unit => {
                take(unit, analyzer, part, at)
            })?;
            all.taken.extend(firsts.taken);
            all.same += firsts.same;
            all.waiting += firsts.waiting;
            all.completed.extend(firsts.completed);
            all.asked.extend(firsts.asked);
        }
        Ok(all)
    }

    /// Makes jobs ready again that wait for an image of which the analyzer is asked no more: it has answered, it failed, or
    /// its job was taken back. How many there were.
    ///
    /// # Errors
    /// When the database does not take it: the next call goes on.
    #[async_recursion]
    pub async fn wake_waiting(&self) -> Result<u64, CatalogError> {
        let over: Vec<(Vec<u8>, String)> = ask!(self, "look for jobs that wait no more", pool => sqlx::query_as(
            "SELECT d.waits_for, d.analyzer FROM \
             (SELECT DISTINCT waits_for, analyzer FROM wants WHERE waits_for IS NOT NULL) AS d \
             LEFT JOIN images o ON o.digest = d.waits_for \
             LEFT JOIN wants t ON t.image = o.id AND t.analyzer = d.analyzer \
             WHERE t.image IS NULL OR t.state <> 'open' LIMIT 1000",
        )
        .fetch_all(pool))?;
        let over: Vec<(Digest, AnalyzerName)> = over
            .iter()
            .map(|(bytes, name)| Ok((digest(bytes)?, parse("analyzer name", name)?)))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))?;
        let mut count = 0;
        for (other, analyzer) in &over {
            loop {
                let woken = transact!(self, "make jobs ready that wait no more", unit => {
                    wake(unit, analyzer, other)
                })?;
                count += woken;
                if woken < u64::from(WOKEN) {
                    break;
                }
            }
        }
        Ok(count)
    }
}

async fn take<U: Unit + Comparing>(
    mut unit: U,
    analyzer: &AnalyzerName,
    jobs: &[SeenJob],
    at: Timestamp,
) -> Result<Firsts, Fault> {
    unit.alone(analyzer).await?;
    let digests: Vec<Digest> = jobs.iter().map(|(digest, _, _)| *digest).collect();
    let mut stored = unit.load(&digests).await?;
    let hashes = unit.hashes(&digests).await?;
    let (mut rows, mut firsts) = (Rows::default(), Firsts::default());
    // Those found or begun in this transaction: a thousand copies are compared with one image, not with each other.
    let mut known: Vec<(PerceptualHash, Asked)> = Vec::new();
    for (digest, _, seen) in jobs {
        let old = stored.remove(digest).unwrap_or_default();
        let Some(want) = old.wants.get(analyzer).cloned() else { continue };
        let is_ready = matches!(want.hold, Some(Hold::Ready | Hold::Taken));
        if !is_ready || want.enqueued_at != *seen {
            continue;
        }
        let turn = match hashes.get(digest) {
            Some(hash) => turn(&mut unit, analyzer, (digest, hash), &want, &mut known).await?,
            None => Turn::First,
        };
        match turn {
            Turn::Same(other, revision) => {
                let folded = settle(*digest, (analyzer, revision), other, old, at, &mut rows);
                firsts.same += 1;
                if folded.completed {
                    firsts.completed.push(*digest);
                    firsts.asked.extend(folded.asked_at);
                }
            }
            Turn::Waits(other) => {
                fold::wait(*digest, analyzer, Some(other), old, &mut rows);
                firsts.waiting += 1;
            }
            Turn::First => {
                fold::take(*digest, analyzer, at, old, &mut rows);
                firsts.taken.insert((*digest, analyzer.clone()));
                if let Some(hash) = hashes.get(digest) {
                    let wanted = want.revision.clone();
                    known.push((hash.clone(), Asked { digest: *digest, wanted, answer: None }));
                }
            }
        }
    }
    unit::write(&mut unit, rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(firsts)
}

async fn turn<U: Comparing>(
    unit: &mut U,
    analyzer: &AnalyzerName,
    (digest, hash): (&Digest, &PerceptualHash),
    want: &Wanted,
    known: &mut Vec<(PerceptualHash, Asked)>,
) -> Result<Turn, Fault> {
    let Some(distance) = want.near else { return Ok(Turn::First) };
    let is_near =
        |other: &PerceptualHash| hash.distance(other).is_some_and(|apart| apart <= distance);
    let of_known = known.iter().filter(|(other, asked)| asked.digest != *digest && is_near(other));
    if let Some(found) = best(of_known.map(|(_, asked)| asked), want) {
        return Ok(found);
    }
    let near: Vec<Digest> = unit
        .near(hash, distance, MOST_ALIKE)
        .await?
        .into_iter()
        .map(|(_, other)| other)
        .filter(|other| other != digest)
        .collect();
    for part in near.chunks(LOOKED_AT) {
        let mut asked = unit.asked(analyzer, part).await?;
        asked.sort_by_key(|one| part.iter().position(|digest| *digest == one.digest));
        if let Some(found) = best(asked.iter(), want) {
            let (Turn::Same(other, _) | Turn::Waits(other)) = &found else { return Ok(found) };
            let hashes = unit.hashes(std::slice::from_ref(other)).await?;
            if let (Some(hash), Some(one)) =
                (hashes.get(other), asked.iter().find(|one| one.digest == *other))
            {
                known.push((hash.clone(), one.clone()));
            }
            return Ok(found);
        }
    }
    Ok(Turn::First)
}

/// The first of them that has the answer that is wanted, else the first from which it is to come.
fn best<'a>(asked: impl Iterator<Item = &'a Asked> + Clone, want: &Wanted) -> Option<Turn> {
    let fits = |revision: &Revision| want.revision.as_ref().is_none_or(|wanted| wanted == revision);
    let same = asked.clone().find_map(|one| {
        let revision = one.answer.as_ref().filter(|revision| fits(revision))?;
        Some(Turn::Same(one.digest, revision.clone()))
    });
    same.or_else(|| {
        asked
            .filter(|one| one.answer.is_none())
            .find(|one| one.wanted.as_ref().is_none_or(fits))
            .map(|one| Turn::Waits(one.digest))
    })
}

/// The answer of `other` stands for this image.
fn settle(
    digest: Digest,
    (analyzer, revision): (&AnalyzerName, Revision),
    other: Digest,
    old: Stored,
    at: Timestamp,
    rows: &mut Rows,
) -> fold::Folded {
    let analysis = Analysis {
        analyzer: analyzer.clone(),
        revision,
        outcome: Outcome::Skipped {
            rule: SAME_RULE.to_owned(),
            reason: format!("same as {other}"),
        },
        attempts: 0,
        finished_at: at,
        provenance: Provenance::default(),
    };
    let news = News { analyses: vec![analysis], ..News::default() };
    fold::fold(digest, news, old, &BTreeMap::new(), rows)
}

async fn wake<U: Unit + Comparing>(
    mut unit: U,
    analyzer: &AnalyzerName,
    other: &Digest,
) -> Result<u64, Fault> {
    let digests = unit.waiting(analyzer, other, WOKEN).await?;
    if digests.is_empty() {
        unit.commit().await?;
        return Ok(0);
    }
    let mut stored = unit.load(&digests).await?;
    let mut rows = Rows::default();
    for digest in &digests {
        let old = stored.remove(digest).unwrap_or_default();
        if old.wants.get(analyzer).is_some_and(|want| want.waits_for == Some(*other)) {
            fold::wait(*digest, analyzer, None, old, &mut rows);
        }
    }
    unit::write(&mut unit, rows).await?;
    reached(Failpoint::CatalogWritten);
    unit.commit().await?;
    Ok(digests.len() as u64)
}
