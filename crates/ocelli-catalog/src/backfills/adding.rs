//! The transactions of a backfill: wants that are added, wants that are taken back. What they mean is decided by the same fold
//! as for messages.

use std::collections::BTreeMap;
use std::time::Duration;

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, BatchId, Digest, Need, Revision};
use ocelli_failpoint::{Failpoint, reached};

use super::{Added, Backfill};
use crate::catalog::{Catalog, transact};
use crate::error::{CatalogError, Fault};
use crate::fold::{self, Stored, Wanted};
use crate::gather::{News, micros, text_key};
use crate::rows::{Rows, State};
use crate::unit::{self, Unit};

/// A job that a backfill asks for.
pub(crate) struct Job {
    pub(crate) digest: Digest,
    /// The revision that was wanted before: none when nothing was, empty when any would do.
    pub(crate) before: Option<String>,
    /// Whether somebody else publishes it.
    pub(crate) held: bool,
}

/// The part of a write transaction that knows backfills.
pub(crate) trait Backfilling {
    /// Whether it is to go on; it stays so until the end of the transaction.
    async fn goes_on(&mut self, batch: BatchId) -> Result<bool, Fault>;
    async fn add_jobs(&mut self, batch: BatchId, jobs: &[Job], at: Timestamp) -> Result<(), Fault>;
    async fn published(&mut self, batch: BatchId, digests: &[Digest]) -> Result<(), Fault>;
    /// Jobs that may be taken back, with what was wanted before.
    async fn to_withdraw(
        &mut self,
        backfill: &Backfill,
        most: u32,
    ) -> Result<Vec<(Digest, Option<String>)>, Fault>;
    /// Takes jobs out of the account of their batch, and the wants of `unwanted` out of the archive.
    async fn withdraw(
        &mut self,
        backfill: &Backfill,
        digests: &[Digest],
        unwanted: &[Digest],
    ) -> Result<(), Fault>;
}

/// Implements [`Backfilling`]: both backends understand the same statements.
macro_rules! backfilling {
    ($unit:ty) => {
        impl crate::backfills::Backfilling for $unit {
            async fn goes_on(&mut self, batch: ocelli_core::BatchId) -> Result<bool, crate::error::Fault> {
                // Written, not read: whoever pauses it meanwhile waits, or comes first.
                let done = sqlx::query("UPDATE backfills SET state = state WHERE batch = $1 AND state = 'running'")
                    .bind(batch.uuid().into_bytes().to_vec())
                    .execute(&mut *self.0)
                    .await?;
                Ok(done.rows_affected() > 0)
            }

            async fn add_jobs(
                &mut self,
                batch: ocelli_core::BatchId,
                jobs: &[crate::backfills::Job],
                at: jiff::Timestamp,
            ) -> Result<(), crate::error::Fault> {
                for job in jobs {
                    sqlx::query(
                        "INSERT INTO backfill_jobs (batch, digest, before, published) VALUES ($1, $2, $3, $4) \
                         ON CONFLICT (batch, digest) DO UPDATE SET before = excluded.before, \
                         published = excluded.published, withdrawn = 0",
                    )
                    .bind(batch.uuid().into_bytes().to_vec())
                    .bind(job.digest.as_bytes().to_vec())
                    .bind(job.before.as_deref())
                    .bind(i64::from(job.held))
                    .execute(&mut *self.0)
                    .await?;
                }
                sqlx::query("UPDATE batches SET accepted = accepted + $2, at = $3 WHERE batch = $1")
                    .bind(batch.uuid().into_bytes().to_vec())
                    .bind(i64::try_from(jobs.len()).unwrap_or(i64::MAX))
                    .bind(at.as_microsecond())
                    .execute(&mut *self.0)
                    .await?;
                Ok(())
            }

            async fn published(
                &mut self,
                batch: ocelli_core::BatchId,
                digests: &[ocelli_core::Digest],
            ) -> Result<(), crate::error::Fault> {
                for digest in digests {
                    sqlx::query("UPDATE backfill_jobs SET published = 1 WHERE batch = $1 AND digest = $2")
                        .bind(batch.uuid().into_bytes().to_vec())
                        .bind(digest.as_bytes().to_vec())
                        .execute(&mut *self.0)
                        .await?;
                }
                Ok(())
            }

            async fn to_withdraw(
                &mut self,
                backfill: &crate::backfills::Backfill,
                most: u32,
            ) -> Result<Vec<(ocelli_core::Digest, Option<String>)>, crate::error::Fault> {
                let rows: Vec<(Vec<u8>, Option<String>)> = sqlx::query_as(
                    "SELECT j.digest, j.before FROM backfill_jobs j JOIN images i ON i.digest = j.digest \
                     JOIN wants w ON w.image = i.id AND w.analyzer = $2 AND w.revision = $3 AND w.state = 'open' \
                     WHERE j.batch = $1 AND j.withdrawn = 0 ORDER BY j.digest LIMIT $4",
                )
                .bind(backfill.batch.uuid().into_bytes().to_vec())
                .bind(backfill.analyzer.as_str())
                .bind(backfill.revision.as_str())
                .bind(i64::from(most))
                .fetch_all(&mut *self.0)
                .await?;
                let read = rows.into_iter().map(|(bytes, before)| Ok((crate::rows::digest(&bytes)?, before)));
                Ok(read.collect::<crate::rows::Read<_>>()?)
            }

            async fn withdraw(
                &mut self,
                backfill: &crate::backfills::Backfill,
                digests: &[ocelli_core::Digest],
                unwanted: &[ocelli_core::Digest],
            ) -> Result<(), crate::error::Fault> {
                let batch = backfill.batch.uuid().into_bytes().to_vec();
                for digest in digests {
                    for statement in [
                        "UPDATE backfill_jobs SET withdrawn = 1, published = 1 WHERE batch = $1 AND digest = $2",
                        "DELETE FROM batch_images WHERE batch = $1 AND image = (SELECT id FROM images WHERE digest = $2)",
                        "UPDATE batches SET accepted = accepted - 1 WHERE batch = $1 AND $2 IS NOT NULL",
                    ] {
                        sqlx::query(statement)
                            .bind(batch.clone())
                            .bind(digest.as_bytes().to_vec())
                            .execute(&mut *self.0)
                            .await?;
                    }
                }
                for digest in unwanted {
                    for table in ["DELETE FROM wants WHERE image = (SELECT id FROM images WHERE digest = $1) AND analyzer = $2",
                        "DELETE FROM deferrals WHERE digest = $1 AND analyzer = $2"] {
                        sqlx::query(table)
                            .bind(digest.as_bytes().to_vec())
                            .bind(backfill.analyzer.as_str())
                            .execute(&mut *self.0)
                            .await?;
                    }
                }
                Ok(())
            }
        }
    };
}
pub(crate) use backfilling;

