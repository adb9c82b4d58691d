//! Dependent jobs: those that everything they need is there for, and what they are given.
//!
//! That a job became ready is written in the transaction that writes the last answer it needs (`fold`). So whoever dies
//! afterwards, and wherever, the next look finds it.

use std::collections::{BTreeSet, HashMap};

use async_recursion::async_recursion;
use jiff::Timestamp;
use ocelli_core::{AnalyzerName, Digest, NeededText, OutcomeKind};

use crate::answers::{OpenColumns, open_columns, read_jobs};
use crate::catalog::{Catalog, ask, snapshot, transact};
use crate::error::{CatalogError, Fault};
use crate::gather::micros;
use crate::model::{Hold, OpenJob, SeenJob};
use crate::rows::{Read, digest, parse, unreadable};
use crate::unit;

impl Catalog {
    /// Dependent analyzers with jobs that are ready to be enqueued, or that somebody is enqueueing.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn ready_analyzers(&self) -> Result<BTreeSet<AnalyzerName>, CatalogError> {
        let rows: Vec<String> = ask!(self, "list ready analyzers", pool => sqlx::query_scalar(
            // Of the column itself, SQLite would read the whole of an index that is in its order.
            "SELECT DISTINCT analyzer || '' FROM wants WHERE hold IN ('ready', 'taken')",
        )
        .fetch_all(pool))?;
        rows.iter()
            .map(|name| parse("analyzer name", name))
            .collect::<Read<_>>()
            .map_err(|error| self.unreadable(error))
    }

    /// A page of the jobs of a dependent analyzer that are ready to be enqueued: also those that somebody has taken before
    /// `taken_before` and has not enqueued since.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn ready_jobs(
        &self,
        analyzer: &AnalyzerName,
        taken_before: Timestamp,
        limit: u32,
    ) -> Result<Vec<OpenJob>, CatalogError> {
        let rows = snapshot!(self, connection, backend => {
            let jobs: Vec<OpenColumns> = sqlx::query_as(concat!(
                open_columns!(),
                " AND w.hold IN ('ready', 'taken') AND (w.hold = 'ready' OR w.enqueued_at < $1) \
                 AND w.analyzer = $2 ORDER BY w.image LIMIT $3",
            ))
            .bind(micros(taken_before).as_microsecond())
            .bind(analyzer.as_str())
            .bind(i64::from(limit))
            .fetch_all(&mut *connection)
            .await?;
            let mut digests: Vec<Digest> = Vec::with_capacity(jobs.len());
            for job in &jobs {
                digests.push(digest(&job.0)?);
            }
            digests.dedup();
            let sources = backend::sources(connection, &digests).await?;
            Ok::<_, Fault>((jobs, sources))
        });
        let (jobs, rows) = self.timed("list ready jobs", rows).await?;
        read_jobs(jobs, rows).map_err(|error| self.unreadable(error))
    }

    /// Takes ready jobs, to enqueue them: those that nobody else has taken since they were seen.
    ///
    /// # Errors
    /// When the database does not take it.
    #[async_recursion]
    pub async fn take_ready(
        &self,
        jobs: &[SeenJob],
        at: Timestamp,
    ) -> Result<BTreeSet<(Digest, AnalyzerName)>, CatalogError> {
        if jobs.is_empty() {
            return Ok(BTreeSet::new());
        }
        let taken = Some(Hold::Taken);
        transact!(self, "take ready jobs", unit => unit::hold(unit, jobs, taken, at))
    }

    /// Gives back at `at` jobs that were taken and are certainly in no queue.
    ///
    /// # Errors
    /// When the database does not take it: they are ready again once they count as left behind.
    #[async_recursion]
    pub async fn release_ready(&self, jobs: &[SeenJob], at: Timestamp) -> Result<(), CatalogError> {
        if jobs.is_empty() {
            return Ok(());
        }
        let ready = Some(Hold::Ready);
        transact!(self, "give back ready jobs", unit => unit::hold(unit, jobs, ready, at))
            .map(|_| ())
    }

    /// Notes at `at` that jobs which were taken are in their queue.
    ///
    /// # Errors
    /// When the database does not take it: they will be enqueued once more.
    #[async_recursion]
    pub async fn note_enqueued(&self, jobs: &[SeenJob], at: Timestamp) -> Result<(), CatalogError> {
        if jobs.is_empty() {
            return Ok(());
        }
        transact!(self, "note enqueued jobs", unit => unit::hold(unit, jobs, None, at)).map(|_| ())
    }

    /// What these analyzers answered about these images: the answer to what is wanted of them, or the latest one. At most
    /// `most_bytes` of each text. What is not answered is missing.
    ///
    /// # Errors
    /// When the database does not answer.
    #[async_recursion]
    pub async fn needed_texts(
        &self,
        digests: &[Digest],
        analyzers: &BTreeSet<AnalyzerName>,
        most_bytes: usize,
    ) -> Result<HashMap<(Digest, AnalyzerName), NeededText>, CatalogError> {
        // No character has less than a byte: with one more it shows that something was cut.
        let characters = i32::try_from(most_bytes).unwrap_or(i32::MAX).saturating_add(1);
        let mut texts = HashMap::with_capacity(digests.len());
        for analyzer in analyzers {
            let rows = snapshot!(self, connection, backend => {
                backend::texts(connection, digests, analyzer.as_str(), characters).await
            });
            let rows = self.timed("read needed texts", rows).await?;
            let read = rows.into_iter().map(|(bytes, kind, text)| {
                let kind =
                    OutcomeKind::from_name(&kind).ok_or_else(|| unreadable("outcome", kind))?;
                let text = text.unwrap_or_default();
                let text = NeededText::new(analyzer.clone(), kind, text, most_bytes);
                // Of several the last one counts.
                texts.insert((digest(&bytes)?, analyzer.clone()), text);
                Ok(())
            });
            read.collect::<Read<()>>().map_err(|error| self.unreadable(error))?;
        }
        Ok(texts)
    }
}