impl Catalog {
    /// Asks a backfill's question of those of the images that lack the answer, in one transaction. `needs` are the analyzers whose
    /// answers its jobs are given.
    ///
    /// # Errors
    /// When the database does not take it: then nothing of it happened.
    #[async_recursion]
    pub async fn add_to_backfill(
        &self,
        backfill: &Backfill,
        digests: &[Digest],
        needs: &[AnalyzerName],
        at: Timestamp,
    ) -> Result<Added, CatalogError> {
        if digests.is_empty() {
            return Ok(Added::default());
        }
        let at = micros(at);
        transact!(self, "add jobs to a backfill", unit => add(unit, backfill, digests, needs, at))
    }

    /// Notes that the broker has confirmed these jobs of a backfill.
    ///
    /// # Errors
    /// When the database does not take it: they are published once more.
    #[async_recursion]
    pub async fn note_published(
        &self,
        backfill: &Backfill,
        digests: &[Digest],
    ) -> Result<(), CatalogError> {
        if digests.is_empty() {
            return Ok(());
        }
        transact!(self, "note published jobs", unit => published(unit, backfill.batch, digests))
    }

    /// Takes back at most `most` jobs of a cancelled backfill that have no answer: what was wanted before is wanted again. How
    /// many it were; fewer than `most` when there are no more.
    ///
    /// # Errors
    /// When the database does not take it: then nothing of it happened.
    #[async_recursion]
    pub async fn withdraw_backfill(
        &self,
        backfill: &Backfill,
        most: u32,
        at: Timestamp,
    ) -> Result<u64, CatalogError> {
        let at = micros(at);
        transact!(self, "take back jobs of a backfill", unit => withdraw(unit, backfill, most, at))
    }
}

async fn published<U: Unit + Backfilling>(
    mut unit: U,
    batch: BatchId,
    digests: &[Digest],
) -> Result<(), Fault> {
    unit.published(batch, digests).await?;
    unit.commit().await
}

/// The moment of a new want: later than the one that it replaces, whatever the clock says.
fn after(at: Timestamp, old: Option<&Wanted>) -> Timestamp {
    let next = old.and_then(|old| old.asked_at.checked_add(Duration::from_micros(1)).ok());
    next.map_or(at, |next| at.max(next))
}

fn on_its_way(want: Option<&Wanted>, revision: &Revision) -> bool {
    want.is_some_and(|want| {
        want.state == State::Open && want.revision.as_ref().is_none_or(|asked| asked == revision)
    })
}

async fn add<U: Unit + Backfilling>(
    mut unit: U,
    backfill: &Backfill,
    digests: &[Digest],
    needs: &[AnalyzerName],
    at: Timestamp,
) -> Result<Added, Fault> {
    let mut stored = unit.load(digests).await?;
    let mut added = Added { stopped: !unit.goes_on(backfill.batch).await?, ..Added::default() };
    if added.stopped {
        unit.commit().await?;
        return Ok(added);
    }
    let (analyzer, revision) = (&backfill.analyzer, &backfill.revision);
    let (mut rows, mut jobs) = (Rows::default(), Vec::new());
    for digest in digests {
        let Some(old) = stored.remove(digest) else { continue };
        let want = old.wants.get(analyzer);
        if old.image.facts.is_none()
            || old.image.refusal.is_some()
            || old.heads.contains_key(&(analyzer.clone(), revision.clone()))
            || on_its_way(want, revision)
        {
            continue;
        }
        let before =
            want.map(|want| want.revision.as_ref().map_or("", Revision::as_str).to_owned());
        let held = !needs.iter().all(|need| old.is_answered(need));
        let at = after(at, want);
        let mut news = News::default();
        news.wants.insert(analyzer.clone(), (at, Some(revision.clone())));
        if !needs.is_empty() {
            let need = Need {
                analyzer: analyzer.clone(),
                of: needs.to_vec(),
                held,
                near: None,
                rules: Vec::new(),
                after: Vec::new(),
            };
            news.needs.insert(analyzer.clone(), (at, need));
        }
        news.members.insert((backfill.batch, text_key(&format!("backfill {digest}"))));
        fold::fold(*digest, news, old, &BTreeMap::new(), &mut rows);
        jobs.push(Job { digest: *digest, before, held });
    }
    if !jobs.is_empty() {
        unit::write(&mut unit, rows).await?;
        unit.add_jobs(backfill.batch, &jobs, at).await?;
        reached(Failpoint::CatalogWritten);
    }
    unit.commit().await?;
    added.held = jobs.iter().filter(|job| job.held).count() as u64;
    added.jobs = jobs.iter().filter(|job| !job.held).map(|job| job.digest).collect();
    Ok(added)
}

async fn withdraw<U: Unit + Backfilling>(
    mut unit: U,
    backfill: &Backfill,
    most: u32,
    at: Timestamp,
) -> Result<u64, Fault> {
    let jobs = unit.to_withdraw(backfill, most).await?;
    let digests: Vec<Digest> = jobs.iter().map(|(digest, _)| *digest).collect();
    if digests.is_empty() {
        unit.commit().await?;
        return Ok(0);
    }
    let mut stored = unit.load(&digests).await?;
    let (mut rows, mut taken, mut unwanted) = (Rows::default(), Vec::new(), Vec::new());
    for (digest, before) in &jobs {
        let old: Stored = stored.remove(digest).unwrap_or_default();
        let want = old.wants.get(&backfill.analyzer);
        // Answered between the two looks: nothing is left to take back, and its batch has it.
        if !on_its_way(want, &backfill.revision) {
            continue;
        }
        taken.push(*digest);
        match before {
            None => {
                fold::withdraw(*digest, std::slice::from_ref(&backfill.analyzer), old, &mut rows);
                unwanted.push(*digest);
            }
            Some(revision) => {
                let revision = crate::rows::parse_some(
                    "revision",
                    Some(revision.as_str()).filter(|text| !text.is_empty()),
                )?;
                let mut news = News::default();
                news.wants.insert(backfill.analyzer.clone(), (after(at, want), revision));
                fold::fold(*digest, news, old, &BTreeMap::new(), &mut rows);
            }
        }
    }
    unit::write(&mut unit, rows).await?;
    unit.withdraw(backfill, &taken, &unwanted).await?;
    unit.commit().await?;
    Ok(digests.len() as u64)
}
